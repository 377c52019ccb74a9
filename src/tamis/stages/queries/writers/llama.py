"""A query writer that runs a GGUF language model in this process with llama.cpp; it continues a text of examples."""

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

from tamis.artifacts import file_hash
from tamis.context import RunContext
from tamis.errors import MissingPartError, ModelError
from tamis.extras import missing_package
from tamis.records import Facts, QueryAnswer, QueryRequest
from tamis.remote.settings import RequestsSettings
from tamis.stages.queries.settings import LlamaSettings
from tamis.stages.queries.writers.writer import LocalModel

LLAMA_BLOCK: Final = 16
"""Requests that go to a model elsewhere together."""

_CONTEXT_TOKENS: Final = 4096  # three examples and 700 characters of the scripts that cost most tokens fit
_QUERY_TOKENS: Final = 64


class LlamaWriter(LocalModel):
    """The generator `llama`: continues a text of examples."""

    def __init__(self, settings: LlamaSettings, requests: RequestsSettings, context: RunContext) -> None:
        """Load nothing yet."""
        load = partial(LlamaGenerator, settings.model, context.machine.settings.threads)
        super().__init__("completion", settings.model.stem, load, LLAMA_BLOCK, context.executor)
        self._file = settings.model

    def identity(self) -> Facts:
        """Hash of the file."""
        return {"model": file_hash(self._file) if self._file.is_file() else str(self._file)}


class LlamaGenerator:
    """Writes queries with a GGUF model on the processor. Call `close` when done, or use it in a `with` block.

    Attributes:
        name: Stem of the model's file name.
        model: The same.
    """

    def __init__(self, model: Path, threads: int) -> None:
        """Load the model.

        Args:
            model: A GGUF file.
            threads: Threads to compute with, at least 1.

        Raises:
            MissingPartError: The package xllamacpp or the file is not there.
            ModelError: The file cannot be loaded.
        """
        if not model.is_file():
            raise MissingPartError(
                f"queries.llama.model: {model} not found; name a GGUF file (make demo LLM=1 brings one)"
            )
        try:
            import xllamacpp
        except ImportError as error:
            raise missing_package("queries.llama", "xllamacpp", "llm") from error
        parameters = xllamacpp.CommonParams()
        parameters.model.path = str(model)
        parameters.n_ctx = _CONTEXT_TOKENS
        parameters.n_parallel = 1
        parameters.cpuparams.n_threads = threads
        parameters.cpuparams_batch.n_threads = threads
        parameters.verbosity = -1
        self.name = self.model = model.stem
        try:
            self._server: Any = xllamacpp.Server(parameters)
        except Exception as error:
            raise ModelError(f"{model}: cannot be loaded as a GGUF language model ({error}); check the file") from error

    def write(self, requests: Iterable[QueryRequest]) -> Iterator[QueryAnswer]:
        """Let the model continue one prompt after the other; empty where it writes nothing.

        Raises:
            ModelError: The model failed on a document.
        """
        for request in requests:
            answer = self._server.handle_completions(
                {
                    "prompt": request.prompt.text,
                    "max_tokens": _QUERY_TOKENS,
                    "temperature": request.temperature,
                    "seed": request.seed,
                    "stop": ["\n"],
                }
            )
            try:
                text = str(answer["choices"][0]["text"])
            except (KeyError, IndexError, TypeError):
                doc_id = request.document.doc_id
                raise ModelError(f"{self.name}: no query for document {doc_id!r}, but {answer}") from None
            yield QueryAnswer(request.place, text.strip())

    def close(self) -> None:
        """Give the model's memory and threads back; the generator cannot write afterwards."""
        self._server = None

    def __enter__(self) -> "LlamaGenerator":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
