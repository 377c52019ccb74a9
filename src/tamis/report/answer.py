"""The answer that page and terminal give first, made from results.json and nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from tamis.records import CLIENTS, MODELS, SCORED, SERVED, WAYS, Way
from tamis.report.changes import Change, Results, change_of, of_a_run, parts_of, split_comparisons
from tamis.report.graded import graded_answer
from tamis.report.verdict import SENT, Verdict, listed, verdict, verdict_of, worth_sending
from tamis.report.wording import LEVEL, Direction, direction, p_value, points, signed

HEADLINE: Final = (("merged~bm25", "bm25"), ("merged~hybrid", "hybrid"), ("merged+hybrid", "hybrid"))
"""What the answer of a run compares: the student as served with the plainest first stage and with the best one, and
what the best one's scores add."""

OPENINGS: Final[Mapping[Way, str]] = {
    "as served": "As served, with documents sent in the first stage’s order and nothing else, ",
    "alone": "Alone, without the first stage’s order, ",
    "with scores": "With the first stage’s scores sent along, ",
}
"""How documents are sent, in the words that open a sentence."""


class Part(NamedTuple):
    """A piece of the answer's sentence; `way` colours a figure, None is plain text."""

    text: str
    way: Direction | None = None


@dataclass(frozen=True)
class OpeningAnswer:
    """The answer.

    Attributes:
        verdict: Whether to deploy, behind what, and how documents are to be sent.
        sentence: By how much it ranks better or worse, in pieces that read as sentences when joined.
        reservations: What a reader should weigh before following the verdict.
        told: What the verdict is about, on each set; none where no model was measured as a client gets it.
    """

    verdict: Verdict
    sentence: Sequence[Part]
    reservations: Sequence[str] = ()
    told: Sequence[Change] = ()


def answer_of(results: Results) -> OpeningAnswer | None:
    """The answer about a model as its clients get it: as served, or with a first stage's scores if these are worth it.

    Of a run it is about the merged student behind the best first stage; of an evaluation about the model and the first
    stage that rank best. A model alone is not what its server answers of itself, and is never said to be deployed.

    Args:
        results: Content of results.json; empty gives no answer.
    """
    if not results:
        return None
    best = _best(results)
    adapted = adaptation_changes(results)
    told = changes_of(results, _told(results, best, adapted)) if best else []
    if not told:
        return _without_a_model(results)
    system = told[0].system
    if graded := _by_grades(results, told[0], adapted):
        return graded
    among = ", which ranks best of the models," if system == best and len(results["models"]) > 1 else ""
    who = "the merged student" if of_a_run(results) else parts_of(system)[0] + among
    said = headline_changes(results) if of_a_run(results) else told
    return OpeningAnswer(
        _verdict(results, told, adapted),
        [*_sentence(said, who, results["main_measure"]), *_adaptation_sentence(adapted)],
        _reservations(results, told, adapted),
        told,
    )


def _by_grades(results: Results, told: Change, adapted: Sequence[Change]) -> OpeningAnswer | None:
    """The answer where few questions were graded, which an interval gives; None where that is not so."""
    model, sign, first_stage = parts_of(told.system)
    found = graded_answer(results, told.system, told.baseline, f"{model} behind {first_stage}", SENT[WAYS[sign]])
    if found is None:
        return None
    return OpeningAnswer(
        found[0], [Part(f"{told.system}: {found[1]}")], _reservations(results, [told], adapted), [told]
    )


def headline_changes(results: Results) -> list[Change]:
    """What stands out: of a run the pairs of `HEADLINE`; else the best system of each set, model and way to use it."""
    if of_a_run(results):
        ((name, found),) = results["sets"].items()
        made = {(one["system"], one["baseline"]): one for one in found["comparisons"]}
        return [change_of(results, name, made[pair]) for pair in HEADLINE if pair in made]
    best: dict[tuple[str, str, Way], Change] = {}
    for name, found in results.get("sets", {}).items():
        groups = {one["name"]: one["group"] for one in found["systems"]}
        clients = (one for one in split_comparisons(found)[0] if groups[one["system"]] in CLIENTS)
        for change in (change_of(results, name, one) for one in clients):
            kind = (name, parts_of(change.system)[0], change.way)
            if kind not in best or change.after > best[kind].after:
                best[kind] = change
    return list(best.values())


def adaptation_changes(results: Results) -> list[Change]:
    """The merged student of a run against the untrained one in the same places; none of an evaluation."""
    if not of_a_run(results):
        return []
    ((name, found),) = results["sets"].items()
    return [change_of(results, name, one) for one in split_comparisons(found)[1]]


def changes_of(results: Results, system: str) -> list[Change]:
    """A system against its first stage, on each set that has it."""
    return [
        change_of(results, name, entry)
        for name, found in results["sets"].items()
        for entry in found["comparisons"]
        if entry["system"] == system and entry["baseline"] == parts_of(system)[2]
    ]


def _systems(results: Results) -> dict[str, Mapping[str, Any]]:
    return {one["name"]: one for found in results["sets"].values() for one in found["systems"]}


def _means(results: Results) -> dict[str, float]:
    """The main measure of each system, the best first; the oracle is left out."""
    kinds, measure = _systems(results), results["main_measure"]
    means = {name: own[measure] for name, own in results["means"].items() if kinds[name]["group"] != "oracle"}
    return dict(sorted(means.items(), key=lambda one: -one[1]))


def _best(results: Results) -> str | None:
    """The system whose model and first stage the answer is about."""
    if of_a_run(results):
        return next((one.system for one in reversed(headline_changes(results)) if one.way == "as served"), None)
    kinds = _systems(results)
    clients = (one for one in _means(results) if kinds[one]["group"] in CLIENTS and kinds[one]["baseline"])
    return next(clients, None)


def _told(results: Results, best: str, adapted: Sequence[Change]) -> str:
    """The system that the verdict is about: the best one's model behind the same first stage, in one of two ways."""
    model, _, first_stage = parts_of(best)
    served, scored = (f"{model}{sign}{first_stage}" for sign in (SERVED, SCORED))
    means = _means(results)
    if scored not in means:
        return served
    plain, added = (_verdict(results, changes_of(results, name), adapted) for name in (served, scored))
    return scored if worth_sending(plain, added, means[scored] - means[served]) else served


def _without_a_model(results: Results) -> OpeningAnswer:
    best = next(iter(_means(results).items()), None)
    if best is None:
        return OpeningAnswer(Verdict("No system ranks all sets.", "same"), [])
    sentence = [Part(f"Its {results['main_measure']} is {points(best[1])} points.")]
    return OpeningAnswer(Verdict(f"{best[0]} ranks best.", "same"), sentence)


def _verdict(results: Results, changes: Sequence[Change], adapted: Sequence[Change]) -> Verdict:
    """On the changes of one set by language, on those of several sets by set."""
    model, sign, first_stage = parts_of(changes[0].system)
    if len(changes) == 1:
        return verdict_of(changes[0], adapted, "it" if of_a_run(results) else model)
    sure = [(one.set, one.difference, one.p < LEVEL) for one in changes]
    alike = all(chance for _, _, chance in sure) and len({gain > 0 for _, gain, _ in sure}) == 1
    mean = sum(gain for _, gain, _ in sure) / len(sure)
    return verdict(mean, 0.0 if alike else 1.0, sure, f"{model} behind {first_stage}", SENT[WAYS[sign]])


def _sentence(changes: Sequence[Change], who: str, measure: str) -> list[Part]:
    """By how much a model raises or lowers a measure: a sentence for each way, a clause for each comparison.

    Args:
        changes: At least one; those of a way stand together.
        who: What the model is called.
        measure: What was compared.
    """
    several = len({change.set for change in changes}) > 1
    parts: list[Part] = []
    last: Change | None = None
    for change in changes:
        on = f" on {change.set}" if several else ""
        if last is None or change.way != last.way:
            parts.append(Part(f"{'. ' if last else ''}{OPENINGS[change.way]}{'it' if last else who} "))
            parts += _clause(change, f"mean {measure}{on}")
        else:
            same = direction(change.difference) == direction(last.difference)
            parts += [Part(" and " if same else " but "), *_clause(change, f"it{on}")]
        last = change
    return [*parts, Part(".")]


def _clause(change: Change, measure: str) -> list[Part]:
    way = direction(change.difference)
    chance = "" if change.p < LEVEL else ", which may be chance"
    figures = f" ({_move(change)}, {p_value(change.p)}{chance})"
    if way == "same":
        return [Part(f"leaves {measure} where {change.title} had it{figures}")]
    verb, against = ("raises", "over") if way == "gain" else ("lowers", "below")
    amount = points(abs(change.difference))
    return [
        Part(f"{verb} {measure} by "),
        Part(f"{amount} point{'' if amount == '1.0' else 's'}", way),
        Part(f" {against} {change.title}{figures}"),
    ]


def _adaptation_sentence(changes: Sequence[Change]) -> list[Part]:
    """What adaptation itself added to what the student could do before, said first where that may be nothing.

    What no client gets, the student alone, is left to the table.
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
            Part(f" {change.way} on {change.place} ({_move(change)}, {p_value(change.p)}{chance})"),
        ]
    return [*parts, Part(".")]


def _move(change: Change) -> str:
    """`54.9 → 64.9`, with spaces at which no line breaks."""
    return f"{points(change.before)} → {points(change.after)}".replace(" ", "\N{NO-BREAK SPACE}")


def _reservations(results: Results, told: Sequence[Change], adapted: Sequence[Change]) -> list[str]:
    """What a reader should weigh before following the verdict, which looks at one way to use one model."""
    system = told[0].system
    return [
        *_served_less(results, told),
        *_without_model(results, told),
        *(
            f"The untrained student has {points(one.before)} in the same place, and needs no adaptation."
            for one in adapted
            if one.system == system and one.before >= one.after
        ),
        *_missed(results),
        *_seen(results, parts_of(system)[0]),
        *_costs(results, parts_of(system)[0]),
    ]


def _served_less(results: Results, told: Sequence[Change]) -> list[str]:
    """What the model is worth without the scores that the verdict wants sent."""
    model, sign, first_stage = parts_of(told[0].system)
    if sign != SCORED:
        return []
    served = f"{model}{SERVED}{first_stage}"
    means, changes = _means(results), changes_of(results, served)
    p = f" ({p_value(changes[0].p)})" if len(changes) == 1 else ""
    figures = f"{points(means[served])} against {told[0].title}’s {points(means[first_stage])}"
    return [f"As served, without the scores, it has {figures}{p}."]


def _without_model(results: Results, told: Sequence[Change]) -> list[str]:
    """What ranks as well without a model; what the sentence compares with on a single set is not said twice."""
    kinds, means = _systems(results), _means(results)
    known = {told[0].baseline} if len(told) == 1 else set()
    return [
        f"Without this model, {kinds[name]['title']} has {points(mean)}."
        for name, mean in means.items()
        if mean >= means[told[0].system] and kinds[name]["group"] not in (*MODELS, "teacher") and name not in known
    ]


def _missed(results: Results) -> list[str]:
    targets = results["run"]["targets"] if of_a_run(results) else []
    missed = sum(not target["met"] for target in targets)
    return [f"{missed} of {len(targets)} targets are missed."] if missed else []


def _seen(results: Results, model: str) -> list[str]:
    """Whether the model learnt from the documents that it ranks."""
    adapted = {name: found["adapted_to_corpus"].get(model) for name, found in results["sets"].items()}
    seen = [name for name, one in adapted.items() if one]
    if seen and of_a_run(results):
        return ["Transductive: it learnt from the documents that it ranks here, never from the questions."]
    if seen:
        return [f"Transductive: {model} learnt from documents of {listed(seen)}, the same that it ranks here."]
    if None in adapted.values():
        return [f"Its checkpoint does not say whether {model} learnt from these documents."]
    return []


def _costs(results: Results, model: str) -> list[str]:
    cost = results["models"][model]["cost"]
    if not cost:
        return []
    return [f"It takes {cost['milliseconds_per_100']:,.0f} ms for a question and 100 documents ({cost['device']})."]
