"""Who should write the queries: extracts, a small language model, a strong one, people who ask about other topics.

Called by `benchmarks/adaptation.py --writers`. The real questions of every second topic of the Debian FAQ, in all its
languages, are the test; those of the other topics are one of the writers. All learn by the same recipe in as many
steps. A topic is what an answer's id says behind its language; which half it is in follows from a hash.
"""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from adapted_runs import ENCODER, LANGUAGES, PLACES, adapt_command, gains, run
from tamis.formulas.ranking import tie_key

CORPUS = Path("demo/data/debian-faq")
STRONG = Path("recipes/queries/debian-faq.tsv")
SMALL = ["queries.generator=llama", "queries.llama={model: demo/models/qwen-0.5b.gguf}", "queries.documents=600"]


def measure_writers(out: Path, seed: int, threads: int, small: bool) -> Iterator[dict[str, Any]]:
    """The rows so far, after each writer.

    Args:
        out: Folder of the benchmark.
        seed: Of the queries, lists and training.
        threads: Of the machine.
        small: Also let the model of half a billion weights write, twenty minutes more.
    """
    asked, people = split_topics(out / "topics")
    changes = [
        f"corpus.languages={LANGUAGES}",
        f"machine.threads={threads}",
        "train.passes=0",
        f"evaluate.queries={asked / 'queries.jsonl'}",
        f"evaluate.qrels={asked / 'qrels.tsv'}",
    ]
    writers: dict[str, tuple[list[Path], list[str], str]] = {
        "people, about other topics": ([people], [], "theirs"),
        "extracts": ([], ["queries.generator=extractive"], "nothing"),
        "a strong language model": ([STRONG], [], f"about {tokens_of(STRONG) / 1e6:.1f} million tokens"),
    }
    if small:
        writers["a language model of 0.5 billion weights"] = ([], [*SMALL, "lists.round_trip=10"], "nothing")
    rows: dict[str, Any] = {}
    for name, (files, more, money) in writers.items():
        folder = out / "writers" / name.replace(" ", "-").replace(",", "")
        found = run(adapt_command(CORPUS, files, [*changes, *more]), folder, seed)
        rows[name] = {
            "queries": found.facts["queries"]["kept"],
            "gains": {place: gains([found], "merged", "untrained", place) for place in PLACES},
            "specialist": {place: gains([found], "specialists", "untrained", place) for place in PLACES},
            "minutes": "" if files else f"{found.facts['seconds']['queries'] / 60:.1f}",
            "money": money,
            "facts": found.facts,
        }
        yield rows


def split_topics(folder: Path) -> tuple[Path, Path]:
    """Judged questions of every second topic as a set, those of the others as a file of written queries."""
    (folder / "asked").mkdir(parents=True, exist_ok=True)
    texts = {row["_id"]: row for row in map(json.loads, (CORPUS / "queries.jsonl").open(encoding="utf-8"))}
    with (CORPUS / "qrels" / "test.tsv").open(encoding="utf-8") as file:
        judged = list(csv.reader(file, delimiter="\t"))[1:]
    asked = [row for row in judged if _half(row[1])]
    lines = [json.dumps(texts[query], ensure_ascii=False) for query in dict.fromkeys(row[0] for row in asked)]
    (folder / "asked" / "queries.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    write_rows(folder / "asked" / "qrels.tsv", ["query-id", "corpus-id", "score"], asked)
    others = [[row[1], texts[row[0]]["text"]] for row in judged if not _half(row[1])]
    write_rows(folder / "people.tsv", ["document-id", "query"], others)
    return folder / "asked", folder / "people.tsv"


def topic_of(doc_id: str) -> str:
    """What an answer's id says behind its language."""
    return doc_id.split("/", 1)[1]


def _half(doc_id: str) -> bool:
    return tie_key("topic", topic_of(doc_id)) % 2 == 0


def write_rows(path: Path, header: list[str], rows: list[list[str]]) -> None:
    """Write a TSV file."""
    path.write_text("\n".join("\t".join(row) for row in [header, *rows]) + "\n", "utf-8")


def tokens_of(queries: Path) -> int:
    """Tokens that a model reads and writes for a file of queries: a document for each query, and the query.

    Counted by the encoder's tokenizer, of documents the first 4,000 characters; the words of the prompt are left out.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(ENCODER)
    documents = {row["_id"]: row["text"] for row in map(json.loads, (CORPUS / "corpus.jsonl").open(encoding="utf-8"))}
    rows = [line.split("\t") for line in queries.read_text("utf-8").splitlines()[1:]]
    read = [documents[doc_id][:4000] for doc_id, _ in rows]
    return sum(map(len, tokenizer([*read, *(text for _, text in rows)])["input_ids"]))
