"""What merging and weighing will cost."""

from collections import Counter
from collections.abc import Iterable

from tamis.costs.work import Work
from tamis.evaluation.systems import RERANKED
from tamis.stages.candidates.cost import heads_together
from tamis.stages.lists.held_out import domains_among
from tamis.stages.lists.settings import GENERAL
from tamis.stages.merge.merge import judgements
from tamis.stages.merge.settings import MergeSettings
from tamis.stages.merge.weigh import WEIGHING


def judged_pairs(settings: MergeSettings, lists: Counter[tuple[str, str]], documents: int) -> int:
    """Pairs of the held-out lists that judge students, of all domains.

    Args:
        settings: Say how many lists of a domain judge.
        lists: Training lists by domain and split.
        documents: Of a list.
    """
    domains = domains_among(lists) or [GENERAL]
    return sum(min(settings.held_out, lists[name, "held-out"]) for name in domains) * documents


def merging_cost(
    settings: MergeSettings,
    lists: Counter[tuple[str, str]],
    judged: int,
    heads: Iterable[tuple[int, int]],
    depth: int,
    seconds: float,
    disk: int,
) -> Work:
    """Pairs that are scored for judging merges and for weighing first stages.

    Args:
        settings: How is merged.
        lists: Training lists by domain and split.
        judged: Pairs by which a merge is judged.
        heads: How many queries are compared with how many documents.
        depth: Candidates that the model will rerank.
        seconds: Of a pair.
        disk: Bytes of the model.
    """
    specialists = len(domains_among(lists)) + bool(settings.keep)
    pairs = judgements(specialists, len(settings.t), settings.refine) * judged
    held_out = sum(count for (_, split), count in lists.items() if split == "held-out")
    weighing = WEIGHING if settings.weigh_on else min(WEIGHING, held_out)
    heads = list(heads)
    together = sum(count * heads_together(held, depth, len(RERANKED)) for count, held in heads)
    asked = sum(count for count, _ in heads)
    pairs += round(weighing * together / asked) if asked and not settings.weigh_on else weighing * depth * len(RERANKED)
    return Work("merge", "pairs to score", pairs, True, pairs * seconds, disk=disk)
