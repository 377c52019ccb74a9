"""Every setting of a recipe: another value for it, and the first stage whose result may be another one with it."""

import copy
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tamis.artifacts import write_json
from tamis.stages.queries.prompts import templates
from tamis.stages.scores.teachers import judge
from tests.conftest import tiny_recipe, write_beir

NOTHING = None
"""The setting changes speed or money and no result."""

SHOWN = "report"
"""No figure changes, but the page shows the recipe as it was written."""

STOCK: dict[str, Any] = {"student": {"head": "stock"}}


@dataclass(frozen=True)
class Change:
    """A setting and another value of it.

    Attributes:
        first: First stage whose result may differ; that stage and all after it have other keys.
        value: The other value; a text that begins with `@` names a file or folder of `everything`.
        beside: What else the recipe has to say, before and after, for the value to be a valid one.
        place: Dotted place of the value, where it is not the name: entries of lists have numbers.
    """

    first: str | None
    value: Any
    beside: dict[str, Any] | None = None
    place: str = ""


CHANGES: dict[str, Change] = {
    "name": Change(SHOWN, "another"),
    "seed": Change("queries", 4),
    "precision": Change("queries", "bfloat16"),  # of the language model that runs here
    "corpus.target": Change("corpus", "@another"),
    "corpus.include": Change("corpus", ["*.jsonl"]),
    "corpus.exclude": Change("corpus", ["*.txt"]),
    "corpus.fields.id": Change("corpus", "_id"),
    "corpus.fields.text": Change("corpus", "text"),
    "corpus.fields.title": Change("corpus", "title"),
    "corpus.fields.lang": Change("corpus", "metadata.lang"),
    "corpus.general": Change("corpus", ["@general"]),
    "corpus.general[].path": Change("corpus", "@changed/general", place="corpus.general.0.path"),
    "corpus.general[].splits": Change("corpus", ["test", "dev"], place="corpus.general.0.splits"),
    "corpus.general[].limit": Change("corpus", 5, place="corpus.general.0.limit"),
    "corpus.general[].language": Change("corpus", "en", place="corpus.general.0.language"),
    "corpus.languages": Change("corpus", ["en", "de"]),
    "corpus.max_chars": Change("corpus", 500),
    "corpus.near_duplicate": Change("corpus", 0.8),
    "corpus.passages.tokens": Change("corpus", 40),
    "corpus.passages.overlap": Change("corpus", 8),
    "corpus.passages.by": Change("corpus", "headings"),
    "queries.generator": Change("queries", ["extractive"]),
    "queries.written": Change("queries", ["@other-written.tsv"]),
    "queries.per_document": Change("queries", 1),
    "queries.documents": Change("queries", 5),
    "queries.temperatures": Change("queries", [0.1, 0.9]),
    "queries.near_duplicate": Change("queries", 0.9),
    "queries.keep_out": Change("corpus", ["@another"]),  # general documents that overlap are left out, too
    "queries.logs": Change("queries", []),
    "queries.logs[].path": Change("queries", "@other-log.txt", place="queries.logs.0.path"),
    "queries.logs[].origin": Change("queries", "general", place="queries.logs.0.origin"),
    "queries.logs[].language": Change("queries", "de", place="queries.logs.0.language"),
    "queries.prompt.template": Change("queries", "@template.yaml"),
    "queries.prompt.kinds": Change("queries", {"question": 1.0}),
    "queries.prompt.difficulty": Change("queries", "hard"),
    "queries.prompt.length": Change("queries", "short"),
    "queries.prompt.persona": Change("queries", "a nurse"),
    "queries.prompt.examples": Change("queries", 1),
    "queries.prompt.like": Change("queries", "@style.txt"),
    "queries.llama.model": Change("queries", "@other.gguf"),
    "queries.endpoint.url": Change(SHOWN, "http://elsewhere/v1"),
    "queries.endpoint.model": Change("queries", "another"),
    "queries.endpoint.revision": Change("queries", "b"),
    "queries.endpoint.key_variable": Change(SHOWN, "MY_KEY"),
    "queries.endpoint.prompt_price": Change(SHOWN, 2.0),
    "queries.endpoint.completion_price": Change(SHOWN, 2.0),
    "queries.endpoint.request_price": Change(SHOWN, 2.0),
    "queries.endpoint.budget_tokens": Change(SHOWN, 1000),
    "queries.endpoint.budget_money": Change(SHOWN, 3.0, {"queries": {"endpoint": {"prompt_price": 1.0}}}),
    "queries.endpoint.mode": Change("queries", "completion"),
    "queries.endpoint.max_tokens": Change("queries", 50),
    "queries.endpoint.extra": Change("queries", {"top_p": 0.5}),
    "queries.transformers.path": Change("queries", "@other-encoder"),
    "queries.transformers.mode": Change("queries", "chat"),
    "queries.writer.name": Change("queries", "another"),
    "queries.writer.version": Change("queries", "2"),
    "candidates.depth": Change("candidates", 9),
    "candidates.languages": Change("candidates", "any"),
    "candidates.bm25.k1": Change("candidates", 1.2),
    "candidates.bm25.b": Change("candidates", 0.3),
    "candidates.dense.path": Change("candidates", "@other-encoder"),
    "candidates.dense.query_prefix": Change("candidates", "ask: "),
    "candidates.dense.document_prefix": Change("corpus", "text: "),  # passages are cut with it
    "candidates.dense.max_length": Change("candidates", 32),
    "candidates.dense.pooling": Change("candidates", "cls"),
    "candidates.dense.trust_remote_code": Change("candidates", True),
    "candidates.index": Change("candidates", "faiss"),
    "candidates.fusion": Change("candidates", "rrf", {"candidates": {"weights": None}}),
    "candidates.weights.bm25": Change("candidates", 0.7),
    "candidates.weights.dense": Change("candidates", 0.7),
    "candidates.runs": Change("candidates", {"general": "@other.trec"}),
    "candidates.retriever.name": Change("candidates", "another"),
    "candidates.retriever.version": Change("candidates", "2"),
    "scores.dense": Change("scores", 0.9),
    "scores.bm25": Change("scores", 0.4),
    "scores.use": Change("scores", 0.3),
    "scores.teachers": Change("scores", []),
    "scores.seed_bonus": Change("scores", 0.4),
    "lists.bins": Change("lists", 8),
    "lists.anchors": Change("lists", "quantile"),
    "lists.documents": Change("lists", 3),
    "lists.near": Change("lists", 8),
    "lists.round_trip": Change("lists", 5),
    "lists.solved": Change("lists", 0.5),
    "lists.rescale": Change("lists", "min-max"),
    "lists.rescale_over": Change("lists", "all", {"lists": {"rescale": "min-max"}}),
    "lists.held_out": Change("lists", 0.2),
    "lists.domains": Change("lists", {"both": ["en", "de"]}),
    "student.start": Change("train", "@other-encoder"),
    "student.head": Change("train", "stock"),
    "student.layers": Change("train", 2),
    "student.joint_layers": Change("train", 2),
    "student.apart_layers": Change("train", 1),
    "student.cross_bias": Change("train", -3.0),
    "student.scale": Change("train", 10.0),
    "student.match": Change("train", 10.0),
    "student.query_tokens": Change("train", 32),
    "student.document_tokens": Change("corpus", 64),  # passages are cut for it
    "student.embeddings": Change("train", "trained", STOCK),
    "student.routers": Change("train", "trained", STOCK),
    "student.lora_rank": Change("train", 4, STOCK),
    "train.loss": Change("train", "ranknet"),
    "train.double_hard_margins": Change("train", True),
    "train.temperature": Change("train", 0.5),
    "train.learning_rate": Change("train", 3e-4),
    "train.weight_decay": Change("train", 0.1),
    "train.lists_per_step": Change("train", 3),
    "train.language_balance": Change("train", 0.5),
    "train.general_steps": Change("train", 5),
    "train.specialist_steps": Change("train", 5),
    "train.passes": Change("train", 2.0),
    "train.written_per_given": Change("train", 1.0),
    "train.checkpoints": Change("train", 1),
    "train.patience": Change("train", 1),
    "merge.t": Change("merge", [0.5]),
    "merge.refine": Change("merge", 0),
    "merge.on": Change("merge", "weights"),
    "merge.tolerance": Change("merge", 0.1),
    "merge.held_out": Change("train", 9),  # they choose the checkpoint
    "merge.keep": Change(
        "merge",
        ["@old-run"],
        {
            "student": {"head": "own", "start": "@encoder"},
            "train": {"general_steps": 0},
            "merge": {"on": "weights"},
            "corpus": {"passages": {"by": "off"}},
        },
    ),
    "merge.judged": Change("merge", "@another"),
    "merge.weigh_on": Change("merge", "@another"),
    "merge.first_stage_weights": Change("merge", [0.0, 1.0]),
    "evaluate.queries": Change("evaluate", "@another/queries.jsonl"),
    "evaluate.qrels": Change("evaluate", "@another/qrels/test.tsv"),
    "evaluate.depth": Change("merge", 4),  # first stages are weighed for it
    "evaluate.questions": Change("evaluate", 3),
    "evaluate.rounds": Change("evaluate", 600),
    "evaluate.runs": Change("evaluate", {"mine": "@other.trec"}),
    "machine.threads": Change(NOTHING, 2),
    "machine.device": Change(NOTHING, "cpu"),
    "machine.token_budget": Change(NOTHING, 4096),
    "machine.engine": Change(NOTHING, "auto"),
    "machine.recompute": Change(NOTHING, True),
    "machine.checkpointing": Change(NOTHING, True),
    "machine.shard": Change(NOTHING, True, STOCK),
    "machine.requests.concurrency": Change(NOTHING, 2),
    "machine.requests.timeout": Change(NOTHING, 5.0),
    "machine.requests.attempts": Change(NOTHING, 2),
    "machine.requests.wait": Change(NOTHING, 0.5),
    "machine.cache": Change(NOTHING, "@elsewhere"),
}

_SERVER: dict[str, Change] = {
    "url": Change(SHOWN, "http://elsewhere/v1"),
    "model": Change("scores", "another"),
    "revision": Change("scores", "b"),
    "key_variable": Change(SHOWN, "MY_KEY"),
    "prompt_price": Change(SHOWN, 2.0),
    "completion_price": Change(SHOWN, 2.0),
    "request_price": Change(SHOWN, 2.0),
    "budget_tokens": Change(SHOWN, 1000),
    "budget_money": Change(SHOWN, 3.0),
    "weight": Change("scores", 0.5),
    "max_chars": Change("scores", 100),
    "extra": Change("scores", {"user": "me"}),
}
_PREFIXES: dict[str, Change] = {
    "query_prefix": Change("scores", "ask: "),
    "document_prefix": Change("scores", "text: "),
}

TEACHERS: dict[str, tuple[dict[str, Any], dict[str, Change]]] = {
    "EncoderTeacher": (
        {"kind": "encoder", "path": "@encoder"},
        {
            "path": Change("scores", "@other-encoder"),
            **_PREFIXES,
            "max_length": Change("scores", 32),
            "pooling": Change("scores", "cls"),
            "trust_remote_code": Change("scores", True),
            "weight": Change("scores", 0.5),
        },
    ),
    "RerankerTeacher": (
        {"kind": "reranker", "path": "@encoder"},
        {
            "path": Change("scores", "@other-encoder"),
            "instruction": Change("scores", "Judge it."),
            "weight": Change("scores", 0.5),
        },
    ),
    "JudgeTeacher": (
        {"kind": "judge", "url": "http://here/v1", "model": "judge", "prompt_price": 1.0},
        {**_SERVER, "template": Change("scores", "@judge.yaml")},
    ),
    "RemoteRerankerTeacher": (
        {"kind": "remote-reranker", "url": "http://here/v1", "model": "reranker", "prompt_price": 1.0},
        {**_SERVER, "protocol": Change("scores", "tei"), "batch": Change(SHOWN, 4)},
    ),
    "RemoteEncoderTeacher": (
        {"kind": "remote-encoder", "url": "http://here/v1", "model": "encoder", "prompt_price": 1.0},
        {**_SERVER, **_PREFIXES, "batch": Change(SHOWN, 4)},
    ),
    "Teacher": (
        {"kind": "own", "name": "mine", "version": "1"},
        {
            "name": Change("scores", "another"),
            "version": Change("scores", "2"),
            "weight": Change("scores", 0.5),
        },
    ),
}
"""A teacher of each kind as a recipe has it, and its settings."""

RUNNABLE = frozenset(
    name
    for name, change in CHANGES.items()
    if name.partition(".")[0] in ("corpus", "candidates", "scores", "lists", "student", "train", "merge", "evaluate")
    and not change.beside
    and not change.place
    and "@" not in repr(change.value)
    and name not in ("candidates.retriever.name", "candidates.retriever.version", "candidates.index", "scores.use")
    and not name.startswith(("corpus.fields", "corpus.include", "corpus.exclude", "candidates.weights"))
) | {"seed", "queries.per_document", "queries.near_duplicate"}
"""Settings that the tiny recipe can be run with, as `CHANGES` changes them."""

CONSTANT = "kind"
"""Says which kind of teacher it is; another kind is another teacher."""


def changes() -> Iterator[tuple[str, Change]]:
    """Every setting by its dotted name, those of teachers with the name of their section."""
    yield from CHANGES.items()
    for number, (section, (_, own)) in enumerate(TEACHERS.items()):
        for name, change in own.items():
            place = f"scores.teachers.{number}.{name}"
            yield f"scores.teachers[].{section}.{name}", Change(change.first, change.value, change.beside, place)


def everything(folder: Path, encoder: Path) -> dict[str, Any]:
    """A recipe in which every setting has something to do; nothing of it is ever run.

    Args:
        folder: Where its files are made.
        encoder: A tiny encoder.
    """
    content = tiny_recipe(write_beir(folder / "corpus"), write_beir(folder / "general", "g-"), encoder)
    _write_files(folder, encoder)
    content["corpus"] |= {"general": [{"path": "@general", "limit": 9}], "passages": {"by": "sentences"}}
    content["queries"] |= {
        "generator": ["extractive", "llama", "endpoint", "transformers"],
        "written": ["@written.tsv"],
        "logs": [{"path": "@log.txt"}],
        "llama": {"model": "@some.gguf"},
        "endpoint": {"url": "http://here/v1", "model": "writer"},
        "transformers": {"path": "@encoder"},
        "writer": {"name": "mine", "version": "1"},
    }
    content["candidates"] |= {"weights": {}, "runs": {"general": "@some.trec"}}
    content["candidates"] |= {"retriever": {"name": "mine", "version": "1"}}
    content["scores"] |= {"teachers": [teacher for teacher, _ in TEACHERS.values()]}
    content["evaluate"] |= {"runs": {"mine": "@some.trec"}}
    return content


def _write_files(folder: Path, encoder: Path) -> None:
    write_beir(folder / "another", "a-")
    write_beir(folder / "changed" / "general", "g-")
    _append(folder / "changed" / "general" / "corpus.jsonl", '{"_id": "x", "text": "One more text."}')
    _append(folder / "another" / "corpus.jsonl", '{"_id": "x", "text": "One more text."}')
    _append(folder / "another" / "qrels" / "test.tsv", "q/a-en/0\ta-en/1\t1")
    _append(folder / "another" / "queries.jsonl", '{"_id": "x", "text": "One more?"}')
    shutil.copy(folder / "general" / "qrels" / "test.tsv", folder / "general" / "qrels" / "dev.tsv")
    shutil.copytree(encoder, folder / "encoder")
    shutil.copytree(encoder, folder / "other-encoder")
    (folder / "other-encoder" / "README.md").write_text("another one", encoding="utf-8")
    for name in ("written.tsv", "other-written.tsv"):
        (folder / name).write_text(f"en/0\thow to install {name}\n", encoding="utf-8")
    for name in ("log.txt", "other-log.txt", "some.gguf", "other.gguf", "some.trec", "other.trec"):
        (folder / name).write_text(f"q/g-en/0 Q0 g-en/0 1 1.0 {name}\n", encoding="utf-8")
    (folder / "style.txt").write_text("".join(f"how do I do thing {n}\n" for n in range(9)), encoding="utf-8")
    shipped = Path(templates.__file__).parent / "shipped" / "en.yaml"
    shutil.copy(shipped, folder / "template.yaml")
    judged = Path(judge.__file__).with_name("judge.yaml").read_text(encoding="utf-8")
    (folder / "judge.yaml").write_text(judged.replace("Someone", "Somebody"), encoding="utf-8")
    _write_old_run(folder / "old-run")


def _append(file: Path, line: str) -> None:
    file.write_text(f"{file.read_text(encoding='utf-8')}{line}\n", encoding="utf-8")


def _write_old_run(run: Path) -> None:
    """As much of a finished run as `merge.keep` is told by."""
    for stage, reads in (("lists", {}), ("train", {"lists": "k"})):
        (run / stage / "k").mkdir(parents=True)
        write_json(run / stage / "k" / "manifest.json", {"reads": reads})
    (run / "lists" / "k" / "lists.parquet").write_bytes(b"lists")


def in_place(content: Any, folder: Path) -> Any:
    """The same with the files of a folder in place of what begins with `@`."""
    if isinstance(content, dict):
        return {name: in_place(value, folder) for name, value in content.items()}
    if isinstance(content, list):
        return [in_place(one, folder) for one in content]
    return str(folder / content[1:]) if isinstance(content, str) and content.startswith("@") else content


def joined(content: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """A copy of a recipe with more in its sections."""
    found = copy.deepcopy(content)
    for name, value in more.items():
        inner = found.get(name)
        found[name] = joined(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return found


def with_value(content: dict[str, Any], place: str, value: Any) -> dict[str, Any]:
    """A copy of a recipe with one value put at a dotted place."""
    found = copy.deepcopy(content)
    *outer, last = place.split(".")
    part: Any = found
    for name in outer:
        part = part[int(name)] if isinstance(part, list) else part.setdefault(name, {})
    part[last] = value
    return found


def before_and_after(name: str, change: Change, content: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A recipe without and with a change; `content` as `everything` gives it."""
    before = joined(content, change.beside or {})
    return before, with_value(before, change.place or name, change.value)
