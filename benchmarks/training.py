"""How fast a student learns: tamis beside sentence-transformers' CrossEncoderTrainer, the same lists, weights and loss.

    make bench-training
    python benchmarks/training.py --steps 12 --rounds 3
    python benchmarks/training.py --body qwen3-0.6b --lists 16     # where there is a GPU

Twelve layers of multilingual-e5-small with a new head of one label, embeddings frozen, no dropout, AdamW, bfloat16
where the machine multiplies it natively, four lists of eight documents a step, ListNet's loss. Engines take turns in
processes of their own; each trains the same lists in the same order from the same weights, and the losses of the first
step must agree. Counted are the real tokens of all steps but the first two, by the time of those steps; the floor is
the machine's rate of matrix products, measured in the same run. Writes benchmarks/results/training.json and
training.md. The other body has the shape of Qwen3-0.6B, random weights and a tokenizer made from the lists' texts: its
speed is that of the real one, what it learns says nothing. Its results lie in training-qwen3-0.6b.json and .md.
"""

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import torch

from machine import DOCS, ROOT, commit, matrix_rates
from results import checked, publish
from tamis.process_memory import peak_memory

DEMO = ROOT.parent / "demo"
DOCUMENTS, TOKENS = 8, 256
WARM_UP = 2
"""Steps that are not counted."""

ENGINES = ("tamis", "sentence-transformers")

QWEN3 = {
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 151_936,
    "max_position_embeddings": 40_960,
}
"""Shape of Qwen3-0.6B, from its published config.json."""


def lists_of(count: int) -> list[tuple[str, list[str], list[float]]]:
    """Given queries of GNOME Help with their own document and seven that BM25 finds: query, documents, labels."""
    from tamis.formats.documents import read_documents
    from tamis.formats.queries import read_given_queries
    from tamis.retrievers.bm25 import Bm25

    folder = DEMO / "data" / "gnome-help"
    documents = [d for d in read_documents(folder, "general") if d.language in ("en", "de", "ru")]
    index = Bm25([d.text for d in documents], 0.9, 0.4)
    place = {d.doc_id: i for i, d in enumerate(documents)}
    rows = [row for row in read_given_queries(folder) if row[2] in place]
    lists = []
    for _, query, own in rows[:: len(rows) // count][:count]:
        best = [int(i) for i in (-index.scores(query)).argsort(kind="stable")[:DOCUMENTS] if i != place[own]]
        ids = [place[own], *best][:DOCUMENTS]
        lists.append((query, [documents[i].text for i in ids], [4.0, *(2.0 / rank for rank in range(1, len(ids)))]))
    return lists


def start_weights(body: str, folder: Path) -> None:
    """The student that both train."""
    from tamis.models.checkpoint import Deployment
    from tamis.models.encoder import Encoder
    from tamis.models.saving import save_student
    from tamis.models.sequence_student import SequenceStudent
    from tamis.models.serializer import Joined

    if body == "e5-small":
        encoder = Encoder.load(DEMO / "models" / "e5-small")
        student = SequenceStudent.from_encoder(encoder, Joined(max_tokens=TOKENS), seed=1)
    else:
        made_up_qwen3(folder.with_name("body"))
        student = SequenceStudent.from_causal(folder.with_name("body"), TOKENS, "float32", seed=1)
    save_student(student, folder, Deployment({}, {}))
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config), "utf-8")


def made_up_qwen3(folder: Path) -> None:
    """A body of Qwen3-0.6B's shape with random weights, and a tokenizer made from the texts of the lists."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3Model

    end, padding = "<|im_end|>", "<|endoftext|>"  # as Qwen3's
    trained = ByteLevelBPETokenizer()
    texts = (text for query, documents, _ in lists_of(200) for text in (query, *documents))
    trained.train_from_iterator(texts, vocab_size=30_000, special_tokens=[end, padding], show_progress=False)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=trained._tokenizer, eos_token=end, pad_token=padding)
    torch.manual_seed(1)
    config = Qwen3Config(**QWEN3, pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id)
    Qwen3Model(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def done(device: torch.device) -> float:
    """The time at which all that was asked of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def train_tamis(folder: Path, count: int, per_step: int, precision: str) -> dict[str, Any]:
    """Seconds and loss of every step, and operations of the first."""
    from tamis.models.checkpoint import read_facts
    from tamis.models.operations import operation_counter
    from tamis.models.precision import CPU_TOKENS, LEARNING_GPU_TOKENS, fastest_device
    from tamis.models.prepared import Prepared
    from tamis.models.sequence_student import SequenceStudent
    from tamis.records import TrainingList
    from tamis.stages.train.agreement import TrainingTexts
    from tamis.stages.train.settings import TrainSettings
    from tamis.stages.train.train import Execution, train_student

    lists, device, steps = lists_of(count), fastest_device(), count // per_step
    facts = read_facts(folder)

    def start() -> SequenceStudent:
        how = (facts.family, facts.serializer, TOKENS, precision)
        return SequenceStudent.from_reranker(folder, *how).to(device)  # type: ignore[arg-type]

    student = start()
    records = [
        TrainingList(f"q{n}", "all", "train", tuple(f"d{n}/{i}" for i in range(len(documents))), tuple(labels), (), ())
        for n, (_, documents, labels) in enumerate(lists)
    ]
    texts = TrainingTexts(
        Prepared(student),
        {f"q{n}": query for n, (query, _, _) in enumerate(lists)},
        {f"d{n}/{i}": text for n, (_, documents, _) in enumerate(lists) for i, text in enumerate(documents)},
    )

    def batches() -> Iterator[list[TrainingList]]:
        for start in range(0, len(records), per_step):
            yield records[start : start + per_step]

    settings = TrainSettings(loss="listwise", temperature=1.0, learning_rate=2e-5, checkpoints=1)
    tokens_of_a_part = CPU_TOKENS if device.type == "cpu" else LEARNING_GPU_TOKENS
    one = Execution(tokens_of_a_part, tokens_of_a_part)
    with operation_counter() as counter:
        first = iter([records[:per_step]])
        train_student(student, first, [], texts, settings, 1, one, lambda _: None)
    student = start()
    texts = TrainingTexts(Prepared(student), texts.queries, texts.documents)
    texts.pairs(records)
    ends = [done(device)]
    curve = train_student(
        student, batches(), [], texts, settings, steps, one, lambda n: ends.append(done(device)) if n else None
    )
    seconds = [b - a for a, b in itertools.pairwise(ends)]
    lengths = [[len(q) + len(d) + 4 for q, d in zip(*texts.pairs([one])[:2], strict=True)] for one in records]
    tokens = [sum(map(sum, lengths[start : start + per_step])) for start in range(0, len(records), per_step)]
    return {
        "seconds": seconds,
        "loss": [loss for _, loss in curve.loss],
        "tokens": tokens,
        "padding": 1 - curve.tokens / curve.padded,
        "flops_per_token": counter.get_total_flops() / tokens[0],
    }


def train_sentence_transformers(folder: Path, count: int, per_step: int, precision: str) -> dict[str, Any]:
    """Seconds and loss of every step."""
    from datasets import Dataset
    from sentence_transformers import CrossEncoder
    from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments
    from sentence_transformers.cross_encoder.losses import ListNetLoss
    from torch.utils.data import BatchSampler, SequentialSampler
    from transformers import TrainerCallback

    from tamis.models.precision import fastest_device

    lists, device, steps = lists_of(count), fastest_device(), count // per_step
    model = CrossEncoder(str(folder), max_length=TOKENS, device=str(device))
    # An encoder's tables of tokens, positions and types; a causal body has that of tokens only.
    getattr(model.model.base_model, "embeddings", model.model.get_input_embeddings()).requires_grad_(False)
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
                self.ends.append(done(device))

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.ends.append(done(device))

    class InOrder(CrossEncoderTrainer):  # type: ignore[misc]
        def get_batch_sampler(self, dataset: Any, batch_size: int, drop_last: bool, **_: Any) -> BatchSampler:
            return BatchSampler(SequentialSampler(dataset), batch_size, drop_last)

    clock = Clock()
    with tempfile.TemporaryDirectory() as out:
        arguments = CrossEncoderTrainingArguments(
            output_dir=out,
            per_device_train_batch_size=per_step,
            max_steps=steps,
            learning_rate=2e-5,
            warmup_steps=20,
            bf16=precision == "bfloat16",
            use_cpu=device.type == "cpu",
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            dataloader_drop_last=True,
        )
        trainer = InOrder(model, arguments, Dataset.from_dict(rows), loss=ListNetLoss(model), callbacks=[clock])
        trainer.train()
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return {"seconds": [b - a for a, b in itertools.pairwise(clock.ends)], "loss": losses}


def one_engine(name: str, folder: Path, count: int, per_step: int, precision: str, threads: int, out: Path) -> None:
    """Train with one engine in this process and write what was found."""
    torch.set_num_threads(threads)
    train = train_tamis if name == "tamis" else train_sentence_transformers
    found = train(folder, count, per_step, precision)
    found["peak_memory_bytes"] = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else peak_memory()
    out.write_text(json.dumps(found), "utf-8")


def take_turns(chosen: argparse.Namespace, precision: str) -> dict[str, list[dict[str, Any]]]:
    """What every engine found in every round."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in ENGINES}
    with tempfile.TemporaryDirectory() as temporary:
        folder, out = Path(temporary) / "start", Path(temporary) / "found.json"
        start_weights(chosen.body, folder)
        for number in range(chosen.rounds):
            for name in ENGINES:
                command = [sys.executable, __file__, "--engine", name, "--folder", str(folder), "--out", str(out)]
                command += ["--steps", str(chosen.steps), "--threads", str(chosen.threads), "--precision", precision]
                command += ["--lists", str(chosen.lists)]
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
    parser.add_argument("--lists", type=int, default=4, help="of each step, of eight documents")
    parser.add_argument("--body", choices=("e5-small", "qwen3-0.6b"), default="e5-small")
    for hidden in ("--engine", "--folder", "--out", "--precision"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.engine:
        lists = (chosen.steps * chosen.lists, chosen.lists)
        one_engine(chosen.engine, Path(chosen.folder), *lists, chosen.precision, chosen.threads, Path(chosen.out))
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
        ("times sentence-transformers", figures["ratio"], ">= 1.5"),
        ("share of the matrix-product rate", figures["tamis"]["share"], ">= 0.5"),
        ("padding", ours["padding"], "<= 0.05"),
        ("difference of the first losses", gap, "<= 0.01"),
    ]
    content = {
        "precision": precision,
        "seeds": [1],
        "steps": chosen.steps,
        "rounds": chosen.rounds,
        "lists": chosen.lists,
        "figures": figures,
        "targets": checked(targets),
    }
    if chosen.body == "e5-small":
        publish("training", found_commit, content, table(figures), [DOCS / "training.md"])
    else:
        publish(f"training-{chosen.body}", found_commit, content, table(figures))


if __name__ == "__main__":
    main()
