"""What `tamis weigh` is asked for."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tamis.errors import SettingsError
from tamis.models.checkpoint import ORDER, OTHER
from tamis.retrievers.index import FIRST_STAGES

RESERVED: Final = (ORDER, OTHER, "none")

_NAME: Final = re.compile(r"[A-Za-z0-9][\w.-]{0,99}")


@dataclass(frozen=True)
class WeighingConfig:
    """What is to be weighed, as the command line says it.

    Attributes:
        model: Folder of a reranker, or `tamis-base` or `tamis-small`.
        corpus: Documents, as `corpus.target` of a recipe.
        queries: File of written queries, or folder of a run, whose held-out written queries are taken.
        runs: NAME=FILE, TREC runs for these queries.
        first: Some of `FIRST_STAGES`, which search here.
        encoder: Bi-encoder of dense and hybrid.
        depth: Candidates of a query that are scored.
        order: Whether the weight of the order alone is kept too.
        out: Folder for a copy of the model with the weights; None: they are put into the model.
    """

    model: str
    corpus: Path
    queries: Path
    runs: Sequence[str] = ()
    first: Sequence[str] = ()
    encoder: str | None = None
    depth: int = 20
    order: bool = False
    out: Path | None = None

    def named_runs(self) -> dict[str, Path]:
        """Files of the runs by name, once it is sure that something can be weighed.

        Raises:
            SettingsError: nothing is, or a name, a first stage or a depth that cannot be.
        """
        if not self.runs and not self.first:
            raise SettingsError(
                "nothing to weigh: give your engine's results for the queries with --run NAME=RUN, or --first bm25 to "
                "search here; --queries-out FILE writes the queries for your engine"
            )
        if self.depth < 2:
            raise SettingsError(f"--depth is {self.depth}, expected at least 2: one candidate has no order")
        unknown = next((name for name in self.first if name not in FIRST_STAGES), None)
        if unknown is not None:
            raise SettingsError(f"--first {unknown}: expected {', '.join(FIRST_STAGES)}; give other engines by --run")
        named: dict[str, Path] = {}
        for given in self.runs:
            name, _, file = given.partition("=")
            if not file or not _NAME.fullmatch(name) or name.lower() in RESERVED:
                raise SettingsError(
                    f"--run {given}: expected NAME=RUN, a name of at most 100 letters, digits, dots and hyphens that "
                    f"begins with a letter or digit, none of {', '.join(RESERVED)}"
                )
            if name in named or name in self.first:
                raise SettingsError(f"--run {given}: the name {name!r} stands for two first stages; call one otherwise")
            named[name] = Path(file)
        return named
