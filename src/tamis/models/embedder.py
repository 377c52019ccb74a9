"""Bi-encoders of any family: sentence-transformers folders and plain bodies, encoders and causal ones.

What a folder says of itself is followed: its pooling (`1_Pooling/config.json`) and its length. `tamis.models.encoder`
is the form of BERT-like bodies in which a student can start; this one only embeds.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from tamis.errors import ModelError
from tamis.models.batching import token_batches
from tamis.models.encoder import loading, mean_state, right_padded
from tamis.models.families import is_causal
from tamis.models.folders import check_folder, check_tokenizer, refuse_adapter
from tamis.models.padding import padding_id
from tamis.models.positions import NO_LIMIT, give_padding, longest_row
from tamis.models.precision import Precision, autocast, with_cast_matrices
from tamis.models.shared_tokenizers import load_tokenizer

Pooling = Literal["mean", "cls", "last"]
"""Which of the last layer's states become the vector: their mean, the first one, or the last one."""

_POOLING: Mapping[str, Pooling] = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_lasttoken": "last",
}
_KNOWN_MODULES = ("Transformer", "Pooling", "Normalize")


class Embedder:
    """A bi-encoder that gives L2-normalised vectors.

    Attributes:
        pooling: Which states become the vector.
        positions: Most tokens of a text that the model takes.
    """

    def __init__(
        self,
        path: str | Path,
        pooling: Pooling | None = None,
        precision: Precision = "float32",
        token_budget: int = 8192,
        device: torch.device | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        """Load from a Hugging Face folder or hub name; safetensors only.

        Args:
            path: Folder or hub name.
            pooling: None for what the folder says, else the mean for encoders and the last state for causal bodies.
            precision: Number format of the matrix products; sums and norms are float32.
            token_budget: Most tokens per forward pass, padding included.
            device: Where to run; None is the processor.
            trust_remote_code: Run code that the checkpoint brings; for bodies that transformers does not know.

        Raises:
            ModelError: no such folder, weights that cannot be loaded, or modules after the pooling (a dense layer)
                without which the vectors would be others.
        """
        from transformers import AutoConfig, AutoModel

        check_folder(path)
        with loading(path, "a bi-encoder"):
            _check_modules(Path(path))
            refuse_adapter(path)
            check_tokenizer(path, own_code=trust_remote_code)
            self._tokenizer = load_tokenizer(path, trust_remote_code)
            config = AutoConfig.from_pretrained(path, trust_remote_code=trust_remote_code)
            give_padding(config, self._tokenizer)
            self._body: Any = AutoModel.from_pretrained(
                path, config=config, use_safetensors=True, dtype=torch.float32, trust_remote_code=trust_remote_code
            )
            self.positions: int = longest_row(self._body, self._tokenizer) or NO_LIMIT
        self._body = self._body.eval().requires_grad_(False).to(device or torch.device("cpu"))
        self._precision: Precision = precision
        if precision == "bfloat16":
            with_cast_matrices(self._body)
        self._token_budget = token_budget
        self.pooling: Pooling = pooling or pooling_of(path) or ("last" if is_causal(self._body.config) else "mean")

    @torch.inference_mode()
    def embed(
        self, texts: Sequence[str], prefix: str, max_tokens: int, progress: Callable[[int], None] | None = None
    ) -> np.ndarray:
        """Vectors of texts, each read behind `prefix` and cut to `max_tokens`.

        Returns:
            float32 [texts, hidden], rows of norm 1.
        """
        vectors = np.empty((len(texts), self._body.config.get_text_config().hidden_size), np.float32)
        if not texts:
            return vectors
        limit = min(max_tokens, self.positions)
        encoded = self._tokenizer([prefix + text for text in texts], truncation=True, max_length=limit)["input_ids"]
        for batch in token_batches([len(ids) for ids in encoded], self._token_budget):
            vectors[batch] = self._vectors([encoded[i] for i in batch])
            if progress:
                progress(len(batch))
        return vectors

    def _vectors(self, rows: Sequence[Sequence[int]]) -> np.ndarray:
        # Padding stands on the right: causal bodies see none of it.
        ids, real = right_padded(rows, padding_id(self._tokenizer, self._body), self._body.device)
        with autocast(ids.device, self._precision):
            states = self._body(input_ids=ids, attention_mask=real.long()).last_hidden_state.float()
        vectors: np.ndarray = torch.nn.functional.normalize(self._pooled(states, real), dim=-1).cpu().numpy()
        return vectors

    def _pooled(self, states: Tensor, real: Tensor) -> Tensor:
        if self.pooling == "cls":
            return states[:, 0]
        if self.pooling == "last":
            return states[torch.arange(len(states), device=states.device), real.sum(1) - 1]
        return mean_state(states, real)


def _check_modules(folder: Path) -> None:
    """Refuse a sentence-transformers folder whose vectors need more than pooling.

    Raises:
        ModelError: names the module.
    """
    file = folder / "modules.json"
    if file.is_file():
        for module in json.loads(file.read_text(encoding="utf-8")):
            kind = str(module["type"]).rsplit(".", 1)[-1]
            if kind not in _KNOWN_MODULES:
                raise ModelError(f"{folder}: its module {kind!r} is none of {', '.join(_KNOWN_MODULES)}")


def pooling_of(path: str | Path) -> Pooling | None:
    """What a sentence-transformers folder says of its pooling; None for other folders and names on a hub.

    Raises:
        ModelError: a pooling that is not one of ours, or several at once.
    """
    file = Path(path) / "1_Pooling" / "config.json"
    if not file.is_file():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        # Since version 6 one name, before that a switch for each.
        said = content.get("pooling_mode")
        switches = [key for key, value in content.items() if key.startswith("pooling_mode_") and value]
    except (OSError, ValueError, RecursionError, AttributeError) as error:
        raise ModelError(f"{file}: cannot be read: {' '.join(str(error).split())}") from None
    names = {"cls": "cls", "mean": "mean", "lasttoken": "last"}
    chosen = [str(said)] if said else switches
    known = [names.get(one) or _POOLING.get(one) for one in chosen]
    if len(known) != 1 or known[0] is None:
        raise ModelError(
            f"{file}: pooling {', '.join(map(str, chosen)) or 'none'}; expected one of mean, cls, lasttoken"
        )
    found: Pooling = known[0]  # type: ignore[assignment]
    return found
