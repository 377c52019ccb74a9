"""From pairs of texts to rows of token ids. What does not fit is taken from the document, and counted."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from tamis.errors import InputError, ModelError
from tamis.models.serializer import Joined, PairTemplate
from tamis.models.shared_tokenizers import beside

Pair = tuple[str, str]
Rows = TypeVar("Rows", "JoinedRows", "TemplateRows")
Ids = TypeVar("Ids", list[int], np.ndarray)

SLICE = 256
"""Texts tokenised at once: the tokenizer's own records of a text take much more room than its ids."""


@dataclass(frozen=True, slots=True)
class TokenRow:
    """Token ids of one pair.

    Attributes:
        ids: int32 [tokens].
        second: Where the second segment begins, for models that tell segments apart; the end where there is one text.
        cut: Whether something of either text was left out.
        emptied: Whether nothing of the document was left, or nothing was there.
    """

    ids: np.ndarray
    second: int
    cut: bool
    emptied: bool

    @property
    def length(self) -> int:
        """Number of tokens."""
        return len(self.ids)


def keep(query: int, document: int, room: int) -> tuple[int, int]:
    """How many tokens of query and document are kept so that both fit into `room`.

    The longer text is cut down to the other, then both to the half: the rule of the tokenizers library,
    `truncation="longest_first"`. So the document alone is cut, until the query takes more than half of the room.
    """
    shorter = min(query, document)
    longer = min(max(query, document), max(shorter, room - shorter))
    if shorter + longer > room:
        shorter, longer = room // 2, room - room // 2
    return (shorter, longer) if query <= document else (longer, shorter)


class JoinedRows:
    """Rows of a `Joined` serializer: each text tokenised once, then put together as the tokenizer would.

    Attributes:
        serializer: See `Joined`.
        unread: A token behind the last text that the model never reads: it is left out, but counts as one of the row.
    """

    def __init__(self, tokenizer: Any, serializer: Joined, unread: int | None = None) -> None:
        """Learn what the tokenizer puts around and between two texts."""
        self.serializer = serializer
        self.unread = unread
        self._backend = plain_backend(tokenizer)
        self._from_end = tokenizer.truncation_side == "left"
        self._opening, self._between, self._closing = special_tokens(tokenizer)
        self._room = serializer.max_tokens - sum(map(len, (self._opening, self._between, self._closing)))
        if self._room < 2:
            raise ModelError(f"max_tokens is {serializer.max_tokens}: the special tokens leave no room")
        self._closing = self._closing[self._closing != unread] if unread is not None else self._closing

    def within(self, longest: int | None) -> "JoinedRows":
        """The same for rows of at most so many tokens, special ones included; None for what the model reads.

        Raises:
            InputError: too few for a token of each text.
        """
        return _shortened(self, longest)

    def rows(self, pairs: Sequence[Pair], instruction: str | None = None) -> list[TokenRow]:
        """Rows of pairs, in their order.

        Raises:
            InputError: an instruction, of which this serializer knows nothing.
        """
        if instruction:
            raise InputError("this model takes no instruction; its serializer has no place for one")
        queries, documents = sorted({query for query, _ in pairs}), sorted({document for _, document in pairs})
        query_of = dict(zip(queries, self._ids(queries, self.serializer.query_prefix), strict=True))
        document_of = dict(zip(documents, self._ids(documents, self.serializer.document_prefix), strict=True))
        return [self._row(query_of[query], document_of[document], not document.strip()) for query, document in pairs]

    def query_ids(self, queries: Sequence[str]) -> list[np.ndarray]:
        """Ids of queries for `join`: int32 [tokens] each, no more than could ever be kept and one."""
        return [ids for ids, _ in self._ids(queries, self.serializer.query_prefix)]

    def document_ids(self, documents: Sequence[str]) -> list[np.ndarray]:
        """Ids of documents for `join`: int32 [tokens] each, no more than could ever be kept and one."""
        return [ids for ids, _ in self._ids(documents, self.serializer.document_prefix)]

    def join(self, query: np.ndarray, document: np.ndarray) -> TokenRow:
        """The row of one pair from the ids of each text, [tokens].

        It is that of `rows`, but for one token where neither text would fit alone.
        """
        return self._row((query, len(query)), (document, len(document)), empty=False)

    def _ids(self, texts: Sequence[str], prefix: str) -> list[tuple[np.ndarray, int]]:
        """As many ids of each text as could ever be kept and one, and how many there are."""
        found: list[tuple[np.ndarray, int]] = []
        for start in range(0, len(texts), SLICE):
            part = [prefix + text for text in texts[start : start + SLICE]]
            encoded = self._backend.encode_batch_fast(part, add_special_tokens=False)
            found += [(np.array(self._kept(one.ids, self._room + 1), np.int32), len(one)) for one in encoded]
        return found

    def _kept(self, ids: Ids, count: int) -> Ids:
        """So many ids of a text: the first ones, or the last ones where the tokenizer cuts texts at their beginning."""
        return ids[max(len(ids) - count, 0) :] if self._from_end else ids[:count]

    def _row(self, query: tuple[np.ndarray, int], document: tuple[np.ndarray, int], empty: bool) -> TokenRow:
        of_query, of_document = keep(query[1], document[1], self._room)
        texts = self._kept(query[0], of_query), self._kept(document[0], of_document)
        parts = (self._opening, texts[0], self._between, texts[1], self._closing)
        return TokenRow(
            ids=np.concatenate(parts),
            second=len(self._opening) + of_query + len(self._between),
            cut=of_query < query[1] or of_document < document[1],
            emptied=of_document == 0 or empty,
        )


def special_tokens(tokenizer: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ids that a tokenizer puts before, between and after two texts: int32 [tokens] each, perhaps none."""
    encoding = tokenizer([("a", "a")]).encodings[0]
    places, ids = encoding.sequence_ids, np.array(encoding.ids, np.int32)
    first, second = places.index(0), places.index(1)
    last_of_first = second - places[second::-1].index(0)
    end_of_second = len(places) - places[::-1].index(1)
    return ids[:first], ids[last_of_first + 1 : second], ids[end_of_second:]


def tells_segments(tokenizer: Any) -> bool:
    """Whether a tokenizer gives the tokens of a pair types, and the second text another one than the first.

    Raises:
        ModelError: it gives others than 0 up to the second text and 1 from there on.
    """
    if "token_type_ids" not in tokenizer.model_input_names:
        return False
    encoding = tokenizer([("a", "a")]).encodings[0]
    types, second = list(encoding.type_ids), encoding.sequence_ids.index(1)
    if any(types) and types != [0] * second + [1] * (len(types) - second):
        raise ModelError(
            f"the tokenizer gives the tokens of a pair the types {types}, expected 0 up to the second text and 1 from "
            "there on, or 0 for all"
        )
    return any(types)


class TemplateRows:
    """Rows of a `PairTemplate` serializer: the whole text is tokenised at once, as the models were trained.

    Attributes:
        serializer: See `PairTemplate`.
        unread: None: the model reads to the end.
    """

    unread = None

    def __init__(self, tokenizer: Any, serializer: PairTemplate) -> None:
        """Tokenise the fixed ends.

        Raises:
            ModelError: the ends leave no room, or the suffix is not in the vocabulary.
        """
        self.serializer = serializer
        self._backend = plain_backend(tokenizer)
        self._prefix = self._fixed(serializer.prefix)
        self._suffix = self._fixed(serializer.suffix)
        if serializer.suffix.startswith("[") and len(self._suffix) != 1:
            raise ModelError(f"the tokenizer has no token {serializer.suffix!r}, from which the score would be read")
        self._room = serializer.max_tokens - len(self._prefix) - len(self._suffix)
        if self._room < 2:
            raise ModelError(f"max_tokens is {serializer.max_tokens}: the template's fixed ends leave no room")

    def _fixed(self, text: str) -> np.ndarray:
        return np.array(self._backend.encode(text, add_special_tokens=False).ids, np.int32)

    def within(self, longest: int | None) -> "TemplateRows":
        """See `JoinedRows.within`."""
        return _shortened(self, longest)

    def rows(self, pairs: Sequence[Pair], instruction: str | None = None) -> list[TokenRow]:
        """Rows of pairs, in their order.

        Args:
            pairs: (query, document).
            instruction: In place of the serializer's own.

        Raises:
            InputError: an instruction that the template has no place for, or that leaves no room.
        """
        if instruction and "{instruction}" not in self.serializer.template:
            raise InputError("this model takes no instruction; its template has no place for one")
        texts = [self._texts(query, instruction) for query, _ in pairs]
        rows: list[TokenRow] = []
        for start in range(0, len(pairs), SLICE):
            part = range(start, min(start + SLICE, len(pairs)))
            whole = [texts[i][0] + texts[i][1] + texts[i][2] + pairs[i][1] for i in part]
            for i, encoded in zip(part, self._backend.encode_batch_fast(whole, add_special_tokens=False), strict=True):
                if len(encoded) <= self._room:
                    rows.append(self._row(encoded.ids, cut=False, emptied=not pairs[i][1].strip()))
                else:
                    rows.append(self._cut(*texts[i], pairs[i][1]))
        return rows

    def query_ids(self, queries: Sequence[str]) -> list[np.ndarray]:
        """Ids for `join` of everything before the documents: int32 [tokens] each.

        A query whose text takes more than half of the room is cut to it.
        """
        return [self._head(*self._texts(query, None)) for query in queries]

    def document_ids(self, documents: Sequence[str]) -> list[np.ndarray]:
        """Ids of documents for `join`: int32 [tokens] each, no more than could ever be kept and one.

        The space before the document belongs to its first word, as in the whole text.
        """
        space = " " if self.serializer.template.removesuffix("{document}").endswith(" ") else ""
        found: list[np.ndarray] = []
        for start in range(0, len(documents), SLICE):
            part = [space + document for document in documents[start : start + SLICE]]
            encoded = self._backend.encode_batch_fast(part, add_special_tokens=False)
            found += [np.array(one.ids[: self._room + 1], np.int32) for one in encoded]
        return found

    def join(self, query: np.ndarray, document: np.ndarray) -> TokenRow:
        """The row of one pair from the ids of each text, [tokens].

        It is that of `rows`, where the tokenizer splits before a space and the query was not cut.
        """
        room = max(self._room - len(query), 0)
        ids = np.concatenate([query, document[:room]])
        return self._row(ids, cut=room < len(document), emptied=room == 0)

    def _head(self, before: str, query: str, after: str) -> np.ndarray:
        end = after.removesuffix(" ")
        encoded = self._backend.encode(before + query + end, add_special_tokens=False)
        ends = [last for _, last in encoded.offsets if len(before) < last <= len(before) + len(query)]
        most = max((self._room - len(encoded) + len(ends)) // 2, 1)
        if len(ends) > most:
            shorter = query[: ends[most - 1] - len(before)]
            encoded = self._backend.encode(before + shorter + end, add_special_tokens=False)
        return np.array(encoded.ids, np.int32)

    def _texts(self, query: str, instruction: str | None) -> tuple[str, str, str]:
        """What stands before the query, the query, and what stands between it and the document."""
        before, _, after = self.serializer.template.removesuffix("{document}").partition("{query}")
        given = {"instruction": instruction or self.serializer.instruction}
        return before.format(**given), query, after.format(**given)

    def _row(self, ids: Sequence[int] | np.ndarray, cut: bool, emptied: bool) -> TokenRow:
        whole = np.concatenate([self._prefix, np.array(ids, np.int32), self._suffix])
        return TokenRow(whole, second=len(whole), cut=cut, emptied=emptied)

    def _cut(self, before: str, query: str, after: str, document: str) -> TokenRow:
        encoded = self._backend.encode(before + query + after + document, add_special_tokens=False)
        query_end, head_end = len(before) + len(query), len(before) + len(query) + len(after)
        ends_of_query = [end for start, end in encoded.offsets if end > len(before) and start < query_end]
        of_document = sum(end > head_end for _, end in encoded.offsets)
        fixed = len(encoded) - len(ends_of_query) - of_document
        if fixed + 2 > self._room:
            raise InputError(f"the instruction has {fixed} tokens; the model reads {self.serializer.max_tokens} in all")
        kept, _ = keep(len(ends_of_query), of_document, self._room - fixed)
        if kept < len(ends_of_query):
            shorter = query[: max(ends_of_query[kept - 1] - len(before), 1)]
            ids = self._backend.encode(before + shorter + after + document, add_special_tokens=False).ids
            of_document = len(ids) - len(self._backend.encode(before + shorter + after, add_special_tokens=False))
        else:
            ids = encoded.ids
        emptied = len(ids) - of_document >= self._room or not document.strip()
        return self._row(ids[: self._room], cut=True, emptied=emptied)


def _shortened(rows: Rows, longest: int | None) -> Rows:
    """See `JoinedRows.within`."""
    most = rows.serializer.max_tokens
    fewer = max(0, most - (most if longest is None else longest))
    if rows._room - fewer < 2:
        raise InputError(f"{longest} tokens of a pair are too few, expected at least {most - rows._room + 2}")
    if not fewer:
        return rows
    shorter = copy.copy(rows)
    shorter._room = rows._room - fewer
    shorter.serializer = replace(rows.serializer, max_tokens=most - fewer)
    return shorter


def plain_backend(tokenizer: Any) -> Any:
    """The fast tokenizer inside, without truncation and padding, safe to use beside others; the vocabulary is shared.

    Raises:
        ModelError: a tokenizer without one.
    """
    from tokenizers import Tokenizer

    backend = getattr(tokenizer, "backend_tokenizer", None)
    if not isinstance(backend, Tokenizer):
        raise ModelError("the tokenizer has no fast form (tokenizer.json); save it with a current transformers")
    plain = beside(backend)
    plain.no_truncation()
    plain.no_padding()
    return plain
