"""Whether a path can be a checkpoint at all; told without any library of models."""

import json
from contextlib import suppress
from pathlib import Path

from tamis.errors import ModelError, reaching

ADAPTER = ("adapter_config.json", "adapter_model.")
"""How the names of an adapter's files begin."""

TOKENIZER = ("tokenizer.json", "vocab*", "*.model", "*.spm", "*.tiktoken", "tekken.json")
"""Patterns of files that hold the words of a tokenizer; one of them is enough."""

INT8_FILE = "int8.json"
"""What a folder has that holds graphs in int8 and no weights, see `tamis.models.engines.int8`."""


def holds_int8(path: str | Path) -> bool:
    """Whether a path is a folder of graphs in int8, which can be scored with and nothing else."""
    with suppress(OSError):  # where it cannot be looked up, `check_folder` says why
        return (Path(path) / INT8_FILE).is_file()
    return False


def check_scored(path: str | Path) -> None:
    """As `check_folder`, for whoever only scores: a folder of graphs in int8 will do."""
    if not holds_int8(path):
        check_folder(path)


def check_folder(path: str | Path) -> None:
    """Refuse what is plainly no checkpoint before transformers looks for it on a hub.

    Raises:
        ModelError: a path that does not exist or cannot be looked up, or a folder with pickled weights only or with an
            adapter.
    """
    with reaching(path, ModelError):
        _check_files(path, Path(path))


def _check_files(path: str | Path, folder: Path) -> None:
    if path == "":  # the working directory, to Python
        raise ModelError("'': not a model folder; give a Hugging Face folder or a hub name")
    if folder.is_dir():
        adapter = next((file for file in sorted(folder.iterdir()) if file.name.startswith(ADAPTER)), None)
        if adapter is not None:
            raise _adapter(path, folder / "adapter_config.json", alone=not (folder / "config.json").is_file())
        if not any(folder.glob("*.safetensors")):
            if holds_int8(path):
                raise ModelError(
                    f"{path}: holds a graph in int8 and no weights; it is for scoring, serving and measuring: give the "
                    "model that it was made from"
                )
            found = sorted(p.name for p in folder.iterdir())[:5]
            raise ModelError(f"{path}: no .safetensors weights in this folder (found {', '.join(found) or 'nothing'})")
    elif folder.exists() or str(path).startswith((".", "/")) or str(path).count("/") > 1:
        raise ModelError(f"{path}: not a model folder; give a Hugging Face folder or a hub name")


def check_tokenizer(path: str | Path, own_code: bool = False) -> None:
    """Refuse a folder without a tokenizer: of some bodies transformers would make an empty one up, without a word.

    Args:
        path: Folder or hub name; the latter is not looked at.
        own_code: Whether the checkpoint's own code is trusted, which may need no words.

    Raises:
        ModelError: says what to put there.
    """
    folder = Path(path)
    if not own_code and folder.is_dir() and not any(file for pattern in TOKENIZER for file in folder.glob(pattern)):
        raise ModelError(f"{path}: no tokenizer (tokenizer.json, vocab.* or *.model); copy the model's own into it")


def refuse_adapter(path: str | Path) -> None:
    """Refuse a name on a hub that stands for an adapter; `check_folder` does so for folders.

    Raises:
        ModelError: names the adapter's base and what to do.
    """
    from transformers.utils import find_adapter_config_file

    found = find_adapter_config_file(str(path))
    if found is not None:
        raise _adapter(path, Path(found), alone=True)


def _adapter(path: str | Path, config: Path, alone: bool) -> ModelError:
    """What to say of an adapter: its weights count only once they are merged into those of its base."""
    try:
        base = json.loads(config.read_text(encoding="utf-8")).get("base_model_name_or_path")
    except (OSError, ValueError, AttributeError):
        base = None
    of = f" of {base}" if base else ""
    otherwise = "" if alone else ", or take the files adapter_* out of the folder to use its weights without them"
    return ModelError(
        f"{path}: holds an adapter{of}{' alone' if alone else ' beside whole weights'}; tamis reads, merges and "
        "exports whole weights only. Merge it first, with peft: PeftModel.from_pretrained(BASE, ADAPTER)"
        f".merge_and_unload().save_pretrained(NEW), and put the tokenizer beside{otherwise}"
    )
