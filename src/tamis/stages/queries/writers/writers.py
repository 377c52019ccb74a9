"""The query writers of a recipe, made ready and asked; what a language model wrote is kept at once."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tamis.artifacts import file_hash, item_key
from tamis.context import RunContext
from tamis.errors import SettingsError
from tamis.progress import track
from tamis.records import GIVEN, Document, Dropped, Facts, Query, QueryRequest
from tamis.remote.settings import PLACE_AND_PRICE, RequestsSettings
from tamis.remote.spending import Ledger
from tamis.section import Section
from tamis.stages.corpus.read_parts import ReadParts
from tamis.stages.corpus.sampling import spread
from tamis.stages.queries.given import LOG
from tamis.stages.queries.prompts.templates import Mode, Prompts, load_prompts
from tamis.stages.queries.settings import QueriesSettings, writer_name
from tamis.stages.queries.write import Generate, WritingPlan, requests_for, write_queries
from tamis.stages.queries.writers.cached import LOOKED_UP, CachedWriter, answer_key, stored_answers
from tamis.stages.queries.writers.elsewhere import LLAMA_BLOCK, FarGenerator, extracting
from tamis.stages.queries.writers.endpoint import EndpointGenerator
from tamis.stages.queries.writers.extractive import ExtractiveGenerator, inverse_document_frequencies
from tamis.stages.queries.writers.models import WritingModels
from tamis.stages.queries.writers.own import own_queries
from tamis.stages.queries.written import file_queries

if TYPE_CHECKING:
    from tamis.stages.queries.writers.causal import CausalGenerator
    from tamis.stages.queries.writers.llama import LlamaGenerator


_SPREAD: Final = 2
"""Raised whenever `spread` chooses other documents, which counts where not all are shown."""


_READ: Final = 2
"""Raised whenever something else than before is taken for a query in the same answer of a language model."""


_NOT_OF_THE_RESULT: Final = {
    "llama": frozenset({"model"}),
    "transformers": frozenset({"path"}),
    "endpoint": PLACE_AND_PRICE,
}
"""Settings that do not change what is written; of files the hash stands in the key."""


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
        models: The language models of this machine.
        context: The run.
    """

    settings: QueriesSettings
    seed: int
    parts: ReadParts | None
    requests: RequestsSettings
    models: WritingModels
    context: RunContext

    def key(self) -> object:
        """What the queries depend on: settings of the writers that are used, hashes of their models and words."""
        settings = self.settings
        facts: dict[str, object] = {"generator": settings.generator, "per_document": settings.per_document}
        models = {kind: self._facts(kind) for kind in language_models(settings)}
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

    def _facts(self, kind: str) -> Facts:
        """Everything but the request that a language model's query depends on."""
        settings = self.settings
        section: Section = getattr(settings, kind)
        facts = section.model_dump(mode="json", exclude=set(_NOT_OF_THE_RESULT[kind]))
        if not facts.get("revision"):
            facts.pop("revision", None)  # none is as if there were no such setting
        if kind == "llama" and settings.llama:
            model = settings.llama.model
            facts["model"] = file_hash(model) if model.is_file() else str(model)
        if kind == "transformers" and settings.transformers:
            model = settings.transformers.path
            facts |= {"path": self.context.identity_of(model), "precision": self.context.machine.precision}
        return facts

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
            written.queries += own_queries(own, shown, self.context.engine_for(own), self.context.items)
            names.add(own.name)
        for kind in settings.generator:
            if kind == "extractive":
                extract = ExtractiveGenerator(inverse_document_frequencies(target))
                plan = WritingPlan(settings.per_document, self.seed)
                written.queries += write_queries(target, extracting(extract, self.context.engine), plan)
                names.add(extract.name)
                continue
            prompts = load_prompts(settings.prompt, _mode(settings, kind))
            written.shots |= prompts.shots()
            written.style |= frozenset(prompts.style)
            with self._opened(kind) as model:
                if model.name in names:
                    raise SettingsError(f"queries: two writers are called {model.name!r}; give one model another name")
                names.add(model.name)
                written.queries += self._ask(model, kind, prompts)
                if isinstance(model, EndpointGenerator):
                    written.spent[model.name] = _costs(model)
        return written

    def documents(self) -> list[Document]:
        """The target documents as writers are shown them: as far as the student reads; no more can be answered."""
        parts = self.parts.texts if self.parts else {}
        return [replace(self.context.documents[doc_id], text=part) for doc_id, part in parts.items()]

    def _opened(self, kind: str) -> "EndpointGenerator | CausalGenerator | LlamaGenerator | FarGenerator":
        """The language model of a section.

        Requests to a server are sent from this process, whatever the executor: they only wait, and the key stays here.
        """
        settings, engine = self.settings, self.context.engine
        if kind == "endpoint" and settings.endpoint:
            return EndpointGenerator(settings.endpoint, self.requests, self.ledger(settings.endpoint.model).spent)
        if not engine.elsewhere:
            return self.models.load(kind)
        if kind == "transformers" and settings.transformers:
            from tamis.stages.queries.writers.causal import BLOCK, model_name

            model, size = model_name(settings.transformers.path), BLOCK
        else:
            assert settings.llama is not None, "checked when the recipe was read"
            model, size = settings.llama.model.stem, LLAMA_BLOCK
        write = partial(self.models.write, kind)
        return FarGenerator(model.replace("/", "--"), model, write, size, engine.mapped)

    def _plan(self, kind: str, prompts: Prompts) -> tuple[list[Document], WritingPlan]:
        """The documents that a language model is shown, and how it is asked about them."""
        settings = self.settings
        temperatures: tuple[float | None, float | None] = settings.temperatures
        if settings.endpoint and kind == "endpoint" and "temperature" in settings.endpoint.extra:
            temperatures = (None, None)  # it is left out of the requests: the server chooses
        kinds = {str(name): weight for name, weight in prompts.wishes.kinds.items()}
        plan = WritingPlan(settings.per_document, self.seed, kinds, temperatures, prompts)
        return spread(self.documents(), settings.documents), plan

    def unanswered(self, kind: str) -> Iterator[QueryRequest]:
        """The requests of a language model that no earlier run has finished; the model is not opened."""
        return (request for request, _, finished in self.keyed_requests(kind) if not finished)

    def keyed_requests(self, kind: str) -> Iterator[tuple[QueryRequest, str, bool]]:
        """All requests of a language model, each with the key of its answer and whether that is there.

        The model is not opened. The stores are asked about some hundred requests at a time.
        """
        prompts = load_prompts(self.settings.prompt, _mode(self.settings, kind))
        requests = (request for _, request in requests_for(*self._plan(kind, prompts)))
        identity = self.model_key(kind)
        while block := list(islice(requests, LOOKED_UP)):
            keys = [answer_key(identity, request) for request in block]
            stored = stored_answers(keys, self.context.items, self.context.cache)
            yield from ((request, key, key in stored) for request, key in zip(block, keys, strict=True))

    def model_key(self, kind: str) -> str:
        """Names everything but the request that a language model's query depends on."""
        return item_key(kind, json.dumps(self._facts(kind), sort_keys=True))

    def _ask(self, model: Generate, kind: str, prompts: Prompts) -> list[Query | Dropped]:
        """Queries by a language model; finished ones come from the item store."""
        documents, plan = self._plan(kind, prompts)
        with track(f"writing queries ({model.name})", len(documents) * plan.per_document) as advance:

            def one_more() -> None:
                if isinstance(model, EndpointGenerator) and model.budget.money:
                    advance.note = f"{model.budget.money:.4g} spent"
                advance(1)

            return list(write_queries(documents, self.cached(model, kind, one_more), plan))

    def cached(self, model: Generate, kind: str, one_more: Callable[[], None]) -> CachedWriter:
        """A language model of a section that keeps what it writes; `one_more` is called after each answer."""
        return CachedWriter(model, self.model_key(kind), self.ledger(model.model), self.context.cache, one_more)

    def ledger(self, model: str) -> Ledger:
        """What a language model that writes has cost this run folder."""
        return Ledger(self.context.items, f"queries {model}", self.settings.endpoint)


def language_models(settings: QueriesSettings) -> list[str]:
    """The generators of a recipe that are given prompts."""
    return [kind for kind in settings.generator if kind != "extractive"]


def _words(settings: QueriesSettings) -> Facts:
    """Hash of the templates, own or shipped, and of the examples of style where there are some."""
    prompts = load_prompts(settings.prompt, "chat")
    facts = {"words": item_key(*(template.model_dump_json() for template in prompts.templates.values()))}
    return facts | ({"like": item_key(*prompts.style)} if prompts.style else {})


def _mode(settings: QueriesSettings, kind: str) -> Mode:
    if kind == "llama":
        return "completion"
    section = settings.endpoint if kind == "endpoint" else settings.transformers
    assert section is not None, "checked when the recipe was read"
    return section.mode


def _costs(model: EndpointGenerator) -> Facts:
    return {
        "prompt_tokens": model.budget.spent.prompt,
        "completion_tokens": model.budget.spent.completion,
        "requests": model.budget.spent.requests,
        "money": round(model.budget.money, 6),
        "failed_attempts": dict(model.failures.most_common()),
    }
