"""How much memory it takes to merge checkpoints: `tamis merge` in a process of its own, watched from outside.

    make bench-merging
    python benchmarks/merging.py --gigabytes 0.2 --shard-gigabytes 0.05

Writes benchmarks/results/merging.json and merging.md. The checkpoints are made up: the shapes of Qwen3-4B with one
label (smaller ones below 4 GB), random bfloat16 in shards of 1 GB, two models a small step away from their base. A size
that the disk has no room for is cut so that a fifth of what is free stays free.

Memory is reported twice. `peak_rss` counts everything, pages of mapped files included; `peak_anonymous` is what the
process asked for itself, seen every 20 ms. What Python and the libraries take before any work is told beside them.
"""

import argparse
import json
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from machine import DOCS, ROOT, commit
from results import checked, publish, targets_table

GB = 10**9
MODELS = ("base", "a", "b")
STEP = 0.01
RUNS = {
    "slerp on weights": [],
    "slerp on differences": ["--base", "base"],
    "ties": ["--base", "base", "--method", "ties"],
}
"""Options of `tamis merge a b --out out` in the folder of the checkpoints."""


def shape_of(size: float) -> dict[str, int]:
    """Sizes of a Qwen3 body of so many bytes in bfloat16, a tenth of them embeddings, never more than Qwen3-4B has."""
    hidden, wide, heads = (2560, 9728, 32) if size >= 4 * GB else (1024, 3072, 16)
    words = min(151_936, max(1024, int(size / 10 / 2 / hidden)))
    layer = 2 * (2 * 128 * heads * hidden + 2 * 128 * 8 * hidden + 3 * hidden * wide)
    return {
        "hidden_size": hidden,
        "intermediate_size": wide,
        "num_attention_heads": heads,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "vocab_size": words,
        "num_hidden_layers": min(36, max(1, round((size - 2 * words * hidden) / layer))),
    }


def make_checkpoints(folder: Path, size: float, shard_size: float, seed: int) -> None:
    """Write base, a and b; run in a process of its own, so that its memory is not ours."""
    import torch
    from safetensors.torch import save_file
    from transformers import Qwen3Config, Qwen3ForSequenceClassification

    sys.path.insert(0, str(ROOT.parent))
    from tests.families import tokenizer

    words = tokenizer(folder / MODELS[0])
    config = Qwen3Config(num_labels=1, pad_token_id=words.pad_token_id, dtype="bfloat16", **shape_of(size))
    with torch.device("meta"):
        shapes = {name: x.shape for name, x in Qwen3ForSequenceClassification(config).state_dict().items()}
    config.architectures = ["Qwen3ForSequenceClassification"]
    config.save_pretrained(folder / MODELS[0])
    for name in MODELS[1:]:
        shutil.copytree(folder / MODELS[0], folder / name)
    shards = in_shards({name: 2 * shape.numel() for name, shape in shapes.items()}, shard_size)
    for number, names in enumerate(shards):
        file = file_of(number, len(shards))
        for place, model in enumerate(MODELS):
            base, own = (torch.Generator().manual_seed(1000 * seed + 10 * number + i) for i in (0, place))
            tensors = {}
            for name in names:
                tensors[name] = torch.randn(shapes[name], generator=base, dtype=torch.bfloat16).mul_(0.02)
                if place:
                    tensors[name] += torch.randn(shapes[name], generator=own, dtype=torch.bfloat16).mul_(0.02 * STEP)
            save_file(tensors, folder / model / file, metadata={"format": "pt"})
    weight_map = {name: file_of(number, len(shards)) for number, names in enumerate(shards) for name in names}
    for model in MODELS:
        index = {"metadata": {}, "weight_map": weight_map}
        (folder / model / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")


def in_shards(sizes: dict[str, int], most: float) -> list[list[str]]:
    """Tensor names in their order, in groups of at most so many bytes."""
    shards: list[list[str]] = [[]]
    taken = 0
    for name, size in sizes.items():
        if shards[-1] and taken + size > most:
            shards.append([])
            taken = 0
        shards[-1].append(name)
        taken += size
    return shards


def file_of(number: int, count: int) -> str:
    """Name of a shard, counted from 0."""
    return f"model-{number + 1:05d}-of-{count:05d}.safetensors"


def watched(command: list[str], folder: Path) -> dict[str, Any]:
    """Run a command and watch its memory in bytes.

    The kernel's own peak of a child (ru_maxrss) starts with what its parent held when it was started, so it is an upper
    bound; VmHWM belongs to the new process alone.
    """
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    peak = {"peak_rss": 0, "peak_anonymous": 0}
    while True:
        found, status, usage = os.wait4(process.pid, os.WNOHANG)
        if found:
            break
        for name, file, field in (
            ("peak_rss", "status", "VmHWM"),
            ("peak_anonymous", "smaps_rollup", "Anonymous"),
        ):
            peak[name] = max(peak[name], proc_bytes(process.pid, file, field))
        time.sleep(0.02)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with status {process.returncode}")
    return {**peak, "ru_maxrss": usage.ru_maxrss * 1024, "seconds": time.perf_counter() - start}


def proc_bytes(pid: int, file: str, field: str) -> int:
    """A figure of /proc/PID in bytes; 0 once the process is gone."""
    try:
        content = Path(f"/proc/{pid}/{file}").read_text("utf-8")
    except OSError:
        return 0
    found = re.search(rf"^{field}:\s+(\d+) kB", content, re.MULTILINE)
    return 1024 * int(found[1]) if found else 0


def measure(folder: Path) -> dict[str, Any]:
    """Merge in every way, and do nothing but load the libraries."""
    python = [sys.executable, "-m", "tamis"]
    libraries = "import transformers.models.auto.tokenization_auto, tamis.merging.merge, tamis.cli.printing"
    found = {"libraries alone": watched([sys.executable, "-c", libraries], folder)}
    for name, options in RUNS.items():
        print(f"  {name}", file=sys.stderr)
        found[name] = watched([*python, "merge", "a", "b", "--out", "out", *options], folder)
        shutil.rmtree(folder / "out")
    return found


def targets_of(runs: dict[str, Any], shard: int) -> list[dict[str, Any]]:
    """What was asked for, and what was reached."""
    rows = []
    for name in RUNS:
        for kind, words in (("peak_rss", "peak memory"), ("peak_anonymous", "peak anonymous memory")):
            rows.append((f"{name}: {words} in shards", runs[name][kind] / shard, "< 1.5"))
    return checked(rows)


def markdown(content: dict[str, Any]) -> str:
    """The tables."""
    made = content["checkpoint"]
    lines = [
        f"Two models and their base of {made['bytes'] / GB:.1f} GB each, {made['shards']} shards of at most "
        f"{made['largest_shard'] / GB:.2f} GB, {made['tensors']} tensors in bfloat16:",
        "",
        "| | peak memory, GB | of that anonymous | in shards | seconds |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, run in content["runs"].items():
        lines.append(
            f"| {name} | {run['peak_rss'] / GB:.2f} | {run['peak_anonymous'] / GB:.2f} "
            f"| {run['peak_rss'] / made['largest_shard']:.2f} | {run['seconds']:.0f} |"
        )
    lines += ["", *targets_table(content["targets"])]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Make, merge, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=8.0, help="of each checkpoint")
    parser.add_argument("--shard-gigabytes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=17)
    chosen = parser.parse_args()
    disk = ROOT.parent / "demo"  # not the system's temporary folder, which may lie in memory
    disk.mkdir(exist_ok=True)
    size = min(chosen.gigabytes * GB, 0.8 * shutil.disk_usage(disk).free / (len(MODELS) + 1))
    with tempfile.TemporaryDirectory(dir=disk, prefix="bench-merging-") as name:
        folder = Path(name)
        print(f"making checkpoints of {size / GB:.1f} GB", file=sys.stderr)
        making = multiprocessing.get_context("spawn").Process(
            target=make_checkpoints, args=(folder, size, chosen.shard_gigabytes * GB, chosen.seed)
        )
        making.start()
        making.join()
        if making.exitcode:
            raise SystemExit("the checkpoints could not be made")
        shards = [file.stat().st_size for file in (folder / "a").glob("*.safetensors")]
        index = json.loads((folder / "a" / "model.safetensors.index.json").read_text("utf-8"))
        runs = measure(folder)
    content = {
        "seeds": [chosen.seed],
        "checkpoint": {
            "asked_bytes": int(chosen.gigabytes * GB),
            "bytes": sum(shards),
            "shards": len(shards),
            "largest_shard": max(shards),
            "tensors": len(index["weight_map"]),
            "shape": shape_of(size),
        },
        "runs": runs,
        "targets": targets_of(runs, max(shards)),
    }
    publish("merging", commit(), content, markdown(content), [DOCS / "merging.md"])


if __name__ == "__main__":
    main()
