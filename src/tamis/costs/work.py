"""What is left of a run, and whether somebody should agree before it begins."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from tamis.records import Tokens

LONG: Final = 3600.0
"""Seconds above which a run is long work."""
SHORT: Final = 60.0
"""Seconds below which a run that costs nothing needs no word beforehand."""


@dataclass(frozen=True)
class Work:
    """One kind of work that is left to do.

    Attributes:
        stage: The stage that does it.
        what: What is counted, in the plural.
        count: How many.
        about: Whether that is an estimate; tokens and money then are one, too.
        seconds: How long it takes, None where only doing it would tell.
        tokens: What servers are asked to read and write, at most, without repeated attempts.
        money: What they cost at most, in the currency of the recipe's prices; 0 where it names none.
        server: Address that is asked, empty for none.
        section: Where the recipe names the server.
        disk: Bytes that it leaves in the run folder.
    """

    stage: str
    what: str
    count: int
    about: bool = False
    seconds: float | None = 0.0
    tokens: Tokens = field(default_factory=Tokens)
    money: float = 0.0
    server: str = ""
    section: str = ""
    disk: int = 0


@dataclass(frozen=True)
class Estimate:
    """All that is left to do.

    Attributes:
        works: Every kind of work, in the order of the stages.
        free: Free bytes on the disk of the run folder.
        notes: What will stop the run before its end, a line each.
    """

    works: Sequence[Work]
    free: int
    notes: Sequence[str] = ()

    @property
    def seconds(self) -> float:
        """Time of all work whose time is known."""
        return sum(work.seconds or 0.0 for work in self.works)

    @property
    def timed(self) -> bool:
        """Whether the time of all work is known."""
        return all(work.seconds is not None for work in self.works)

    @property
    def tokens(self) -> Tokens:
        """Tokens of all calls, at most."""
        return sum((work.tokens for work in self.works), Tokens())

    @property
    def money(self) -> float:
        """Money for all calls, at most."""
        return sum(work.money for work in self.works)

    @property
    def disk(self) -> int:
        """Bytes of all work."""
        return sum(work.disk for work in self.works)

    @property
    def paid(self) -> list[Work]:
        """The calls that may cost money: those with a price, and those of servers that are not this machine."""
        return [work for work in self.works if work.money or (work.server and not is_here(work.server))]

    @property
    def small(self) -> bool:
        """Whether nobody needs to hear of it: quickly done, nothing asked of a server, and room enough."""
        return self.seconds < SHORT and not self.notes and not any(work.server for work in self.works)

    @property
    def doubt(self) -> str:
        """Why someone should agree first, in a few words; empty where nobody needs to."""
        if self.paid:
            calls, servers = sum(work.count for work in self.paid), sorted({work.server for work in self.paid})
            bound = "about" if any(work.about for work in self.paid) else "at most"
            price = f"{bound} {self.money:,.4g} in money" if self.money else "no price is set"
            return f"{calls:,} calls of {', '.join(servers)} ({price})"
        return "it is long work" if self.seconds > LONG else ""


def is_here(server: str) -> bool:
    """Whether an address is that of this machine."""
    host = urlsplit(server).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
