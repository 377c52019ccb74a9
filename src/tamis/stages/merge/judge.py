"""Judge a merged student: by agreement with the teacher on held-out lists, or by grades where there are some."""

from collections.abc import Sequence
from pathlib import Path

from tamis.context import texts_of
from tamis.models.student import Student
from tamis.records import TrainingList
from tamis.stages.lists.held_out import judging_lists
from tamis.stages.merge.graded import DOMAIN, GradedJudge
from tamis.stages.merge.merge import Agreements, MergeObjective
from tamis.stages.merge.previous_runs import old_domains
from tamis.stages.student.factory import StudentFactory
from tamis.stages.train.agreement import TrainingTexts, agreements
from tamis.stages.train.settings import TrainSettings
from tamis.stages.train.stage import Tensors


def judge_students(
    students: StudentFactory,
    student: Student,
    lists: Sequence[TrainingList],
    texts: TrainingTexts,
    settings: TrainSettings,
    most: int,
    keep: Sequence[Path] = (),
    graded: GradedJudge | None = None,
) -> MergeObjective:
    """What judges a set of tensors: agreement with the teacher on the held-out lists of every domain, old ones too.

    Where questions are graded, their grades stand in the place of the run's own domains.

    Args:
        students: Of the run.
        student: Whose tensors are judged; left with the last ones.
        lists: All lists of the run.
        texts: Their texts.
        settings: How labels become grades.
        most: Held-out lists of each domain.
        keep: Folders of earlier runs whose domains are judged as well.
        graded: Judges a student by grades.
    """
    context = students.context
    held_out = {} if graded else judging_lists(lists, context.queries, most)
    for run in keep:
        old = old_domains(run)
        found = judging_lists(old.lists, old.queries, most)
        held_out |= {f"{run.name}/{domain}": own for domain, own in found.items()}
        queries, documents = texts_of(old.queries), texts_of(old.documents)
        texts = TrainingTexts(texts.prepared, {**texts.queries, **queries}, {**texts.documents, **documents})

    def judge(tensors: Tensors) -> Agreements:
        student.load_trained(tensors)
        budget = context.machine.token_budget
        found = {DOMAIN: graded(student)} if graded else {}
        return found | {d: agreements(student, own, texts, settings, budget) for d, own in held_out.items()}

    return judge
