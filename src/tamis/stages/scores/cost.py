"""What the teachers will cost: texts to embed, pairs to score, requests to send."""

import math
from collections.abc import Iterator, Sequence

from tamis.context import RunContext, texts_of
from tamis.costs.plan import Plan
from tamis.costs.requests import counted, expected
from tamis.costs.timing import QUERY_CHARACTERS, a_few, timed
from tamis.costs.work import Work
from tamis.own_parts import Teacher as OwnTeacher
from tamis.records import Candidates
from tamis.retrievers.embedding import BLOCK, Embed
from tamis.stages.candidates.cost import candidates_of, heads_of
from tamis.stages.candidates.encoders import DENSE
from tamis.stages.candidates.settings import CandidatesSettings
from tamis.stages.scores.settings import JudgeTeacher, RemoteEncoderTeacher, RemoteRerankerTeacher, RerankerTeacher
from tamis.stages.scores.teachers.group import Group
from tamis.stages.scores.teachers.servers import teacher_protocol
from tamis.stages.scores.teachers.teacher import PairTeacher, TeacherPool


def embedding_cost(teachers: TeacherPool, context: RunContext, plan: Plan) -> Iterator[Work]:
    """Documents and queries that bi-encoders have to read, each at the first stage that needs it."""
    embeddings, queries = teachers.embeddings, plan.queries
    teaching = tuple(teachers.encoders)
    needs = {"candidates": (DENSE,), "scores": teaching, "merge": (DENSE,), "evaluate": (DENSE, *teaching)}
    first: dict[str, str] = {}
    for stage, names in needs.items():
        if stage in plan.unfinished:
            first |= {by: stage for by in names if by not in first}
    documents = texts_of(context.documents)
    # Queries and questions that are not there yet are like the beginnings of documents.
    like = [text[:QUERY_CHARACTERS] for text in a_few(list(documents.values()))]
    for by, stage in first.items():
        if by in embeddings.remote:
            yield from _sending(teachers, context, plan, by, stage, like)
            continue
        yield _texts(stage, f"documents to embed ({by})", *embeddings.missing("document", by, documents))
        if queries.records is not None:
            missing = embeddings.missing("query", by, texts_of(queries.records))
            yield _texts(stage, f"queries to embed ({by})", *missing)
        _, embed = embeddings.missing("query", by, {})
        if queries.records is None and stage in ("candidates", "scores"):
            yield _texts(stage, f"queries to embed ({by})", like, embed, queries.total)
        if "evaluate" in plan.unfinished:
            yield _texts("evaluate", f"questions to embed ({by})", like, embed, plan.questions)


def _texts(stage: str, what: str, texts: Sequence[str], embed: Embed, count: int | None = None) -> Work:
    """Texts to embed; with a count of texts that are not there yet, those given are like them."""
    many = len(texts) if count is None else count
    if not many or not texts:
        return Work(stage, what, 0)
    some = a_few(texts)
    embed(some[:1])  # loads the model
    vectors, seconds = timed(lambda: embed(some))
    return Work(stage, what, many, count is not None, many * seconds / len(some), disk=many * vectors.shape[1] * 4)


def _sending(
    teachers: TeacherPool, context: RunContext, plan: Plan, by: str, stage: str, like: Sequence[str]
) -> Iterator[Work]:
    """The same for an encoder behind a server, which an estimate does not ask."""
    teacher, queries = teachers.remote_encoder(by), plan.queries
    section, most = teachers.servers.section(teacher), teacher_protocol(teacher).most
    known = [*teachers.embeddings.unsent("document", by, texts_of(context.documents))]
    if queries.records is not None:
        known += teachers.embeddings.unsent("query", by, texts_of(queries.records))
    yield counted(stage, section, teacher, map(most, known))
    each = [most((teacher.query_prefix + text,)) for text in like]
    if queries.records is None and stage == "scores":
        yield expected(stage, section, teacher, _batches(queries.total, teacher), queries.total, each)
    if "evaluate" in plan.unfinished:
        yield expected("evaluate", section, teacher, _batches(plan.questions, teacher), plan.questions, each)


def _batches(texts: int, teacher: RemoteEncoderTeacher) -> int:
    """Requests for so many texts, which are embedded block by block."""
    whole, rest = divmod(texts, BLOCK)
    return whole * math.ceil(BLOCK / teacher.batch) + math.ceil(rest / teacher.batch)


def teaching_cost(
    teachers: TeacherPool, settings: CandidatesSettings, context: RunContext, plan: Plan
) -> Iterator[Work]:
    """Pairs that teachers are asked about, of as many candidates as the first stages' settings say."""
    for teacher in teachers.of_pairs:
        if isinstance(teacher, RerankerTeacher):
            yield from _reranking(teachers, settings, context, plan, teacher)
        elif not isinstance(teacher, OwnTeacher):  # what a function of the user's own takes, nobody knows before
            yield from _requests(teachers, settings, context, plan, teacher)


def _reranking(
    teachers: TeacherPool, settings: CandidatesSettings, context: RunContext, plan: Plan, teacher: RerankerTeacher
) -> Iterator[Work]:
    """Pairs for a reranker on this machine."""
    known = "candidates" in context.folders
    pairs, of_questions = 0, 0
    if "scores" in plan.unfinished and known:
        pairs = sum(len(group.documents) for group in _missing(teachers, context, teacher))
    elif "scores" in plan.unfinished:
        pairs = candidates_of(settings, plan.queries, context)
    if "evaluate" in plan.unfinished:
        of_questions = plan.questions * settings.depth
    seconds = _seconds_of_a_pair(teachers, context, teacher) if pairs + of_questions else 0.0
    what = f"pairs to score ({teacher.name})"
    yield Work("scores", what, pairs, not known, pairs * seconds)
    yield Work("evaluate", what, of_questions, True, of_questions * seconds)


def _requests(
    teachers: TeacherPool,
    settings: CandidatesSettings,
    context: RunContext,
    plan: Plan,
    teacher: JudgeTeacher | RemoteRerankerTeacher,
) -> Iterator[Work]:
    """Requests for a judge or a reranker behind a server; an estimate sends none."""
    section, most = teachers.servers.section(teacher), teacher_protocol(teacher).most
    heads: dict[str, list[tuple[int, int]]] = {}
    if "scores" in plan.unfinished and "candidates" in context.folders:
        yield counted("scores", section, teacher, map(most, _missing(teachers, context, teacher)))
    elif "scores" in plan.unfinished:
        heads["scores"] = list(heads_of(settings, plan.queries, context))
    if "evaluate" in plan.unfinished:
        heads["evaluate"] = [(plan.questions, settings.depth)]
    batch = 1 if isinstance(teacher, JudgeTeacher) else teacher.batch
    texts = [document.text[: teacher.max_chars] for document in context.documents.values()] if heads else []
    each = [most(Group(text[:QUERY_CHARACTERS], (text,))) for text in texts]
    for stage, found in heads.items():
        requests = sum(queries * math.ceil(candidates / batch) for queries, candidates in found)
        pairs = sum(queries * candidates for queries, candidates in found)
        yield expected(stage, section, teacher, requests, pairs, each)


def _missing(teachers: TeacherPool, context: RunContext, teacher: PairTeacher) -> Iterator[Group]:
    """What a teacher has to score of the candidates that there are."""
    found = context.stream("candidates", Candidates)
    return teachers.cached(teacher).missing((context.queries[one.query_id], one.doc_ids) for one in found)


def _seconds_of_a_pair(teachers: TeacherPool, context: RunContext, teacher: RerankerTeacher) -> float:
    """Seconds that a reranker needs for a pair."""
    model = teachers.rerankers.load(teacher)
    texts = a_few(list(texts_of(context.documents).values()))
    pairs = [(text[:QUERY_CHARACTERS], text) for text in texts]
    model.score_pairs(pairs[:1], teacher.instruction)
    _, seconds = timed(lambda: model.score_pairs(pairs, teacher.instruction))
    teachers.rerankers.release()
    return seconds / len(pairs)
