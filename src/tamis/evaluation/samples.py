"""Questions to read of each set: where the model that ranks it best changed most, with the documents it put first."""

from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Final

from tamis.evaluation.figures import Measured
from tamis.evaluation.sets import JudgedSet
from tamis.formats.lines import filled_lines
from tamis.records import CLIENTS
from tamis.report.examples import ChangedQuestions, QuestionRun, QuestionTexts, changed_questions, most_changed

SHOWN: Final = 5
"""Questions that rose and questions that fell."""

_TOP: Final = 10


def sample_questions(judged: JudgedSet, measured: Sequence[Measured], main: str, runs: Path) -> ChangedQuestions | None:
    """The questions that the best model with a first stage changed most; None where there is none.

    Args:
        judged: The set.
        measured: Its systems.
        main: The measure that says how much a question changed.
        runs: Folder of the systems' runs, as they were written.
    """
    by_name = {one.system.name: one for one in measured}
    ranking = [one for one in measured if one.system.group in CLIENTS and one.system.baseline in by_name]
    if not ranking:
        return None
    after = max(ranking, key=lambda one: one.values[main].mean())
    before = by_name[str(after.system.baseline)]
    figures = {
        one.system.name: dict(zip(judged.questions, one.values[main].tolist(), strict=True)) for one in (before, after)
    }
    helped, hurt = most_changed(figures[before.system.name], figures[after.system.name], SHOWN)
    shown = {query_id: judged.questions[query_id] for query_id in (*helped, *hurt)}
    asked = QuestionTexts(
        {query_id: question.text for query_id, question in shown.items()},
        {query_id: question.language for query_id, question in shown.items()},
        {query_id: {d for d, grade in question.relevant.items() if grade > 0} for query_id, question in shown.items()},
        judged.documents,
    )
    ranked = {
        name: QuestionRun({query_id: own[query_id] for query_id in shown}, _tops(runs / f"{name}.trec", shown.keys()))
        for name, own in figures.items()
    }
    cases = changed_questions(asked, ranked[before.system.name], ranked[after.system.name], SHOWN)
    return ChangedQuestions(judged.name, after.system.name, before.system.name, *cases)


def _tops(file: Path, query_ids: Set[str]) -> Mapping[str, Sequence[str]]:
    """The first documents of some questions in a run of ours, read line by line: it may be larger than the memory."""
    tops: dict[str, list[str]] = {}
    for _, line in filled_lines(file):
        query_id, _, doc_id, _ = line.split("\t", 3)
        if query_id in query_ids and len(top := tops.setdefault(query_id, [])) < _TOP:
            top.append(doc_id)
    return tops
