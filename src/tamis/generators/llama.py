"""A query writer that runs a GGUF language model in this process with llama.cpp.

The model continues a text of three passages with their questions and one passage without, all in the document's own
language: small models follow examples better than instructions.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tamis.errors import MissingPartError, ModelError
from tamis.records import Document
from tamis.text import sentences, without_spaces

_SHOTS_FILE: Final = Path(__file__).with_name("shots.json")
_EXAMPLE: Final = "{passage_label}: {passage}\n{question_label}: {question}\n\n"
_OPEN_EXAMPLE: Final = "{passage_label}: {passage}\n{question_label}:"
_FALLBACK: Final = "en"

_PASSAGE_CHARACTERS: Final = 700
_CONTEXT_TOKENS: Final = 4096  # three shots and 700 characters of the scripts that cost most tokens fit
_QUERY_TOKENS: Final = 64
_SURE_TEMPERATURE: Final = 0.2
_VARIED_TEMPERATURE: Final = 0.8


@dataclass(frozen=True, slots=True)
class Shots:
    """The examples of one language.

    Attributes:
        passage_label: The word before a passage.
        question_label: The word before a question.
        pairs: Passages with a question each.
    """

    passage_label: str
    question_label: str
    pairs: tuple[tuple[str, str], ...]


def load_shots() -> dict[str, Shots]:
    """Read the examples that come with tamis: primary language subtag -> shots."""
    entries = json.loads(_SHOTS_FILE.read_text(encoding="utf-8"))
    return {
        language: Shots(entry["passage"], entry["question"], tuple((p, q) for p, q in entry["shots"]))
        for language, entry in entries.items()
    }


def shot_queries() -> frozenset[str]:
    """The questions of all examples: what a model that copies would answer."""
    return frozenset(question for shots in load_shots().values() for _, question in shots.pairs)


def few_shot_prompt(document: Document, shots: Mapping[str, Shots]) -> str:
    """Write the text that the model continues.

    Args:
        document: The document to ask about; nothing else of the corpus enters the prompt.
        shots: Primary language subtag -> examples; a language that is not there gets the English ones.

    Returns:
        The examples, the start of the document (whole sentences, about 700 characters) and an open question label.
    """
    chosen = shots.get(document.language.split("-")[0], shots[_FALLBACK])
    labels = {"passage_label": chosen.passage_label, "question_label": chosen.question_label}
    examples = "".join(_EXAMPLE.format(passage=p, question=q, **labels) for p, q in chosen.pairs)
    return examples + _OPEN_EXAMPLE.format(passage=_opening(document.text), **labels)


def prompt_hash() -> str:
    """First 12 hexadecimal digits of the sha256 of the examples and the template."""
    content = _SHOTS_FILE.read_bytes() + (_EXAMPLE + _OPEN_EXAMPLE).encode()
    return hashlib.sha256(content).hexdigest()[:12]


def _opening(text: str) -> str:
    """The first whole sentences of a text in one line; a longer first sentence is cut."""
    opening = ""
    joint = "" if without_spaces(text) else " "
    for sentence in sentences(text):
        longer = opening + joint + sentence if opening else sentence
        if len(longer) > _PASSAGE_CHARACTERS:
            return opening or longer[:_PASSAGE_CHARACTERS]
        opening = longer
    return opening


class LlamaGenerator:
    """Writes queries with a GGUF model on the processor. Call `close` when done, or use it in a `with` block.

    The seed decides the temperature too: 0.2 for even seeds (the first query of a document), 0.8 for odd ones, so that
    (document, seed) is all that a query depends on.

    Attributes:
        name: Stem of the model's file name.
        prompt: Hash of the examples and the template, see `prompt_hash`.
    """

    name: str
    prompt: str

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
            raise MissingPartError(f"{model}: no such file; expected a language model in GGUF form")
        try:
            import xllamacpp
        except ImportError as error:
            raise MissingPartError(
                "writing queries with a GGUF model needs the package xllamacpp: pip install 'tamis[llm]'"
            ) from error
        parameters = xllamacpp.CommonParams()
        parameters.model.path = str(model)
        parameters.n_ctx = _CONTEXT_TOKENS
        parameters.n_parallel = 1
        parameters.cpuparams.n_threads = threads
        parameters.cpuparams_batch.n_threads = threads
        parameters.verbosity = -1
        self.name = model.stem
        self.prompt = prompt_hash()
        self._shots = load_shots()
        try:
            self._server: Any = xllamacpp.Server(parameters)
        except Exception as error:
            raise ModelError(f"{model}: cannot be loaded as a GGUF language model ({error}); check the file") from error

    def __call__(self, document: Document, seed: int) -> str:
        """Let the model write one query about the document; empty if it writes nothing.

        Raises:
            ModelError: The model failed on this document.
        """
        request = {
            "prompt": few_shot_prompt(document, self._shots),
            "max_tokens": _QUERY_TOKENS,
            "temperature": _VARIED_TEMPERATURE if seed % 2 else _SURE_TEMPERATURE,
            "seed": seed,
            "stop": ["\n"],
        }
        answer = self._server.handle_completions(request)
        try:
            return str(answer["choices"][0]["text"]).strip()
        except (KeyError, IndexError, TypeError) as error:
            raise ModelError(f"{self.name}: no query for document {document.doc_id!r}, but {answer}") from error

    def close(self) -> None:
        """Give the model's memory and threads back; the generator cannot write afterwards."""
        self._server = None

    def __enter__(self) -> "LlamaGenerator":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
