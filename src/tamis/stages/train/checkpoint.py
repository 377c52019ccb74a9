"""The state of an unfinished training as a file: tensors and facts, replaced whole."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from tamis.artifacts import write_json, writing
from tamis.file_modes import write_tensors
from tamis.whole_folder import forget_unfinished, whole_file


class StateFile:
    """One safetensors file with JSON-like facts in its header; no pickle."""

    def __init__(self, path: Path) -> None:
        """Nothing is written before `save`."""
        self.path = path

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The saved tensors, [as in the model], and facts; None where there are none."""
        if not self.path.exists():
            return None
        with safe_open(self.path, framework="pt") as file:
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
            facts: dict[str, Any] = json.loads(file.metadata()["facts"])
        return tensors, facts

    def save(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Replace the file.

        Raises:
            RunError: the disk cannot be written; the file is then as it was.
        """
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(self.path) as partial:
                write_tensors(partial, {n: t.contiguous() for n, t in tensors.items()}, {"facts": json.dumps(facts)})

    def failed(self, facts: Mapping[str, Any]) -> str:
        """Write what is known of a batch that broke the training beside the state; says where, for the message."""
        file = self.path.with_suffix(".failed.json")
        with writing(file):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_json(file, facts)
        return f" (written to {file})"

    def forget(self) -> None:
        """Remove the file, and what a kill left while it was written: the training is finished."""
        self.path.unlink(missing_ok=True)
        forget_unfinished(self.path)
