"""A bi-encoder behind a server that speaks OpenAI's /embeddings, as a teacher."""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np

from tamis.artifacts import Kept, item_key, kept_in
from tamis.context import texts_of
from tamis.costs.plan import Plan
from tamis.costs.requests import counted, expected
from tamis.costs.timing import beginnings
from tamis.costs.work import Work
from tamis.errors import ModelError
from tamis.records import Tokens
from tamis.remote.attempts import RequestCodec
from tamis.remote.budget import estimated_tokens
from tamis.remote.client import Json
from tamis.remote.endpoint import request_body
from tamis.retrievers.embedding import BLOCK, blocks
from tamis.stages.candidates.embeddings import NamedEncoder
from tamis.stages.scores.score import ScorePairs
from tamis.stages.scores.settings import RemoteEncoderTeacher
from tamis.stages.scores.teachers.fusion import cosines
from tamis.stages.scores.teachers.teaching import STAGES, Ahead, Connection, Shared, Teaching

TextBatch = tuple[str, ...]


class RemoteEncoder(Teaching):
    """Compares vectors by cosine. They come from the cache where they are known; each answer is kept at once."""

    of_pairs = False

    def __init__(self, settings: RemoteEncoderTeacher, place: int, shared: Shared) -> None:
        """Ask nothing yet."""
        wording = ("most end with /v1", "batch, max_chars and extra")
        self.server: Connection = Connection(settings, place, shared, encoder_codec(settings), wording)
        self._settings, self._context, self._embeddings = settings, shared.context, shared.first_stages.embeddings
        self._encoder = NamedEncoder(f"teacher {place + 1}", self._vectors_of, self.embed, here=True)
        facts = {name: value for name, value in self.server.facts().items() if not name.endswith("_prefix")}
        self._model = item_key("remote-encoder", facts)

    def identity(self) -> str:
        """What is told of the model."""
        return item_key(self.server.facts())

    def open(self, queries: Mapping[str, str], ahead: Ahead) -> ScorePairs:
        """Embed queries and documents."""
        return cosines(*self._embeddings.both(self._encoder, queries))

    def cost(self, plan: Plan) -> Iterator[Work]:
        """Requests; an estimate sends none."""
        stage = next((stage for stage in STAGES if stage in plan.unfinished), None)
        if stage is None:
            return
        section, most, wanted = self.server.section, self.server.codec.most, self._settings
        documents, queries = texts_of(self._context.documents), plan.queries
        known = [*self._unsent("document", documents)]
        if queries.records is not None:
            known += self._unsent("query", texts_of(queries.records))
        yield counted(stage, section, wanted, map(most, known))
        each = [most((wanted.query_prefix + text,)) for text in beginnings(documents.values())]
        if queries.records is None and stage == "scores":
            yield expected(stage, section, wanted, self._requests_for(queries.total), queries.total, each)
        if "evaluate" in plan.unfinished:
            yield expected("evaluate", section, wanted, self._requests_for(plan.questions), plan.questions, each)

    def embed(self, kind: str, texts: Sequence[str]) -> np.ndarray:
        """float32 [texts, dimensions], rows of norm 1.

        Args:
            kind: `query` or `document`, which have prefixes of their own.
            texts: What is embedded.

        Raises:
            ModelError: A text got no vector, or vectors have different lengths.
        """
        shown, failures = self._shown(kind, texts), ["no answer"]
        for _ in self._kept.complete([list(dict.fromkeys(shown))], partial(self._asked, failures)):
            pass
        found = [vector for vector in self._kept.find(shown) if vector is not None]
        if len(found) < len(shown):
            raise ModelError(
                f"{self.server.ledger.name}: {len(shown) - len(found)} texts got no vector ({failures[-1]}); those "
                "that came are kept, mend the server and run the same command again"
            )
        if len({len(vector) for vector in found}) > 1:
            raise ModelError(
                f"{self.server.ledger.name}: vectors of different lengths; set revision to a word of your own if the "
                "server has another model under this name now"
            )
        return np.stack(found)

    @cached_property
    def _kept(self) -> Kept[str, np.ndarray]:
        return kept_in(
            self._context.cache,
            lambda text: item_key(self._model, text),
            lambda vector: vector.astype("<f4").tobytes(),
            lambda found: np.frombuffer(found, "<f4"),
        )

    def _asked(
        self, failures: list[str], missing: Iterator[list[str]]
    ) -> Iterator[Sequence[tuple[str, np.ndarray | None]]]:
        """Vectors of texts, request by request; why one failed is added to `failures`."""
        for answer in self.server.ask(request for texts in missing for request in self._batches(texts)):
            if answer.value is None:
                failures.append(answer.reason)
            else:
                yield list(zip(answer.request, answer.value, strict=True))

    def _unsent(self, kind: str, texts: Mapping[str, str]) -> Iterator[TextBatch]:
        """The requests that these texts, by id, will make: for those that neither the run nor the cache knows."""
        for block in blocks(self._embeddings.missing(kind, self._encoder, texts)):
            for new in self._kept.missing([list(dict.fromkeys(self._shown(kind, block)))]):
                yield from self._batches(new)

    def _batches(self, texts: Sequence[str]) -> Iterator[TextBatch]:
        """As many in a request as the recipe says."""
        batch = self._settings.batch
        return (tuple(texts[start : start + batch]) for start in range(0, len(texts), batch))

    def _requests_for(self, texts: int) -> int:
        """Requests for so many texts, which are embedded block by block."""
        whole, rest = divmod(texts, BLOCK)
        batch = self._settings.batch
        return whole * math.ceil(BLOCK / batch) + math.ceil(rest / batch)

    def _shown(self, kind: str, texts: Sequence[str]) -> list[str]:
        return [self._prefix(kind) + text[: self._cut(kind)] for text in texts]

    def _prefix(self, kind: str) -> str:
        return self._settings.query_prefix if kind == "query" else self._settings.document_prefix

    def _cut(self, kind: str) -> int | None:
        return None if kind == "query" else self._settings.max_chars

    def _vectors_of(self, kind: str) -> str:
        """Names everything but the text that a vector of a `query` or a `document` depends on."""
        return item_key(self._model, self._prefix(kind), self._cut(kind))


def encoder_codec(settings: RemoteEncoderTeacher) -> RequestCodec[TextBatch, np.ndarray]:
    """How texts are sent, and how their vectors are read: float32 [texts, dimensions], rows of norm 1."""

    def body(texts: TextBatch) -> dict[str, Any]:
        ours = {"model": settings.model, "input": list(texts), "encoding_format": "float"}
        return request_body(ours, settings.extra)

    def most(texts: TextBatch) -> Tokens:
        return Tokens(sum(map(estimated_tokens, texts)), 0, 1)

    def vectors(texts: TextBatch, answer: Json) -> np.ndarray | None:
        try:
            found = {int(row["index"]): row["embedding"] for row in answer["data"]}  # type: ignore[call-overload]
            rows = np.array([found[place] for place in range(len(texts))], np.float32)
        except (KeyError, TypeError, ValueError, OverflowError):
            return None
        if rows.ndim != 2 or not rows.size or len(found) != len(texts) or not np.isfinite(rows).all():
            return None
        normed: np.ndarray = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        return normed

    return RequestCodec("/embeddings", dict, body, most, vectors, lambda _: 0, "vector of every text")
