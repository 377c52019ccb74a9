"""Judge a merged student without labels: agreement with the teacher on held-out lists."""

from collections.abc import Sequence

from tamis.context import Workshop, texts_of
from tamis.models.student import Student
from tamis.records import TrainingList
from tamis.stages.lists.held_out import judging_lists
from tamis.stages.merge.merge import Judge
from tamis.stages.merge.previous_runs import old_domains
from tamis.stages.train.agreement import Texts, mean_agreement
from tamis.stages.train.stage import Tensors


def judge_without_labels(shop: Workshop, student: Student, lists: Sequence[TrainingList], texts: Texts) -> Judge:
    """The judge of a set of tensors: agreement with the teacher on the held-out lists of every domain, old ones too.

    Args:
        shop: The tools of the run.
        student: Whose tensors are judged; left with the last ones.
        lists: All lists of the run.
        texts: Their texts.
    """
    recipe = shop.recipe
    held_out = judging_lists(recipe, lists, shop.queries)
    for run in recipe.merge.keep:
        old = old_domains(run)
        found = judging_lists(recipe, old.lists, old.queries)
        held_out |= {f"{run.name}/{domain}": own for domain, own in found.items()}
        queries, documents = texts_of(old.queries), texts_of(old.documents)
        texts = Texts(texts.prepared, {**texts.queries, **queries}, {**texts.documents, **documents})

    def judge(tensors: Tensors) -> dict[str, float]:
        student.load_trained(tensors)
        budget = shop.toolbox.token_budget
        return {domain: mean_agreement(student, own, texts, recipe.train, budget) for domain, own in held_out.items()}

    return judge
