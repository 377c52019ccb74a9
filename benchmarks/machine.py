"""What a result says about where it was measured."""

import hashlib
import platform
import subprocess
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
    """The commit that was measured, marked where the working tree differs in more than what benchmarks write."""
    describe = _git("describe", "--always", "--abbrev=12")
    places = ("benchmarks/results", "docs/*.md", "src/tamis/shipped/*/README.md")
    written = [f":(top,exclude){place}" for place in places]
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ":/", *written)
    return f"{describe or 'unknown'}{'-dirty' if changed else ''}"


def _git(*words: str) -> str:
    found = subprocess.run(["git", *words], check=False, capture_output=True, text=True, cwd=ROOT)
    return found.stdout.strip()


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
