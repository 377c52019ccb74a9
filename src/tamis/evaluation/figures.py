"""From rankings to figures: per question, per group of questions, and one system against another."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tamis.evaluation.sets import JudgedSet
from tamis.evaluation.systems import System
from tamis.formats.qrels import has_relevant
from tamis.formulas.arrays import FloatArray
from tamis.formulas.measures import Ranking, blocks, measure_block
from tamis.formulas.ranking import tie_key
from tamis.formulas.significance import holm, paired_comparison
from tamis.progress import track
from tamis.records import MODELS
from tamis.report.changes import parts_of
from tamis.report.wording import GROUPINGS
from tamis.text import words

Masks = Mapping[str, NDArray[np.bool_]]
"""Questions of each group, [questions]."""

QUERY_WORDS = (4, 8, 16)
DOCUMENT_WORDS = (50, 100, 200, 400)
"""Upper ends of the bands; the last band has none."""

ENOUGH = 10
"""Questions of a language from which its mean counts in a mean of languages."""

NO_DOMAIN = "not said"
"""Questions without a domain, where others of their set have one."""

SCHEMA: Final = 2
"""Version of results.json; raised when a key changes its meaning."""


class ComparedPair(NamedTuple):
    """Two systems to compare.

    Attributes:
        system: The one that may be better.
        baseline: The other one.
        seed: Of the test's draws, as numpy takes it.
    """

    system: str
    baseline: str
    seed: int | list[int]


@dataclass(frozen=True)
class PairedTests:
    """Which systems of a set are compared, and how.

    Attributes:
        pairs: In the order of the results.
        rounds: Sign flips of the randomisation test.
        resamples: Resamples of each bootstrap interval.
        over: What a mean is taken over: all questions alike, or the means of the languages. A test weighs each question
            so that it speaks of the same mean.
    """

    pairs: Sequence[ComparedPair]
    rounds: int
    resamples: int = 2000
    over: Literal["questions", "languages"] = "questions"


@dataclass(frozen=True)
class Measured:
    """What a system is worth on a set.

    Attributes:
        system: The system.
        values: By name of the measure, a value of each question, [questions].
        tie_rate: Share of the questions whose best score is shared; None where no score ranks.
        across: By language of the documents, the main measure of each question when only those documents are ranked
            and judged, [questions]; NaN where none of them is relevant.
    """

    system: System
    values: Mapping[str, FloatArray]
    tie_rate: float | None
    across: Mapping[str, FloatArray]


def measure_system(
    judged: JudgedSet,
    system: System,
    rankings: Iterable[Ranking],
    measures: Mapping[str, Any],
    ties: Callable[[], float | None],
) -> Measured:
    """Measure a system, a block of questions at a time.

    Args:
        judged: The set.
        system: What ranks.
        rankings: Ranking of each question; a question without one counts as 0.
        measures: As `parse_measures` gives them; the first one is the main one.
        ties: Gives the tie rate once all rankings were read.
    """
    place = {query_id: number for number, query_id in enumerate(judged.questions)}
    values = {name: np.zeros(len(place)) for name in measures}
    main = dict([next(iter(measures.items()))])
    grades_of_all = judged.grades
    narrowed = document_languages(judged)
    across = {language: _relevant(judged, grades) for language, grades in narrowed.items()}
    for block in blocks(rankings):
        for name, found in measure_block(block, grades_of_all, measures).items():
            for query_id, value in found.items():
                values[name][place[query_id]] = value
        for language, grades in narrowed.items():
            judged_there = [(query_id, ranked) for query_id, ranked in block if query_id in grades]
            some = [(q, [d for d in ranked if judged.documents[d].language == language]) for q, ranked in judged_there]
            for query_id, value in next(iter(measure_block(some, grades, main).values())).items():
                across[language][place[query_id]] = value
    return Measured(system, values, ties(), across)


def document_languages(judged: JudgedSet) -> dict[str, dict[str, dict[str, int]]]:
    """The judgements of each language's documents; empty where all documents are of one language."""
    found: dict[str, dict[str, dict[str, int]]] = {}
    for query_id, question in judged.questions.items():
        for doc_id, grade in question.relevant.items():
            if doc_id in judged.documents:  # what the corpus lacks has no language that is known
                language = judged.documents[doc_id].language
                found.setdefault(language, {}).setdefault(query_id, {})[doc_id] = grade
    if len(found) < 2:
        return {}
    return {
        language: {q: judged_ for q, judged_ in grades.items() if has_relevant(judged_)}
        for language, grades in sorted(found.items())
    }


def _relevant(judged: JudgedSet, grades: Mapping[str, object]) -> FloatArray:
    return np.array([0.0 if query_id in grades else np.nan for query_id in judged.questions])


def groupings(judged: JudgedSet) -> dict[str, Masks]:
    """Questions by language, domain, length of the question and median length of its relevant documents, in words.

    Each group is a mask, [questions]. There are no domains where no question says its own.
    """
    questions = judged.questions.values()
    by_document = []
    for question in questions:
        relevant = [d for d, grade in question.relevant.items() if grade > 0 and d in judged.documents]
        lengths = [len(words(judged.documents[d].text)) for d in relevant]
        by_document.append(band(median(lengths), DOCUMENT_WORDS) if lengths else "none relevant")
    told = any(question.domain for question in questions)
    labels = {
        "language": [question.language for question in questions],
        "domain": [question.domain or NO_DOMAIN for question in questions] if told else [],
        "query_length": [band(len(words(question.text)), QUERY_WORDS) for question in questions],
        "document_length": by_document,
    }
    orders = {"query_length": bands(QUERY_WORDS), "document_length": bands(DOCUMENT_WORDS)}
    return {
        name: {
            group: np.array([one == group for one in labels[name]])
            for group in orders.get(name, sorted(set(labels[name])))
            if group in labels[name]
        }
        for name in GROUPINGS
    }


def bands(ends: Sequence[int]) -> list[str]:
    """Names of the bands that end there: `1-4`, `5-8`, `9-16`, `17+`."""
    starts = [1, *(end + 1 for end in ends)]
    return [*(f"{start}-{end}" for start, end in zip(starts, ends, strict=False)), f"{starts[-1]}+"]


def band(length: float, ends: Sequence[int]) -> str:
    """The band of a length."""
    return bands(ends)[sum(length > end for end in ends)]


def set_figures(
    judged: JudgedSet, measured: Sequence[Measured], main: str, tests: PairedTests, adapted: Mapping[str, bool | None]
) -> dict[str, Any]:
    """Everything that is said about a set, see docs/results.md; p-values are not corrected yet.

    Args:
        judged: The set.
        measured: Its systems.
        main: The measure that is compared and shown by group.
        tests: Which systems are compared, and what a mean is taken over.
        adapted: Whether each model learnt from the documents of the set; None where nobody says.
    """
    groups = groupings(judged)
    parts = groups["language"] if tests.over == "languages" else {"": np.ones(len(judged.questions), bool)}
    every = np.ones(len(judged.questions), bool)
    return {
        "source": judged.source,
        "documents": len(judged.documents),
        "questions": len(judged.questions),
        "mean_over": tests.over,
        "notes": list(judged.notes),
        "systems": [asdict(m.system) for m in measured],
        "figures": {m.system.name: {name: _mean(v, every, parts) for name, v in m.values.items()} for m in measured},
        "language_means": _language_means(groups["language"], measured),
        "tie_rate": {m.system.name: m.tie_rate for m in measured},
        "groups": {
            name: {
                group: {
                    "questions": int(mask.sum()),
                    "figures": {m.system.name: _mean(m.values[main], mask, parts) for m in measured},
                }
                for group, mask in masks.items()
            }
            for name, masks in groups.items()
        },
        "matrix": _matrix(groups["language"], measured),
        "adapted_to_corpus": dict(adapted),
        "comparisons": compare({m.system.name: m.values[main] for m in measured}, tests, parts, groups["language"]),
    }


def _mean(values: FloatArray, chosen: NDArray[np.bool_], parts: Masks) -> float:
    """Mean over the parts of the means of their chosen questions; parts without any are left out."""
    own = [values[chosen & part] for part in parts.values()]
    return float(np.mean([some.mean() for some in own if some.size]))


def _language_means(languages: Masks, measured: Sequence[Measured]) -> dict[str, Any]:
    """Mean of the languages' means of each system, of those with `ENOUGH` questions; empty below two of these."""
    counted = {language: mask for language, mask in languages.items() if mask.sum() >= ENOUGH}
    if len(counted) < 2:
        return {}
    every = np.ones_like(next(iter(counted.values())))
    of = {m.system.name: {name: _mean(v, every, counted) for name, v in m.values.items()} for m in measured}
    return {"languages": list(counted), "figures": of}


def _matrix(languages: Masks, measured: Sequence[Measured]) -> dict[str, Any]:
    """Language of the question → language of the documents → how many questions, and the figures."""
    return {
        asked: {
            told: {
                "questions": int(counted.sum()),
                "figures": {m.system.name: float(m.across[told][counted].mean()) for m in measured},
            }
            for told, values in measured[0].across.items()
            if (counted := mask & ~np.isnan(values)).any()
        }
        for asked, mask in languages.items()
        if measured and measured[0].across
    }


def compare(
    values: Mapping[str, FloatArray], tests: PairedTests, parts: Masks, languages: Masks
) -> list[dict[str, Any]]:
    """Compare systems with others, question by question.

    Args:
        values: A figure of each question by system, [questions].
        tests: What is compared.
        parts: The questions of which a mean is taken, before the mean of these means; together all, each in one part.
        languages: Questions of each language, whose differences are tested besides.

    Returns:
        An entry for each pair, without Holm's correction over the pairs; see docs/results.md.
    """
    questions = sum(int(mask.sum()) for mask in parts.values())
    weights = np.zeros(questions)
    for mask in parts.values():
        weights[mask] = questions / (len(parts) * int(mask.sum()))
    entries = []
    with track("testing differences", len(tests.pairs)) as advance:
        for name, baseline, seed in tests.pairs:
            differences, rng = values[name] - values[baseline], np.random.default_rng(seed)
            found = paired_comparison(differences, weights, languages, rng, tests.rounds, tests.resamples)
            per_language = found.pop("groups")
            entries.append({"system": name, "baseline": baseline, **found, "per_language": per_language})
            advance(1)
    return entries


def baselines_and_first(set_name: str, systems: Sequence[System]) -> list[ComparedPair]:
    """Each system with its baseline, each model with the first one named; neither others nor their order matter."""
    names = {system.name for system in systems}
    pairs = [(s.name, s.baseline) for s in systems if s.baseline in names]
    first: dict[tuple[str, str | None], str] = {}
    for system in systems:
        if system.group in MODELS:
            of_its_kind = first.setdefault((system.group, parts_of(system.name)[2]), system.name)
            if of_its_kind != system.name:
                pairs.append((system.name, of_its_kind))
    named = [(name, baseline) for name, baseline in pairs if baseline is not None]
    return [ComparedPair(name, baseline, tie_key(set_name, f"{name} {baseline}")) for name, baseline in named]


def correct(sets: Mapping[str, dict[str, Any]]) -> None:
    """Put Holm's correction over all comparisons of all sets beside their p-values."""
    entries = [entry for found in sets.values() for entry in found["comparisons"]]
    for entry, p in zip(entries, holm([entry["p_value"] for entry in entries]), strict=True):
        entry["p_holm"] = p


def means_over_sets(sets: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Mean of the sets' figures of each system and measure; systems that lack a set have none."""
    complete = [
        name
        for name in dict.fromkeys(n for found in sets.values() for n in found["figures"])
        if all(name in found["figures"] for found in sets.values())
    ]
    return {
        name: {
            measure: float(np.mean([found["figures"][name][measure] for found in sets.values()]))
            for measure in next(iter(sets.values()))["figures"][name]
        }
        for name in complete
    }


def model_facts(
    path: str | None, precision: str, lineage: Mapping[str, Any], cost: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What is said about a model.

    Args:
        path: Folder or hub name; None where it lies in no folder of its own.
        precision: Number format of its body.
        lineage: What its checkpoint says of its making, or of what it was made from.
        cost: What it took to score; None where that was not measured.
    """
    told = {key: lineage.get(key) for key in ("start", "teacher", "recipe", "seed")}
    return {"path": path, "precision": precision, "lineage": told, "cost": cost}


def results_of(
    sets: Mapping[str, dict[str, Any]],
    measures: Sequence[str],
    depth: int,
    languages: str,
    models: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """The content of results.json but for what only one of the commands knows, see docs/results.md.

    Args:
        sets: As `set_figures` gives them; their p-values are corrected here.
        measures: Names, the main one first.
        depth: Candidates of a question that are reranked.
        languages: Which documents a question searched.
        models: As `model_facts` gives them.
    """
    correct(sets)
    return {
        "schema": SCHEMA,
        "measures": list(measures),
        "main_measure": measures[0],
        "depth": depth,
        "languages": languages,
        "models": models,
        "sets": sets,
        "means": means_over_sets(sets),
    }
