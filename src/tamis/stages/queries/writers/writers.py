"""The query writers of a recipe, made ready and asked; what a language model wrote is kept at once."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tamis.artifacts import file_hash, item_key
from tamis.context import Workshop
from tamis.errors import SettingsError
from tamis.machine import resolve_precision
from tamis.models.checkpoint import model_identity
from tamis.pipeline.recipe import Recipe
from tamis.progress import track
from tamis.records import GIVEN, Document, Dropped, Facts, Query, QueryRequest
from tamis.remote.settings import PLACE_AND_PRICE
from tamis.remote.spending import Ledger
from tamis.section import Section
from tamis.stages.corpus.sampling import spread
from tamis.stages.queries.given import LOG
from tamis.stages.queries.prompts.templates import Mode, Prompts, load_prompts
from tamis.stages.queries.settings import QueriesSettings, writer_name
from tamis.stages.queries.write import Generate, Plan, requests_for, write_queries
from tamis.stages.queries.writers.cached import LOOKED_UP, Remembered, answer_key, stored_answers
from tamis.stages.queries.writers.elsewhere import LLAMA_BLOCK, FarGenerator, extracting
from tamis.stages.queries.writers.endpoint import EndpointGenerator
from tamis.stages.queries.writers.extractive import ExtractiveGenerator, inverse_document_frequencies
from tamis.stages.queries.written import file_queries
from tamis.stages.train.read_part import reading_of

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


def writers_settings(recipe: Recipe) -> object:
    """What the written queries depend on: settings of the writers that are used, hashes of their models and words."""
    settings = recipe.queries
    facts: dict[str, object] = {"generator": settings.generator, "per_document": settings.per_document}
    models = {kind: _facts(recipe, kind) for kind in language_models(settings)}
    if models:
        facts |= settings.model_dump(mode="json", include={"documents", "temperatures"}) | models
        facts |= {"spread": _SPREAD} if settings.documents else {}
        facts["read"] = _READ
        facts["prompt"] = settings.prompt.model_dump(mode="json", exclude={"template", "like"}) | _words(settings)
    if recipe.corpus.target:
        facts["reads"] = _reads(recipe)
    return [facts, recipe.seed]


def _reads(recipe: Recipe) -> list[object]:
    """What decides how much of a document writers are shown, see `ReadPart`."""
    start, prefix, tokens = reading_of(recipe.student, recipe.candidates.dense)
    tokenizer = Path(start) / "tokenizer.json"
    return [file_hash(tokenizer) if tokenizer.is_file() else str(start), prefix, tokens]


def language_models(settings: QueriesSettings) -> list[str]:
    """The generators of a recipe that are given prompts."""
    return [kind for kind in settings.generator if kind != "extractive"]


def _words(settings: QueriesSettings) -> Facts:
    """Hash of the templates, own or shipped, and of the examples of style where there are some."""
    prompts = load_prompts(settings.prompt, "chat")
    facts = {"words": item_key(*(template.model_dump_json() for template in prompts.templates.values()))}
    return facts | ({"like": item_key(*prompts.style)} if prompts.style else {})


def _facts(recipe: Recipe, kind: str) -> Facts:
    """Everything but the request that a language model's query depends on."""
    settings = recipe.queries
    section: Section = getattr(settings, kind)
    facts = section.model_dump(mode="json", exclude=set(_NOT_OF_THE_RESULT[kind]))
    if not facts.get("revision"):
        facts.pop("revision", None)  # none is as if there were no such setting
    if kind == "llama" and settings.llama:
        model = settings.llama.model
        facts["model"] = file_hash(model) if model.is_file() else str(model)
    if kind == "transformers" and settings.transformers:
        facts |= {"path": model_identity(settings.transformers.path), "precision": resolve_precision(recipe.precision)}
    return facts


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


def written_queries(shop: Workshop) -> Written:
    """Take the queries that were written elsewhere, and let every writer of the recipe write from the target documents.

    Raises:
        SettingsError: two writers have one name, so that their queries could not be told apart.
        InputError: a file of written queries that cannot be read, or that is about other documents.
    """
    settings = shop.recipe.queries
    target = _target(shop)
    # Those of people and of models that were asked elsewhere come first: of two copies the first one stays.
    found = Written(list(file_queries(shop)))
    names = {GIVEN, LOG, *map(writer_name, settings.written)}
    for kind in settings.generator:
        if kind == "extractive":
            extract = ExtractiveGenerator(inverse_document_frequencies(target))
            plan = Plan(settings.per_document, shop.recipe.seed)
            found.queries += write_queries(target, extracting(shop, extract), plan)
            names.add(extract.name)
            continue
        prompts = load_prompts(settings.prompt, _mode(settings, kind))
        found.shots |= prompts.shots()
        found.style |= frozenset(prompts.style)
        with _opened(shop, kind) as model:
            if model.name in names:
                raise SettingsError(f"queries: two writers are called {model.name!r}; give one model another name")
            names.add(model.name)
            found.queries += _ask(shop, model, kind, prompts)
            if isinstance(model, EndpointGenerator):
                found.spent[model.name] = _costs(model)
    return found


def _mode(settings: QueriesSettings, kind: str) -> Mode:
    if kind == "llama":
        return "completion"
    section = settings.endpoint if kind == "endpoint" else settings.transformers
    assert section is not None, "checked when the recipe was read"
    return section.mode


def _target(shop: Workshop) -> list[Document]:
    """The target documents as writers are shown them: as far as the student reads, since no more can be answered."""
    return [replace(shop.documents[doc_id], text=part) for doc_id, part in shop.read_parts.items()]


def _opened(shop: Workshop, kind: str) -> "EndpointGenerator | CausalGenerator | LlamaGenerator | FarGenerator":
    """The language model of a section.

    Requests to a server are sent from this process, whatever the engine: they only wait, and the key stays here.
    """
    settings = shop.recipe.queries
    if kind == "endpoint" and settings.endpoint:
        spent = writer_ledger(shop, settings.endpoint.model).spent
        return EndpointGenerator(settings.endpoint, shop.recipe.machine.requests, spent)
    if not shop.engine.elsewhere:
        return shop.toolbox.writer(kind)
    if kind == "transformers" and settings.transformers:
        from tamis.stages.queries.writers.causal import BLOCK, model_name

        model, size = model_name(settings.transformers.path), BLOCK
    else:
        assert settings.llama is not None, "checked when the recipe was read"
        model, size = settings.llama.model.stem, LLAMA_BLOCK
    return FarGenerator(model.replace("/", "--"), model, partial(shop.toolbox.write, kind), size, shop.engine.mapped)


def _plan(shop: Workshop, kind: str, prompts: Prompts) -> tuple[list[Document], Plan]:
    """The documents that a language model is shown, and how it is asked about them."""
    settings = shop.recipe.queries
    temperatures: tuple[float | None, float | None] = settings.temperatures
    if settings.endpoint and kind == "endpoint" and "temperature" in settings.endpoint.extra:
        temperatures = (None, None)  # it is left out of the requests: the server chooses
    kinds = {str(name): weight for name, weight in prompts.wishes.kinds.items()}
    plan = Plan(settings.per_document, shop.recipe.seed, kinds, temperatures, prompts)
    return spread(_target(shop), settings.documents), plan


def unanswered(shop: Workshop, kind: str) -> Iterator[QueryRequest]:
    """The requests of a language model that no earlier run has finished; the model is not opened."""
    return (request for request, _, finished in keyed_requests(shop, kind) if not finished)


def keyed_requests(shop: Workshop, kind: str) -> Iterator[tuple[QueryRequest, str, bool]]:
    """All requests of a language model, each with the key of its answer and whether that is there.

    The model is not opened. The stores are asked about some hundred requests at a time.
    """
    prompts = load_prompts(shop.recipe.queries.prompt, _mode(shop.recipe.queries, kind))
    requests = (request for _, request in requests_for(*_plan(shop, kind, prompts)))
    identity = model_key(shop, kind)
    while block := list(islice(requests, LOOKED_UP)):
        keys = [answer_key(identity, request) for request in block]
        stored = stored_answers(keys, shop.items, shop.cache)
        yield from ((request, key, key in stored) for request, key in zip(block, keys, strict=True))


def model_key(shop: Workshop, kind: str) -> str:
    """Names everything but the request that a language model's query depends on."""
    return item_key(kind, json.dumps(_facts(shop.recipe, kind), sort_keys=True))


def _ask(shop: Workshop, model: Generate, kind: str, prompts: Prompts) -> list[Query | Dropped]:
    """Queries by a language model; finished ones come from the item store."""
    documents, plan = _plan(shop, kind, prompts)
    with track(f"writing queries ({model.name})", len(documents) * plan.per_document) as advance:

        def one_more() -> None:
            if isinstance(model, EndpointGenerator) and model.budget.money:
                advance.note = f"{model.budget.money:.4g} spent"
            advance(1)

        return list(write_queries(documents, remembering(shop, model, kind, one_more), plan))


def remembering(shop: Workshop, model: Generate, kind: str, one_more: Callable[[], None]) -> "Remembered":
    """A language model of a section that keeps what it writes; `one_more` is called after each answer."""
    return Remembered(model, model_key(shop, kind), writer_ledger(shop, model.model), shop.cache, one_more)


def writer_ledger(shop: Workshop, model: str) -> Ledger:
    """What a language model that writes has cost this run folder."""
    return Ledger(shop.items, f"queries {model}", shop.recipe.queries.endpoint)


def _costs(model: EndpointGenerator) -> Facts:
    return {
        "prompt_tokens": model.budget.spent.prompt,
        "completion_tokens": model.budget.spent.completion,
        "requests": model.budget.spent.requests,
        "money": round(model.budget.money, 6),
        "failed_attempts": dict(model.failures.most_common()),
    }
