"""What `benchmarks/trust.py` ends and lets fail: commands of tamis, and the single pieces that keep their work."""

import copy
import hashlib
import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from tamis.errors import TamisError
from tests.failing_disk import Ended, Fault, attempt

NOT_COUNTED = "/tensorboard/"
"""A thread of TensorBoard's writes there at moments of its own; nothing reads it."""

MOMENTARY = {"seconds", "stage_seconds", "peak_memory_bytes", "cost", "command"}
"""Keys of JSON files that hold times, memory and where the command wrote."""


@dataclass(frozen=True)
class Job:
    """Some work, and what it has to leave.

    Attributes:
        name: Of the row.
        work: What is killed; called in a process of its own. Called again, it goes on where it was.
        place: The folder that it writes to, made anew for each try.
        results: What of its files counts, from their names to their hashes; the same whatever happened on the way.
        start: What lies there before, if anything.
    """

    name: str
    work: Callable[[], object]
    place: Path
    results: Callable[[Path], Mapping[str, str]]
    start: Path | None = None

    def prepare(self) -> None:
        """Make the folder as it is before the work."""
        shutil.rmtree(self.place, ignore_errors=True)
        if self.start:
            shutil.copytree(self.start, self.place, symlinks=True)
        else:
            self.place.mkdir(parents=True)

    def run(self, fault: Fault | None = None, killed_after: float | None = None) -> Ended:
        """Do it once, in the folder as it is."""
        return attempt(self.work, self.place, fault, NOT_COUNTED, killed_after)


# What is left


def hashes(folder: Path, left_out: Sequence[str] = ()) -> dict[str, str]:
    """Hash of every file below a folder by its name; those whose name holds one of some texts are left out.

    Of JSON files times and memory do not count, of sqlite's the order of their pages.
    """
    found = {}
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = file.relative_to(folder).as_posix()
        if not any(part in f"/{name}" for part in (NOT_COUNTED, "-wal", "-shm", *left_out)):
            found[name] = _digest(file)
    return found


def _digest(file: Path) -> str:
    if file.suffix == ".sqlite":
        return ""  # holds measured times, too; what counts of it is seen in what is made of it
    content = file.read_bytes()
    if file.suffix == ".json":
        content = json.dumps(_lasting(json.loads(content)), sort_keys=True).encode()
    return hashlib.sha256(content).hexdigest()[:16]


def _lasting(content: Any) -> Any:
    """JSON without what differs from run to run by nature."""
    if isinstance(content, dict):
        return {key: _lasting(value) for key, value in content.items() if key not in MOMENTARY}
    return [_lasting(one) for one in content] if isinstance(content, list) else content


def stored(place: Path) -> dict[str, str]:
    """Every item of a store, by its key."""
    with closing(sqlite3.connect(place / "items.sqlite")) as connection:
        rows = connection.execute("SELECT key, value FROM items").fetchall()
    return {key: hashlib.sha256(value).hexdigest()[:16] for key, value in rows}


def run_results(place: Path) -> dict[str, str]:
    """What `tamis run` leaves; the model's card, and the manifest that holds its hash, say how long stages took."""
    found = hashes(place, ("/home/", "/model/README.md"))
    cards = [name for name in found if "/merge/" in name and name.endswith("manifest.json")]
    return found | dict.fromkeys(cards, "")


# Single pieces


def pieces(base: Path) -> list[Job]:
    """The pieces that keep work, without models: a folder of a stage, items, vectors, a whole folder."""
    place = base / "pieces"
    source = base / "source"
    source.mkdir()
    (source / "report.html").write_text("page " * 5000, encoding="utf-8")
    return [
        Job("a stage's folder", _as_a_command(partial(_build_stage, place)), place, hashes),
        Job("the item store", _as_a_command(partial(_put_items, place)), place, stored),
        Job("vectors and their rows", _as_a_command(partial(_embed, place)), place, lambda f: hashes(f) | stored(f)),
        Job("a model's folder", _as_a_command(partial(_fill_folder, place)), place, hashes),
        Job("a user's copy of a file", _as_a_command(partial(_copy, source / "report.html", place)), place, hashes),
    ]


def _as_a_command(work: Callable[[], object]) -> Callable[[], None]:
    """Work that ends as commands do where the user can mend something: one line and status 2."""

    def ending() -> None:
        try:
            work()
        except TamisError as error:
            print(f"tamis: {error}")
            raise SystemExit(2) from None

    return ending


def _build_stage(place: Path) -> None:
    from tamis.artifacts import RunFolder, write_records
    from tamis.records import Dropped

    run = RunFolder(place / "run", "trust")

    def fill(folder: Path) -> dict[str, Any]:
        write_records(folder / "lists.parquet", [Dropped("a", "too short", "en")] * 9, Dropped)
        return {"counts": {"in": 1}}

    with run.held():
        if not run.finished("lists", "k"):
            run.build("lists", "k", {"settings": {}}, fill)


def _put_items(place: Path) -> None:
    from tamis.artifacts import ItemStore

    with closing(ItemStore(place / "items.sqlite")) as items:
        for batch in range(3):
            wanted = {f"{batch}/{number}": b"x" * 2000 for number in range(4)}
            found = items.get(list(wanted))
            if found and found != wanted:
                raise RuntimeError("half a batch")
            if not found:
                items.put(wanted.items())


def _embed(place: Path) -> None:
    import numpy as np

    from tamis.artifacts import ItemStore
    from tamis.retrievers import embedding

    embedding.BLOCK = 3
    texts = {str(number): "x" * number for number in range(7)}
    with closing(ItemStore(place / "items.sqlite")) as items:
        found = embedding.embed_missing(
            texts, "trust", lambda block: np.array([[len(text)] * 64 for text in block], np.float32), items, "embedding"
        )
        if any(found[name].tolist() != [len(text)] * 64 for name, text in texts.items()):
            raise RuntimeError("a vector is another text's")


def _fill_folder(place: Path) -> None:
    from tamis.whole_folder import whole_folder

    if not (place / "out").exists():
        with whole_folder(place / "out") as folder:
            (folder / "weights").write_bytes(b"w" * 50_000)
            (folder / "deep").mkdir()
            (folder / "deep" / "config.json").write_text("{}", encoding="utf-8")


def _copy(file: Path, place: Path) -> None:
    from tamis.artifacts import writing
    from tamis.whole_folder import whole_file

    with writing(place), whole_file(place / "report.html") as partial:
        partial.write_bytes(file.read_bytes())


# Commands


def command(place: Path, *arguments: object, saving: bool = False) -> Callable[[], None]:
    """What types a command of tamis, with a cache of its own below the place.

    Args:
        place: The folder that is watched.
        arguments: Of the command.
        saving: A training keeps its state after each step, not once a minute.
    """

    def work() -> None:
        from tamis.cli import main

        os.environ["XDG_CACHE_HOME"] = str(place / "home")
        _spare_what_writes_nothing()
        if saving:
            from tamis.stages.train import train

            train.SAVE_SECONDS = 0.0
        sys.argv = ["tamis", *map(str, arguments)]
        main()

    return work


def _spare_what_writes_nothing() -> None:
    """No estimate before a run, and the model that names languages is the one that is in memory already."""
    from py3langid.langid import LanguageIdentifier

    from tamis.costs.work import Estimate
    from tamis.pipeline import run

    vars(run)["estimate"] = lambda *_: Estimate([], 0, [])
    LanguageIdentifier.from_model_file = lambda *_: copy.copy(languages())


@cache
def languages() -> Any:
    """The model that names languages; it takes a second to read."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE)


def recipe_file(base: Path, place: Path) -> Path:
    """The tests' tiny recipe in a file, with its corpora and its encoder beside it."""
    from tests.conftest import build_tiny_encoder, tiny_recipe, write_beir

    base.mkdir(parents=True)
    corpora = write_beir(base / "corpus"), write_beir(base / "general", "g-")
    content = tiny_recipe(*corpora, build_tiny_encoder(base / "encoder"))
    content["machine"]["cache"] = str(place / "cache")
    (base / "recipe.json").write_text(json.dumps(content), encoding="utf-8")
    return base / "recipe.json"


def chain(base: Path) -> list[tuple[str, str, Callable[[], None]]]:
    """`tamis run` in parts: name, last stage and work of each, which goes on from what the one before it left."""
    place = base / "place"
    recipe = recipe_file(base / "inputs", place)
    run = ("run", recipe, "--yes", "--out", place / "run", "--until")
    handed = ("--results", place / "figures.json", "--model", place / "model")
    return [
        ("run: corpus to lists", "lists", command(place, *run, "lists")),
        ("run: training, each step kept", "train", command(place, *run, "train", saving=True)),
        ("run: merge", "merge", command(place, *run, "merge")),
        ("run: evaluate", "evaluate", command(place, *run, "evaluate", *handed)),
    ]


def others(base: Path) -> list[Job]:
    """The commands that write models and figures."""
    place, inputs = base / "place", base / "inputs"
    inputs.mkdir(parents=True)
    made = attempt(lambda: _inputs(inputs), inputs)
    if made.status:
        raise SystemExit(made.said)
    models = (inputs / "child0", inputs / "child1", "--base", inputs / "parent")
    judged = (inputs / "warm", "--on", inputs / "set", "--depth", 5)
    # A second `tamis merge` refuses what is there already: whoever repeats it finds the model whole, and is told so.
    merge = command(place, "merge", *models, "--out", place / "out")
    return [
        Job("merge", _unless(place / "out", merge), place, lambda folder: hashes(folder, ("/home/",))),
        Job(
            "evaluate",
            command(place, "evaluate", *judged, "--out", place / "out"),
            place,
            lambda folder: hashes(folder, ("/home/", "/report.html")),
        ),
    ]


def _unless(out: Path, work: Callable[[], None]) -> Callable[[], None]:
    """Work that is done only where its result is not there."""
    return lambda: None if out.exists() else work()


def _inputs(folder: Path) -> None:
    """Models to merge and to measure, and a judged set."""
    from tamis.models.encoder import Encoder
    from tamis.models.saving import save_student
    from tests.conftest import build_tiny_encoder, write_beir
    from tests.merging.siblings import querit_family
    from tests.rerankers import DEPLOYMENT, new_warm

    querit_family(folder, children=2)
    save_student(new_warm(Encoder.load(build_tiny_encoder(folder / "encoder"))), folder / "warm", DEPLOYMENT)
    write_beir(folder / "set")
