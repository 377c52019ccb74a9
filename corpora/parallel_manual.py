"""Make judged queries from a manual that exists in many languages with the same section keys.

The heading of a section is a query, the text below it is the document that answers it. Relevance comes free: inside a
language, and across languages through the key.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from corpora.manual_text import cut_at_paragraph, is_dense_script, own_script_share, uses_own_script
from tamis.text import letters, normalise

_DOCUMENT_CHARACTERS = 2000
_TELLING_LETTERS = 25  # shorter paragraphs (names, commands) may be the same in every language


@dataclass(frozen=True, slots=True)
class Section:
    """One section of a manual in one language.

    Attributes:
        headings: What can be asked for it: the heading, and a one-line description where there is one.
        paragraphs: Its text; paragraphs that repeat a heading are dropped when documents are made.
    """

    headings: tuple[str, ...]
    paragraphs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ManualRules:
    """What a section must hold to become a document or a query.

    Attributes:
        query_prefixes: Start of the query ids of each heading in `Section.headings`.
        copied_share: Share of letters in English paragraphs, 0 to 1, above which a page counts as untranslated.
        document_letters: Letters a document needs, and the same for Chinese, Japanese and Korean.
        query_letters: Letters a query needs, and the same for Chinese, Japanese and Korean.
        english_headings: Whether a heading that is the same as in English is a query all the same, as where most such
            headings are names of programs.
        documents_per_language: A language with fewer documents is left out.
        own_script_share: Share of letters of the language's own script, 0 to 1, below which a document counts as
            untranslated; says nothing about languages that Latin letters may write.
    """

    query_prefixes: tuple[str, ...]
    copied_share: float
    document_letters: tuple[int, int]
    query_letters: tuple[int, int]
    english_headings: bool
    documents_per_language: int
    own_script_share: float = 0.0


@dataclass(frozen=True, slots=True)
class Passage:
    """A document: `doc_id` is `language/key`."""

    doc_id: str
    key: str
    language: str
    text: str


@dataclass(frozen=True, slots=True)
class Question:
    """A query and the documents of its own language that answer it."""

    query_id: str
    language: str
    text: str
    doc_ids: tuple[str, ...]


def judge_sections(
    manual: Mapping[str, Mapping[str, Section]], rules: ManualRules
) -> tuple[list[Passage], list[Question]]:
    """Turn the sections of a manual into documents and queries.

    Sections that are still in English, or too short, are left out. Equal headings inside a language become one query
    with several documents.

    Args:
        manual: Language, key, section; `en` is the original the others were translated from.
        rules: What a section must hold.

    Returns:
        Documents and queries, in the order of the languages and keys given.
    """
    english = manual.get("en", {})
    passages: list[Passage] = []
    questions: list[Question] = []
    for language, sections in manual.items():
        originals = {} if language == "en" else english
        documents = _documents(language, sections, originals, rules)
        if len(documents) < rules.documents_per_language:
            continue
        passages.extend(documents)
        questions.extend(_questions(documents, sections, originals, rules))
    return passages, questions


def _documents(
    language: str, sections: Mapping[str, Section], originals: Mapping[str, Section], rules: ManualRules
) -> list[Passage]:
    needed = rules.document_letters[is_dense_script(language)]
    documents = []
    for key, section in sections.items():
        headings = {normalise(heading) for heading in section.headings}
        paragraphs = [text for text in section.paragraphs if normalise(text) not in headings]
        if key in originals and _copied_share(paragraphs, originals[key].paragraphs) > rules.copied_share:
            continue
        text = cut_at_paragraph("\n".join(paragraphs), _DOCUMENT_CHARACTERS)
        if letters(text) >= needed and own_script_share(text, language) >= rules.own_script_share:
            documents.append(Passage(f"{language}/{key}", key, language, text))
    return documents


def _copied_share(paragraphs: Sequence[str], original: Sequence[str]) -> float:
    """Share of the letters that stand in telling paragraphs which are the same in the original."""
    originals = {normalise(text) for text in original}
    copied = sum(
        size for text in paragraphs if (size := letters(text)) > _TELLING_LETTERS and normalise(text) in originals
    )
    return copied / max(1, sum(map(letters, paragraphs)))


def _questions(
    documents: Sequence[Passage], sections: Mapping[str, Section], originals: Mapping[str, Section], rules: ManualRules
) -> list[Question]:
    asked: defaultdict[str, list[tuple[str, str, Passage]]] = defaultdict(list)
    for document in documents:
        original = None if rules.english_headings else originals.get(document.key)
        english = original.headings if original else ("",) * len(rules.query_prefixes)
        for prefix, heading, other in zip(rules.query_prefixes, sections[document.key].headings, english, strict=True):
            form = normalise(heading)
            if form != normalise(other) and _can_be_asked(heading, document.language, rules):
                asked[form].append((prefix, heading, document))
    questions = []
    for same in asked.values():
        prefix, text, first = same[0]
        doc_ids = tuple(dict.fromkeys(document.doc_id for _, _, document in same))
        questions.append(Question(prefix + first.doc_id, first.language, text, doc_ids))
    return questions


def _can_be_asked(heading: str, language: str, rules: ManualRules) -> bool:
    needed = rules.query_letters[is_dense_script(language)]
    return letters(heading) >= needed and uses_own_script(heading, language)
