"""The language models of this machine that write, each loaded when it is first needed; what an executor sends on."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tamis.errors import MissingPartError
from tamis.machine import Machine
from tamis.records import QueryAnswer, QueryRequest
from tamis.stages.queries.settings import QueriesSettings

if TYPE_CHECKING:
    from tamis.stages.queries.writers.causal import CausalGenerator
    from tamis.stages.queries.writers.llama import LlamaGenerator


class WritingModels:
    """Language models by their section of `queries`. A copy in another process loads what it is asked for."""

    def __init__(self, settings: QueriesSettings, machine: Machine) -> None:
        """Load nothing yet."""
        self._settings, self._machine = settings, machine
        self._loaded: dict[str, CausalGenerator | LlamaGenerator] = {}

    def __reduce__(self) -> tuple[object, ...]:
        return WritingModels, (self._settings, self._machine)

    def write(self, kind: str, requests: Sequence[QueryRequest]) -> list[QueryAnswer]:
        """Queries by the model of a section, which stays loaded."""
        if kind not in self._loaded:
            self._loaded[kind] = self.load(kind)
        return list(self._loaded[kind].write(requests))

    def load(self, kind: str) -> "CausalGenerator | LlamaGenerator":
        """The model of the section `transformers` or `llama`; what is heavy is imported for those who use it.

        Raises:
            MissingPartError: a GGUF file that is not there.
        """
        settings, machine = self._settings, self._machine
        if kind == "transformers" and settings.transformers:
            from tamis.stages.queries.writers.causal import CausalGenerator

            path, mode = settings.transformers.path, settings.transformers.mode
            return CausalGenerator(path, mode, machine.precision, machine.device, machine.token_budget)
        from tamis.stages.queries.writers.llama import LlamaGenerator

        assert settings.llama is not None, "checked when the recipe was read"
        model = settings.llama.model
        if not model.exists():
            raise MissingPartError(
                f"queries.llama.model: {model} not found; name a GGUF file (make demo LLM=1 brings one)"
            )
        return LlamaGenerator(model, machine.settings.threads)
