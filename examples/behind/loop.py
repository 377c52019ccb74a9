"""What each script here does with its engine: index, search, rerank, write both down, read all back, and measure.

An engine is three functions: `index(documents)`; `search(query)`, which gives the documents it finds, best first, and
their scores, higher being better; `dump()`, which gives all documents back. A document has `_id`, `title` and `text`.
"""

import json
from pathlib import Path
from statistics import median
from time import perf_counter

from tamis import Reranker


def rows(file):
    """Rows of a JSONL file; a document without a title has an empty one."""
    with file.open(encoding="utf-8") as lines:
        yield from ({"title": ""} | json.loads(line) for line in lines)


def passage(document):
    """What a bi-encoder of the e5 family is given of a document."""
    return f"passage: {document['title']}\n{document['text']}"


def run_lines(query, documents, scores, system):
    """A query's part of a TREC run."""
    for rank, (document, score) in enumerate(zip(documents, scores, strict=True), 1):
        yield f"{query['_id']}\tQ0\t{document['_id']}\t{rank}\t{score}\t{system}\n"


def put_behind(name, first_stage, index, search, dump, source, out, model):
    """Put tamis behind an engine; `out` gets the runs NAME.trec and reranked.trec, and the engine's corpus.jsonl."""
    given, folder, reranker, seconds = Path(source), Path(out), Reranker(model), []
    folder.mkdir(parents=True, exist_ok=True)
    index(list(rows(given / "corpus.jsonl")))
    with (folder / f"{name}.trec").open("w") as found, (folder / "reranked.trec").open("w") as best:
        for query in rows(given / "queries.jsonl"):
            start = perf_counter()
            documents, scores = search(query["text"])
            middle = perf_counter()
            hits = reranker.rank(query["text"], documents, first_stage=(first_stage, scores))
            seconds.append((middle - start, perf_counter() - middle))
            found.writelines(run_lines(query, documents, scores, name))
            ranked = [documents[hit["corpus_id"]] for hit in hits]
            best.writelines(run_lines(query, ranked, [hit["score"] for hit in hits], "reranked"))
    with (folder / "corpus.jsonl").open("w", encoding="utf-8") as corpus:
        corpus.writelines(json.dumps(document, ensure_ascii=False) + "\n" for document in dump())
    searching, reranking = (1000 * median(times) for times in zip(*seconds, strict=True))
    print(f"{name}: {len(seconds)} queries, median {searching:.1f} ms of search and {reranking:.1f} ms of reranking")
