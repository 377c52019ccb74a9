"""The query writers of a recipe, made ready and asked; what a language model wrote is kept at once."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final

from tamis.artifacts import Kept, file_hash, item_key
from tamis.context import RunContext
from tamis.costs.work import Work
from tamis.errors import SettingsError
from tamis.progress import track
from tamis.records import GIVEN, Document, Dropped, Facts, Query, QueryAnswer, QueryRequest
from tamis.remote.settings import RequestsSettings
from tamis.remote.spending import Ledger
from tamis.stages.corpus.read_parts import ReadParts
from tamis.stages.corpus.sampling import spread
from tamis.stages.queries.given import LOG
from tamis.stages.queries.prompts.templates import Prompts, load_prompts
from tamis.stages.queries.settings import QueriesSettings, writer_name
from tamis.stages.queries.write import Generate, WritingPlan, requests_for, write_queries
from tamis.stages.queries.writers.cached import CachedWriter, in_blocks, kept_answers
from tamis.stages.queries.writers.causal import CausalWriter
from tamis.stages.queries.writers.endpoint import EndpointWriter
from tamis.stages.queries.writers.extractive import ExtractiveWriter
from tamis.stages.queries.writers.llama import LlamaWriter
from tamis.stages.queries.writers.own import own_queries
from tamis.stages.queries.writers.writer import QueryWriter
from tamis.stages.queries.written import file_queries

_SPREAD: Final = 2
"""Raised whenever `spread` chooses other documents, which counts where not all are shown."""

_READ: Final = 2
"""Raised whenever something else than before is taken for a query in the same answer of a language model."""

KINDS: Final[Mapping[str, Callable[[Any, RequestsSettings, RunContext], QueryWriter]]] = {
    "extractive": ExtractiveWriter,
    "llama": LlamaWriter,
    "endpoint": EndpointWriter,
    "transformers": CausalWriter,
}
"""By the word that a recipe has for it, which is the name of its section, too: makes a writer of that section."""


@dataclass
class Written:
    """What the writers of a recipe wrote.

    Attributes:
        queries: The queries, or why there is none.
        shots: The queries beside passages that language models were shown.
        style: The queries of people that they were shown as examples of style.
        spent: What each model that is paid for has cost in this run folder.
    """

    queries: list[Query | Dropped] = field(default_factory=list)
    shots: frozenset[str] = frozenset()
    style: frozenset[str] = frozenset()
    spent: Facts = field(default_factory=dict)


@dataclass(frozen=True)
class QueryWriters:
    """The writers of a recipe: files that were written elsewhere, language models, and extracts.

    Attributes:
        settings: Who writes, and how.
        seed: Of every choice.
        parts: The documents as writers are shown them; None where nothing is adapted to.
        requests: How servers are asked.
        context: The run.
    """

    settings: QueriesSettings
    seed: int
    parts: ReadParts | None
    requests: RequestsSettings
    context: RunContext

    @cached_property
    def members(self) -> dict[str, QueryWriter]:
        """The generators by their kind, in the order of the recipe."""
        sections = ((kind, getattr(self.settings, kind, None)) for kind in self.settings.generator)
        return {kind: KINDS[kind](section, self.requests, self.context) for kind, section in sections}

    def key(self) -> object:
        """What the queries depend on: settings of the writers that are used, hashes of their models and words."""
        settings = self.settings
        facts: dict[str, object] = {"generator": settings.generator, "per_document": settings.per_document}
        models = {kind: writer.identity() for kind, writer in self.members.items() if writer.mode}
        if models:
            facts |= settings.model_dump(mode="json", include={"documents", "temperatures"}) | models
            facts |= {"spread": _SPREAD} if settings.documents else {}
            facts["read"] = _READ
            facts["prompt"] = settings.prompt.model_dump(mode="json", exclude={"template", "like"}) | _words(settings)
        if own := settings.writer:
            facts["writer"] = [*own.identity, settings.documents, _SPREAD if settings.documents else 0]
        if self.parts:
            start, prefix, tokens = self.parts.reading
            tokenizer = Path(start) / "tokenizer.json"
            facts["reads"] = [file_hash(tokenizer) if tokenizer.is_file() else str(start), prefix, tokens]
        return [facts, self.seed]

    def write(self) -> Written:
        """Take the queries that were written elsewhere, and let every writer write from the target documents.

        Raises:
            SettingsError: two writers have one name, so that their queries could not be told apart.
            InputError: a file of written queries that cannot be read, or that is about other documents.
        """
        settings = self.settings
        target = self.documents()
        # Those of people and of models that were asked elsewhere come first: of two copies the first one stays.
        written = Written(list(file_queries(settings.written, self.context)))
        names = {GIVEN, LOG, *map(writer_name, settings.written)}
        if own := settings.writer:
            shown = spread(target, settings.documents)
            written.queries += own_queries(own, shown, self.context.executor_for(own), self.context.items)
            names.add(own.name)
        for kind, writer in self.members.items():
            if prompts := self._prompts(writer):
                written.shots |= prompts.shots()
                written.style |= frozenset(prompts.style)
            with writer.open(target) as model:
                if model.name in names:
                    raise SettingsError(f"queries: two writers are called {model.name!r}; give one model another name")
                names.add(model.name)
                written.queries += self._ask(model, kind)
                written.spent |= {model.name: spent} if (spent := writer.spent()) else {}
        return written

    def documents(self) -> list[Document]:
        """The target documents as writers are shown them: as far as the student reads; no more can be answered."""
        parts = self.parts.texts if self.parts else {}
        return [replace(self.context.documents[doc_id], text=part) for doc_id, part in parts.items()]

    def _prompts(self, writer: QueryWriter) -> Prompts | None:
        return load_prompts(self.settings.prompt, writer.mode) if writer.mode else None

    def _plan(self, writer: QueryWriter) -> tuple[list[Document], WritingPlan]:
        """The documents that a writer is shown, and how it is asked about them."""
        settings, prompts = self.settings, self._prompts(writer)
        if prompts is None:
            return self.documents(), WritingPlan(settings.per_document, self.seed)
        kinds = {str(name): weight for name, weight in prompts.wishes.kinds.items()}
        temperatures = (None, None) if writer.own_temperature else settings.temperatures
        plan = WritingPlan(settings.per_document, self.seed, kinds, temperatures, prompts)
        return spread(self.documents(), settings.documents), plan

    def keyed_requests(self, kind: str) -> Iterator[tuple[QueryRequest, str, bool]]:
        """All requests of a language model, each with the key of its answer and whether that is there.

        The model is not opened. The stores are asked about some hundred requests at a time.
        """
        kept = self.answers(kind)
        for block in in_blocks(request for _, request in requests_for(*self._plan(self.members[kind]))):
            keys = list(map(kept.key, block))
            stored = kept.get(keys)
            yield from ((request, key, key in stored) for request, key in zip(block, keys, strict=True))

    def model_key(self, kind: str) -> str:
        """Names everything but the request that a language model's query depends on."""
        return item_key(kind, json.dumps(self.members[kind].identity(), sort_keys=True))

    def _ask(self, model: Generate, kind: str) -> list[Query | Dropped]:
        """Queries by a writer; finished ones of a language model come from the stores."""
        writer = self.members[kind]
        documents, plan = self._plan(writer)
        if writer.mode is None:
            return list(write_queries(documents, model, plan))
        with track(f"writing queries ({model.name})", len(documents) * plan.per_document) as advance:

            def one_more() -> None:
                if money := writer.money():
                    advance.note = f"{money:.4g} spent"
                advance(1)

            return list(write_queries(documents, CachedWriter(model, self.answers(kind), one_more), plan))

    def answers(self, kind: str) -> Kept[QueryRequest, QueryAnswer]:
        """What a language model wrote, in whatever run."""
        return kept_answers(self.model_key(kind), self.ledger(kind), self.context.cache)

    def ledger(self, kind: str) -> Ledger:
        """What a language model that writes has cost this run folder; those of this machine cost nothing."""
        server = self.members[kind].server
        return Ledger(self.context.items, f"queries {server.model if server else kind}", server)

    def cost(self) -> Iterator[Work]:
        """What language models are asked for."""
        for kind, writer in self.members.items():
            if writer.mode:
                left = (request for request, _, finished in self.keyed_requests(kind) if not finished)
                yield from writer.cost(left, partial(CachedWriter, kept=self.answers(kind)))


def _words(settings: QueriesSettings) -> Facts:
    """Hash of the templates, own or shipped, and of the examples of style where there are some."""
    prompts = load_prompts(settings.prompt, "chat")
    facts = {"words": item_key(*(template.model_dump_json() for template in prompts.templates.values()))}
    return facts | ({"like": item_key(*prompts.style)} if prompts.style else {})
