"""Long documents: questions whose answer lies beyond what a model reads first, with the cut, windows and passages.

    make bench-long_documents                             # some ten minutes on two cores, half an hour on a slow one
    python benchmarks/long_documents.py --languages fr    # a quicker look

The corpus and its questions are those of `long_corpus.py`. BM25 and e5-small together find the best 20 whole documents,
or the best 20 passages (`corpus.passages`, as it is by default); tamis-base, which reads 160 tokens, ranks the
documents by their beginning (the cut), by their best window, or by their best passage. Nothing is trained. Every run is
judged as documents. What cutting costs is told as a share of a run from documents to lists, with the cheapest writer
and teacher there are. What was computed is kept and found again. Writes benchmarks/results/long_documents.json and .md.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from corpora.packages import download
from documents import CACHE
from judged import compare_means, languages_of, macro_mean, measure
from long_corpus import (
    ENCODER,
    LANGUAGES,
    OUT,
    PACKAGES,
    Row,
    checked_rows,
    corpus_folder,
    facts,
    read_corpus,
    token_count,
)
from machine import DOCS, commit
from results import checked, print_targets, publish, targets_table
from tamis.artifacts import ItemStore, item_key
from tamis.evaluation.judged import Question
from tamis.evaluation.systems import Run
from tamis.formulas.arrays import VectorArray
from tamis.models.checkpoint import find_checkpoint, model_identity
from tamis.models.encoder import Encoder
from tamis.models.precision import fastest_precision
from tamis.models.read_part import Reading
from tamis.models.reranker import Reranker
from tamis.models.windows import Long
from tamis.pipeline.reading import recipe_from
from tamis.pipeline.run import run_recipe
from tamis.progress import track
from tamis.records import Candidates, Document, Query
from tamis.retrievers.embedding import embed_missing
from tamis.retrievers.index import build_indexes
from tamis.retrievers.search import search_indexes
from tamis.stages.corpus.passages import Cutter, in_passages
from tamis.stages.corpus.settings import PassageSettings

MODEL = "tamis-base"
DEPTH = 20
MAX_LENGTH = 512
"""Tokens of a text that are embedded, as in recipes/demo.yaml."""

READING = Reading(ENCODER, "passage: ", 160)
"""How tamis-base reads a document."""

SYSTEMS = {
    "documents": "documents, first stage only",
    "cut": "documents by their beginning",
    "windows": "documents by their best window",
    "passages, first": "passages, first stage only",
    "passages": "passages",
}
SUMMED = " + scores"
"""Added to the name of a system in which the first stage's scores are added to the model's."""

MINED = "fr"
"""Language whose documents are mined to tell what cutting costs."""


@dataclass(frozen=True)
class Side:
    """What is searched: whole documents, or passages.

    Attributes:
        documents: By id.
        found: The best candidates of each question.
    """

    documents: Mapping[str, Document]
    found: Mapping[str, Candidates]

    def by_document(self, doc_ids: Sequence[str]) -> list[str]:
        """A ranking of documents: each where its first passage stands."""
        return list(dict.fromkeys(self.documents[i].document or i for i in doc_ids))


class Bench:
    """The encoder, the reranker, and what both computed before."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.items = ItemStore(folder / "items.sqlite")
        self.precision = fastest_precision()
        self.encoder = Encoder.load(ENCODER, self.precision, 2048)
        self.reranker = Reranker(MODEL, precision="auto")
        self.reranker.remember(2**30)
        self.model = item_key(model_identity(Path(find_checkpoint(MODEL))), repr(self.reranker.deployment))

    def search(self, documents: Mapping[str, Document], questions: Sequence[Question]) -> Side:
        """The hybrid's best of these documents for each question, in the question's language."""
        vectors = self.embed("passage: ", {i: document.text for i, document in documents.items()})
        asked = self.embed("query: ", {q.query_id: q.text for q in questions})
        queries = [Query(q.query_id, q.text, q.language, "target", "", "question") for q in questions]
        searched = search_indexes(queries, asked, build_indexes(documents.values(), vectors), DEPTH, ["hybrid"])
        return Side(documents, {query.query_id: found["hybrid"] for query, found in searched})

    def embed(self, prefix: str, texts: Mapping[str, str]) -> Mapping[str, VectorArray]:
        """Embeddings by id, those of before from the store."""
        embed: Callable[[Sequence[str]], np.ndarray] = lambda some: self.encoder.embed(some, prefix, MAX_LENGTH)  # noqa: E731
        return embed_missing(texts, item_key("e5-small", prefix, MAX_LENGTH, self.precision), embed, self.items, prefix)

    def rankings(
        self, documents: Mapping[str, Document], passages: Mapping[str, Document], questions: Sequence[Question]
    ) -> tuple[dict[str, Run], dict[str, float]]:
        """Ranked documents by system and question, and the processor's seconds a question of each that reranks."""
        runs: dict[str, Run] = {}
        seconds: dict[str, list[float]] = {}
        for language in dict.fromkeys(question.language for question in questions):  # what is searched together
            asked = [question for question in questions if question.language == language]
            whole = self.search(_of_language(documents, language), asked)
            parts = self.search(_of_language(passages, language), asked)
            for name, side in (("documents", whole), ("passages, first", parts)):
                for q, found in side.found.items():
                    runs.setdefault(name, {})[q] = side.by_document(found.doc_ids)
            arms: list[tuple[str, Side, Long]] = [("cut", whole, "first"), ("windows", whole, "windows")]
            for name, side, long in [*arms, ("passages", parts, "first")]:
                for q, ranked in self.rerank(side, asked, long):
                    runs.setdefault(name, {})[q] = side.by_document(ranked["alone"])
                    runs.setdefault(name + SUMMED, {})[q] = side.by_document(ranked["summed"])
                    seconds.setdefault(name, []).append(ranked["seconds"])
            print(language, {n: round(means[language], 3) for n, means in _means(runs, asked).items()}, flush=True)
        return runs, {name: float(np.mean(of)) for name, of in seconds.items()}

    def rerank(self, side: Side, questions: Sequence[Question], long: Long) -> Iterator[tuple[str, dict[str, Any]]]:
        """Of each question its candidates ranked by the model alone and beside the first stage, and the seconds."""
        with track(long, len(questions)) as advance:
            for question in questions:
                yield question.query_id, self._rerank(side, question, long)
                advance(1)

    def _rerank(self, side: Side, question: Question, long: Long) -> dict[str, Any]:
        found = side.found[question.query_id]
        texts = [side.documents[i].text for i in found.doc_ids]
        key = item_key("ranked", self.model, self.precision, long, question.text, repr(found), *texts)
        known = self.items.get([key]).get(key)
        if known:
            ranked: dict[str, Any] = json.loads(known)
            return ranked
        began = time.process_time()
        entries = self.reranker.rank(question.text, texts, first_stage=("hybrid", found.scores), long=long)
        alone = sorted(entries, key=lambda entry: -entry["logit"])
        ranked = {
            "alone": [found.doc_ids[entry["corpus_id"]] for entry in alone],
            "summed": [found.doc_ids[entry["corpus_id"]] for entry in entries],
            "seconds": time.process_time() - began,
        }
        self.items.put([(key, json.dumps(ranked).encode())])
        return ranked


def _of_language(documents: Mapping[str, Document], language: str) -> dict[str, Document]:
    return {i: document for i, document in documents.items() if document.language == language}


def _means(runs: Mapping[str, Run], questions: Sequence[Question]) -> dict[str, dict[str, float]]:
    return {system: macro_mean(of, languages_of(questions)) for system, of in measure(runs, questions).items()}


def questions_of(rows: Sequence[Row]) -> list[Question]:
    """The rows as judged questions: one relevant document each."""
    return [Question(str(row.number), row.question, row.path.split("/")[0], {row.path: 1}) for row in rows]


def cut(documents: Mapping[str, Document]) -> tuple[dict[str, Document], float]:
    """Passages by id, those that hold text, and the processor's seconds without loading the tokenizer."""
    cutter = Cutter(READING, PassageSettings())
    began = time.process_time()
    found = list(in_passages(documents.values(), cutter))
    return {each.doc_id: each for each in found if isinstance(each, Document)}, time.process_time() - began


def mining_seconds(corpus: Path) -> float:
    """The processor's seconds for a run from the files of one language to lists, in a fresh folder."""
    dense = {
        "path": str(ENCODER),
        "query_prefix": "query: ",
        "document_prefix": "passage: ",
        "max_length": MAX_LENGTH,
    }
    content = {
        "name": "bench-long_documents",
        "corpus": {"target": str(corpus), "languages": [MINED], "passages": "on"},
        "queries": {"generator": "extractive", "per_document": 1},
        "candidates": {"dense": dense},
        "scores": {"use": 0.0},
        "lists": {"domains": {"all": [MINED]}},
    }
    with tempfile.TemporaryDirectory() as out:
        began = time.process_time()
        run_recipe(recipe_from(content, "bench-long_documents"), Path(out), until="lists")
        return time.process_time() - began


def cutting_share(mined: Mapping[str, Document], folder: Path) -> float:
    """Share of a run from one language's files to lists that cutting takes, by the processor's time."""
    return cut(mined)[1] / mining_seconds(folder)


def comparisons(values: Mapping[str, Mapping[str, float]], questions: Sequence[Question]) -> dict[str, Any]:
    """Windows and passages against the cut, by the model alone and beside the first stage."""
    language_of = languages_of(questions)
    return {
        f"{name}{added}": compare_means(values[name + added], values["cut" + added], language_of)
        for added in ("", SUMMED)
        for name in ("windows", "passages")
    }


def targets_of(corpus: Mapping[str, Any], compared: Mapping[str, Any], share: float) -> list[dict[str, Any]]:
    """The corpus, both gains over the cut by the model alone, and what cutting costs."""
    windows, passages = compared["windows"], compared["passages"]
    asked = sum(corpus["questions"].values())
    rows = [
        ("files", corpus["files"], ">= 300"),
        ("forms", len(corpus["forms"]), ">= 12"),
        ("languages", len(corpus["languages"]), ">= 6"),
        ("questions", asked, ">= 120"),
        ("passages over the cut, nDCG@10", passages["difference"], ">= 0.05"),
        ("p of that", passages["p_value"], "< 0.01"),
        ("windows over the cut, nDCG@10", windows["difference"], ">= 0.03"),
        ("p of that", windows["p_value"], "< 0.01"),
        ("cutting, share of a run to lists", share, "< 0.02"),
    ]
    return checked(rows)


def table(content: Mapping[str, Any]) -> str:
    """A row per system, the gains with their p-values, the targets."""
    figures, corpus = content["figures"], content["figures"]["corpus"]
    languages = list(corpus["questions"])
    lines = [
        f"{sum(corpus['questions'].values())} questions of {corpus['files']} files, {len(corpus['forms'])} forms, "
        f"{len(corpus['languages'])} languages; {figures['passages']:,} passages. nDCG@10 of documents:",
        "",
        "| what is ranked | mean | with first stage's scores | " + " | ".join(languages) + " | ms a question |",
        "|---|" + "---:|" * (len(languages) + 3),
    ]
    for name, title in SYSTEMS.items():
        means, summed = figures["ndcg10"][name], figures["ndcg10"].get(name + SUMMED)
        cells = [f"{means['mean']:.3f}", f"{summed['mean']:.3f}" if summed else ""]
        cells += [f"{means[language]:.3f}" for language in languages]
        seconds = figures["seconds"].get(name)
        lines.append(f"| {title} | " + " | ".join([*cells, f"{1000 * seconds:,.0f}" if seconds else ""]) + " |")
    lines += ["", "| over the cut | nDCG@10 | p |", "|---|---:|---:|"]
    lines += [f"| {n} | {c['difference']:+.3f} | {c['p_value']:.2g} |" for n, c in figures["over_the_cut"].items()]
    return "\n".join([*lines, "", *targets_table(content["targets"])]) + "\n"


def announce(documents: Mapping[str, Document], passages: Mapping[str, Document], questions: int) -> None:
    """What will be computed, before it is."""
    windows = round(DEPTH * questions * len(passages) / len(documents))
    print(
        f"{len(documents):,} documents and {len(passages):,} passages to embed; {2 * DEPTH * questions:,} texts and "
        f"about {windows:,} windows to rank; at 20 a second to embed and 100 to rank "
        f"{(len(documents) + len(passages)) / 1200 + (2 * DEPTH * questions + windows) / 6000:.0f} minutes",
        flush=True,
    )


def measured(documents: Mapping[str, Document], questions: Sequence[Question], out: Path) -> dict[str, Any]:
    """Figures of every system on the questions, and the comparisons."""
    passages, seconds = cut(documents)
    announce(documents, passages, len(questions))
    runs, times = Bench(out).rankings(documents, passages, questions)
    return {
        "passages": len(passages),
        "cutting_seconds": seconds,
        "ndcg10": _means(runs, questions),
        "over_the_cut": comparisons(measure(runs, questions), questions),
        "seconds": times,
    }


def main() -> None:
    """Build, search, rank, compare, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--debs", type=Path, default=CACHE, help="where the packages are kept")
    parser.add_argument("--out", type=Path, default=OUT, help="where what was computed is kept")
    parser.add_argument("--languages", nargs="+", choices=LANGUAGES.values(), help="only these; writes results if all")
    chosen = parser.parse_args()
    found_commit, debs, count = commit(), download(list(PACKAGES), chosen.debs), token_count()
    folder, languages = corpus_folder(debs, chosen.out, count), chosen.languages or list(LANGUAGES.values())
    documents = read_corpus(folder, languages)
    rows = checked_rows(documents, count, languages)
    corpus, questions = facts(rows, documents, debs), questions_of(rows)
    mined = {i: d for i, d in documents.items() if d.language == MINED}
    figures: dict[str, Any] = {"corpus": corpus, **measured(documents, questions, chosen.out)}
    figures["cutting_share"] = cutting_share(mined, folder / MINED)
    content: dict[str, Any] = {
        "seeds": [],
        "figures": figures,
        "targets": targets_of(corpus, figures["over_the_cut"], figures["cutting_share"]),
    }
    if set(languages) == set(LANGUAGES.values()):
        publish("long_documents", found_commit, content, table(content), [DOCS / "your-documents.md"])
    else:
        print(table(content))
        print_targets(content["targets"])


if __name__ == "__main__":
    main()
