"""A query writer that runs a causal language model of the Hugging Face form in this process.

Several prompts are computed at a time, but each draws its tokens with a generator of its own, seeded by its request:
(prompt, temperature, seed) decides the query, whatever else is in the batch. Only rounding depends on the batch: in
float32 it practically never decides between two tokens, in bfloat16 now and then it does.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from tamis.context import RunContext
from tamis.errors import ModelError
from tamis.machine import Machine
from tamis.models.batching import token_batches
from tamis.models.encoder import loading, refuse_missing
from tamis.models.folders import check_folder, refuse_adapter
from tamis.models.precision import Precision
from tamis.records import Facts, QueryAnswer, QueryRequest
from tamis.remote.settings import RequestsSettings
from tamis.stages.queries.prompts.templates import Mode
from tamis.stages.queries.settings import TransformersSettings
from tamis.stages.queries.writers.answers import query_of
from tamis.stages.queries.writers.writer import LocalModel

_QUERY_TOKENS: Final = 64
BLOCK: Final = 64
"""Requests that are sorted by length at a time: what falls into one batch follows from the block."""

_LEAST_PROBABLE: Final = 0.05  # of the most probable token's probability: less likely ones are never drawn


def load_causal(settings: TransformersSettings, machine: Machine) -> "CausalGenerator":
    """The model of `queries.transformers`."""
    how = (machine.precision, machine.device, machine.token_budget)
    return CausalGenerator(settings.path, settings.mode, *how)


class CausalWriter(LocalModel):
    """The generator `transformers`."""

    def __init__(self, settings: TransformersSettings, requests: RequestsSettings, context: RunContext) -> None:
        """Load nothing yet."""
        load = partial(load_causal, settings, context.machine)
        super().__init__(settings.mode, model_name(settings.path), load, BLOCK, context.executor)
        self._settings, self._context = settings, context

    def identity(self) -> Facts:
        """Form of the prompt, hash of the model's files, number format."""
        path, precision = self._context.identity_of(self._settings.path), self._context.machine.precision
        return {"mode": self._settings.mode, "path": path, "precision": precision}


class CausalGenerator:
    """Writes queries in batches. Call `close` when done, or use it in a `with` block.

    Attributes:
        name: The model's name without slashes.
        model: Name of its folder, or its hub name.
    """

    def __init__(self, path: Path, mode: Mode, precision: Precision, device: torch.device, token_budget: int) -> None:
        """Load the model; safetensors only, no code of the checkpoint is run.

        Args:
            path: Hugging Face folder or hub name.
            mode: Whether prompts are messages or texts to continue.
            precision: Number format of weights and products.
            device: Where to compute.
            token_budget: Most tokens of the prompts of one batch, padding included.

        Raises:
            ModelError: It cannot be loaded, or has no chat template where one is needed.
        """
        from transformers import AutoModelForCausalLM, AutoTokenizer

        check_folder(path)
        with loading(path, "a causal language model"):
            refuse_adapter(path)
            self._body, report = AutoModelForCausalLM.from_pretrained(
                path,
                use_safetensors=True,
                trust_remote_code=False,
                dtype=torch.bfloat16 if precision == "bfloat16" else torch.float32,
                output_loading_info=True,
            )
            refuse_missing(path, report["missing_keys"])
            self._tokenizer: Any = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
        if mode == "chat" and not self._tokenizer.chat_template:
            raise ModelError(f"{path}: has no chat template; set queries.transformers.mode to completion")
        self._body.eval().requires_grad_(False).to(device)
        self.model = model_name(path)
        self.name = self.model.replace("/", "--")
        self._path, self._mode, self._token_budget = path, mode, token_budget

    def write(self, requests: Iterable[QueryRequest]) -> Iterator[QueryAnswer]:
        """Write the queries of a batch of prompts of similar length after the other.

        Raises:
            ModelError: A prompt is longer than the model reads.
        """
        todo = iter(requests)
        while block := list(islice(todo, BLOCK)):
            rows = [self._tokens(request) for request in block]
            for batch in token_batches([len(row) for row in rows], self._token_budget):
                texts = self._write([block[i] for i in batch], [rows[i] for i in batch])
                for i, text in zip(batch, texts, strict=True):
                    yield QueryAnswer(block[i].place, text)

    def close(self) -> None:
        """Give the model's memory back; the generator cannot write afterwards."""
        self._body = None

    def __enter__(self) -> "CausalGenerator":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _tokens(self, request: QueryRequest) -> list[int]:
        text = request.prompt.text
        if self._mode == "chat":
            message = [{"role": "user", "content": text}]
            text = self._tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
        ids: list[int] = self._tokenizer(text, add_special_tokens=self._mode != "chat")["input_ids"]
        longest = getattr(self._body.config, "max_position_embeddings", None)
        if longest is not None and len(ids) + _QUERY_TOKENS > longest:
            raise ModelError(
                f"{self._path}: reads {longest} tokens, and the prompt for document {request.document.doc_id!r} has "
                f"{len(ids)} and wants {_QUERY_TOKENS} more; set queries.prompt.examples lower or take another model"
            )
        return ids

    @torch.no_grad()
    def _write(self, requests: Sequence[QueryRequest], rows: Sequence[Sequence[int]]) -> list[str]:
        from transformers import GenerationConfig

        body, words = self._body, self._tokenizer
        longest = max(map(len, rows))
        padding = next((i for i in (words.pad_token_id, words.eos_token_id) if i is not None), 0)
        ids = torch.tensor([[padding] * (longest - len(row)) + list(row) for row in rows], device=body.device)
        real = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], device=body.device)
        ends = body.generation_config.eos_token_id
        settings = GenerationConfig(
            max_new_tokens=_QUERY_TOKENS,
            do_sample=False,  # _Draw has drawn
            pad_token_id=padding,
            eos_token_id=words.eos_token_id if ends is None else ends,
        )
        found = body.generate(
            input_ids=ids,
            attention_mask=real,
            generation_config=settings,
            logits_processor=[_Draw(requests)],
            stopping_criteria=[] if self._mode == "chat" else [_LineIsFull(words, longest)],
        )
        texts = words.batch_decode(found[:, longest:], skip_special_tokens=True)
        if self._mode == "chat":
            return [query_of(text, request.prompt.text) for request, text in zip(requests, texts, strict=True)]
        return [text.partition("\n")[0].strip() for text in texts]


def model_name(path: Path) -> str:
    """What a model is called: the name of its folder, or its hub name."""
    return path.name if path.is_dir() else str(path)


class _Draw:
    """Leaves the next token of each row without a rival: drawn with the row's own generator."""

    def __init__(self, requests: Sequence[QueryRequest]) -> None:
        self._temperatures = [request.temperature or 0.0 for request in requests]
        self._generators = [random.Random(request.seed) for request in requests]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        drawn = draw(scores, self._temperatures, [generator.random() for generator in self._generators])
        return torch.full_like(scores, float("-inf")).scatter(1, drawn[:, None], 0.0)


class _LineIsFull:
    """Stops a row that has begun another line."""

    def __init__(self, tokenizer: Any, start: int) -> None:
        self._tokenizer, self._start = tokenizer, start

    def __call__(self, input_ids: Tensor, scores: Tensor, **more: object) -> Tensor:
        texts = self._tokenizer.batch_decode(input_ids[:, self._start :], skip_special_tokens=True)
        return torch.tensor(["\n" in text for text in texts], device=input_ids.device)


def draw(logits: Tensor, temperatures: Sequence[float], uniforms: Sequence[float]) -> Tensor:
    """Draw a token for each row by inverting the distribution function.

    Args:
        logits: [rows, vocabulary].
        temperatures: Temperature of each row; 0 takes the most probable token.
        uniforms: A number in [0, 1) for each row, which decides the draw.

    Returns:
        Token ids [rows]. Tokens with less than a twentieth of the most probable one's probability (min-p, arXiv
        2407.01082) are never drawn.
    """
    heat = torch.tensor(temperatures, device=logits.device)[:, None]
    probabilities = torch.softmax(logits.float() / heat.clamp_min(1e-6), -1)
    likely = probabilities >= _LEAST_PROBABLE * probabilities.amax(-1, keepdim=True)
    ladder = (probabilities * likely).double().cumsum(-1)
    reached = torch.tensor(uniforms, dtype=torch.float64, device=logits.device)[:, None] * ladder[:, -1:]
    drawn = torch.searchsorted(ladder, reached, right=True)[:, 0].clamp_max(logits.shape[-1] - 1)
    return torch.where(heat[:, 0] > 0, drawn, logits.argmax(-1))
