"""First stages on judged sets in scripts that a naive splitter gets wrong, and across languages.

    make bench-first_stages                               # ten sets, debianfaq and xquad-cross below ../shared/data
    python benchmarks/first_stages.py --data DIR --questions 0 xquad-th xquad-cross

recall@100 and nDCG@10 of BM25 over naive words, BM25 over our terms, e5-small, and the hybrid of the latter two. Sets
of parallel documents are searched three times: in the question's language (`candidates.languages: same`), in all but it
(`cross`) and in all of them (`any`). Of these recall@100 is also told by language; where languages are crossed, by that
of the question and that of the document. Writes benchmarks/results/first_stages.json, first_stages.md and, by
language, first_stages-languages.md.
"""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from command_line import data_parser
from judged import languages_of, macro_mean, measure
from machine import DOCS, ROOT, commit
from results import RESULTS, checked, publish
from tamis.artifacts import ItemStore, item_key
from tamis.evaluation.judged import Question, draw_questions, read_questions
from tamis.formats.documents import read_documents
from tamis.models.encoder import Encoder
from tamis.models.precision import fastest_precision
from tamis.records import Candidates, Document, Query
from tamis.retrievers.bm25 import Bm25
from tamis.retrievers.embedding import embed_missing
from tamis.retrievers.index import Languages, Searching, build_indexes
from tamis.retrievers.search import rank_candidates, search_indexes
from tamis.stages.corpus.clean import clean

ENCODER = ROOT.parent / "demo" / "models" / "e5-small"
PREFIXES = {"query": "query: ", "document": "passage: "}
DEPTH = 100
MAX_LENGTH = 256
"""Tokens of a text that are embedded, as in recipes/general.yaml."""

SETS = {
    "tydiqa-ar": "ar",
    "xquad-ar": "ar",
    "xquad-hi": "hi",
    "tydiqa-te": "te",
    "tydiqa-bn": "bn",
    "xquad-th": "th",
    "tydiqa-ko": "ko",
    "jsquad-ja": "ja",
    "cmrc2018-zh": "zh",
    "xquad-zh": "zh",
}
"""Name and language of each set that is searched in its own language."""

CROSSED = {"debianfaq": ("test.tsv", "cross.tsv"), "xquad-cross": ("same.tsv", "test.tsv")}
"""Sets whose questions are answered in every language: their judgements in the question's own and in the others."""

SYSTEMS = {"naive": "BM25, `\\w+`", "bm25": "BM25, ours", "dense": "e5-small", "hybrid": "hybrid"}


def naive(text: str) -> list[str]:
    """Runs of what Python counts as word characters."""
    return re.findall(r"\w+", text.lower())


def recall(ranked: Sequence[str], relevant: Mapping[str, int]) -> float:
    """Share of the relevant documents that are found."""
    wanted = {doc_id for doc_id, grade in relevant.items() if grade > 0}
    return len(wanted.intersection(ranked)) / len(wanted)


def recall_by_languages(
    run: Mapping[str, Sequence[str]], questions: Sequence[Question], language_of: Mapping[str, str]
) -> dict[str, dict[str, float]]:
    """Recall of the relevant documents of each language, by the question's language and then the documents'.

    Args:
        run: Ranked document ids by question.
        questions: The questions.
        language_of: Language of every document.
    """
    found: dict[str, dict[str, list[float]]] = {}
    for question in questions:
        of_language: dict[str, dict[str, int]] = {}
        for doc_id, grade in question.relevant.items():
            if grade > 0:
                of_language.setdefault(language_of[doc_id], {})[doc_id] = grade
        for language, relevant in of_language.items():
            shares = found.setdefault(question.language, {}).setdefault(language, [])
            shares.append(recall(run[question.query_id], relevant))
    return {
        asked: {of: float(np.mean(each)) for of, each in sorted(row.items())} for asked, row in sorted(found.items())
    }


class Bench:
    """The encoder, and what it embedded before."""

    def __init__(self, questions: int, folder: Path) -> None:
        self.questions, self.folder = questions, folder
        folder.mkdir(parents=True, exist_ok=True)
        self.items = ItemStore(folder / "items.sqlite")
        self.precision = fastest_precision()
        self.encoder = Encoder.load(ENCODER, self.precision, 2048)

    def measure_crossed(self, folder: Path, languages: Languages) -> dict[str, Any]:
        """As `measure`, for a set whose questions are answered in every language."""
        own, others = (folder / "qrels" / name for name in CROSSED[folder.name])
        if languages != "any":
            return self.measure(folder, "", own if languages == "same" else others, languages)
        heading, *lines = own.read_text("utf-8").splitlines()
        both = self.folder / f"{folder.name}-any.tsv"
        both.write_text("\n".join([heading, *lines, *others.read_text("utf-8").splitlines()[1:]]) + "\n", "utf-8")
        return self.measure(folder, "", both, languages)

    def measure(self, folder: Path, language: str, judgements: Path, languages: Languages) -> dict[str, Any]:
        """nDCG@10 and recall@100 of every first stage on a set, means over its languages."""
        documents = [d for d in clean(read_documents(folder, "target"), 1_000_000) if isinstance(d, Document)]
        if language:
            documents = [replace(d, language=language) for d in documents]
        tags = {d.doc_id: d.language for d in documents}
        judged, _ = read_questions(folder / "queries.jsonl", judgements, tags, languages)
        share = self.questions if language else -(-self.questions // len({q.language for q in judged}))
        questions = draw_questions(judged, share)
        vectors = self._embed("document", {d.doc_id: d.text for d in documents})
        query_vectors = self._embed("query", {q.query_id: q.text for q in questions})
        indexes = build_indexes(documents, vectors, Searching(languages=languages))
        queries = [Query(q.query_id, q.text, q.language, "target", "", "question") for q in questions]
        wanted = [name for name in SYSTEMS if name != "naive"]
        found: dict[str, dict[str, Candidates]] = {name: {} for name in SYSTEMS}
        for query, ranked in search_indexes(queries, query_vectors, indexes, DEPTH, wanted):
            for name, candidates in ranked.items():
                found[name][query.query_id] = candidates
        if languages == "same":
            found["naive"] = search_naively(documents, questions)
        else:
            del found["naive"]
        runs = {name: {q: list(c.doc_ids) for q, c in ranked.items()} for name, ranked in found.items()}
        ndcg = measure(runs, questions)
        recalls = {
            name: {q.query_id: recall(run[q.query_id], q.relevant) for q in questions} for name, run in runs.items()
        }
        language_of = languages_of(questions)
        by_language = {name: macro_mean(values, language_of) for name, values in recalls.items()}
        crossed = {name: recall_by_languages(run, questions, tags) for name, run in runs.items() if languages != "same"}
        return {
            "documents": len(documents),
            "questions": len(questions),
            "ndcg10": {name: macro_mean(values, language_of)["mean"] for name, values in ndcg.items()},
            "recall100": {name: means.pop("mean") for name, means in by_language.items()},
            "recall100_by_language": by_language,
            **({"recall100_by_languages": crossed} if crossed else {}),
        }

    def _embed(self, kind: str, texts: Mapping[str, str]) -> Mapping[str, Any]:
        embed: Callable[[Sequence[str]], np.ndarray] = lambda some: self.encoder.embed(some, PREFIXES[kind], MAX_LENGTH)  # noqa: E731
        identity = item_key("e5-small", PREFIXES[kind], MAX_LENGTH, self.precision)
        return embed_missing(texts, identity, embed, self.items, f"embedding {kind} texts")


def search_naively(documents: Sequence[Document], questions: Sequence[Question]) -> dict[str, Candidates]:
    """BM25 over naive words, of the documents of each question's language."""
    found: dict[str, Candidates] = {}
    for language in {question.language for question in questions}:
        own = [document for document in documents if document.language == language]
        index = Bm25((d.text for d in own), 0.9, 0.4, naive)
        doc_ids = tuple(d.doc_id for d in own)
        for q in questions:
            if q.language == language:
                found[q.query_id] = rank_candidates(q.query_id, doc_ids, index.scores(q.text), DEPTH)
    return found


def table(sets: Mapping[str, Mapping[str, Any]]) -> str:
    """A row per set: nDCG@10 and recall@100 of every first stage."""
    heads = [f"{title}, {what}" for what in ("nDCG@10", "recall@100") for title in SYSTEMS.values()]
    lines = ["| set, questions of documents | " + " | ".join(heads) + " |", "|---|" + "---:|" * len(heads)]
    for name, found in sets.items():
        figures = [found[what].get(system) for what in ("ndcg10", "recall100") for system in SYSTEMS]
        cells = " | ".join("" if figure is None else f"{figure:.3f}" for figure in figures)
        lines.append(f"| {name}, {found['questions']:,} of {found['documents']:,} | {cells} |")
    return "\n".join(lines) + "\n"


def tables_by_language(sets: Mapping[str, Mapping[str, Any]]) -> str:
    """recall@100 of the sets of parallel documents, by the question's language and, where crossed, the document's."""
    lines = []
    for name, found in sets.items():
        if name.endswith(", same"):
            lines += ["", *languages_table(name, by_row(found["recall100_by_language"]))]
        for system, rows in found.get("recall100_by_languages", {}).items():
            lines += ["", *languages_table(f"{name}: {SYSTEMS[system]}", rows)]
    return "\n".join(lines) + "\n"


def by_row(of_system: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Figures by first stage and language as those by language and title of the first stage."""
    rows: dict[str, dict[str, float]] = {}
    for system, means in of_system.items():
        for language, value in means.items():
            rows.setdefault(language, {})[SYSTEMS[system]] = value
    return rows


def languages_table(heading: str, rows: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Lines of a table of recall@100: a row per language of questions, a column per language or first stage."""
    columns = sorted({column for row in rows.values() for column in row})
    lines = [f"| {heading}, recall@100 | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    for asked, row in rows.items():
        cells = " | ".join(f"{row[column]:.3f}" if column in row else "" for column in columns)
        lines.append(f"| {asked} | {cells} |")
    return lines


def targets_of(sets: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Our splitting is nowhere worse than the naive one; dense search carries what crosses languages."""
    rows = []
    for what, title in (("ndcg10", "nDCG@10"), ("recall100", "recall@100")):
        split = {name: 100 * (f[what]["bm25"] - f[what]["naive"]) for name, f in sets.items() if "naive" in f[what]}
        crossed = {
            name: 100 * (f[what]["dense"] - f[what]["bm25"]) for name, f in sets.items() if name.endswith(", cross")
        }
        for gains, label in (
            (split, "BM25 with our terms over naive words"),
            (crossed, "dense over BM25 across languages"),
        ):
            if gains:
                worst = min(gains, key=lambda name: gains[name])
                rows.append((f"{label}, {title}, points, worst set ({worst})", gains[worst], ">= 0"))
    return checked(rows)


def main() -> None:
    """Measure every set, write the table."""
    parser = data_parser(__doc__)
    parser.add_argument("sets", nargs="*", default=[*SETS, *CROSSED])
    parser.add_argument("--questions", type=int, default=150, help="of each set, drawn by hash; 0 for all")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cache", type=Path, default=Path("demo") / "bench-first_stages", help="for the embeddings")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    found_commit, start = commit(), time.monotonic()
    bench = Bench(chosen.questions, chosen.cache)
    sets: dict[str, dict[str, Any]] = {}
    crossing: tuple[Languages, ...] = ("same", "cross", "any")
    for name in chosen.sets:
        folder = chosen.data / name
        if name in CROSSED:
            fresh = {f"{name}, {how}": bench.measure_crossed(folder, how) for how in crossing}
        else:
            fresh = {name: bench.measure(folder, SETS[name], folder / "qrels" / "test.tsv", "same")}
        for title, found in fresh.items():
            print(title, {what: {s: round(v, 4) for s, v in found[what].items()} for what in ("ndcg10", "recall100")})
        sets |= fresh
    content: dict[str, Any] = {
        "seeds": [],
        "depth": DEPTH,
        "precision": bench.precision,
        "seconds": time.monotonic() - start,
        "figures": sets,
        "targets": targets_of(sets),
    }
    pages = [DOCS / "benchmarks.md"] if chosen.sets == [*SETS, *CROSSED] else []
    publish("first_stages", found_commit, content, table(sets), pages)
    (RESULTS / "first_stages-languages.md").write_text(tables_by_language(sets), "utf-8")
    print(tables_by_language(sets))


if __name__ == "__main__":
    main()
