"""Build what is published, twice, and use it as somebody would who has nothing but a new Python.

python deploy/release.py build         wheel and sdist into dist/, with SHA256SUMS; fails if two builds differ in a byte
python deploy/release.py check         installs the wheel into new environments and runs the README's first lines there
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
DIST: Final = ROOT / "dist"
TORCH: Final = os.environ.get("TORCH", "torch")
"""Requirement for torch, which is installed first: a build for processors where there is one."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one of the two steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["build", "check"])
    if parser.parse_args(arguments).step == "build":
        print_sums(build_twice(DIST))
    else:
        check(wheel_in(DIST), pythons())


def build_twice(out: Path) -> dict[str, str]:
    """Build wheel and sdist from two copies of the tracked files, made at other times under another umask.

    Args:
        out: Folder of the files; what lies in it is removed.

    Returns:
        sha256 of each file by name, hexadecimal.
    """
    shutil.rmtree(out, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        first = _build(Path(folder) / "one", out, umask=0o022)
        second = _build(Path(folder) / "other", Path(folder) / "dist", umask=0o077)
    differing = sorted(name for name in first.keys() | second.keys() if first.get(name) != second.get(name))
    if differing:
        sys.exit(f"{', '.join(differing)}: two builds of the same files differ; nothing can be published")
    (out / "SHA256SUMS").write_text("".join(f"{found}  {name}\n" for name, found in sorted(first.items())))
    return first


def print_sums(sums: Mapping[str, str]) -> None:
    """Print what was built."""
    for name, found in sorted(sums.items()):
        print(found, name)


def _build(source: Path, out: Path, umask: int) -> dict[str, str]:
    before = os.umask(umask)
    try:
        copy_tracked(ROOT, source)
        # SOURCE_DATE_EPOCH stands in both formats as the time of every file.
        environment = {**os.environ, "SOURCE_DATE_EPOCH": commit_time(ROOT)}
        command = [sys.executable, "-m", "build", "--outdir", str(out), str(source)]
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    finally:
        os.umask(before)
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in out.glob("tamis-*")}


def copy_tracked(root: Path, target: Path) -> None:
    """Copy the files that git knows, as they lie there: what a checkout holds besides gets into no package."""
    listed = subprocess.run(["git", "-C", str(root), "ls-files", "-z"], check=True, capture_output=True).stdout
    for name in [name for name in listed.decode().split("\0") if (root / name).is_file()]:
        copy = target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, copy)


def commit_time(root: Path) -> str:
    """`SOURCE_DATE_EPOCH` as it is given, otherwise the time of the last commit, in seconds since 1970."""
    command = ["git", "-C", str(root), "log", "-1", "--format=%ct"]
    return (
        os.environ.get("SOURCE_DATE_EPOCH")
        or subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    )


def wheel_in(folder: Path) -> Path:
    """The one wheel of a folder."""
    wheels = sorted(folder.glob("*.whl"))
    if len(wheels) != 1:
        sys.exit(f"{folder}: {len(wheels)} wheels, expected one; run `make release` first")
    return wheels[0]


def pythons() -> list[str]:
    """Each Python on this machine that the package says it runs on."""
    classifiers = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    named = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', classifiers)
    found = {version: path for version in named if (path := which_python(version))}
    missing = [version for version in named if version not in found]
    print(f"Python: {', '.join(found) or 'none'}; not on this machine: {', '.join(missing) or 'none'}", flush=True)
    return list(found.values()) or [sys.executable]


def which_python(version: str) -> str | None:
    """A Python of a version, found by its name, or among those of pyenv, whose names may lead nowhere."""
    kept = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"))
    for path in (shutil.which(f"python{version}"), *map(str, kept)):
        if path and subprocess.run([path, "--version"], capture_output=True).returncode == 0:
            return path
    return None


def check(wheel: Path, pythons: Sequence[str]) -> None:
    """Install a wheel into a new environment of each Python and run the README's first lines there."""
    code, expected = first_lines((ROOT / "README.md").read_text(encoding="utf-8"))
    for python in pythons:
        with tempfile.TemporaryDirectory() as folder:
            fresh = install(python, wheel, Path(folder) / "env")
            # A cache of its own, another folder and no PYTHONPATH: nothing but the wheel is there.
            environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
            environment |= {"XDG_CACHE_HOME": folder, "HF_HUB_OFFLINE": "1"}
            found = subprocess.run(
                [fresh, "-c", code], check=True, capture_output=True, text=True, cwd=folder, env=environment
            ).stdout
        if found != expected:
            sys.exit(f"{python}: the README's first lines print {found!r}, expected {expected!r}")
        print(f"{python}: {wheel.name} installed, the README's first lines print what the README says")


def install(python: str, wheel: Path, folder: Path) -> Path:
    """Make an environment, install a wheel with `[demo]` into it, and let pip check it; returns its Python."""
    subprocess.run([python, "-m", "venv", str(folder)], check=True)
    fresh = folder / "bin" / "python"
    for arguments in (["install", "-q", TORCH], ["install", "-q", f"{wheel}[demo]"], ["check"]):
        subprocess.run([fresh, "-m", "pip", *arguments], check=True)
    return fresh


def first_lines(readme: str) -> tuple[str, str]:
    """The README's first block of Python, and the block after it: what it prints."""
    found = re.search(r"```python\n(.*?)```\n\n```\n(.*?)```", readme, re.DOTALL)
    if not found:
        sys.exit("README.md: no block of Python with its output after it")
    return found[1], found[2]


if __name__ == "__main__":
    main()
