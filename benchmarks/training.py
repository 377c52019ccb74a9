"""How fast a student learns: tamis beside sentence-transformers' CrossEncoderTrainer, the same lists, weights and loss.

    make bench-training
    python benchmarks/training.py --steps 12 --rounds 3

Twelve layers of multilingual-e5-small with a new head of one label, embeddings frozen, no dropout, AdamW, bfloat16
where the machine multiplies it natively, four lists of eight documents a step, ListNet's loss. Engines take turns in
processes of their own; each trains the same lists in the same order from the same weights, and the losses of the first
step must agree. Counted are the real tokens of all steps but the first two, by the time of those steps; the floor is
the machine's rate of matrix products, measured in the same run. Writes benchmarks/results/training.json and
training.md.
"""

import argparse
import itertools
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import torch

from machine import commit, machine, matrix_rates, print_targets, show_in_readme, write_results

ROOT = Path(__file__).resolve().parent
DEMO = ROOT.parent / "demo"
LISTS, DOCUMENTS, TOKENS = 4, 8, 256
WARM_UP = 2
"""Steps that are not counted."""

ENGINES = ("tamis", "sentence-transformers")


def lists_of(steps: int) -> list[tuple[str, list[str], list[float]]]:
    """Given queries of GNOME Help with their own document and seven that BM25 finds: query, documents, labels."""
    from tamis.formats.documents import read_documents
    from tamis.formats.queries import read_given_queries
    from tamis.retrievers.bm25 import Bm25

    folder = DEMO / "data" / "gnome-help"
    documents = [d for d in read_documents(folder, "general") if d.language in ("en", "de", "ru")]
    shelf = Bm25([d.text for d in documents], 0.9, 0.4)
    place = {d.doc_id: i for i, d in enumerate(documents)}
    rows = [row for row in read_given_queries(folder) if row[2] in place]
    lists = []
    for _, query, own in rows[:: len(rows) // (steps * LISTS)][: steps * LISTS]:
        best = [int(i) for i in (-shelf.scores(query)).argsort(kind="stable")[:DOCUMENTS] if i != place[own]]
        ids = [place[own], *best][:DOCUMENTS]
        lists.append((query, [documents[i].text for i in ids], [4.0, *(2.0 / rank for rank in range(1, len(ids)))]))
    return lists


def start_weights(folder: Path) -> None:
    """The student that both train."""
    from tamis.models.checkpoint import Deployment
    from tamis.models.encoder import Encoder
    from tamis.models.saving import save_student
    from tamis.models.sequence_student import SequenceStudent
    from tamis.models.serializer import Joined

    student = SequenceStudent.from_encoder(
        Encoder.load(DEMO / "models" / "e5-small"), Joined(max_tokens=TOKENS), seed=1
    )
    save_student(student, folder, Deployment({}, {}))
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config), "utf-8")


def train_tamis(folder: Path, steps: int, precision: str) -> dict[str, Any]:
    """Seconds and loss of every step, and operations of the first."""
    from torch.utils.flop_counter import FlopCounterMode

    from tamis.models.prepared import Prepared
    from tamis.models.sequence_student import SequenceStudent
    from tamis.records import TrainingList
    from tamis.settings import TrainSettings
    from tamis.stages.train import Machine, Texts, train_student

    lists = lists_of(steps)
    student = SequenceStudent.from_reranker(folder, None, None, TOKENS, precision)  # type: ignore[arg-type]
    records = [
        TrainingList(f"q{n}", "all", "train", tuple(f"d{n}/{i}" for i in range(len(documents))), tuple(labels), (), ())
        for n, (_, documents, labels) in enumerate(lists)
    ]
    texts = Texts(
        Prepared(student),
        {f"q{n}": query for n, (query, _, _) in enumerate(lists)},
        {f"d{n}/{i}": text for n, (_, documents, _) in enumerate(lists) for i, text in enumerate(documents)},
    )

    def batches() -> Iterator[list[TrainingList]]:
        for start in range(0, len(records), LISTS):
            yield records[start : start + LISTS]

    settings = TrainSettings(loss="listwise", temperature=1.0, learning_rate=2e-5, checkpoints=1)
    one = Machine(2048, 2048)
    with FlopCounterMode(display=False) as counter:
        first = iter([records[:LISTS]])
        train_student(student, first, [], texts, settings, 1, one, lambda _: None)
    student = SequenceStudent.from_reranker(folder, None, None, TOKENS, precision)  # type: ignore[arg-type]
    texts = Texts(Prepared(student), texts.queries, texts.documents)
    texts.pairs(records)
    ends = [time.perf_counter()]
    curve = train_student(
        student, batches(), [], texts, settings, steps, one, lambda n: ends.append(time.perf_counter()) if n else None
    )
    seconds = [b - a for a, b in itertools.pairwise(ends)]
    lengths = [[len(q) + len(d) + 4 for q, d in zip(*texts.pairs([one])[:2], strict=True)] for one in records]
    tokens = [sum(map(sum, lengths[start : start + LISTS])) for start in range(0, len(records), LISTS)]
    return {
        "seconds": seconds,
        "loss": [loss for _, loss in curve.loss],
        "tokens": tokens,
        "padding": 1 - curve.tokens / curve.padded,
        "flops_per_token": counter.get_total_flops() / tokens[0],
    }


def train_sentence_transformers(folder: Path, steps: int, precision: str) -> dict[str, Any]:
    """Seconds and loss of every step."""
    from datasets import Dataset
    from sentence_transformers import CrossEncoder
    from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments
    from sentence_transformers.cross_encoder.losses import ListNetLoss
    from torch.utils.data import SequentialSampler
    from transformers import TrainerCallback

    lists = lists_of(steps)
    model = CrossEncoder(str(folder), max_length=TOKENS, device="cpu")
    model.model.base_model.embeddings.requires_grad_(False)
    rows = {
        "query": [query for query, _, _ in lists],
        "docs": [documents for _, documents, _ in lists],
        "labels": [labels for _, _, labels in lists],
    }

    class Clock(TrainerCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.ends: list[float] = []

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            if not self.ends:
                self.ends.append(time.perf_counter())

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.ends.append(time.perf_counter())

    class InOrder(CrossEncoderTrainer):  # type: ignore[misc]
        def _get_train_sampler(self, *_: Any, **__: Any) -> SequentialSampler:
            return SequentialSampler(self.train_dataset)

    clock = Clock()
    with tempfile.TemporaryDirectory() as out:
        arguments = CrossEncoderTrainingArguments(
            output_dir=out,
            per_device_train_batch_size=LISTS,
            max_steps=steps,
            learning_rate=2e-5,
            warmup_steps=20,
            bf16=precision == "bfloat16",
            use_cpu=True,
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            dataloader_drop_last=True,
            batch_sampler="batch_sampler",
        )
        trainer = InOrder(model, arguments, Dataset.from_dict(rows), loss=ListNetLoss(model), callbacks=[clock])
        trainer.train()
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return {"seconds": [b - a for a, b in itertools.pairwise(clock.ends)], "loss": losses}


def one_engine(name: str, folder: Path, steps: int, precision: str, threads: int, out: Path) -> None:
    """Train with one engine in this process and write what was found."""
    torch.set_num_threads(threads)
    train = train_tamis if name == "tamis" else train_sentence_transformers
    found = train(folder, steps, precision)
    found["peak_memory_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    out.write_text(json.dumps(found), "utf-8")


def take_turns(chosen: argparse.Namespace, precision: str) -> dict[str, list[dict[str, Any]]]:
    """What every engine found in every round."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in ENGINES}
    with tempfile.TemporaryDirectory() as temporary:
        folder, out = Path(temporary) / "start", Path(temporary) / "found.json"
        start_weights(folder)
        for number in range(chosen.rounds):
            for name in ENGINES:
                command = [sys.executable, __file__, "--engine", name, "--folder", str(folder), "--out", str(out)]
                command += ["--steps", str(chosen.steps), "--threads", str(chosen.threads), "--precision", precision]
                subprocess.run(command, check=True)
                found[name].append(json.loads(out.read_text("utf-8")))
                print(f"round {number + 1}: {name}", file=sys.stderr)
    return found


def table(figures: dict[str, Any]) -> str:
    """A row per engine."""
    lines = [
        "| | tokens a second | spread | share of the product rate | peak memory, GiB |",
        "|---|---:|---:|---:|---:|",
    ]
    for name in ENGINES:
        of = figures[name]
        speed = f"{of['tokens_per_second']:,.0f} | ± {of['stdev']:,.0f}"
        lines.append(f"| {name} | {speed} | {of['share']:.0%} | {of['peak_gib']:.2f} |")
    return "\n".join([*lines, f"| **ratio** | **{figures['ratio']:.2f}** | | | |"]) + "\n"


def main() -> None:
    """Compare the engines, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    for hidden in ("--engine", "--folder", "--out", "--precision"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.engine:
        facts = (chosen.engine, Path(chosen.folder), chosen.steps, chosen.precision, chosen.threads, Path(chosen.out))
        one_engine(*facts)
        return
    torch.set_num_threads(chosen.threads)
    from tamis.models.precision import fastest_precision

    precision = fastest_precision()
    found_commit, rates = commit(), matrix_rates()
    found = take_turns(chosen, precision)
    ours = found["tamis"][0]
    figures: dict[str, Any] = {"product_rate_gflops": rates[precision], "flops_per_token": ours["flops_per_token"]}
    for name in ENGINES:
        speeds = [sum(ours["tokens"][WARM_UP:]) / sum(run["seconds"][WARM_UP:]) for run in found[name]]
        figures[name] = {
            "tokens_per_second": median(speeds),
            "stdev": stdev(speeds) if len(speeds) > 1 else 0.0,
            "share": median(speeds) * ours["flops_per_token"] / (rates[precision] * 1e9),
            "peak_gib": max(run["peak_memory_bytes"] for run in found[name]) / 2**30,
            "first_loss": mean(run["loss"][0] for run in found[name]),
            "last_loss": mean(run["loss"][-1] for run in found[name]),
        }
    figures["ratio"] = figures["tamis"]["tokens_per_second"] / figures["sentence-transformers"]["tokens_per_second"]
    gap = abs(figures["tamis"]["first_loss"] - figures["sentence-transformers"]["first_loss"])
    targets = [
        ("times sentence-transformers", figures["ratio"], ">= 1.5", figures["ratio"] >= 1.5),
        ("share of the matrix-product rate", figures["tamis"]["share"], ">= 0.5", figures["tamis"]["share"] >= 0.5),
        ("padding", ours["padding"], "<= 0.05", ours["padding"] <= 0.05),
        ("difference of the first losses", gap, "<= 0.01", gap <= 0.01),
    ]
    content: dict[str, Any] = {
        "benchmark": "training",
        "commit": found_commit,
        "machine": machine(),
        "precision": precision,
        "seeds": [1],
        "steps": chosen.steps,
        "rounds": chosen.rounds,
        "figures": figures,
        "targets": [dict(zip(("name", "value", "bound", "met"), target, strict=True)) for target in targets],
    }
    write_results("training", content, table(figures))
    show_in_readme(table(figures), "training")
    print(table(figures))
    print_targets(content["targets"])


if __name__ == "__main__":
    main()
