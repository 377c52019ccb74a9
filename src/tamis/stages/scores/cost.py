"""What asking the teachers will cost."""

import math
from collections.abc import Collection, Iterator

from tamis.context import PairTeacher, Workshop, texts_of
from tamis.costs.requests import counted, expected
from tamis.costs.timing import QUERY_CHARACTERS, a_few, timed
from tamis.costs.work import Work
from tamis.records import Candidates
from tamis.stages.candidates.cost import candidates_of, heads_of
from tamis.stages.evaluate.cost import count_questions
from tamis.stages.queries.cost import Asked
from tamis.stages.scores.settings import JudgeTeacher, RemoteRerankerTeacher, RerankerTeacher
from tamis.stages.scores.teachers.group import Group
from tamis.stages.scores.teachers.servers import teacher_protocol


def teaching_cost(shop: Workshop, unfinished: Collection[str], asked: Asked) -> Iterator[Work]:
    """Pairs that teachers are asked about; a new kind of teacher gets a branch here."""
    for teacher in shop.pair_teachers:
        if isinstance(teacher, RerankerTeacher):
            yield from _reranking(shop, unfinished, asked, teacher)
        else:
            yield from _judging(shop, unfinished, asked, teacher)


def _reranking(shop: Workshop, unfinished: Collection[str], asked: Asked, teacher: RerankerTeacher) -> Iterator[Work]:
    """Pairs for a reranker on this machine."""
    known = "candidates" in shop.folders
    pairs, of_questions = 0, 0
    if "scores" in unfinished:
        missing = _missing(shop, teacher) if known else ()
        pairs = sum(len(group.documents) for group in missing) if known else candidates_of(shop, asked)
    if "evaluate" in unfinished:
        of_questions = count_questions(shop) * shop.recipe.candidates.depth
    seconds = _scores(shop, teacher) if pairs + of_questions else 0.0
    what = f"pairs to score ({teacher.name})"
    yield Work("scores", what, pairs, not known, pairs * seconds)
    yield Work("evaluate", what, of_questions, True, of_questions * seconds)


def _judging(
    shop: Workshop, unfinished: Collection[str], asked: Asked, teacher: JudgeTeacher | RemoteRerankerTeacher
) -> Iterator[Work]:
    """Requests for a judge or a reranker behind a server; an estimate sends none."""
    section, most = shop.servers.section(teacher), teacher_protocol(teacher).most
    heads: dict[str, list[tuple[int, int]]] = {}
    if "scores" in unfinished and "candidates" in shop.folders:
        yield counted("scores", section, teacher, map(most, _missing(shop, teacher)))
    elif "scores" in unfinished:
        heads["scores"] = list(heads_of(shop, asked))
    if "evaluate" in unfinished:
        heads["evaluate"] = [(count_questions(shop), shop.recipe.candidates.depth)]
    batch = 1 if isinstance(teacher, JudgeTeacher) else teacher.batch
    texts = [document.text[: teacher.max_chars] for document in shop.documents.values()] if heads else []
    each = [most(Group(text[:QUERY_CHARACTERS], (text,))) for text in texts]
    for stage, found in heads.items():
        requests = sum(queries * math.ceil(candidates / batch) for queries, candidates in found)
        pairs = sum(queries * candidates for queries, candidates in found)
        yield expected(stage, section, teacher, requests, pairs, each)


def _missing(shop: Workshop, teacher: PairTeacher) -> Iterator[Group]:
    """What a teacher has to score of the candidates that there are."""
    found = shop.stream("candidates", Candidates)
    return shop.remembered_scores(teacher).missing((shop.queries[one.query_id], one.doc_ids) for one in found)


def _scores(shop: Workshop, teacher: RerankerTeacher) -> float:
    """Seconds that a reranker needs for a pair."""
    model = shop.toolbox.reranker(teacher)
    texts = a_few(list(texts_of(shop.documents).values()))
    pairs = [(text[:QUERY_CHARACTERS], text) for text in texts]
    model.score_pairs(pairs[:1], teacher.instruction)
    _, seconds = timed(lambda: model.score_pairs(pairs, teacher.instruction))
    shop.toolbox.release_rerankers()
    return seconds / len(pairs)
