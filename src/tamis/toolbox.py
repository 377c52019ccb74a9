"""The models that mining asks, each loaded when it is first needed; what an engine sends to other processes."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from tamis.errors import MissingPartError, SettingsError
from tamis.models.checkpoint import is_encoder
from tamis.models.embedder import Embedder, pooling_of
from tamis.models.encoder import Encoder
from tamis.models.precision import CPU_TOKENS, LEARNING_GPU_TOKENS, Precision, fastest_device
from tamis.models.reranker import Reranker
from tamis.pipeline.recipe import Recipe
from tamis.records import QueryAnswer, QueryRequest
from tamis.stages.candidates.settings import EncoderSettings
from tamis.stages.scores.settings import EncoderTeacher, RerankerTeacher
from tamis.stages.scores.teachers.group import Group, Scores
from tamis.stages.scores.teachers.use import UniversalSentenceEncoder

if TYPE_CHECKING:
    from tamis.stages.queries.writers.causal import CausalGenerator
    from tamis.stages.queries.writers.llama import LlamaGenerator

TEACHERS_MEMORY = 2**30
"""Bytes of states that a teacher may keep: eight thousand documents of 160 tokens for a body of 384 in bfloat16."""


class Toolbox:
    """The models of a recipe. A copy in another process has none yet and loads what it is asked for.

    What `embed`, `judge` and `write` give follows from the recipe and their arguments, wherever they run.

    Attributes:
        recipe: Names the models.
        precision: Number format of their matrix products.
    """

    def __init__(self, recipe: Recipe, precision: Precision, local_rank: int = 0) -> None:
        """Load nothing yet; `local_rank` is the number of the GPU to use, where there are some."""
        self.recipe, self.precision, self._local_rank = recipe, precision, local_rank
        self._embedders: dict[str, Encoder | Embedder] = {}
        self._rerankers: dict[Path, Reranker] = {}
        self._writers: dict[str, CausalGenerator | LlamaGenerator] = {}

    def __reduce__(self) -> tuple[object, ...]:
        return _unpacked, (self.recipe, self.precision)

    @cached_property
    def device(self) -> torch.device:
        """Where models run; of several processes each has a GPU of its own."""
        wanted = self.recipe.machine.device
        found = fastest_device()
        if wanted != "auto":
            if wanted == "cuda" and found.type != "cuda":
                raise SettingsError("machine.device is cuda, but torch sees no GPU here; set it to auto or cpu")
            found = torch.device(wanted)
        return torch.device("cuda", self._local_rank) if found.type == "cuda" else found

    @property
    def token_budget(self) -> int:
        """Most tokens per forward pass: as many as a processor's cache holds; on a GPU, room is left to learn in."""
        fitting = CPU_TOKENS if self.device.type == "cpu" else LEARNING_GPU_TOKENS
        return self.recipe.machine.token_budget or fitting

    @cached_property
    def encoder(self) -> Encoder:
        """The bi-encoder that retrieves, teaches and is the student's start."""
        return self.load_encoder(self.recipe.candidates.dense.path)

    def load_encoder(self, path: Path) -> Encoder:
        """An encoder, on the device."""
        encoder = Encoder.load(path, self.precision, self.token_budget)
        encoder.body.to(self.device)
        return encoder

    @cached_property
    def bi_encoders(self) -> dict[str, EncoderSettings]:
        """The first stage's, and those that teach, by name."""
        numbered = enumerate(self.recipe.scores.teachers, 1)
        others = {f"teacher {number}": one for number, one in numbered if isinstance(one, EncoderTeacher)}
        return {"dense": self.recipe.candidates.dense, **others}

    def embed(self, kind: str, by: str, texts: Sequence[str]) -> np.ndarray:
        """Embeddings of texts: float32 [texts, hidden], rows of norm 1; last bits depend on all texts of the call.

        Args:
            kind: `query` or `document`.
            by: `use`, or one of `bi_encoders`.
            texts: The texts.
        """
        if by == "use":
            return self._use.embed(texts)
        wanted = self.bi_encoders[by]
        prefix = wanted.query_prefix if kind == "query" else wanted.document_prefix
        return self._embeds(by).embed(texts, prefix, wanted.max_length)

    @cached_property
    def _use(self) -> UniversalSentenceEncoder:
        return UniversalSentenceEncoder(self.recipe.machine.threads)

    def _embeds(self, by: str) -> Encoder | Embedder:
        """A bi-encoder; the first stage's shares its body with the student where it can."""
        if by not in self._embedders:
            self._embedders[by] = self._load_embedder(self.bi_encoders[by], shared=by == "dense")
        return self._embedders[by]

    def _load_embedder(self, wanted: EncoderSettings, shared: bool) -> Encoder | Embedder:
        plain = (wanted.pooling or pooling_of(wanted.path) or "mean") == "mean" and not wanted.trust_remote_code
        if shared and plain and is_encoder(wanted.path):
            return self.encoder
        how = (self.precision, self.token_budget, self.device)
        return Embedder(wanted.path, wanted.pooling, *how, wanted.trust_remote_code)

    def judge(self, teacher: RerankerTeacher, group: Group) -> Scores:
        """Logits of a reranker that teaches; last bits depend on all documents of the group."""
        pairs = [(group.query, document) for document in group.documents]
        return tuple(self.reranker(teacher).score_pairs(pairs, teacher.instruction).logits.tolist())

    def reranker(self, teacher: RerankerTeacher) -> Reranker:
        """A reranker that teaches, which stays loaded until it is released."""
        if teacher.path not in self._rerankers:
            where = str(self.device)
            found = Reranker(teacher.path, self.precision, self.token_budget, device=where)
            # Most documents are candidates of many queries. Alone: no score depends on the order of the queries.
            found.remember(TEACHERS_MEMORY, alone=True)
            self._rerankers[teacher.path] = found
        return self._rerankers[teacher.path]

    def release_rerankers(self) -> None:
        """Forget the rerankers, so that what follows has their memory."""
        self._rerankers.clear()

    def write(self, kind: str, requests: Sequence[QueryRequest]) -> list[QueryAnswer]:
        """Queries by the language model of a section of `queries`, which stays loaded."""
        if kind not in self._writers:
            self._writers[kind] = self.writer(kind)
        return list(self._writers[kind].write(requests))

    def writer(self, kind: str) -> "CausalGenerator | LlamaGenerator":
        """The language model of the section `transformers` or `llama`; what is heavy is imported for those who use it.

        Raises:
            MissingPartError: a GGUF file that is not there.
        """
        settings, machine = self.recipe.queries, self.recipe.machine
        if kind == "transformers" and settings.transformers:
            from tamis.stages.queries.writers.causal import CausalGenerator

            path, mode = settings.transformers.path, settings.transformers.mode
            return CausalGenerator(path, mode, self.precision, self.device, self.token_budget)
        from tamis.stages.queries.writers.llama import LlamaGenerator

        assert settings.llama is not None, "checked when the recipe was read"
        model = settings.llama.model
        if not model.exists():
            raise MissingPartError(
                f"queries.llama.model: {model} not found; name a GGUF file (make demo LLM=1 brings one)"
            )
        return LlamaGenerator(model, machine.threads)


def _unpacked(recipe: Recipe, precision: Precision) -> Toolbox:
    """A toolbox that came from another process, with as many threads as it had there."""
    torch.set_num_threads(recipe.machine.threads)
    return Toolbox(recipe, precision)
