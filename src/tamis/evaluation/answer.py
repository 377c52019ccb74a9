"""Whether to deploy a measured model, and how documents should be sent to its server: of results.json alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tamis.evaluation.figures import CLIENTS, MODELS
from tamis.records import SCORED, SERVED, WAYS
from tamis.report.answer import (
    OPENINGS,
    SENT,
    Change,
    Part,
    Verdict,
    change_of,
    listed,
    move,
    parts_of,
    verdict,
    verdict_of,
    worth_sending,
)
from tamis.report.wording import LEVEL, direction, p_value, points

Results = Mapping[str, Any]


@dataclass(frozen=True)
class EvaluationAnswer:
    """The answer that page and terminal give first.

    Attributes:
        verdict: Whether to deploy, behind what, and how documents are to be sent.
        sentence: By how much it ranks better or worse, in pieces.
        reservations: What a reader should weigh before following the verdict.
    """

    verdict: Verdict
    sentence: Sequence[Part]
    reservations: Sequence[str]


def answer_of(results: Results) -> EvaluationAnswer:
    """The answer about the system that ranks best of all that a client of a model gets.

    That is a model as served, or with the first stage's scores where these are worth sending. A model alone is not
    what its server answers of itself, and is never said to be deployed.
    """
    measure, means, kinds = results["main_measure"], results["means"], _kinds(results)
    ranked = sorted(means, key=lambda name: -means[name][measure])
    ranked = [name for name in ranked if kinds[name]["group"] != "oracle"]
    best = next((name for name in ranked if kinds[name]["group"] in CLIENTS and kinds[name]["baseline"]), None)
    told = _told(results, best) if best else ""
    changes = changes_of(results, told)
    if not changes:
        return _without_a_model(results, ranked)
    model, sign, _ = parts_of(told)
    among = ", which ranks best of the models," if told == best and len(results["models"]) > 1 else ""
    sentence = [Part(f"{OPENINGS[WAYS[sign]]}{model}{among} "), *_clauses(changes, measure)]
    return EvaluationAnswer(_verdict(told, changes), sentence, _against(results, told, ranked, kinds))


def _kinds(results: Results) -> dict[str, Mapping[str, Any]]:
    return {one["name"]: one for found in results["sets"].values() for one in found["systems"]}


def _without_a_model(results: Results, ranked: Sequence[str]) -> EvaluationAnswer:
    if not ranked:
        return EvaluationAnswer(Verdict("No system ranks all sets.", "same"), [], [])
    measure = results["main_measure"]
    figure = points(results["means"][ranked[0]][measure])
    return EvaluationAnswer(
        Verdict(f"{ranked[0]} ranks best.", "same"), [Part(f"Its {measure} is {figure} points.")], []
    )


def _told(results: Results, best: str) -> str:
    """The system that the verdict is about: the best one's model behind the same first stage, in one of two ways."""
    model, _, first_stage = parts_of(best)
    served, scored = (f"{model}{sign}{first_stage}" for sign in (SERVED, SCORED))
    means, measure = results["means"], results["main_measure"]
    if scored not in means:
        return served
    more = means[scored][measure] - means[served][measure]
    plain, added = (_verdict(name, changes_of(results, name)) for name in (served, scored))
    return scored if worth_sending(plain, added, more) else served


def changes_of(results: Results, system: str) -> dict[str, Change]:
    """A system against its baseline, by set."""
    return {
        name: change_of(found, entry, results["main_measure"])
        for name, found in results["sets"].items()
        for entry in found["comparisons"]
        if entry["system"] == system and entry["baseline"] == parts_of(system)[2]
    }


def _verdict(system: str, changes: Mapping[str, Change]) -> Verdict:
    """The changes of one set by language, of several sets by set."""
    model, sign, first_stage = parts_of(system)
    if len(changes) == 1:
        return verdict_of(next(iter(changes.values())), what=model)
    sure = [(name, change.difference, change.p < LEVEL) for name, change in changes.items()]
    alike = all(chance for _, _, chance in sure) and len({gain > 0 for _, gain, _ in sure}) == 1
    mean = sum(gain for _, gain, _ in sure) / len(sure)
    return verdict(mean, 0.0 if alike else 1.0, sure, f"{model} behind {first_stage}", SENT[WAYS[sign]])


def _clauses(changes: Mapping[str, Change], measure: str) -> list[Part]:
    parts: list[Part] = []
    for number, (name, change) in enumerate(changes.items()):
        way = direction(change.difference)
        verb = {"gain": "raises", "loss": "lowers", "same": "leaves"}[way]
        where = f" on {name}" if len(changes) > 1 else ""
        figures = f"({move(change)}, {p_value(change.p)}"
        figures += ")" if change.p < LEVEL else ", which may be chance)"
        parts.append(Part(f"{'; it ' if number else ''}{verb} {measure}{where} "))
        if way == "same":
            parts.append(Part(f"where {change.title} has it "))
        else:
            parts += [Part("by "), Part(f"{points(abs(change.difference))} points", way)]
            parts.append(Part(f" {'over' if way == 'gain' else 'below'} {change.title} "))
        parts.append(Part(figures))
    return [*parts, Part(".")]


def _against(results: Results, told: str, ranked: Sequence[str], kinds: Mapping[str, Any]) -> list[str]:
    """What a reader should weigh before following the verdict."""
    measure, means = results["main_measure"], results["means"]
    model, sign, first_stage = parts_of(told)
    found = []
    if sign == SCORED:
        served, before = (points(means[name][measure]) for name in (f"{model}{SERVED}{first_stage}", first_stage))
        found.append(f"As served, without the scores, it has {served} against {first_stage}’s {before}.")
    found += [
        f"{name} has {points(means[name][measure])} without a model of this call."
        for name in ranked[: ranked.index(told)]
        if kinds[name]["group"] not in MODELS
    ]
    seen = [name for name, one in results["sets"].items() if one["adapted_to_corpus"].get(model)]
    unsaid = [name for name, one in results["sets"].items() if one["adapted_to_corpus"].get(model) is None]
    if seen:
        found.append(f"Transductive: {model} learnt from documents of {listed(seen)}, the same that it ranks here.")
    elif unsaid:
        found.append(f"Its checkpoint does not say whether {model} learnt from these documents.")
    if cost := results["models"][model]["cost"]:
        found.append(
            f"It takes {cost['milliseconds_per_100']:,.0f} ms for a question and 100 documents ({cost['device']})."
        )
    return found
