"""Write judged documents and queries as a BEIR folder, and count what lies in one."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpora.parallel_manual import Passage, Question
from tamis.errors import InputError

_FILES = ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv", "qrels/cross.tsv", "SOURCE.txt")


@dataclass(frozen=True, slots=True)
class Counts:
    """What a BEIR folder with several languages holds.

    Attributes:
        documents: Lines of the corpus.
        queries: Lines of the queries.
        languages: Languages of the documents.
        same_language_pairs: Judged pairs of one language, `qrels/test.tsv`.
        cross_language_pairs: Judged pairs of two languages, `qrels/cross.tsv`.
    """

    documents: int
    queries: int
    languages: int
    same_language_pairs: int
    cross_language_pairs: int

    def __str__(self) -> str:
        return (
            f"{self.documents} documents and {self.queries} queries in {self.languages} languages, "
            f"{self.same_language_pairs} judged pairs inside a language and {self.cross_language_pairs} across"
        )


def write_beir(
    passages: Sequence[Passage], questions: Sequence[Question], key_name: str, source: str, folder: Path
) -> None:
    """Write corpus, queries, both qrels and where they came from; the same input gives the same bytes.

    Args:
        passages: Documents, in the order they are written.
        questions: Queries, in the order they are written.
        key_name: Name of the section key in the documents' metadata.
        source: Text of `SOURCE.txt`; its first line is the name of the source, which `holds_source` looks for.
        folder: An empty folder.
    """
    (folder / "qrels").mkdir()
    _write_lines(folder / "corpus.jsonl", map(_json_line, (_document_record(item, key_name) for item in passages)))
    _write_lines(folder / "queries.jsonl", map(_json_line, map(_query_record, questions)))
    same = [(question.query_id, doc_id) for question in questions for doc_id in question.doc_ids]
    _write_qrels(folder / "qrels" / "test.tsv", same)
    _write_qrels(folder / "qrels" / "cross.tsv", _cross_language_pairs(passages, questions))
    _write_lines(folder / "SOURCE.txt", source.splitlines())


def holds_source(folder: Path, name: str) -> bool:
    """Whether a folder is a finished BEIR folder of the named source."""
    if not all((folder / file).is_file() for file in _FILES):
        return False
    return (folder / "SOURCE.txt").read_text(encoding="utf-8").splitlines()[:1] == [name]


def count_beir(folder: Path) -> Counts:
    """Count what lies in a BEIR folder that `write_beir` wrote.

    Raises:
        InputError: A line of the corpus is not what `write_beir` writes.
    """
    languages = set()
    documents = 0
    for number, line in enumerate(_lines(folder / "corpus.jsonl"), start=1):
        try:
            languages.add(json.loads(line)["metadata"]["lang"])
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{folder / 'corpus.jsonl'}, line {number}: expected a JSON object with metadata.lang, "
                f"got {line[:40]!r}; delete the folder and fetch it again"
            ) from error
        documents += 1
    return Counts(
        documents=documents,
        queries=sum(1 for _ in _lines(folder / "queries.jsonl")),
        languages=len(languages),
        same_language_pairs=sum(1 for _ in _lines(folder / "qrels" / "test.tsv")) - 1,
        cross_language_pairs=sum(1 for _ in _lines(folder / "qrels" / "cross.tsv")) - 1,
    )


def _document_record(passage: Passage, key_name: str) -> Mapping[str, Any]:
    metadata = {"lang": passage.language, key_name: passage.key}
    return {"_id": passage.doc_id, "title": "", "text": passage.text, "metadata": metadata}


def _query_record(question: Question) -> Mapping[str, Any]:
    return {"_id": question.query_id, "text": question.text, "metadata": {"lang": question.language}}


def _cross_language_pairs(passages: Sequence[Passage], questions: Sequence[Question]) -> list[tuple[str, str]]:
    """Each query with the sections of the same key in every other language."""
    key_of = {passage.doc_id: passage.key for passage in passages}
    translations: defaultdict[str, list[Passage]] = defaultdict(list)
    for passage in passages:
        translations[passage.key].append(passage)
    pairs = (
        (question.query_id, other.doc_id)
        for question in questions
        for doc_id in question.doc_ids
        for other in translations[key_of[doc_id]]
        if other.language != question.language
    )
    return list(dict.fromkeys(pairs))


def _json_line(record: Mapping[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False)


def _write_qrels(path: Path, pairs: Iterable[tuple[str, str]]) -> None:
    _write_lines(path, ["query-id\tcorpus-id\tscore", *(f"{query}\t{document}\t1" for query, document in pairs)])


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        stream.writelines(f"{line}\n" for line in lines)


def _lines(path: Path) -> Iterator[str]:
    # Not str.splitlines: a text may hold U+2028 and the like, which end no line of a JSONL file.
    with path.open(encoding="utf-8", newline="\n") as stream:
        yield from stream
