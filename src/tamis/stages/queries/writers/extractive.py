"""A query writer without a model: what people would type, taken from the document in its own words.

It picks one of four kinds of text: a question that the document asks, a heading, the words that tell most about the
document as a keyword search, or a phrase around one of them; all but the keywords are contiguous and lie within one
sentence. A word tells much if it is rare in the corpus and frequent in the document.
"""

import math
import random
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Final

from tamis.context import RunContext
from tamis.records import Document, QueryAnswer, QueryRequest
from tamis.remote.settings import RequestsSettings
from tamis.stages.queries.writers.writer import FarGenerator, Opened, QueryWriter
from tamis.text import letters, sentences, without_spaces, words

EXTRACTIVE_BLOCK: Final = 1024
"""Requests that go to a generator elsewhere together."""

# A function word is less than this fraction as telling as a word of one document: with 400 documents, one that
# stands in more than every tenth of them.
_FUNCTION_WORD: Final = 0.4
# A phrase is drawn this many times and the most telling one is kept.
_DRAWS: Final = 6
# How often each kind of query is drawn where the document has it.
_WEIGHTS: Final = {"question": 4, "heading": 2, "keywords": 3, "phrase": 3}
_MAX_QUESTION: Final = 150  # characters
_PHRASE_WORDS: Final = (2, 8)
_KEYWORDS: Final = (2, 5)
_KEYWORD_LETTERS: Final = 3
_SPACELESS_CHARACTERS: Final = (6, 20)

_QUESTION_MARKS: Final = ("?", "？", "؟")
_ENDS: Final = tuple(".!…。！｡۔।॥։።။។:：,，、;；")
_CLAUSE_BORDER: Final = re.compile(
    r"[,;:](?=\s)|[()\[\]{}<>«»„“”\"|،؛；，、。！？：（）「」『』《》【】・…]+|\s[-–—]+\s"  # 1,5 and URLs stay whole
)
_EDGES: Final = " \t#*•·-–—>=_`'’\".!?…؟۔।॥։።။។,;:，、；：。！？｡"

_LEADING_VOWELS: Final = "เแโใไເແໂໃໄ"  # Thai and Lao: written before the consonant that they belong to


def inverse_document_frequencies(documents: Iterable[Document]) -> dict[str, dict[str, float]]:
    """Say how telling each word is among the documents of its language.

    Args:
        documents: The corpus.

    Returns:
        Language -> word (as `tamis.text.words` makes them) -> log(1 + N / n), where N counts the documents of the
        language and n those that hold the word; from log 2 (in every document) upwards.
    """
    totals: Counter[str] = Counter()
    holding: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for document in documents:
        totals[document.language] += 1
        holding[document.language].update(set(words(document.text)))
    return {
        language: {word: math.log(1 + totals[language] / n) for word, n in counts.items()}
        for language, counts in holding.items()
    }


@dataclass(frozen=True, slots=True)
class _Weights:
    """How telling the words of one document are.

    Attributes:
        idf: Word -> inverse document frequency in its language.
        rarest: Weight of a word of a single document, also given to unknown words.
        counts: Word -> how often the document holds it.
    """

    idf: Mapping[str, float]
    rarest: float
    counts: Mapping[str, int]

    def of(self, token: str) -> float:
        """Weight of the most telling word in the token; 0 for a token without words (a dash, a bullet)."""
        return max((self.idf.get(word, self.rarest) for word in words(token)), default=0.0)

    def is_function_word(self, token: str) -> bool:
        return self.of(token) < _FUNCTION_WORD * self.rarest

    def salience(self, token: str) -> float:
        """Weight of the token's most salient word: rare in the corpus, frequent in the document."""
        return max(map(self.of_word, words(token)), default=0.0)

    def of_word(self, word: str) -> float:
        """Salience of one word."""
        return self.idf.get(word, self.rarest) * (1 + math.log(max(self.counts.get(word, 1), 1)))

    def of_phrase(self, phrase: str) -> float:
        """Mean salience of the two most salient tokens, or of all character pairs where there are no spaces."""
        if without_spaces(phrase):
            pairs = list(map(self.of_word, words(phrase)))
            return sum(pairs) / len(pairs)
        return sum(sorted(map(self.salience, phrase.split()), reverse=True)[:2]) / 2


_Parts = tuple[_Weights, dict[str, list[str]]]
"""How telling a document's words are, and what of it could be a query, by kind."""


class ExtractiveWriter(QueryWriter):
    """The generator `extractive`: costs nothing, and depends on the documents alone."""

    def __init__(self, settings: None, requests: RequestsSettings, context: RunContext) -> None:
        """Read nothing yet."""
        self._executor = context.executor

    def open(self, documents: Sequence[Document]) -> Opened:
        """Weigh the words of the documents."""
        extract, executor = ExtractiveGenerator(inverse_document_frequencies(documents)), self._executor
        far = FarGenerator(extract.name, extract.model, partial(_extracts, extract), EXTRACTIVE_BLOCK, executor.mapped)
        return nullcontext(far if executor.elsewhere else extract)


def _extracts(extract: "ExtractiveGenerator", requests: Sequence[QueryRequest]) -> list[QueryAnswer]:
    return list(extract.write(requests))


class ExtractiveGenerator:
    """Writes queries by taking them out of the document. Deterministic in (document, seed).

    Attributes:
        name: `extractive`.
        model: Empty, as there is none.
    """

    name: str = "extractive"
    model: str = ""

    def __init__(self, idf: Mapping[str, Mapping[str, float]]) -> None:
        """Keep the word weights of `inverse_document_frequencies`; words they lack count as the rarest."""
        self._idf = idf
        self._rarest = {language: max(weights.values(), default=1.0) for language, weights in idf.items()}
        self._read: tuple[Document, _Parts] | None = None

    def write(self, requests: Iterable[QueryRequest]) -> Iterator[QueryAnswer]:
        """Take one query out of each document, in their order."""
        for request in requests:
            yield QueryAnswer(request.place, self(request.document, request.seed))

    def __call__(self, document: Document, seed: int) -> str:
        """Take one query out of the document; empty if it holds nothing that could be one."""
        rng = random.Random(seed)
        if self._read is None or self._read[0] is not document:  # several queries of a document follow each other
            self._read = document, self._parts(document)
        weights, kinds = self._read[1]
        present = [kind for kind in kinds if kinds[kind]]
        if not present:
            return ""
        kind = rng.choices(present, weights=[_WEIGHTS[name] for name in present])[0]
        if kind == "phrase":
            phrases = [_phrase(rng.choice(kinds[kind]), weights, rng) for _ in range(_DRAWS)]
            return max(phrases, key=weights.of_phrase)
        if kind == "keywords":
            return " ".join(_first_in_text(kinds[kind], rng.randint(*_KEYWORDS), document.text))
        chosen = rng.choice(kinds[kind])
        return _without_frame(chosen, weights) if kind == "question" and rng.random() < 0.5 else chosen

    def _parts(self, document: Document) -> _Parts:
        language = document.language
        weights = _Weights(self._idf.get(language, {}), self._rarest.get(language, 1.0), Counter(words(document.text)))
        parts = sentences(document.text)
        return weights, {
            "question": [part for part in parts if _is_question(part)],
            "heading": [heading for part in parts if (heading := _heading(part))],
            "keywords": _keywords(document.text, weights),
            "phrase": [clause for part in parts for clause in _clauses(part)],
        }


def _is_question(sentence: str) -> bool:
    long_enough = letters(sentence) >= (_SPACELESS_CHARACTERS[0] if without_spaces(sentence) else 10)
    return sentence.endswith(_QUESTION_MARKS) and long_enough and len(sentence) <= _MAX_QUESTION


def _keywords(text: str, weights: _Weights) -> list[str]:
    """The most salient words of a text, most salient first; none for a script without spaces or too few words."""
    if without_spaces(text):
        return []
    stripped = {token.strip(_EDGES + '()[]<>„“”«»"') for token in text.split()}
    read = {token: words(token) for token in stripped if letters(token) >= _KEYWORD_LETTERS}
    distinct = {token.casefold(): token for token in sorted(read) if len(read[token]) == 1}.values()
    found = sorted(distinct, key=lambda token: (-weights.of_word(read[token][0]), token))[: _KEYWORDS[1]]
    return found if len(found) >= _KEYWORDS[0] else []


def _first_in_text(keywords: list[str], count: int, text: str) -> list[str]:
    """The best `count` keywords, in the order in which the text brings them."""
    return sorted(keywords[:count], key=text.find)


def _heading(sentence: str) -> str:
    """The sentence as a heading, without list and markup signs; empty if it is none."""
    if sentence.endswith(_ENDS + _QUESTION_MARKS) or not letters(sentence):
        return ""
    heading = sentence.strip(_EDGES)
    if without_spaces(heading):
        low, high, size = *_SPACELESS_CHARACTERS, len(heading)
    else:
        low, high, size = *_PHRASE_WORDS, len(heading.split())
    return heading if low <= size <= high else ""


def _clauses(sentence: str) -> list[str]:
    """Parts of a sentence between commas, brackets and the like that are long enough to give a query."""
    found = []
    for clause in _CLAUSE_BORDER.split(sentence):
        stripped = clause.strip(_EDGES)
        enough = len(stripped) >= _SPACELESS_CHARACTERS[0] if without_spaces(stripped) else " " in stripped
        if enough and letters(stripped):
            found.append(stripped)
    return found


def _without_frame(question: str, weights: _Weights) -> str:
    """The question without its mark and its outer function words: `How do I mount a disk?` gives `mount a disk`.

    The question word of a script without spaces stays, as it cannot be told from the rest cheaply.
    """
    bare = question.strip(_EDGES)
    return bare if without_spaces(bare) else " ".join(_trimmed(bare.split(), weights))


def _phrase(clause: str, weights: _Weights, rng: random.Random) -> str:
    return _characters(clause, rng) if without_spaces(clause) else _words_around(clause, weights, rng)


def _words_around(clause: str, weights: _Weights, rng: random.Random) -> str:
    """A phrase of 2 to 8 words of the clause around one of its content words, with another one if it has two."""
    tokens = clause.split()
    content = [i for i, token in enumerate(tokens) if not weights.is_function_word(token)] or [0]
    anchor = rng.choice(content)
    size = min(rng.randint(*_PHRASE_WORDS), len(tokens))
    first = rng.randint(max(0, anchor - size + 1), min(anchor, len(tokens) - size))
    last = first + size
    others = [i for i in content if i != anchor]
    if others and not any(first <= i < last for i in others):
        nearest = min(others, key=lambda i: abs(i - anchor))
        if abs(nearest - anchor) < _PHRASE_WORDS[1]:
            first, last = min(anchor, nearest), max(anchor, nearest) + 1
    return " ".join(_trimmed(tokens[first:last], weights)).strip(_EDGES)


def _trimmed(tokens: list[str], weights: _Weights) -> list[str]:
    """The tokens without function words at either end, but at least two of them."""
    first, last = 0, len(tokens)
    while last - first > _PHRASE_WORDS[0] and weights.is_function_word(tokens[first]):
        first += 1
    while last - first > _PHRASE_WORDS[0] and weights.is_function_word(tokens[last - 1]):
        last -= 1
    return tokens[first:last]


def _characters(clause: str, rng: random.Random) -> str:
    """A stretch of 6 to 20 characters of the clause, marks that follow the last one included.

    It starts and ends at a border of the clause, at a space, or where Hiragana gives way to another script (the start
    of most Japanese words); where there is none within reach it ends anywhere, but never between a letter and its
    marks.
    """
    low, high = _SPACELESS_CHARACTERS
    borders = [i for i in range(len(clause) + 1) if _is_border(clause, i)]
    first = rng.choice([i for i in borders if i <= len(clause) - low])
    last = rng.choice(
        [i for i in borders if low <= i - first <= high] or [min(first + rng.randint(low, high), len(clause))]
    )
    while last < len(clause) and unicodedata.category(clause[last]).startswith("M"):
        last += 1
    return clause[first:last].rstrip(_LEADING_VOWELS).strip(_EDGES)


def _is_border(clause: str, i: int) -> bool:
    if i in (0, len(clause)) or clause[i - 1].isspace():
        return True
    return "\u3041" <= clause[i - 1] <= "\u309f" and not "\u3041" <= clause[i] <= "\u309f"
