"""Prompts: a template in a file for each language, and the wishes of the recipe, become the text that a model is given.

A template holds words only. How they are put together is the same in every language (`LAYOUT`), unless it says
otherwise: the instructions, a few passages with their queries, the passage, and the label of the query that is wanted.
"""

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, field_validator

from tamis.errors import InputError
from tamis.formats.prompt_files import placeholders, read_prompt, read_style
from tamis.languages import language_names, primary
from tamis.records import Document, Prompt
from tamis.section import Section
from tamis.stages.queries.settings import PromptSettings, QueryKind
from tamis.text import sentences, without_spaces

Mode = Literal["chat", "completion"]
"""What the model is given: a message that it answers, or the beginning of a text that it continues."""

_FOLDER: Final = Path(__file__).with_name("shipped")
_FALLBACK: Final = "en"
_PASSAGE_CHARACTERS: Final = 700
_STYLE_LINES: Final = 4
"""Examples of style in one prompt: different ones each time, so that no single query is imitated."""

_EXAMPLE: Final = "{passage_label}: {passage}\n{label}: {query}\n\n"

LAYOUT: Final = "{instructions}{examples}{passage_label}: {passage}\n{label}:"
"""How a prompt is put together where the template does not say; instructions and examples end with an empty line."""


class KindWords(Section):
    """How one type of query is called and asked for."""

    label: str = Field(min_length=1)
    task: str = Field(min_length=1)


class Template(Section):
    """The words of one language."""

    language: str = Field(default="", description="primary tag of the language it is in; empty: of none")
    passage: str = Field(min_length=1, description="label of a passage")
    kinds: dict[QueryKind, KindWords] = Field(min_length=1)
    difficulty: dict[Literal["easy", "hard"], str] = Field(default_factory=dict)
    length: dict[Literal["short", "medium", "long"], str] = Field(default_factory=dict)
    persona: str = "{persona}"
    rules: str = ""
    another: str = Field(
        default="", description="asks for another point than the main one: for all but the first query"
    )
    style: str = Field(default="", description="introduces queries that people typed, one a line below it")
    write_in: str = Field(default="", description="names the wanted language as {language}")
    label_in: str = Field(default="{label}", description="the label where a query in another language is wanted")
    examples: tuple[dict[Literal["passage"] | QueryKind, str], ...] = ()
    layout: str = LAYOUT

    @field_validator("persona", "write_in", "label_in", "layout")
    @classmethod
    def _known_placeholders(cls, text: str, info: object) -> str:
        name = getattr(info, "field_name", "")
        found = placeholders(text)
        if strays := sorted(found - _PLACEHOLDERS[name]):
            known = ", ".join(f"{{{one}}}" for one in sorted(_PLACEHOLDERS[name]))
            raise ValueError(f"unknown placeholder {{{strays[0]}}}; known here: {known}")
        if name == "layout" and "passage" not in found:
            raise ValueError("holds no {passage}, so that no document would be shown")
        return text


_PLACEHOLDERS: Final[Mapping[str, frozenset[str]]] = {
    "persona": frozenset({"persona"}),
    "write_in": frozenset({"language"}),
    "label_in": frozenset({"label", "language"}),
    "layout": frozenset({"instructions", "examples", "passage_label", "passage", "label", "language"}),
}


@dataclass(frozen=True, slots=True)
class Prompts:
    """Makes the prompt for a query about a document.

    Attributes:
        templates: Primary language subtag -> template; a language that is not there gets the English one, or the own
            one of the recipe, which then names the language that is wanted.
        wishes: What the recipe wants; of types of query it names those that are asked for.
        style: Queries of people, of which a few are shown; empty for none.
        mode: A chat is always given the instructions. A text to continue only where the recipe has wishes or where
            there are no examples: small models follow examples better than instructions.
    """

    templates: Mapping[str, Template]
    wishes: PromptSettings
    mode: Mode
    style: Sequence[str] = ()

    def __call__(self, document: Document, kind: str, number: int = 0, seed: int = 0) -> Prompt:
        """The text that asks for one query about a document; nothing else of the corpus enters it.

        Args:
            document: Its first whole sentences are shown, about 700 characters.
            kind: `question`, `keyword` or `claim`.
            number: Among the queries of the document; all but number 0 are to be about another point than the main one.
            seed: Chooses which examples of style are shown.
        """
        further = number > 0
        chosen = random.Random(f"style {seed}").sample(self.style, min(_STYLE_LINES, len(self.style)))
        text = self._text(document.language, kind, opening(document.text), further, chosen)
        # All of the style stands for the few lines of it: other requests show others.
        return Prompt(text, _hash(self._text(document.language, kind, "", further, self.style)))

    def shots(self) -> frozenset[str]:
        """The queries of all examples that are shown: what a model that copies would answer."""
        shown = (example for t in self.templates.values() for example in t.examples[: self.wishes.examples])
        return frozenset(example[kind] for example in shown for kind in self.wishes.kinds if kind in example)

    def _text(self, tag: str, kind: str, passage: str, further: bool, style: Sequence[str]) -> str:
        own = primary(tag)
        template = self.templates.get(own, self.templates[_FALLBACK])
        words, language = template.kinds[kind], language_name(own)  # type: ignore[index]  # checked when loaded
        native = own == template.language
        label = words.label if native else template.label_in.format(label=words.label, language=language)
        examples = "".join(
            _EXAMPLE.format(
                passage_label=template.passage,
                passage=example["passage"],
                label=words.label,
                query=example[kind],  # type: ignore[index]
            )
            for example in template.examples[: self.wishes.examples]
        )
        instructions = self._instructions(template, words.task, language, further, style)
        return template.layout.format(
            instructions=instructions + "\n\n" if instructions else "",
            examples=examples,
            passage_label=template.passage,
            passage=passage,
            label=label,
            language=language,
        )

    def _instructions(self, template: Template, task: str, language: str, further: bool, style: Sequence[str]) -> str:
        wishes = [
            template.another if further else "",
            "" if self.wishes.difficulty == "any" else template.difficulty[self.wishes.difficulty],
            "" if self.wishes.length == "any" else template.length[self.wishes.length],
            template.persona.format(persona=self.wishes.persona) if self.wishes.persona else "",
        ]
        if self.mode == "chat" or not self.wishes.examples:
            wishes = [task, *wishes, template.rules, template.write_in.format(language=language)]
        if style:
            wishes += [template.style, *(f"- {line}" for line in style)]
        return "\n".join(filter(None, wishes))


def load_prompts(wishes: PromptSettings, mode: Mode) -> Prompts:
    """The prompts that a recipe asks for.

    Raises:
        InputError: its own template, or the file of its examples of style, cannot be read, or the template lacks
            something that the recipe asks for.
        SettingsError: too few or too many examples of style.
    """
    style = read_style(wishes.like) if wishes.like else ()
    own = wishes.template
    if own is None:
        return Prompts(load_templates(), wishes, mode, style)
    template = _read(own)
    if "kinds" not in wishes.model_fields_set:  # of the usual mixture those that it has words for
        known = {kind: weight for kind, weight in wishes.kinds.items() if kind in template.kinds}
        wishes = wishes.model_copy(update={"kinds": known})
    _check(template, wishes, own)
    return Prompts({_FALLBACK: template}, wishes, mode, style)


@cache
def load_templates() -> dict[str, Template]:
    """Read the templates that come with tamis: primary language subtag -> template."""
    return {path.stem: _read(path) for path in sorted(_FOLDER.glob("*.yaml"))}


def language_name(tag: str) -> str:
    """English name of a language; words that fit into the same place where it is unknown."""
    return language_names().get(tag, "the language of the passage")


def _hash(text: str) -> str:
    """First 12 hexadecimal digits of the sha256."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:12]


def _read(path: Path) -> Template:
    return read_prompt(path, Template, "a prompt template")


def _check(template: Template, wishes: PromptSettings, path: Path) -> None:
    """An own template has what the recipe wants of it."""
    for kind in wishes.kinds:
        if kind not in template.kinds:
            raise InputError(f"{path}: kinds: no {kind!r}, which queries.prompt.kinds asks for; add it")
    for section, wanted in (("difficulty", wishes.difficulty), ("length", wishes.length)):
        if wanted != "any" and wanted not in getattr(template, section):
            raise InputError(f"{path}: {section}: no {wanted!r}, which queries.prompt.{section} asks for; add it")
    if wishes.like and not template.style:
        raise InputError(f"{path}: style: no words before the queries of queries.prompt.like; add some")
    shown = template.examples[: wishes.examples]
    complete = sum(all(key in example for key in ("passage", *wishes.kinds)) for example in shown)
    if complete < wishes.examples:
        raise InputError(
            f"{path}: examples: {complete} of the first {wishes.examples} have a passage and a query of each type "
            f"({', '.join(wishes.kinds)}); add some, or set queries.prompt.examples lower"
        )


def opening(text: str) -> str:
    """The first whole sentences of a text in one line, about 700 characters; a longer first sentence is cut."""
    found = ""
    joint = "" if without_spaces(text) else " "
    for sentence in sentences(text):
        longer = found + joint + sentence if found else sentence
        if len(longer) > _PASSAGE_CHARACTERS:
            return found or longer[:_PASSAGE_CHARACTERS]
        found = longer
    return found
