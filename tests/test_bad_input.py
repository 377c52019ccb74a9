"""What users get wrong, and what machines do: one clear line, status 2, and nothing that was finished is lost."""

import errno
import functools
import json
import os
import random
import re
import resource
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tamis.artifacts import run_folder
from tests.commands import Outcome, manifests, results_by_hash, start, tamis, write_recipe
from tests.conftest import tiny_recipe, write_beir

Content = dict[str, Any]


def run(recipe: Content, tmp_path: Path, *arguments: object) -> Outcome:
    return tamis("run", write_recipe(recipe, tmp_path), "--out", tmp_path / "run", *arguments)


def refused(recipe: Content, tmp_path: Path, *arguments: object) -> str:
    """What the command says about a recipe that it cannot run."""
    outcome = run(recipe, tmp_path, *arguments)
    assert outcome.status == 2
    assert outcome.out == ""
    return outcome.complaint


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Path:
    """A folder with a recipe and its run up to the merged model."""
    base = tmp_path_factory.mktemp("finished")
    content = tiny_recipe(write_beir(base / "corpus"), write_beir(base / "general", "g-"), tiny_encoder)
    process = start(base / "log.txt", "run", write_recipe(content, base), "--out", base / "run", "--until", "merge")
    process.join()
    assert process.exitcode == 0
    return base


@pytest.fixture
def documents(tmp_path: Path, corpus: Path) -> Path:
    """The file of the target documents."""
    return corpus / "corpus.jsonl"


def add_line(path: Path, line: str) -> int:
    """Append a line and give its number."""
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    return len(path.read_text(encoding="utf-8").splitlines())


# The corpus


def test_a_corpus_that_is_not_there(recipe: Content, tmp_path: Path) -> None:
    recipe["corpus"]["target"] = str(tmp_path / "nowhere")
    said = refused(recipe, tmp_path)
    assert said.startswith(
        f"{tmp_path / 'nowhere'}: not found; the recipe's corpus section names it. Give a BEIR folder"
    )


def test_a_general_corpus_without_its_queries(recipe: Content, tmp_path: Path) -> None:
    (tmp_path / "general" / "queries.jsonl").unlink()
    assert f"{tmp_path / 'general' / 'queries.jsonl'}: not found" in refused(recipe, tmp_path)


def test_an_empty_corpus(recipe: Content, documents: Path, tmp_path: Path) -> None:
    documents.write_bytes(b"")
    assert refused(recipe, tmp_path) == f"{documents}: no documents in it; expected one JSON object a line"


def test_a_folder_without_texts(recipe: Content, tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    recipe["corpus"]["target"] = str(tmp_path / "texts")
    assert refused(recipe, tmp_path).endswith("texts: nothing to read in this folder; it is empty")


def test_a_corpus_in_which_nothing_is_usable(recipe: Content, documents: Path, tmp_path: Path) -> None:
    lines = [{"_id": "a", "text": "..."}, {"_id": "b", "text": ""}]
    documents.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    recipe["corpus"]["general"] = []
    said = refused(recipe, tmp_path)
    assert said == f"{documents.parent}: no usable document (2 no letters)"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"_id": "x", "text": "cut of', "got '{\"_id\": \"x\", \"text\": \"cut of', expected a JSON object"),
        ("[1, 2]", "got '[1, 2]', expected a JSON object"),
        ('{"text": "a text"}', "no id; expected a field _id, id, doc_id or docid; it has text"),
        ('{"_id": "x"}', "no text; expected a field text, contents, content or body with text; it has _id"),
        ('{"_id": "x", "text": 7}', "text is 7, expected text"),
        ('{"_id": "x", "text": "a", "lang": "German!"}', 'the language is "German!", expected a tag such as de'),
    ],
)  # fmt: skip
def test_a_broken_line(recipe: Content, documents: Path, tmp_path: Path, line: str, expected: str) -> None:
    number = add_line(documents, line)
    assert refused(recipe, tmp_path).startswith(f"{documents}, line {number}: {expected}")


def test_an_id_that_comes_twice(recipe: Content, documents: Path, tmp_path: Path) -> None:
    number = add_line(documents, '{"_id": "en/3", "text": "Another text."}')
    said = refused(recipe, tmp_path)
    assert said == f"{documents}, line {number}: id 'en/3' stands on line 4 too; ids must be unique, rename one"


def test_bytes_that_are_no_text(recipe: Content, documents: Path, tmp_path: Path) -> None:
    documents.write_bytes(random.Random(3).randbytes(100_000))
    said = refused(recipe, tmp_path)
    assert said.startswith(f"{documents}, line 1: byte 0x")
    assert said.endswith("is not UTF-8; save the file in UTF-8")


def test_a_file_of_another_kind(recipe: Content, tmp_path: Path) -> None:
    (tmp_path / "corpus.pdf").write_bytes(b"%PDF-1.7")
    recipe["corpus"]["target"] = str(tmp_path / "corpus.pdf")
    assert refused(recipe, tmp_path).endswith(
        "corpus.pdf: cannot read .pdf alone; expected a .jsonl, .json, .csv, .tsv or .parquet file, or a folder of "
        "documents of any form"
    )


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that even root cannot read")
def test_a_file_that_cannot_be_read(recipe: Content, documents: Path, tmp_path: Path) -> None:
    documents.unlink()
    documents.symlink_to("/proc/self/mem")
    assert refused(recipe, tmp_path) == f"{documents}: cannot be read: Input/output error"


def test_huge_and_binary_documents_are_dropped_and_counted(recipe: Content, documents: Path, tmp_path: Path) -> None:
    add_line(documents, json.dumps({"_id": "huge", "text": "a word " * 1_500_000, "lang": "en"}))
    add_line(documents, json.dumps({"_id": "junk", "text": "\x00\x01\x02\x03 abc", "lang": "en"}))
    outcome = run(recipe, tmp_path, "--until", "corpus")
    assert outcome.status == 0
    counts = manifests(tmp_path / "run")["corpus"]["counts"]
    assert counts == {"in": 42, "kept": 40, "dropped": {"too long": 1, "binary": 1}}


def test_a_corpus_with_a_single_document(recipe: Content, documents: Path, tmp_path: Path) -> None:
    documents.write_text(documents.read_text(encoding="utf-8").splitlines()[0], encoding="utf-8")
    recipe["corpus"]["general"] = []
    said = refused(recipe, tmp_path)
    count = manifests(tmp_path / "run")["queries"]["counts"]["kept"]
    assert said == (
        f"{documents.parent}: no query of its documents can be learnt from ({count} fewer than two documents in its "
        "language); give more documents, or queries that nothing is wrong with"
    )
    assert manifests(tmp_path / "run").keys() == {"corpus", "queries", "candidates", "scores"}


def test_queries_that_are_all_dropped_are_counted_by_reason_before_anything_else_is_done(
    recipe: Content, documents: Path, tmp_path: Path
) -> None:
    read = [json.loads(line) for line in documents.read_text(encoding="utf-8").splitlines()]
    copies = [(one["_id"], one["text"], "") for one in read[5:]]
    foreign = [(one["_id"], "как мне это установить", "ru") for one in read[:3]]
    file = tmp_path / "mine.tsv"
    lines = map("\t".join, [("document-id", "query", "lang"), *copies, *foreign])
    file.write_text("\n".join(lines), encoding="utf-8")
    recipe["queries"] = {"written": [str(file)]}
    said = refused(recipe, tmp_path)
    assert said.startswith(
        f"tiny: 0 of {len(copies) + 3} queries were kept: {len(copies)} copy of the passage, 3 wrong language; see "
    )
    assert manifests(tmp_path / "run").keys() == {"corpus", "queries"}
    assert run(recipe, tmp_path, "--until", "queries").status == 0


def test_a_domain_without_anything_to_judge_it_by(recipe: Content, tmp_path: Path) -> None:
    recipe["lists"]["held_out"] = 0.0001
    said = refused(recipe, tmp_path)
    assert said.startswith("lists: domain 'english' has ")
    assert "and 0 held out, needs both; give more documents, change lists.held_out (0.0001), or join it" in said


def test_a_language_in_no_domain(recipe: Content, tmp_path: Path) -> None:
    recipe["lists"]["domains"] = {"english": ["en"]}
    said = refused(recipe, tmp_path)
    assert said == (
        "lists.domains: no domain for language 'de' (document 'de/0'); add it to one of english ('*': all other "
        "ones), or name the languages that may occur in corpus.languages"
    )
    assert manifests(tmp_path / "run").keys() == {"corpus"}  # before anything that takes long or costs money
    recipe["lists"]["domains"] = {"all": ["en", "de", "nl"]}
    mended = run(recipe, tmp_path, "--until", "lists")
    assert mended.status == 0
    told = "warning: domains name languages that no document is in: 'nl' (all); the corpus has de, en: correct"
    assert [line.startswith(told) for line in mended.err.splitlines() if "'nl'" in line] == [True]
    stages = [line.split() for line in mended.err.splitlines() if line.startswith("[")]
    assert [words[2] == "reused" for words in stages] == [True] + [False] * 4


def test_a_language_tag_that_is_none(recipe: Content, tmp_path: Path) -> None:
    recipe["corpus"]["languages"] = ["English"]
    said = refused(recipe, tmp_path)
    assert said.endswith("corpus.languages: 'English' is no language tag; did you mean 'en', English?")


def test_a_language_that_no_text_can_be_told_to_be_in(recipe: Content, documents: Path, tmp_path: Path) -> None:
    recipe["corpus"]["languages"] = ["de", "en", "jp", "fr"]
    outcome = run(recipe, tmp_path, "--until", "corpus")
    assert outcome.status == 0
    (told,) = [line for line in outcome.err.splitlines() if line.startswith("warning: ")]
    assert told.startswith("warning: corpus.languages names 'jp', which no document says of itself and no text can be")
    add_line(documents, '{"_id": "x", "text": "a text", "lang": "jp"}')
    assert "warning" not in run(recipe, tmp_path, "--until", "corpus").err


# The questions


def test_questions_that_are_not_there_yet_are_in_the_way_of_no_stage_before(recipe: Content, tmp_path: Path) -> None:
    for name in ("queries", "qrels"):
        Path(recipe["evaluate"][name]).unlink()
    assert "use --until merge without it" in refused(recipe, tmp_path)
    outcome = run(recipe, tmp_path, "--until", "queries")
    assert (outcome.status, manifests(tmp_path / "run").keys()) == (0, {"corpus", "queries"})


def test_a_broken_line_of_the_judgements(finished: Path, tmp_path: Path) -> None:
    root = shutil.copytree(finished / "run", tmp_path / "run")
    qrels = tmp_path / "qrels.tsv"
    shutil.copy(finished / "corpus" / "qrels" / "test.tsv", qrels)
    number = add_line(qrels, "q/en/0\ten/0\tyes")
    outcome = tamis("run", finished / "recipe.yaml", "--out", root, "--set", f"evaluate.qrels={qrels}")
    assert outcome.status == 2
    assert outcome.complaint.startswith(f"{qrels}, line {number}: expected query-id, corpus-id and a whole number")
    assert manifests(root).keys() == manifests(finished / "run").keys()


# The recipe


def test_a_recipe_that_is_not_there(tmp_path: Path) -> None:
    outcome = tamis("run", tmp_path / "none.yaml")
    assert outcome.status == 2
    assert outcome.complaint == f"{tmp_path / 'none.yaml'}: no such recipe"


def test_a_recipe_that_is_no_yaml(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("name: [demo\n", encoding="utf-8")
    outcome = tamis("run", tmp_path / "r.yaml")
    assert outcome.status == 2
    assert outcome.complaint.startswith(f"{tmp_path / 'r.yaml'}: not YAML: while parsing a flow sequence")


@pytest.mark.parametrize(
    ("section", "key", "value", "expected"),
    [
        ("train", "learning_rat", 1, "unknown key 'train.learning_rat'; did you mean 'learning_rate'?"),
        ("train", "general_steps", "many", "train.general_steps: expected a whole number, got 'many'"),
        ("candidates", "depth", 0, "candidates.depth: expected a number of at least 2, got 0"),
        ("train", "loss", "gap-hinge", "train.loss gap-hinge compares with scores in [-1, 1]: set lists.rescale to"),
    ],
)
def test_a_setting_that_cannot_be_used(
    recipe: Content, tmp_path: Path, section: str, key: str, value: object, expected: str
) -> None:
    recipe[section][key] = value
    assert refused(recipe, tmp_path).startswith(f"{tmp_path / 'recipe.yaml'}: {expected}")
    assert not (tmp_path / "run").exists()


def test_more_joint_layers_than_the_encoder_has(recipe: Content, tmp_path: Path) -> None:
    recipe["student"]["joint_layers"] = 9
    assert refused(recipe, tmp_path) == "joint_layers is 9, expected 1 to 3 for this encoder"


def test_a_stage_that_is_not_there(recipe: Content, tmp_path: Path) -> None:
    said = refused(recipe, tmp_path, "--until", "mergin")
    assert said.startswith("no stage 'mergin'; the stages are corpus, queries, ")


# The encoder


def test_an_encoder_that_is_not_there_is_named_before_any_work(recipe: Content, tmp_path: Path) -> None:
    recipe["candidates"]["dense"]["path"] = str(tmp_path / "e5")
    said = refused(recipe, tmp_path)
    assert said == f"{tmp_path / 'e5'}: not a model folder; give a Hugging Face folder or a hub name"
    assert not (tmp_path / "run").exists()


def test_an_encoder_with_pickled_weights_is_not_opened(recipe: Content, tiny_encoder: Path, tmp_path: Path) -> None:
    encoder = shutil.copytree(tiny_encoder, tmp_path / "encoder")
    (encoder / "model.safetensors").unlink()
    torch.save({}, encoder / "pytorch_model.bin")
    recipe["candidates"]["dense"]["path"] = str(encoder)
    assert refused(recipe, tmp_path).startswith(
        f"{encoder}: no .safetensors weights in this folder (found config.json, "
    )


@pytest.mark.parametrize("size", [0, 5000])
def test_an_encoder_whose_weights_were_cut_off(recipe: Content, tiny_encoder: Path, tmp_path: Path, size: int) -> None:
    encoder = shutil.copytree(tiny_encoder, tmp_path / "encoder")
    os.truncate(encoder / "model.safetensors", size)
    recipe["candidates"]["dense"]["path"] = str(encoder)
    assert refused(recipe, tmp_path).startswith(f"{encoder}: cannot be loaded as an encoder: ")
    assert list(manifests(tmp_path / "run")) == ["corpus"]  # the estimate tries it before queries are written


def test_a_language_model_that_is_not_there(recipe: Content, tmp_path: Path) -> None:
    model = tmp_path / "qwen.gguf"
    recipe["queries"] = {"generator": "llama", "llama": {"model": str(model)}}
    assert (
        refused(recipe, tmp_path)
        == f"queries.llama.model: {model} not found; name a GGUF file (make demo LLM=1 brings one)"
    )
    assert "corpus" in manifests(tmp_path / "run")


# The run folder


def test_the_run_folder_of_another_recipe(recipe: Content, tmp_path: Path) -> None:
    assert run(recipe, tmp_path, "--until", "corpus").status == 0
    recipe["name"] = "other"
    said = refused(recipe, tmp_path)
    expected = "this folder holds runs of the recipe 'tiny', not of 'other'; choose another one with --out"
    assert said == f"{tmp_path / 'run'}: {expected}"


def test_a_folder_that_is_no_run_folder(recipe: Content, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "letter.txt").write_text("dear", encoding="utf-8")
    said = refused(recipe, tmp_path)
    assert said == f"{tmp_path / 'run'}: not empty and not a run folder; choose another one with --out"
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["letter.txt"]


def test_an_output_below_a_file(recipe: Content, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file", encoding="utf-8")
    arguments = ("run", write_recipe(recipe, tmp_path), "--out", tmp_path / "run" / "below")
    outcome = tamis(*arguments)
    assert outcome.status == 2
    assert outcome.complaint.startswith(f"{tmp_path / 'run' / 'below'}: cannot be written: Not a directory; ")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_output_that_is_read_only(recipe: Content, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o500)
    assert ": cannot be written: Permission denied; " in refused(recipe, tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("option", ["--results", pytest.param("--report", marks=pytest.mark.slow)])
def test_a_full_device_for_what_is_copied(finished: Path, tmp_path: Path, option: str) -> None:
    root = shutil.copytree(finished / "run", tmp_path / "run")
    outcome = tamis("run", finished / "recipe.yaml", "--out", root, option, "/dev/full")
    assert outcome.status == 2
    assert outcome.complaint.startswith("/dev/full: cannot be written: No space left on device; finished stages are ")
    assert "report" in manifests(root)


def test_a_link_that_cannot_be_made(finished: Path, tmp_path: Path) -> None:
    root = shutil.copytree(finished / "run", tmp_path / "run")
    (tmp_path / "file").touch()
    outcome = tamis("run", finished / "recipe.yaml", "--out", root, "--model", tmp_path / "file" / "model")
    assert outcome.status == 2
    assert outcome.complaint.startswith(f"{tmp_path / 'file' / 'model'}: cannot be written: File exists; finished ")


def test_a_damaged_item_store(recipe: Content, tmp_path: Path) -> None:
    assert run(recipe, tmp_path, "--until", "corpus").status == 0
    (tmp_path / "run" / "items.sqlite").write_bytes(b"junk" * 2000)
    assert refused(recipe, tmp_path).endswith(
        "items.sqlite: damaged (file is not a database); delete it, finished stages are kept"
    )
    (tmp_path / "run" / "items.sqlite").unlink()
    assert run(recipe, tmp_path, "--until", "corpus").status == 0


# The disk


@pytest.mark.parametrize("failing", ["write_json", "file_hash"])
def test_a_disk_that_fills_up_in_a_stage(
    recipe: Content, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    undisturbed = run(recipe, tmp_path, "--until", "candidates")
    assert undisturbed.status == 0
    expected = results_by_hash(tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "candidates")

    def full(path: Path, *_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(run_folder, failing, full)
        said = refused(recipe, tmp_path, "--until", "candidates")
    assert said.startswith(f"{tmp_path / 'run' / 'candidates'}/")
    assert said.endswith(
        ": cannot be written: No space left on device; finished stages are kept, make room or choose another --out and "
        "run the same command again"
    )
    assert manifests(tmp_path / "run").keys() == {"corpus", "queries"}
    assert run(recipe, tmp_path, "--until", "candidates").status == 0
    assert results_by_hash(tmp_path / "run") == expected


def limit_file_size(size: int) -> None:
    """Let every write beyond `size` bytes of a file fail, as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@pytest.mark.parametrize(
    ("most", "missing", "place"),
    [
        (30_000, ["candidates", "scores", "lists", "train", "merge", "items.sqlite"], "items.sqlite"),
        (34_000, ["train", "merge"], "train/*"),  # the tensors of a student take 36 KB
        pytest.param(99_000, ["merge"], "merge/*", marks=pytest.mark.slow),  # the model takes 150 KB
    ],
)
def test_files_that_cannot_grow(finished: Path, tmp_path: Path, most: int, missing: list[str], place: str) -> None:
    root = shutil.copytree(finished / "run", tmp_path / "run")
    expected = results_by_hash(root)
    for name in missing:
        shutil.rmtree(root / name) if (root / name).is_dir() else (root / name).unlink()
    log = tmp_path / "log.txt"
    arguments = ("run", finished / "recipe.yaml", "--out", root, "--until", "merge")
    stopped = start(log, *arguments, prepare=functools.partial(limit_file_size, most))
    stopped.join()
    *_, said = log.read_text(encoding="utf-8").splitlines()
    assert stopped.exitcode == 2
    assert re.match(
        rf"tamis: {root}/{place.replace('*', '[0-9a-f]+')}: cannot be written: .+; finished stages are", said
    )
    assert manifests(root).keys() == expected.keys() - set(missing)
    again = start(log, *arguments)
    again.join()
    assert again.exitcode == 0
    assert results_by_hash(root) == expected
