"""One system against another, as results.json tests it, in the form of the page."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from tamis.records import WAYS, Way
from tamis.report.wording import LEVEL, Direction, direction

Results = Mapping[str, Any]
"""Content of results.json, see docs/results.md; empty of a run without an evaluation."""


class LanguageChange(NamedTuple):
    """How one language fared.

    Attributes:
        language: Its tag.
        before: The main measure of the baseline, in [0, 1].
        after: That of the model.
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
    """A model against a first stage, or the merged student against the untrained one.

    Attributes:
        set: Name of the judged set.
        system: Name of the model's system, `merged~bm25` or the like.
        baseline: Name of what it is compared with.
        title: Title of that.
        way: How the model is used in both.
        place: Title of the first stage whose candidates it ranks.
        before: Mean of the main measure of the baseline, in [0, 1].
        after: That of the model.
        difference: After minus before.
        interval: 95 % interval of the difference.
        p: Corrected for the number of comparisons.
        questions: How many questions rose, stayed and fell.
        languages: Each language, in the order of the results.
    """

    set: str
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


def set_of_run(results: Mapping[str, Any]) -> Mapping[str, Any]:
    """The one set of a run's results; empty without an evaluation."""
    return next(iter(results["sets"].values())) if results else {}


def of_a_run(results: Results) -> bool:
    """Whether these are the results of a recipe's run, whose models are its students."""
    return "run" in results


def split_comparisons(found: Mapping[str, Any]) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """The comparisons of a set with each system's baseline, and those with other systems."""
    baselines = {one["name"]: one["baseline"] for one in found.get("systems", [])}
    own: list[Mapping[str, Any]] = []
    others: list[Mapping[str, Any]] = []
    for one in found.get("comparisons", []):
        (own if baselines[one["system"]] == one["baseline"] else others).append(one)
    return own, others


def parts_of(system: str) -> tuple[str, str, str]:
    """Model, sign and first stage of `MODEL~FIRST_STAGE` and its like; neither name holds a sign."""
    place = next(place for place, letter in enumerate(system) if letter in WAYS)
    return system[:place], system[place], system[place + 1 :]


def change_of(results: Results, name: str, comparison: Mapping[str, Any]) -> Change:
    """What a tested comparison says.

    Args:
        results: Content of results.json.
        name: The set's name.
        comparison: One of the set's comparisons, of a system that a model has a part in.
    """
    found, measure = results["sets"][name], results["main_measure"]
    system, baseline = comparison["system"], comparison["baseline"]
    titles = {one["name"]: one["title"] for one in found["systems"]}
    _, sign, first_stage = parts_of(system)
    return Change(
        set=name,
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
            for language in comparison["per_language"]
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
