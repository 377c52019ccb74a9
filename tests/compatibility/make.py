"""Writes what a version of tamis keeps on a disk, as small as it can be, for later versions to read.

    python -m tests.compatibility.make     # once for each version, before it is published

Folder VERSION beside this file then holds a bi-encoder and a corpus of ten documents, a saved model of each family, an
index, a run up to the stage merge, pools with a grade, and requests to the server with their answers. Weights are
random, of a few thousand numbers; files are real. All paths in them are relative to the folder.
"""

import json
import os
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from transformers import Qwen3ForSequenceClassification

import tamis
from tamis.labelling.grade_log import Entry, GradeLog
from tamis.labelling.pools import write_pools
from tamis.models.checkpoint import Deployment
from tamis.models.encoder import Encoder
from tamis.models.reranker import Reranker
from tamis.models.saving import save_student
from tamis.models.sequence_student import SequenceStudent
from tamis.models.serializer import Apart, Joined
from tamis.models.warm import WarmCrossEncoder
from tamis.pipeline.reading import recipe_from
from tamis.pipeline.run import run_recipe
from tests.commands import tamis as run_tamis
from tests.conftest import TOPICS, build_tiny_encoder, tiny_recipe, write_beir
from tests.families import lively, qwen3_config, tokenizer
from tests.labelling.made_pools import made_pools
from tests.serving.running import served

HERE = Path(__file__).parent

MODELS = ("warm", "encoder", "causal")
"""The families that are saved."""

UNTIL = "merge"
"""Last stage of the run that is kept: what an evaluation leaves are text files and a page for people."""

QUERY = TOPICS["en"][0][0]
TEXTS = [answer for _, answer in TOPICS["en"][:3]]

REQUESTS: dict[str, tuple[str, dict[str, Any]]] = {
    "cohere v2": ("/v2/rerank", {"model": "warm", "query": QUERY, "documents": TEXTS, "top_n": 2}),
    "cohere v1": ("/v1/rerank", {"model": "warm", "query": QUERY, "documents": TEXTS, "max_chunks_per_doc": 1}),
    "jina": ("/v1/rerank", {"model": "warm", "query": QUERY, "documents": TEXTS, "return_documents": True}),
    "tei": ("/rerank", {"query": QUERY, "texts": TEXTS, "raw_scores": True}),
    "vllm": ("/rerank", {"model": "warm", "query": QUERY, "documents": TEXTS, "top_n": 0}),
    "vllm score": ("/v1/score", {"model": "warm", "text_1": QUERY, "text_2": TEXTS}),
    "no query": ("/v2/rerank", {"model": "warm", "documents": TEXTS}),
    "another model": ("/v2/rerank", {"model": "cold", "query": QUERY, "documents": TEXTS}),
}
"""Path and body of a request in each dialect, and of two that are wrong."""


def main() -> None:
    """Write the folder of this version, in place of what is there."""
    folder = HERE / tamis.__version__
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.chdir(folder)
    torch.set_num_threads(1)
    write_models(Path("models"), build_tiny_encoder(Path("encoder"), hidden=8, layers=2))
    write_beir(Path("corpus"), languages=("en",))
    write_run()
    assert run_tamis("index", "models/warm", "corpus", "index").status == 0
    forget_place(Path("index"))
    write_graded(Path("pools"))
    texts = {name: Reranker(f"models/{name}").predict([(QUERY, text) for text in TEXTS]).tolist() for name in MODELS}
    write_json(Path("scores.json"), texts)
    write_json(Path("answers.json"), answers(Path("models/warm")))


def write_models(folder: Path, encoder: Path) -> None:
    """A saved model of each family that `save_student` writes."""
    deployment = Deployment({"bm25": 0.5, "order": 0.75}, {"recipe": "kept"}, {"bm25": {"de": 3.0}}, None)
    apart = Apart("query: ", "passage: ", query_tokens=16, document_tokens=24)
    warm = WarmCrossEncoder(Encoder.load(encoder), apart, 1, -2.0, scale=8.0, bias=-11.0, match=6.0)
    save_student(warm.eval(), folder / "warm", deployment)
    stock = SequenceStudent.from_encoder(Encoder.load(encoder), Joined(max_tokens=40), 1).eval()
    save_student(stock, folder / "encoder", deployment)
    with tempfile.TemporaryDirectory() as given:
        shape = {"hidden_size": 8, "intermediate_size": 8, "num_key_value_heads": 1, "num_attention_heads": 2}
        config = qwen3_config(tokenizer(Path(given)), num_labels=1, **shape | {"head_dim": 4})
        lively(Qwen3ForSequenceClassification(config), seed=4).save_pretrained(given)
        causal = SequenceStudent.from_reranker(Path(given), None, None, 64, "float32").eval()
        save_student(causal, folder / "causal", deployment)


def write_run() -> None:
    """A run up to `UNTIL`; what it prepared of texts can be made again and is left out."""
    content = tiny_recipe(Path("corpus"), Path("corpus"), Path("encoder"))
    content["corpus"] = {"target": "corpus"}
    content["lists"]["domains"] = {"english": ["en"]}
    content["train"]["general_steps"] = 0
    content["machine"]["cache"] = "cache"
    run_recipe(recipe_from(content, "the kept recipe"), Path("run"), UNTIL)
    for folder in ("run/prepared", "run/tensorboard", "run/unfinished", "cache"):
        shutil.rmtree(folder, ignore_errors=True)


def forget_place(index: Path) -> None:
    """Let an index forget which files it was made from: where this folder lies is nobody's business."""
    with closing(sqlite3.connect(index / "index.sqlite")) as catalogue:
        catalogue.execute("DELETE FROM sources")
        catalogue.commit()
        catalogue.execute("VACUUM")


def write_graded(folder: Path) -> None:
    """Pools of two questions, with one grade."""
    pools = made_pools(2, 2)
    write_pools(folder, pools)
    log = GradeLog(folder)
    log.add(Entry("a", "q0", "d0", 2, 1_800_000_000.0))
    log.close()


def answers(model: Path) -> dict[str, Any]:
    """What the server answers to each request."""
    with served({"warm": model}) as server:
        found = {name: server.post(path, body) for name, (path, body) in REQUESTS.items()}
        return {
            name: {"path": path, "body": body, "status": found[name].status_code, "answer": found[name].json()}
            for name, (path, body) in REQUESTS.items()
        }


def write_json(path: Path, content: object) -> None:
    """JSON that a person can compare."""
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
