"""Whether to deploy a model, in a few words, and how documents are to be sent to its server."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from tamis.records import Way
from tamis.report.changes import Change
from tamis.report.wording import LEVEL, Direction, direction

SENT: Final[Mapping[Way, str]] = {
    "as served": ", and send the documents in its order",
    "alone": "",
    "with scores": ", and send the first stage’s scores with the documents",
}
"""What follows a yes: how documents are to be sent."""


class Verdict(NamedTuple):
    """Whether to deploy, in a few words.

    Attributes:
        text: The words.
        way: Colours them.
        everywhere: Whether the gain is over all parts, and not only in some.
    """

    text: str
    way: Direction
    everywhere: bool = False


def verdict(
    gain: float, p: float, parts: Sequence[tuple[str, float, bool]], what: str = "it", how: str = ""
) -> Verdict:
    """Whether to deploy, and for what; only what is more than chance counts.

    Args:
        gain: Over all parts.
        p: p-value of that gain, corrected for the number of comparisons.
        parts: Name of each language or set, how much it gains, and whether that is more than chance.
        what: What is deployed, and behind what.
        how: What to say after a yes.
    """
    better = [name for name, difference, sure in parts if sure and difference > 0]
    worse = [name for name, difference, sure in parts if sure and difference < 0]
    if p < LEVEL and gain > 0:
        return Verdict(f"Deploy {what}{f', but not for {listed(worse)}' if worse else ''}{how}.", "gain", True)
    if p < LEVEL and gain < 0:
        but = f", though better for {listed(better)}" if better else ""
        return Verdict(f"Do not deploy {what}: it ranks worse{but}.", "loss")
    if better:
        return Verdict(f"Deploy {what} for {listed(better)} only{how}.", "gain")
    if worse:
        return Verdict(f"Do not deploy {what}: it ranks worse for {listed(worse)}.", "loss")
    return Verdict(f"Do not deploy {what} yet: what it changes may be chance.", "same")


def listed(names: Sequence[str]) -> str:
    """`de`, `de and fr`, `de, fr and it`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def verdict_of(change: Change, adapted: Sequence[Change] = (), what: str = "it") -> Verdict:
    """The verdict on a comparison with a first stage, language by language.

    Args:
        change: The merged student, or any model, against a first stage.
        adapted: See `adaptation_changes`; what adaptation has harmed beyond chance is not what to deploy.
        what: What is deployed.
    """
    parts = [(one.language, one.difference, one.beyond_chance) for one in change.languages]
    how = SENT[change.way]
    found = verdict(change.difference, change.p, parts, f"{what} behind {change.place}", how)
    harmed = any(one.system == change.system and one.difference < 0 and one.p < LEVEL for one in adapted)
    if harmed and found.way == "gain":
        text = f"Deploy the untrained student behind {change.place}{how}: adaptation made it worse."
        return Verdict(text, "loss")
    return found


def worth_sending(served: Verdict, scored: Verdict, more: float) -> bool:
    """Whether the first stage's scores are worth sending: only for a better verdict, or as good a one and more points.

    Args:
        served: What is said of the model as served.
        scored: What is said of it with the scores.
        more: How much higher its mean is with them.
    """
    if scored.way != "gain":
        return False
    if (served.way, served.everywhere) == (scored.way, scored.everywhere):
        return direction(more) == "gain"
    return served.way != "gain" or scored.everywhere
