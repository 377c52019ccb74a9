"""Small real things that tests are made of: an encoder, a corpus, a recipe. Nothing is downloaded."""

import asyncio
import gc
import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"  # the hub's client reads it when it is imported
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import pytest
from hypothesis import settings

from tamis.user_cache import user_cache

settings.register_profile("tamis", deadline=None, derandomize=True, max_examples=50)
settings.register_profile("thorough", deadline=None, max_examples=1000)  # asked for by --hypothesis-profile
settings.load_profile("tamis")


def pytest_configure(config: pytest.Config) -> None:
    """Fixtures for all; the process that only hands the files out starts without torch, which takes seconds."""
    if config.option.dist == "no" or hasattr(config, "workerinput"):
        gc.disable()  # until all is imported: nothing of it is garbage
        config.pluginmanager.import_plugin("tests.rerankers")


def pytest_collection_finish() -> None:
    """What was imported stays to the end: whoever collects garbage need not look through it each time."""
    gc.enable()
    gc.freeze()


TOPICS = {
    "en": [
        ("How do I install a package?", "Install a package with the package manager. It fetches all dependencies."),
        ("Where are kernel modules kept?", "Kernel modules live below the library folder. Load them with modprobe."),
        ("How can I print a document?", "Printing needs a spooler daemon. Send a document with the print command."),
        ("Which desktop should I choose?", "Several desktop environments exist. Choose a light one for old hardware."),
        ("How do I set the clock?", "The system clock runs in universal time. Set the clock with the date command."),
        ("How do I add a user?", "Add a user with the adduser script. It asks for a password and a home folder."),
        ("How do I upgrade the system?", "Upgrade the whole system after reading release notes. Back up your data."),
        ("Where do log files go?", "Log files are written by a daemon. Rotate the log files every week."),
        ("How do I configure the network?", "Configure the network interface in a file. Restart the network service."),
        ("What is the root account for?", "The root account may change everything. Use the root account with care."),
    ],
    "de": [
        ("Wie installiere ich ein Paket?", "Ein Paket wird mit der Paketverwaltung installiert. Sie holt Abhängigkeiten."),
        ("Wo liegen die Kernelmodule?", "Kernelmodule liegen unter dem Bibliotheksordner. Lade sie mit modprobe."),
        ("Wie drucke ich ein Dokument?", "Zum Drucken braucht es einen Dienst. Das Dokument geht an den Drucker."),
        ("Welche Oberfläche soll ich wählen?", "Es gibt mehrere Arbeitsumgebungen. Für alte Rechner eine leichte wählen."),
        ("Wie stelle ich die Uhr?", "Die Systemuhr läuft in Weltzeit. Die Uhr wird mit einem Befehl gestellt."),
        ("Wie lege ich einen Benutzer an?", "Ein Benutzer wird mit einem Skript angelegt. Es fragt nach dem Passwort."),
        ("Wie aktualisiere ich das System?", "Das ganze System nach den Hinweisen aktualisieren. Vorher Daten sichern."),
        ("Wohin gehen Protokolle?", "Protokolle schreibt ein Dienst im Hintergrund. Sie werden wöchentlich rotiert."),
        ("Wie richte ich das Netz ein?", "Das Netz wird in einer Datei eingerichtet. Danach den Netzdienst neu starten."),
        ("Wozu dient das Konto root?", "Das Konto root darf alles ändern. Es ist mit Vorsicht zu benutzen."),
    ],
}  # fmt: skip
"""Question and answer, by language."""


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or fills the user's cache; matplotlib keeps its list of fonts, which takes seconds to make."""
    fonts = os.environ.get("MPLCONFIGDIR") or str(user_cache().with_name("matplotlib"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MPLCONFIGDIR", fonts)
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _servers_end_soon() -> Iterator[None]:
    """uvicorn looks ten times a second whether it has to end, and takes another tenth to: a hundredth is enough here."""
    import uvicorn.server

    hurried = SimpleNamespace(**vars(asyncio))
    hurried.sleep = lambda seconds: asyncio.sleep(seconds / 10)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(uvicorn.server, "asyncio", hurried)
        yield


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def build_tiny_encoder(folder: Path, hidden: int = 32, layers: int = 3) -> Path:
    """A BERT of a few thousand weights with a word tokenizer over the texts above."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    texts = [text for topics in TOPICS.values() for pair in topics for text in pair]
    words = sorted({w.lower() for text in texts for w in text.replace("?", " ").replace(".", " ").split()})
    specials = ["<s>", "<pad>", "</s>", "<unk>"]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate([*specials, *words])}, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        cls_token="<s>",
        bos_token="<s>",
        pad_token="<pad>",
        sep_token="</s>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=128,
        model_input_names=["input_ids", "attention_mask"],
    )
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(specials) + len(words),
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=2 * hidden,
        max_position_embeddings=128,
        pad_token_id=1,
    )
    body = BertModel(config, add_pooling_layer=False)
    with torch.no_grad():
        for parameter in body.parameters():
            if parameter.dim() > 1:
                parameter.mul_(8)  # the usual start is so small that all texts look alike
    body.save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_encoder(tmp_path_factory.mktemp("models") / "tiny-encoder")


def write_beir(folder: Path, prefix: str = "", languages: tuple[str, ...] = ("en", "de")) -> Path:
    """A BEIR folder of the texts above."""
    (folder / "qrels").mkdir(parents=True)
    corpus, queries, qrels = [], [], ["query-id\tcorpus-id\tscore"]
    for language in languages:
        for number, (question, answer) in enumerate(TOPICS[language]):
            doc_id = f"{prefix}{language}/{number}"
            corpus.append({"_id": doc_id, "title": "", "text": answer, "metadata": {"lang": language}})
            queries.append({"_id": f"q/{doc_id}", "text": question, "metadata": {"lang": language}})
            qrels.append(f"q/{doc_id}\t{doc_id}\t1")
    for name, rows in (("corpus", corpus), ("queries", queries)):
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    (folder / "qrels" / "test.tsv").write_text("\n".join(qrels) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_beir(tmp_path / "corpus")


@pytest.fixture
def recipe(tmp_path: Path, corpus: Path, tiny_encoder: Path) -> dict[str, Any]:
    return tiny_recipe(corpus, write_beir(tmp_path / "general", "g-"), tiny_encoder)


def tiny_recipe(corpus: Path, general: Path, body: Path) -> dict[str, Any]:
    """A recipe that runs the whole chain in seconds, as the YAML would be read."""
    return {
        "name": "tiny",
        "seed": 3,
        "precision": "float32",
        "corpus": {"target": str(corpus), "general": [str(general)]},
        "queries": {"generator": "extractive", "per_document": 2},
        "candidates": {"depth": 10, "dense": {"path": str(body), "max_length": 64}},
        "scores": {"use": 0.0, "seed_bonus": 0.5},
        "lists": {"documents": 4, "held_out": 0.3, "domains": {"english": ["en"], "german": ["de"]}},
        "student": {"joint_layers": 1},
        "train": {"general_steps": 4, "specialist_steps": 3, "checkpoints": 2, "lists_per_step": 2},
        "merge": {"held_out": 10},
        "evaluate": {
            "queries": str(corpus / "queries.jsonl"),
            "qrels": str(corpus / "qrels" / "test.tsv"),
            "depth": 5,
            "rounds": 500,
        },
        "machine": {"threads": 1, "cache": str(corpus.parent / "cache")},
    }
