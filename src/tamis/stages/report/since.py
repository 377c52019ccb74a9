"""What differs between a run and the one before it in the same folder: documents, and the work that they made."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tamis.artifacts import finished_results, read_records, read_stream, results_behind
from tamis.errors import RunError
from tamis.records import Candidates, Document, Query


class Share(NamedTuple):
    """How much of something is new.

    Attributes:
        new: What the run before did not have.
        all: What this one has.
    """

    new: int
    all: int


@dataclass(frozen=True)
class Since:
    """What differs from the run before in the same folder.

    Attributes:
        model: Folder of the model of before, which stays.
        documents: How many are `new`, `changed`, `gone` and `the same`, by id and text.
        work: How much is new of `queries`, `texts` that are embedded and `pairs` that the teacher scores; a text that
            was there before under whatever id is not new.
    """

    model: Path
    documents: Mapping[str, int]
    work: Mapping[str, Share]


def since_before(folders: Mapping[str, Path]) -> Since | None:
    """What differs from the run before: the newest other model in the same run folder.

    Args:
        folders: Folder of each stage of this run by name, the merge among them.

    Returns:
        None where there was none, where it is not whole any more, or where it had the same documents and queries.
    """
    before = _before(folders["merge"])
    if before is None or all(before[stage] == folders[stage] for stage in ("corpus", "queries")):
        return None
    old, new = _Texts(before), _Texts(folders)
    pairs = frozenset(old.pairs())
    scored = list(new.pairs())
    return Since(
        before["merge"] / "model",
        document_changes(old.documents, new.documents),
        {
            "queries": Share(len(new.asked - old.asked), len(new.asked)),
            "texts": Share(len(new.embedded - old.embedded), len(new.embedded)),
            "pairs": Share(sum(pair not in pairs for pair in scored), len(scored)),
        },
    )


def document_changes(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, int]:
    """How many documents, texts by id, are `new`, `changed`, `gone` and `the same`."""
    both = before.keys() & after.keys()
    same = sum(before[doc_id] == after[doc_id] for doc_id in both)
    return {
        "new": len(after.keys() - before.keys()),
        "changed": len(both) - same,
        "gone": len(before.keys() - after.keys()),
        "the same": same,
    }


def _before(merge: Path) -> Mapping[str, Path] | None:
    """Folders of the newest other result of a merge, and of what it was made from, with its candidates."""
    others = [folder for folder in finished_results(merge.parent.parent, "merge") if folder != merge]
    if not others:
        return None
    try:
        found = results_behind(others[-1])
    except RunError:
        return None
    needed = [found[stage] / f"{stage}.parquet" for stage in ("corpus", "queries", "candidates")]
    return found if all(file.is_file() for file in needed) else None


class _Texts:
    """What a run asked, embedded and scored, by the texts themselves."""

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._folders = folders
        every = read_records(folders["corpus"] / "corpus.parquet", Document)
        queries = read_records(folders["queries"] / "queries.parquet", Query)
        self._documents = {document.doc_id: document.text for document in every}
        self._queries = {query.query_id: query.text for query in queries}
        self.documents = {document.doc_id: document.text for document in every if document.origin == "target"}
        self.asked = {(query.text, self._documents.get(query.document_id, "")) for query in queries}
        self.embedded = {("document", text) for text in self._documents.values()}
        self.embedded |= {("query", text) for text in self._queries.values()}

    def pairs(self) -> Iterator[int]:
        """A hash of each candidate pair's texts: there may be millions of them."""
        for found in read_stream(self._folders["candidates"] / "candidates.parquet", Candidates):
            query = self._queries[found.query_id]
            yield from (hash((query, self._documents[doc_id])) for doc_id in found.doc_ids)
