"""The teachers of this machine: further bi-encoders, rerankers of any family, functions of the user's own."""

from collections.abc import Iterator, Mapping
from functools import partial

from tamis.artifacts import item_key
from tamis.context import texts_of
from tamis.costs.plan import Plan
from tamis.costs.timing import QUERY_CHARACTERS, a_few, timed
from tamis.costs.work import Work
from tamis.own_parts import Teacher
from tamis.stages.candidates.cost import candidates_of, embedding_cost
from tamis.stages.scores.score import ScorePairs
from tamis.stages.scores.settings import EncoderTeacher, RerankerTeacher
from tamis.stages.scores.teachers.cached import CachedScores, Group, GroupScores, on_executor
from tamis.stages.scores.teachers.fusion import cosines
from tamis.stages.scores.teachers.teaching import STAGES, Ahead, Shared, Teaching


class LocalEncoder(Teaching):
    """Compares vectors by cosine."""

    of_pairs = False

    def __init__(self, settings: EncoderTeacher, place: int, shared: Shared) -> None:
        """Load nothing yet."""
        self._path, self._context, self._embeddings = settings.path, shared.context, shared.first_stages.embeddings
        self._encoder = self._embeddings.by(f"teacher {place + 1}", settings)

    def identity(self) -> str:
        """Hash of the model's files, or its hub name."""
        return self._context.identity_of(self._path)

    def open(self, queries: Mapping[str, str], ahead: Ahead) -> ScorePairs:
        """Embed queries and documents."""
        return cosines(*self._embeddings.both(self._encoder, queries))

    def cost(self, plan: Plan) -> Iterator[Work]:
        """Texts to embed."""
        return embedding_cost(self._encoder, STAGES, self._embeddings, plan)


class LocalReranker(Teaching):
    """Scores pairs where the executor runs, query by query."""

    of_pairs = True

    def __init__(self, settings: RerankerTeacher, place: int, shared: Shared) -> None:
        """Load nothing yet."""
        self._settings, self._rerankers = settings, shared.rerankers
        self._context, self._candidates = shared.context, shared.first_stages.settings

    def identity(self) -> str:
        """Hash of the model's files, or its hub name."""
        return self._context.identity_of(self._settings.path)

    def open(self, queries: Mapping[str, str], ahead: Ahead) -> CachedScores:
        """Where it runs elsewhere, it scores everything at once."""
        context, wanted = self._context, self._settings
        identity = item_key("reranker", self.identity(), context.machine.precision, wanted.instruction)
        score = partial(self._rerankers.score, wanted)
        scores = CachedScores(on_executor(context.executor, score), identity, context.documents, context.cache)
        return scores.ask_ahead(wanted.name, context.executor, ahead)

    def cost(self, plan: Plan) -> Iterator[Work]:
        """Pairs to score."""
        known, pairs = "candidates" in self._context.folders, 0
        if "scores" in plan.unfinished and known:
            pairs = sum(len(group.documents) for group in self.open({}, tuple).unscored(self._context))
        elif "scores" in plan.unfinished:
            pairs = candidates_of(self._candidates, plan.queries, self._context)
        of_questions = plan.questions * self._candidates.depth if "evaluate" in plan.unfinished else 0
        seconds = self._seconds_of_a_pair() if pairs + of_questions else 0.0
        what = f"pairs to score ({self._settings.name})"
        yield Work("scores", what, pairs, not known, pairs * seconds)
        yield Work("evaluate", what, of_questions, True, of_questions * seconds)

    def _seconds_of_a_pair(self) -> float:
        model, instruction = self._rerankers.load(self._settings), self._settings.instruction
        texts = a_few(list(texts_of(self._context.documents).values()))
        pairs = [(text[:QUERY_CHARACTERS], text) for text in texts]
        model.score_pairs(pairs[:1], instruction)
        _, seconds = timed(lambda: model.score_pairs(pairs, instruction))
        self._rerankers.release()
        return seconds / len(pairs)


class OwnFunction(Teaching):
    """Scores by the user's function, query by query, where the executor runs if it can be sent there."""

    of_pairs = True

    def __init__(self, settings: Teacher, place: int, shared: Shared) -> None:
        """Call nothing yet."""
        self._teacher, self._context = settings, shared.context

    def identity(self) -> str:
        """Its name and version."""
        return item_key(self._teacher.kind, *self._teacher.identity)

    def open(self, queries: Mapping[str, str], ahead: Ahead) -> CachedScores:
        """Kept for this run folder alone: others may mean something else by its name."""
        context, executor = self._context, self._context.executor_for(self._teacher)
        score = on_executor(executor, partial(_score, self._teacher))
        scores = CachedScores(score, self.identity(), context.documents, context.items)
        return scores.ask_ahead(self._teacher.name, executor, ahead)


def _score(teacher: Teacher, group: Group) -> GroupScores:
    return teacher.score(group.query, group.documents)
