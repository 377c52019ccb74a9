"""`corpus`: which documents are read."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from tamis.languages import not_a_tag
from tamis.section import NAME, LanguageTag, PathSection, Section

LEAST_SIMILAR = 0.5
"""Lowest share of common shingles that can be asked for: below it nearly every pair would have to be compared."""


def _off_or_similar(share: float) -> float:
    if share and share < LEAST_SIMILAR:
        raise ValueError(
            f"{share:g} would call texts near-duplicates that hardly are; set 0 for off, or {LEAST_SIMILAR:g} to 1"
        )
    return share


Similarity = Annotated[float, Field(ge=0, le=1), AfterValidator(_off_or_similar)]
"""Jaccard similarity from which texts are near-duplicates; 0 for off."""


class GeneralCorpus(PathSection):
    """A judged set, whose queries need not be written. A path alone stands for one with the defaults."""

    path: Path = Field(
        description="BEIR folder, or a training file of FlagEmbedding, sentence-transformers or Tevatron."
    )
    splits: tuple[Annotated[str, Field(pattern=NAME)], ...] = Field(
        default=("test",),
        min_length=1,
        description="Names of the files qrels/SPLIT.tsv of a BEIR folder. Their queries are the given ones.",
    )
    limit: int = Field(default=0, ge=0, description="Most documents per language. 0: all.")
    language: LanguageTag = Field(
        default="",
        description="Lower-case tag for documents that do not say their language. Empty: told from each text.",
    )


class FieldNames(Section):
    """What the fields of documents are called in rows. Dots lead into fields of fields."""

    id: str = Field(default="", description="Field of the id, such as pageId. Empty: _id, id, doc_id or docid.")
    text: str = Field(
        default="",
        description="Field of the text, such as body.html; where its last name holds html, the text of the page is "
        "taken. Empty: text, contents, content or body.",
    )
    title: str = Field(default="", description="Field of the title, such as name. Empty: title.")
    lang: str = Field(
        default="",
        description="Field of the language, such as meta.locale. Empty: lang, language or metadata.lang.",
    )


class PassageSettings(Section):
    """How long target documents are cut into passages. auto, on or off alone stand for `by`."""

    tokens: int = Field(
        default=160,
        ge=16,
        description="Most tokens of a passage, its title, headings and special tokens included; never more than the "
        "student reads (student.document_tokens).",
    )
    overlap: int = Field(
        default=0,
        ge=0,
        description="Most tokens of a passage's end with which the next one begins, in whole sentences.",
    )
    by: Literal["auto", "headings", "sentences", "off"] = Field(
        default="auto",
        description="Where to cut. headings: at headings, then paragraphs and sentences; sentences: a line with # is "
        "no heading; off: nowhere. auto: at what a document has; not a BEIR folder, nor where there are judged "
        "questions, and rows only where the median is longer than the student reads.",
    )

    @model_validator(mode="before")
    @classmethod
    def _one_word(cls, content: Any) -> Any:
        """A word alone, and YAML's on and off, which are true and false."""
        content = {"by": content} if isinstance(content, bool | str) else content
        words = {True: "headings", "on": "headings", False: "off"}
        by = content.get("by") if isinstance(content, dict) else None
        return {**content, "by": words.get(by, by)} if isinstance(by, bool | str) else content

    @model_validator(mode="after")
    def _overlap_leaves_something_new(self) -> "PassageSettings":
        if self.overlap > self.tokens // 2:
            raise ValueError(f"overlap {self.overlap} is more than half of tokens {self.tokens}; lower it")
        return self


class CorpusSettings(Section):
    """The documents to adapt to, and judged sets that bring given queries along."""

    target: Path | None = Field(
        default=None,
        description="Documents to adapt to, without any labels: any folder of files, BEIR folder, file of rows "
        "(.jsonl, .json, .csv, .tsv, .parquet) or folder of datasets. Empty: only the general student is trained.",
    )
    include: tuple[str, ...] = Field(
        default=(),
        description="Patterns, as in a .gitignore, of the files to read of the target's folder; of an unknown ending "
        "they are read as plain text. Empty: all that are documents.",
    )
    exclude: tuple[str, ...] = Field(
        default=(), description="Patterns, as in a .gitignore, of the files of the target's folder to leave out."
    )
    fields: FieldNames = Field(
        default=FieldNames(), description="What the target's rows call their fields, where they have other names."
    )
    general: tuple[GeneralCorpus, ...] = Field(
        default=(),
        description="Judged sets whose documents and given queries are learnt from beside the target. Each entry is a "
        "path, or a section with the keys below.",
    )
    languages: tuple[str, ...] = Field(
        default=(),
        description="Languages to tell apart, and to take general documents of. Empty: all. Set it where short texts "
        "are taken for a wrong language.",
    )
    max_chars: int = Field(
        default=1_000_000, ge=1, description="Most characters of a document. A longer one is dropped and counted."
    )
    near_duplicate: Similarity = Field(
        default=0.0,
        description="Lowest share of common five-word runs (Jaccard) from which a document of the same language is "
        "dropped as a near-duplicate, judged or not. 0: off; exact copies are dropped anyway.",
    )
    passages: PassageSettings = Field(
        default=PassageSettings(),
        description="How long documents of the target are cut into passages. The word auto, on or off alone "
        "stands for by.",
    )

    @field_validator("languages")
    @classmethod
    def _languages_are_tags(cls, languages: tuple[str, ...]) -> tuple[str, ...]:
        for language in languages:
            if wrong := not_a_tag(language):
                raise ValueError(wrong)
        return languages

    @field_validator("general")
    @classmethod
    def _names_tell_general_corpora_apart(cls, general: tuple[GeneralCorpus, ...]) -> tuple[GeneralCorpus, ...]:
        paths: dict[str, Path] = {}
        for one in general:
            other = paths.setdefault(one.path.name, one.path)
            if other != one.path:
                raise ValueError(
                    f"{other} and {one.path} have one name, with which the ids of their documents begin; rename one"
                )
        return general
