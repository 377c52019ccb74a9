"""tamis-base on sets of which no stage of its training read a query or a judgement: against what it starts from.

    make bench-general                                    # the sets below ../shared/data
    python benchmarks/general.py --data DIR --questions 0

BM25's and the hybrid's best 100 are reranked by the shipped model and by the same student before its training; the
figures are nDCG@10, a set of several languages counts as the mean of them. What was scored is kept in
demo/bench-general: with other first-stage weights a second run takes minutes. Writes benchmarks/results/general.json
and general.md.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from command_line import data_parser
from judged import languages_of, macro_mean, measure, weighted_differences
from machine import DOCS, ROOT, commit
from results import checked, publish
from tamis.artifacts import ItemStore, item_key
from tamis.evaluation.judged import draw_questions, read_questions
from tamis.evaluation.systems import RERANKED, Pool, pairs_to_score, runs_of, student_runs
from tamis.formats.documents import read_documents
from tamis.formulas.arrays import VectorArray
from tamis.formulas.significance import holm, paired_randomisation
from tamis.models.checkpoint import find_checkpoint, load_warm, read_facts
from tamis.models.encoder import Encoder
from tamis.models.precision import fastest_device, fastest_precision, scoring_tokens
from tamis.models.prepared import Prepared
from tamis.models.student import Student, score_prepared
from tamis.pipeline.reading import read_recipe
from tamis.progress import track
from tamis.records import Document, Query
from tamis.retrievers.embedding import embed_missing
from tamis.retrievers.index import FIRST_STAGES, build_indexes
from tamis.retrievers.search import search_indexes
from tamis.retrievers.vectors import Vectors
from tamis.stages.corpus.clean import clean
from tamis.stages.student.scores import digest
from tamis.stages.student.start import start_student
from tamis.weights.shipped import BASE, SHIPPED

ENCODER = ROOT.parent / "demo" / "models" / "e5-small"
RECIPE = ROOT.parent / "recipes" / "general.yaml"
PREFIXES = ("query: ", "passage: ")

SETS = {
    "debianfaq": "",
    "scifact": "en",
    "tydiqa-te": "te",
    "tydiqa-sw": "sw",
    "tydiqa-ru": "ru",
    "piaf-fr": "fr",
    "cmrc2018-zh": "zh",
    "jsquad-ja": "ja",
}
"""Never learnt from, in any form; language of each, empty where the documents say it."""

AT_ONCE = 256
"""Questions that are scored between two writes."""

BASELINES = ("bm25", "dense", "hybrid")
STUDENTS = ("untrained", "tamis-base")
COLUMNS = {
    "bm25": "BM25",
    "dense": "e5-small",
    "hybrid": "hybrid",
    "untrained+bm25": "untrained + BM25",
    "tamis-base+bm25": "**tamis-base + BM25**",
    "untrained@hybrid": "untrained on hybrid",
    "tamis-base@hybrid": "tamis-base on hybrid",
    "untrained+hybrid": "untrained + hybrid",
    "tamis-base+hybrid": "**tamis-base + hybrid**",
}


class Bench:
    """Models and caches that all sets share."""

    def __init__(self, questions: int, depth: int) -> None:
        self.questions, self.depth = questions, depth
        precision = fastest_precision()
        folder = Path("demo") / "bench-general"
        folder.mkdir(parents=True, exist_ok=True)
        self.items = ItemStore(folder / "items.sqlite")
        device = fastest_device()
        self.budget = budget = scoring_tokens(device)
        self.encoder = Encoder.load(ENCODER, precision, budget)
        self.encoder.body.to(device)
        recipe = read_recipe(RECIPE)
        path = find_checkpoint("tamis-base")
        facts = read_facts(path)
        base = load_warm(path, facts, precision, budget)
        wanted = recipe.student.model_copy(update={"apart_layers": 0})  # nothing learns here
        start = start_student(wanted, lambda: self.encoder, PREFIXES, precision, recipe.seed)
        self.students: dict[str, Student] = {"untrained": start.to(device), "tamis-base": base.to(device)}
        self.deployment = facts.deployment
        # The bias moves all logits of a student alike, and no order.
        self.identities = {
            name: item_key(digest({k: v for k, v in student.state_dict().items() if k != "bias"}), precision)
            for name, student in self.students.items()
        }
        self.prepared = {
            name: Prepared(student, folder / "prepared", self.identities[name])
            for name, student in self.students.items()
        }

    def vectors(self, kind: str, texts: Mapping[str, str]) -> Vectors:
        """Embeddings of texts by id."""
        prefix = dict(zip(("query", "document"), PREFIXES, strict=True))[kind]
        embed = lambda some: self.encoder.embed(some, prefix, 512)  # noqa: E731
        return embed_missing(texts, item_key("e5-small", prefix), embed, self.items, f"embedding {kind} texts")

    def measure(self, folder: Path, language: str) -> dict[str, Any]:
        """nDCG@10 of every question of a set by every system."""
        documents = [d for d in clean(read_documents(folder, "target"), 1_000_000) if isinstance(d, Document)]
        if language:
            documents = [replace(d, language=language) for d in documents]
        texts = {d.doc_id: d.text for d in documents}
        indexes = build_indexes(documents, self.vectors("document", texts))
        languages = {d.doc_id: d.language for d in documents}
        judged, _ = read_questions(folder / "queries.jsonl", folder / "qrels" / "test.tsv", languages)
        share = self.questions if language else -(-self.questions // len(set(languages.values())))
        questions = draw_questions(judged, share)
        vectors = self.vectors("query", {q.query_id: q.text for q in questions})
        queries = [Query(q.query_id, q.text, q.language, "target", "", "question") for q in questions]
        found = {q.query_id: ranked for q, ranked in search_indexes(queries, vectors, indexes, 100, FIRST_STAGES)}
        pools = [Pool(q, found[q.query_id]) for q in questions]
        runs, ties = runs_of(pools, BASELINES)
        for student in STUDENTS:
            logits = self._logits(student, pools, texts, folder.name)
            reranked, tied = student_runs(student, pools, logits, self.deployment, self.depth)
            runs |= reranked
            ties |= tied
        return {"language_of": languages_of(questions), "values": measure(runs, questions), "ties": ties}

    def _logits(
        self, student: str, pools: Sequence[Pool], documents: Mapping[str, str], label: str
    ) -> dict[tuple[str, str], float]:
        """Logits of all pairs; those of a question are kept together."""
        doc_ids: dict[str, list[str]] = {}
        for query_id, doc_id in pairs_to_score(pools, self.depth):
            doc_ids.setdefault(query_id, []).append(doc_id)
        texts = {pool.question.query_id: pool.question.text for pool in pools}
        keys = {
            q: item_key("logits", self.identities[student], texts[q], [documents[d] for d in own])
            for q, own in doc_ids.items()
        }
        known = self.items.get(list(keys.values()))
        missing = [q for q in doc_ids if keys[q] not in known]
        with track(f"{label}: {student}", len(missing)) as advance:
            for start in range(0, len(missing), AT_ONCE):
                some = {q: doc_ids[q] for q in missing[start : start + AT_ONCE]}
                for q, values in self._scored(student, some, texts, documents, label).items():
                    known[keys[q]] = values.tobytes()
                    self.items.put([(keys[q], known[keys[q]])])
                advance(len(some))
        return {
            (q, doc_id): float(value)
            for q, own in doc_ids.items()
            for doc_id, value in zip(own, np.frombuffer(known[keys[q]], np.float32), strict=True)
        }

    def _scored(
        self,
        student: str,
        doc_ids: Mapping[str, Sequence[str]],
        queries: Mapping[str, str],
        documents: Mapping[str, str],
        label: str,
    ) -> dict[str, VectorArray]:
        """Logits of the documents of each question, [documents]."""
        prepared = self.prepared[student]
        pairs = [(q, d) for q, own in doc_ids.items() for d in own]
        asked = prepared.queries([f"{label}/{q}" for q, _ in pairs], {f"{label}/{q}": queries[q] for q in doc_ids})
        given = prepared.documents([f"{label}/{d}" for _, d in pairs], {f"{label}/{d}": documents[d] for _, d in pairs})
        logits = np.empty(len(pairs), np.float32)
        for batch, values in score_prepared(self.students[student], asked, given, self.budget):
            logits[batch] = values
        ends = np.cumsum([len(own) for own in doc_ids.values()])
        return dict(zip(doc_ids, np.split(logits, ends[:-1]), strict=True))


def mean_of(found: Mapping[str, Any], system: str) -> float:
    """A system's mean on a set, its languages alike."""
    return macro_mean(found["values"][system], found["language_of"])["mean"]


def differences(sets: Mapping[str, Mapping[str, Any]], ours: str, theirs: str, rounds: int) -> dict[str, Any]:
    """Mean difference over sets, its paired test, and the difference of each set.

    Each question weighs one over the number of its language's questions and of its set's languages: the test speaks of
    the same mean as the table.
    """
    of_set = {
        name: weighted_differences(found["values"][ours], found["values"][theirs], found["language_of"])
        for name, found in sets.items()
    }
    p_values = [paired_randomisation(each, np.random.default_rng(1), 10_000) for each in of_set.values()]
    whole = np.concatenate(list(of_set.values())) / len(sets)
    return {
        "difference": float(whole.sum()),
        "p_value": paired_randomisation(whole, np.random.default_rng(0), rounds),
        "sets": {
            name: {"difference": float(each.sum()), "p_holm": p}
            for (name, each), p in zip(of_set.items(), holm(p_values), strict=True)
        },
    }


def targets_of(compared: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Better than each baseline in the mean, with p below .01, and no set worse by more than a point."""
    rows = []
    for pair, entry in compared.items():
        worst = min(entry["sets"], key=lambda name: entry["sets"][name]["difference"])
        rows.append((f"{pair}, points", 100 * entry["difference"], "> 0"))
        rows.append((f"{pair}, p", entry["p_value"], "< 0.01"))
        rows.append((f"{pair}, worst set ({worst})", 100 * entry["sets"][worst]["difference"], ">= -1"))
    return checked(rows)


def table(sets: Mapping[str, Mapping[str, Any]], means: Mapping[str, Mapping[str, float]]) -> str:
    """A row per set, and the mean."""
    lines = ["| nDCG@10 | " + " | ".join(COLUMNS.values()) + " |", "|---|" + "---:|" * len(COLUMNS)]
    for name, found in sets.items():
        cells = [f"{means[system][name]:.3f}" for system in COLUMNS]
        lines.append(f"| {name}, {len(found['language_of'])} questions | " + " | ".join(cells) + " |")
    cells = [f"{means[system]['mean']:.3f}" for system in COLUMNS]
    return "\n".join([*lines, "| **mean of the sets** | " + " | ".join(cells) + " |"]) + "\n"


def main() -> None:
    """Measure every set, write the table."""
    parser = data_parser(__doc__)
    parser.add_argument("sets", nargs="*", default=list(SETS))
    parser.add_argument("--questions", type=int, default=150, help="of each set, drawn by hash; 0 for all")
    parser.add_argument("--depth", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    found_commit, start = commit(), time.monotonic()
    bench = Bench(chosen.questions, chosen.depth)
    sets = {}
    for name in chosen.sets:
        sets[name] = bench.measure(chosen.data / name, SETS[name])
        print(name, {system: round(mean_of(sets[name], system), 4) for system in COLUMNS})
    means: dict[str, dict[str, float]] = {}
    for system in COLUMNS:
        means[system] = {name: mean_of(found, system) for name, found in sets.items()}
        means[system]["mean"] = float(np.mean(list(means[system].values())))
    compared = {
        f"tamis-base+{first_stage} over {baseline}": differences(sets, f"tamis-base+{first_stage}", baseline, 100_000)
        for first_stage in RERANKED
        for baseline in (*BASELINES, f"untrained+{first_stage}")
    }
    against = {pair: entry for pair, entry in compared.items() if "untrained" not in pair}
    content = {
        "seeds": [17],
        "model_sha256": json.loads((SHIPPED / BASE / "MANIFEST.json").read_text("utf-8"))["sha256"],
        "first_stage_weights": dict(bench.deployment.first_stage_weights),
        "depth": chosen.depth,
        "seconds": time.monotonic() - start,
        "figures": means,
        "tie_rate": {name: found["ties"] for name, found in sets.items()},
        "comparisons": compared,
        "targets": targets_of(against),
    }
    pages = [DOCS / "data.md", SHIPPED / BASE / "README.md"] if chosen.sets == list(SETS) else []
    publish("general", found_commit, content, table(sets, means), pages)


if __name__ == "__main__":
    main()
