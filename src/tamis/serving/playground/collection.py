"""A BEIR folder that the playground searches with BM25, as `tamis evaluate` does."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from tamis.errors import InputError
from tamis.formats.beir import beir_file, read_query_texts, relevant
from tamis.formats.documents import read_documents
from tamis.formats.qrels import qrels_files
from tamis.report.highlight import common_words
from tamis.retrievers.index import Index, QueryBatch, Searching, build_indexes
from tamis.retrievers.own_ids import apart, without
from tamis.text import normalise, words

DEPTH: Final = 20
"""Most documents of a search."""

OFFERED: Final = 6
"""Most questions that are shown at a time."""


@dataclass(frozen=True, slots=True)
class SearchHit:
    """A document that holds a word of the query.

    Attributes:
        doc_id: Its id in the folder.
        text: Title and body.
        language: As `Document.language`.
        score: BM25's, above 0.
    """

    doc_id: str
    text: str
    language: str
    score: float


class Collection:
    """Documents that can be searched, and questions to search them with.

    Attributes:
        name: Name of the folder.
        documents: How many there are.
        questions: Text by id; empty where the folder has none.
    """

    def __init__(self, folder: Path) -> None:
        """Read a BEIR folder and index it.

        Raises:
            InputError: no such folder, no `corpus.jsonl` in it, no document there, or a line that is not understood.
        """
        if not folder.is_dir():
            raise InputError(f"--on {folder}: no such folder; expected a BEIR folder with corpus.jsonl")
        if beir_file(folder, "corpus") is None:
            raise InputError(f"--on {folder}: no corpus.jsonl in it; expected a BEIR folder, to search its documents")
        documents = list(read_documents(folder, "target"))
        index = build_indexes(documents, None, Searching(languages="any")).get("target", "")
        assert index is not None  # a file without documents is refused where it is read
        queries = beir_file(folder, "queries")
        self.name = folder.resolve().name
        self.documents = len(documents)
        self.questions: Mapping[str, str] = read_query_texts(queries) if queries else {}
        self._index_of: Index = index
        self._documents = {document.doc_id: document for document in documents}
        self._common = common_words(documents)
        self._ids = {text: query_id for query_id, text in self.questions.items()}
        judged = (pair for file in qrels_files(folder).values() for pair in relevant(file))
        numbered_apart = apart((query_id, doc_id) for query_id, doc_id, _ in judged)
        self._own = frozenset() if numbered_apart else self.questions.keys() & self._documents.keys()
        self._readable = [(normalise(text), text) for text in self.questions.values()]

    def search(self, query: str) -> list[SearchHit]:
        """The best documents that hold a word of the query, at most `DEPTH`.

        The order of one of the folder's own questions is that of its BM25 run in `tamis evaluate`, which leaves out the
        document that a question is itself.
        """
        query_id = self._ids.get(query, query)
        asked = QueryBatch([query_id], [query], np.zeros((1, 0), np.float32))
        (searched,) = self._index_of.search(asked, DEPTH + 1, ["bm25"])
        found = without(searched["bm25"], query_id if query_id in self._own else None, DEPTH)
        hits = zip(found.doc_ids, found.scores, strict=True)
        known = [(self._documents[doc_id], score) for doc_id, score in hits if score > 0]
        return [SearchHit(document.doc_id, document.text, document.language, score) for document, score in known]

    def common(self, query: str, found: list[SearchHit]) -> list[str]:
        """Words of the query that most texts hold in the language of a document that was found; not worth a mark."""
        languages = {one.language for one in found}
        frequent = frozenset[str]().union(*(self._common[language] for language in languages))
        return sorted(frequent.intersection(words(query)))

    def matching(self, part: str) -> list[str]:
        """Questions that hold each word of a text, perhaps within another, at most `OFFERED`, in the file's order."""
        wanted = normalise(part).split()
        found: list[str] = []
        for readable, text in self._readable:
            if all(word in readable for word in wanted):
                found.append(text)
                if len(found) == OFFERED:
                    break
        return found
