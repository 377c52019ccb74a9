"""Debian packages: download them with apt-get and read them without installing anything."""

import io
import lzma
import os
import shutil
import subprocess
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote

from tamis.errors import InputError, MissingPartError, RunError

_AR_MAGIC = b"!<arch>\n"
_AR_HEADER = 60  # bytes: name 16, time 12, owner 6, group 6, mode 8, size 10, end mark 2
_OWN_CORPUS = (
    "set `corpus.target` in the recipe to a corpus of your own instead "
    "(a BEIR folder, a JSONL file or a folder of .txt files)"
)


def download(names: Sequence[str], folder: Path) -> list[Path]:
    """Download the .deb file of each package into a folder by `apt-get download`, which needs no root.

    A package whose .deb already lies in the folder is not fetched again. Package lists that are missing or out of
    date are renewed once by `apt-get update`, which works where the user may write them (root, most containers).

    Args:
        names: Debian package names.
        folder: Where the .deb files are kept; made where missing.

    Returns:
        One file per name, in the order of the names.

    Raises:
        MissingPartError: There is no apt-get, or it does not get a package.
        RunError: The folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        missing = [name for name in names if not _kept(name, folder)]
        if missing:
            _fetch(missing, folder)
    except OSError as error:
        raise RunError(f"{folder}: cannot be written ({error}); free the disk or name another folder") from error
    return [_kept(name, folder)[-1] for name in names]


def package_version(deb: Path) -> str:
    """Package name and version as the file name tells them: `debian-faq 11.1`.

    Args:
        deb: A path like `debian-faq_11.1_all.deb`; any other name is returned as it is.
    """
    parts = unquote(deb.name).removesuffix(".deb").split("_")
    return f"{parts[0]} {parts[1]}" if len(parts) == 3 else deb.name


def deb_files(path: Path, suffix: str) -> Iterator[tuple[str, bytes]]:
    """Read files out of a .deb archive; neither root nor dpkg is needed, save for zstd archives.

    Args:
        path: The .deb file: an ar archive whose member `data.tar.*` holds the files.
        suffix: End of the wanted file names, `.html`.

    Yields:
        Name inside the package and content of each file, in the archive's order. Links are passed over: what they
        point to comes under its own name.

    Raises:
        InputError: The file cannot be read or is no whole Debian package.
        MissingPartError: The package is packed with zstd and this machine has no dpkg-deb.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(_data_archive(path)), mode="r:*") as archive:
            for member in archive:
                wanted = member.isfile() and member.name.endswith(suffix)
                content = archive.extractfile(member) if wanted else None
                if content is not None:
                    yield member.name, content.read()
    except (OSError, EOFError, ValueError, tarfile.TarError, lzma.LZMAError, zlib.error) as error:
        raise InputError(f"{path}: not a whole Debian package ({error}); delete the file and fetch it again") from error


def _kept(name: str, folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{name}_*.deb"))


def _fetch(names: Sequence[str], folder: Path) -> None:
    program = shutil.which("apt-get")
    if program is None:
        raise MissingPartError(f"apt-get was not found, so {', '.join(names)} cannot be fetched here: {_OWN_CORPUS}")
    # apt-get writes under the final name from the first byte, so a killed download would look like a finished one.
    with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as fresh:
        complaint = _apt(program, ["download", *names], Path(fresh))
        if complaint:
            _apt(program, ["update"], Path(fresh))
            complaint = _apt(program, ["download", *names], Path(fresh))
        for deb in [] if complaint else sorted(Path(fresh).glob("*.deb")):
            deb.replace(folder / deb.name)
    lacking = [name for name in names if not _kept(name, folder)]
    if lacking:
        raise MissingPartError(
            f"apt-get did not get {', '.join(lacking)} ({complaint or 'without saying why'}): "
            f"run `apt-get update` as root and try again, or {_OWN_CORPUS}"
        )


def _apt(program: str, arguments: Sequence[str], folder: Path) -> str:
    """Run apt-get in a folder; returns its first error line, empty when all went well."""
    environment = {**os.environ, "LC_ALL": "C"}
    command = [program, *arguments]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if result.returncode == 0:
        return ""
    lines = [line.removeprefix("E: ") for line in result.stderr.splitlines() if line.startswith("E: ")]
    return lines[0] if lines else f"exit status {result.returncode}"


def _data_archive(path: Path) -> bytes:
    """The tar archive inside a .deb, packed in a way that `tarfile` understands."""
    with path.open("rb") as stream:
        if stream.read(len(_AR_MAGIC)) != _AR_MAGIC:
            raise ValueError("no ar archive")
        name, size = _find_member(stream, "data.tar")
        data = stream.read(size)
    if len(data) < size:
        raise ValueError("cut off")
    return _unpack_zstd(path) if name.endswith(".zst") else data


def _find_member(stream: BinaryIO, prefix: str) -> tuple[str, int]:
    """Move to the first ar member whose name starts so; returns its name and its size in bytes."""
    while len(header := stream.read(_AR_HEADER)) == _AR_HEADER:
        name = header[:16].decode("ascii").rstrip(" /")
        size = int(header[48:58])
        if name.startswith(prefix):
            return name, size
        stream.seek(size + size % 2, io.SEEK_CUR)  # members start at even offsets
    raise ValueError(f"no member {prefix}")


def _unpack_zstd(path: Path) -> bytes:
    program = shutil.which("dpkg-deb")
    if program is None:
        raise MissingPartError(f"{path}: packed with zstd, which needs dpkg-deb; install dpkg, or {_OWN_CORPUS}")
    result = subprocess.run([program, "--fsys-tarfile", str(path)], capture_output=True, check=False)
    if result.returncode:
        raise ValueError(result.stderr.decode(errors="replace").strip())
    return result.stdout
