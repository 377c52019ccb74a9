"""What a result says about where it was measured."""

import hashlib
import json
import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from operator import eq, ge, gt, le, lt
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent
DOCS = ROOT.parent / "docs"


def machine() -> dict[str, Any]:
    """Processor, cores, memory and platform, and the GPU where there is one."""
    import torch

    cpu = next(
        (
            line.split(":", 1)[1].strip()
            for line in _read("/proc/cpuinfo").splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    memory = next((line.split()[1] for line in _read("/proc/meminfo").splitlines() if line.startswith("MemTotal")), "0")
    cores = _read("/proc/cpuinfo").count("processor\t")
    found = {"cpu": cpu, "cores": cores, "memory_gib": round(int(memory) / 2**20, 1), "platform": platform.platform()}
    return found | ({"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {})


def _read(path: str) -> str:
    file = Path(path)
    return file.read_text(encoding="utf-8") if file.exists() else ""


def commit() -> str:
    """The commit that was measured, marked where the working tree differs from it."""
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"], check=False, capture_output=True, text=True, cwd=ROOT
    )
    return found.stdout.strip() or "unknown"


def source_hash() -> str:
    """12 digits of all files of the package that is measured: what a commit says, and what its working tree adds."""
    package = ROOT.parent / "src"
    digest = hashlib.sha256()
    for file in sorted(path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
        digest.update(str(file.relative_to(package)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]


def matrix_rates(seconds: float = 1.5) -> dict[str, float]:
    """Matrix products of this machine in 10^9 operations a second, by number format; `seconds` for each."""
    from tamis.models.precision import Precision, fastest_device, product_rate

    formats: tuple[Precision, ...] = ("float32", "bfloat16")
    device = fastest_device()
    size = 1536 if device.type == "cpu" else 8192  # a GPU is busy with large ones only
    return {name: product_rate(device, name, size, seconds) / 1e9 for name in formats}


def checked(rows: Iterable[tuple[str, float, str]]) -> list[dict[str, Any]]:
    """Targets of names, values and bounds such as `>= 0.8`, with whether each is met.

    A bound is `<`, `<=`, `=`, `>=`, `>`, or `within` for either side of 0, and a number; or `LEAST to MOST`.
    """
    return [
        {"name": name, "value": round(value, 5), "bound": bound, "met": _met(value, bound)}
        for name, value, bound in rows
    ]


def _met(value: float, bound: str) -> bool:
    sign, _, number = bound.partition(" ")
    if number.startswith("to "):
        return float(sign) <= value <= float(number.removeprefix("to "))
    if sign == "within":
        value, sign = abs(value), "<="
    return bool({"<": lt, "<=": le, "=": eq, ">=": ge, ">": gt}[sign](value, float(number)))


def targets_table(targets: Sequence[Mapping[str, Any]]) -> list[str]:
    """Lines of a Markdown table of targets: name, value, bound, met."""
    lines = ["| target | value | bound | met |", "|---|---:|---|---|"]
    for target in targets:
        verdict = "yes" if target["met"] else "**no**"
        lines.append(f"| {target['name']} | {target['value']:.3g} | {target['bound']} | {verdict} |")
    return lines


def print_targets(targets: Sequence[Mapping[str, Any]]) -> None:
    """A line per target, with what is not met in capitals."""
    for target in targets:
        print("met   " if target["met"] else "MISSED", target["name"], f"{target['value']:.4g}", target["bound"])


def show_in_readme(table: str, name: str, path: Path = ROOT.parent / "README.md") -> None:
    """Put a benchmark's table between its marks in README.md, or in another page that has them."""
    opening, closing = f"<!-- {name}: written by benchmarks/{name}.py -->", f"<!-- /{name} -->"
    before, rest = path.read_text("utf-8").split(opening)
    path.write_text(f"{before}{opening}\n{table}{rest[rest.index(closing) :]}", "utf-8")


def write_results(name: str, content: Mapping[str, Any], table: str) -> None:
    """Write a benchmark's figures to results/NAME.json and its table to results/NAME.md."""
    results = ROOT / "results"
    results.mkdir(exist_ok=True)
    (results / f"{name}.json").write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", "utf-8")
    (results / f"{name}.md").write_text(table, "utf-8")
