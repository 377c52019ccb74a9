"""Writing checkpoint folders: safetensors, tokenizer and `tamis.json`, never a pickle."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from tamis.errors import ModelError
from tamis.file_modes import usual_modes
from tamis.models.adapters import remove_adapters
from tamis.models.checkpoint import FORMAT, Deployment
from tamis.models.families import OLD_ACTIVATION
from tamis.models.padding import NEW, give_row, padded_tokenizer, padding_id, row_end
from tamis.models.peer_files import prompt_files
from tamis.models.sequence import ClassifierModel, LastTokenModel
from tamis.models.sequence_student import SequenceStudent
from tamis.models.serializer import Joined, PairTemplate, Serializer, to_facts
from tamis.models.student import Student
from tamis.models.warm import WarmCrossEncoder
from tamis.whole_folder import system_errors, whole_file

ST_MODULE = "tamis.models.sentence_transformers_module.WarmModule"
"""Import path of the module through which sentence-transformers scores a warm folder."""

ST_ACTIVATIONS = {
    "sigmoid": "torch.nn.modules.activation.Sigmoid",
    "tanh": "torch.nn.modules.activation.Tanh",
    "identity": "torch.nn.modules.linear.Identity",
}
"""Import path of each activation, as sentence-transformers and vLLM store it."""


def save_student(student: Student, folder: Path, deployment: Deployment) -> None:
    """Write an ordinary Hugging Face folder: safetensors, tokenizer, `tamis.json`; the folder must be empty or new.

    A student with adapters has none afterwards: they are merged into its weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(student, SequenceStudent):
        remove_adapters(student.model)
        tokenizer, activation = student.tokenizer, student.activation
        save_classifier(student.model, tokenizer, student.serializer, activation, deployment, folder)
        return
    _save_body(student.whole_body(), folder)
    # sentence-transformers finds the head through this list; it asks for trust_remote_code=True to import it.
    write_json(folder / "modules.json", [{"idx": 0, "name": "0", "path": "", "type": ST_MODULE}])
    write_json(
        folder / "config_sentence_transformers.json",
        {"model_type": "CrossEncoder", "activation_fn": ST_ACTIVATIONS["sigmoid"]},
    )
    save_tokenizer(student.encoder.tokenizer, folder)
    write_facts(folder, "warm", student.serializer, "sigmoid", deployment, warm_head(student))


def warm_head(student: WarmCrossEncoder) -> dict[str, float]:
    """What `tamis.json` says of a warm student's head."""
    return {
        "joint_layers": student.joint_layers,
        "cross_bias": student.cross_bias,
        "scale": student.scale.item(),
        "bias": student.bias.item(),
        "match": student.match.item(),
    }


def save_classifier(
    model: ClassifierModel | LastTokenModel,
    tokenizer: Any,
    serializer: Joined | PairTemplate,
    activation: str,
    deployment: Deployment,
    folder: Path,
) -> None:
    """Write a reranker as `...ForSequenceClassification` with one label, its tokenizer, its text and its activation.

    The head of a causal classifier has no bias in transformers and vLLM: a bias is left out, which moves every logit by
    the same constant and no ranking.

    A causal body is padded with a token at which no row ends, see `tamis.models.padding`. A prefix of queries is
    sentence-transformers' default prompt; vLLM and transformers know none.

    Raises:
        ModelError: a body for which transformers has no classifier.
    """
    classifier = model.classifier if isinstance(model, ClassifierModel) else _causal_classifier(model)
    tokenizer = prepare_to_save(classifier, tokenizer, serializer, activation, isinstance(model, LastTokenModel))
    _save_body(classifier, folder)
    if isinstance(serializer, PairTemplate):
        tokenizer.chat_template = chat_template(serializer)
    elif serializer.query_prefix:
        for name, content in prompt_files(serializer.query_prefix, ST_ACTIVATIONS[activation]).items():
            write_json(folder / name, content)
    save_tokenizer(tokenizer, folder)
    write_facts(
        folder, "encoder" if isinstance(model, ClassifierModel) else "causal", serializer, activation, deployment
    )


def prepare_to_save(body: Any, tokenizer: Any, serializer: Joined | PairTemplate, activation: str, causal: bool) -> Any:
    """Put into a body's configuration what other engines read there, in place: activation and padding token.

    Returns:
        A copy of the tokenizer, with the row's limit and the padding token.
    """
    # sentence-transformers (in both of its forms) and vLLM read the activation in config.json.
    body.config.sentence_transformers = {"activation_fn": ST_ACTIVATIONS[activation]}
    if activation != "sigmoid" or hasattr(body.config, OLD_ACTIVATION):
        setattr(body.config, OLD_ACTIVATION, ST_ACTIVATIONS[activation])
    text_config = body.config.get_text_config()
    unread = text_config.pad_token_id
    ready = padded_tokenizer(tokenizer, row_end(tokenizer, serializer, unread) if causal else None)
    ready.model_max_length = serializer.max_tokens
    if ready.pad_token == NEW or padding_id(ready, body) != ready.pad_token_id:
        give_row(body, ready.pad_token_id)
    if causal or unread is None:
        text_config.pad_token_id = body.config.pad_token_id = ready.pad_token_id
    return ready


def _save_body(body: Any, folder: Path) -> None:
    """Write the configuration and the weights of a model of transformers, for whoever the umask lets read them."""
    body.save_pretrained(folder)
    usual_modes(folder)


def _causal_classifier(model: Any) -> Any:
    from transformers import AutoModelForSequenceClassification

    config = type(model.body.config).from_dict(model.body.config.to_dict() | {"num_labels": 1})
    for name in ("auto_map", "architectures"):
        if hasattr(config, name):
            delattr(config, name)
    try:
        with torch.device("meta"):
            classifier = AutoModelForSequenceClassification.from_config(config)
    except ValueError:
        raise ModelError(f"transformers has no classifier for bodies of type {config.model_type}") from None
    setattr(classifier, classifier.base_model_prefix, model.body)
    classifier.score = torch.nn.Linear(len(model.weight), 1, bias=False, dtype=model.body.dtype)
    classifier.score.weight.data = model.weight[None].to(model.body.dtype)
    return classifier


def chat_template(serializer: PairTemplate) -> str:
    """The template as a chat template: messages of the roles query and document, and system for an instruction.

    This is how sentence-transformers and vLLM's score endpoints hand over a pair.
    """

    def said(role: str) -> str:
        return f'messages | selectattr("role", "eq", "{role}") | map(attribute="content") | first'

    instruction = f"{{{{ {said('system')} | default({json.dumps(serializer.instruction)}) }}}}"
    text = serializer.template.replace("{instruction}", instruction)
    text = text.replace("{query}", f"{{{{ {said('query')} }}}}").replace("{document}", f"{{{{ {said('document')} }}}}")
    # Jinja drops one line break at the end of a template.
    return serializer.prefix + text + serializer.suffix + ("\n" if serializer.suffix.endswith("\n") else "")


def write_facts(
    folder: Path,
    family: str,
    serializer: Serializer,
    activation: str,
    deployment: Deployment,
    head: Mapping[str, Any] | None = None,
) -> None:
    """Write `tamis.json`, which `read_facts` reads; `head` holds what a warm head needs besides."""
    facts = {
        "format": FORMAT,
        "family": family,
        "serializer": to_facts(serializer),
        "activation": activation,
        "first_stage_weights": dict(deployment.first_stage_weights),
        "weights_by_language": {name: dict(found) for name, found in deployment.weights_by_language.items()},
        "lineage": dict(deployment.lineage),
    }
    write_json(folder / "tamis.json", {**facts, **(head or {})})


def add_weights(folder: Path, weights: Mapping[str, float], by_language: Mapping[str, Mapping[str, float]]) -> None:
    """Put weights of first stages into the `tamis.json` of a checkpoint; it changes whole or not at all.

    Args:
        folder: The checkpoint, with or without a `tamis.json`; all else in it stays.
        weights: By first stage; they take the place of those of the same name, and so do their languages'.
        by_language: Weights of the same first stages by language; may lack some.
    """

    def change(facts: dict[str, Any]) -> None:
        facts["first_stage_weights"] = {**facts.get("first_stage_weights", {}), **weights}
        kept = {name: found for name, found in facts.get("weights_by_language", {}).items() if name not in weights}
        facts["weights_by_language"] = kept | {name: dict(found) for name, found in by_language.items() if found}

    _change_facts(folder, change)


def keep_min_score(folder: Path, found: Mapping[str, float]) -> None:
    """Put the level below which nothing fits into the `tamis.json` of a checkpoint; it changes whole or not at all.

    Args:
        folder: The checkpoint, with or without a `tamis.json`; all else in it stays.
        found: `score`, the level itself, and how it was found.
    """
    _change_facts(folder, lambda facts: facts.update({"min_score": dict(found)}))


def _change_facts(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    file = folder / "tamis.json"
    facts: dict[str, Any] = {"format": FORMAT}
    if file.exists():
        facts = json.loads(file.read_text(encoding="utf-8"))
    change(facts)
    with whole_file(file) as partial:
        write_json(partial, facts)


def save_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Write the tokenizer as it is, not as it was last used: the same bytes whatever was tokenised before."""
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.init_kwargs.pop("local_files_only", None)
    with system_errors(folder / "tokenizer.json"):
        tokenizer.save_pretrained(folder)
    file = folder / "tokenizer_config.json"
    settings = json.loads(file.read_text(encoding="utf-8"))
    if settings.get("tokenizer_class") == "TokenizersBackend":
        # transformers 4, on which servers such as infinity still stand, knows the class by this name; 5 knows both.
        write_json(file, settings | {"tokenizer_class": "PreTrainedTokenizerFast"})


def write_json(path: Path, content: object) -> None:
    """Readable JSON in UTF-8."""
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
