"""The answer that opens the page, made from the comparisons and nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from tamis.records import WAYS, Way
from tamis.report.wording import LEVEL, Direction, direction, p_value, points, signed

HEADLINE: Final = (("merged~bm25", "bm25"), ("merged~hybrid", "hybrid"), ("merged+hybrid", "hybrid"))
"""What the answer compares: the student as served with the plainest first stage and with the best one, and what the
best one's scores add."""

OPENINGS: Final[Mapping[Way, str]] = {
    "as served": "As served, with documents sent in the first stage’s order and nothing else, ",
    "alone": "Alone, without the first stage’s order, ",
    "with scores": "With the first stage’s scores sent along, ",
}
"""How documents are sent, in the words that open a sentence."""

SENT: Final[Mapping[Way, str]] = {
    "as served": ", and send the documents in its order",
    "alone": "",
    "with scores": ", and send the first stage’s scores with the documents",
}
"""What follows a yes: how documents are to be sent."""


class LanguageChange(NamedTuple):
    """How one language fared.

    Attributes:
        language: Its tag.
        before: nDCG@10 of the baseline, in [0, 1].
        after: nDCG@10 with the student.
        difference: After minus before.
        interval: 95 % interval of the difference.
        direction: Sign of the difference, once rounded.
        beyond_chance: Whether the corrected p-value is below 0.05.
    """

    language: str
    before: float
    after: float
    difference: float
    interval: tuple[float, float]
    direction: Direction
    beyond_chance: bool


@dataclass(frozen=True)
class Change:
    """The merged student against a first stage, or against the untrained student.

    Attributes:
        system: Name of the student's run.
        baseline: Name of what it is compared with.
        title: Title of that.
        way: How the student is used in both.
        place: Title of the first stage whose candidates it ranks.
        before: Mean nDCG@10 of the baseline, in [0, 1].
        after: Mean nDCG@10 of the student.
        difference: After minus before.
        interval: 95 % interval of the difference.
        p: Corrected for the number of comparisons.
        questions: How many questions rose, stayed and fell.
        languages: Each language, in the order of the results.
    """

    system: str
    baseline: str
    title: str
    way: Way
    place: str
    before: float
    after: float
    difference: float
    interval: tuple[float, float]
    p: float
    questions: tuple[int, int, int]
    languages: tuple[LanguageChange, ...]

    def going(self, way: Direction) -> list[LanguageChange]:
        """The languages that went this way, largest change first."""
        chosen = [change for change in self.languages if change.direction == way]
        return sorted(chosen, key=lambda change: -abs(change.difference))


class Part(NamedTuple):
    """A piece of the answer's sentence; `way` colours a figure, None is plain text."""

    text: str
    way: Direction | None = None


def set_of_run(results: Mapping[str, Any]) -> Mapping[str, Any]:
    """The one set of a run's results; empty without an evaluation."""
    return next(iter(results["sets"].values())) if results else {}


def headline_changes(results: Mapping[str, Any]) -> list[Change]:
    """The comparisons of `HEADLINE` that were made in a run."""
    found = set_of_run(results)
    made = {(one["system"], one["baseline"]): one for one in found.get("comparisons", [])}
    return [change_of(found, made[pair], results["main_measure"]) for pair in HEADLINE if pair in made]


def adaptation_changes(results: Mapping[str, Any]) -> list[Change]:
    """The merged student of a run against the untrained one in the same places."""
    found = set_of_run(results)
    return [change_of(found, one, results["main_measure"]) for one in split_comparisons(found)[1]]


def split_comparisons(found: Mapping[str, Any]) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """The comparisons of a set with each system's baseline, and those with other systems."""
    baselines = {one["name"]: one["baseline"] for one in found.get("systems", [])}
    own: list[Mapping[str, Any]] = []
    others: list[Mapping[str, Any]] = []
    for one in found.get("comparisons", []):
        (own if baselines[one["system"]] == one["baseline"] else others).append(one)
    return own, others


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


def answered_way(changes: Sequence[Change], adapted: Sequence[Change]) -> Change:
    """The comparison that the verdict is about: the model as served, or with scores where these are worth sending.

    Args:
        changes: See `headline_changes`, at least one as served; the last one is behind the best first stage.
        adapted: See `adaptation_changes`.
    """
    served = [change for change in changes if change.way == "as served"][-1]
    for scored in changes:
        both = (verdict_of(served, adapted), verdict_of(scored, adapted))
        if scored.way == "with scores" and worth_sending(*both, scored.after - served.after):
            return scored
    return served


def reservations(results: Mapping[str, Any], change: Change) -> list[str]:
    """What a reader should weigh before following the verdict, which looks at one comparison."""
    measured, targets = set_of_run(results), results["run"]["targets"]
    means = {name: figures[results["main_measure"]] for name, figures in measured["figures"].items()}
    found = [
        f"As served, without the scores, it has {points(one.after)} against {one.title}’s {points(one.before)} "
        f"({p_value(one.p)})."
        for one in headline_changes(results)
        if (one.way, one.baseline) == ("as served", change.baseline) and change.way == "with scores"
    ]
    for system in measured["systems"]:
        name, title = system["name"], system["title"]
        if system["group"] == "first stage" and name != change.baseline and means[name] >= change.after:
            found.append(f"{title[:1].upper()}{title[1:]} alone has {points(means[name])}.")
    found += [
        f"The untrained student has {points(adapted.before)} in the same place, and needs no adaptation."
        for adapted in adaptation_changes(results)
        if adapted.system == change.system and adapted.before >= adapted.after
    ]
    missed = [target["name"] for target in targets if not target["met"]]
    if missed:
        found.append(f"{len(missed)} of {len(targets)} targets are missed.")
    if any(measured["adapted_to_corpus"].values()):
        found.append("Transductive: it learnt from the documents that it ranks here, never from the questions.")
    return found


def sentence(changes: Sequence[Change]) -> list[Part]:
    """By how much the merged student raises or lowers mean nDCG@10: a sentence for each way, a clause per comparison.

    Args:
        changes: At least one; those of a way stand together.

    Returns:
        Pieces that read as sentences when joined.
    """
    parts: list[Part] = []
    last: Change | None = None
    for change in changes:
        if last is None or change.way != last.way:
            who = "it" if last else "the merged student"
            parts.append(Part(f"{'. ' if last else ''}{OPENINGS[change.way]}{who} "))
            parts += _clause(change, "mean nDCG@10")
        else:
            same = direction(change.difference) == direction(last.difference)
            parts += [Part(" and " if same else " but "), *_clause(change, "it")]
        last = change
    return [*parts, Part(".")]


def adaptation_sentence(changes: Sequence[Change]) -> list[Part]:
    """What adaptation itself added to what the student could do before, said first where that may be nothing.

    Args:
        changes: As `adaptation_changes` gives them; what no client gets, the student alone, is left to the table.

    Returns:
        Pieces that read as one sentence when joined, with a space before it; none without changes.
    """
    changes = [change for change in changes if change.way != "alone"]
    if not changes:
        return []
    sure = {change.difference > 0 for change in changes if change.p < LEVEL}
    said = {
        (): "added nothing beyond chance",
        (True,): "helped",
        (False,): "did harm",
        (False, True): "helped and did harm",
    }[tuple(sorted(sure))]
    parts = [Part(f" Adaptation itself {said}: against the untrained student, the merged one has ")]
    for number, change in enumerate(changes):
        chance = ", which may be chance" if sure and change.p >= LEVEL else ""
        joint = "" if not number else " and " if number == len(changes) - 1 else ", "
        parts += [
            Part(joint),
            Part(f"{signed(change.difference)} points", direction(change.difference) if change.p < LEVEL else "same"),
            Part(f" {change.way} on {change.place} ({move(change)}, {p_value(change.p)}{chance})"),
        ]
    return [*parts, Part(".")]


def move(change: Change) -> str:
    """`54.9 → 64.9`, with spaces at which no line breaks."""
    return f"{points(change.before)} → {points(change.after)}".replace(" ", "\N{NO-BREAK SPACE}")


def _clause(change: Change, measure: str) -> list[Part]:
    way = direction(change.difference)
    chance = "" if change.p < LEVEL else ", which may be chance"
    figures = f" ({move(change)}, {p_value(change.p)}{chance})"
    if way == "same":
        return [Part(f"leaves {measure} where {change.title} had it{figures}")]
    verb, against = ("raises", "over") if way == "gain" else ("lowers", "below")
    amount = points(abs(change.difference))
    return [
        Part(f"{verb} {measure} by "),
        Part(f"{amount} point{'' if amount == '1.0' else 's'}", way),
        Part(f" {against} {change.title}{figures}"),
    ]


def parts_of(system: str) -> tuple[str, str, str]:
    """Model, sign and first stage of `MODEL~FIRST_STAGE` and its like; neither name holds a sign."""
    place = next(place for place, letter in enumerate(system) if letter in WAYS)
    return system[:place], system[place], system[place + 1 :]


def change_of(found: Mapping[str, Any], comparison: Mapping[str, Any], measure: str) -> Change:
    """What a tested comparison says, in the form of the answer.

    Args:
        found: The set's part of the results.
        comparison: One of its comparisons, of a system that a model has a part in.
        measure: What was compared.
    """
    system, baseline, per_language = comparison["system"], comparison["baseline"], comparison["per_language"]
    titles = {one["name"]: one["title"] for one in found["systems"]}
    _, sign, first_stage = parts_of(system)
    return Change(
        system=system,
        baseline=baseline,
        title=titles[baseline],
        way=WAYS[sign],
        place=titles[first_stage],
        before=found["figures"][baseline][measure],
        after=found["figures"][system][measure],
        difference=comparison["difference"],
        interval=(comparison["interval"][0], comparison["interval"][1]),
        p=comparison["p_holm"],
        questions=(comparison["wins"], comparison["ties"], comparison["losses"]),
        languages=tuple(
            _language_change(language, found["groups"]["language"][language]["figures"], comparison)
            for language in per_language
        ),
    )


def _language_change(language: str, figures: Mapping[str, float], comparison: Mapping[str, Any]) -> LanguageChange:
    change = comparison["per_language"][language]
    return LanguageChange(
        language,
        figures[comparison["baseline"]],
        figures[comparison["system"]],
        change["difference"],
        (change["interval"][0], change["interval"][1]),
        direction(change["difference"]),
        change["p_holm"] < LEVEL,
    )
