"""Recipes: defaults, and one clear line for whatever cannot be understood."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from tamis.errors import SettingsError
from tamis.languages import language_names, not_a_tag
from tamis.pipeline.reading import read_recipe, recipe_from
from tamis.pipeline.recipe import Recipe
from tamis.stages.queries.settings import writer_name

EMPTY = "expected a path ('.' for the working directory), got ''"
"""What is said of an empty path."""

SMALLEST: dict[str, Any] = {
    "name": "demo",
    "corpus": {"target": "corpus"},
    "queries": {"generator": "extractive"},
    "candidates": {"dense": {"path": "encoder"}},
    "lists": {"domains": {"germanic": ["de", "en"], "east-asian": ["ja"]}},
}


def with_setting(setting: str, value: object) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(yaml.safe_dump(SMALLEST))
    *sections, key = setting.split(".")
    part = content
    for section in sections:
        part = part.setdefault(section, {})
    part[key] = value
    return content


def complaint(content: dict[str, Any]) -> str:
    with pytest.raises(SettingsError) as caught:
        recipe_from(content, "r.yaml")
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_everything_but_paths_and_domains_has_a_default() -> None:
    recipe = recipe_from(SMALLEST, "r.yaml")
    assert recipe.candidates.bm25.k1 == 0.9
    assert recipe.lists.bins == 16
    assert recipe.evaluate is None


@pytest.mark.parametrize(
    ("domains", "expected"),
    [
        (
            {"germanic": ["de", "en"], "east-asian": ["ja"]},
            ["germanic", "germanic", "east-asian", "general", "general"],
        ),
        ({"germanic": ["de", "en"], "others": "*"}, ["germanic", "germanic", "others", "others", "others"]),
        ({"others": "*", "germanic": ["de", "en"]}, ["germanic", "germanic", "others", "others", "others"]),
        ({"others": ["ja", "*"], "german": ["de"]}, ["german", "others", "others", "others", "others"]),
        ({"all": ["*"]}, ["all"] * 5),
    ],
)
def test_a_star_is_every_language_that_no_other_domain_names(domains: object, expected: list[str]) -> None:
    lists = recipe_from(with_setting("lists.domains", domains), "r.yaml").lists
    assert [lists.domain_for(language) for language in ("de", "en", "ja", "ko", "")] == expected


def test_a_recipe_cannot_be_changed_afterwards() -> None:
    recipe = recipe_from(SMALLEST, "r.yaml")
    with pytest.raises(ValueError, match="frozen"):
        recipe.seed = 5


def test_what_a_recipe_says_is_a_recipe_again() -> None:
    recipe = recipe_from(SMALLEST, "r.yaml")
    assert recipe_from(recipe.model_dump(mode="json"), "again") == recipe


def test_the_recipes_that_come_along_are_understood() -> None:
    recipes = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))
    assert recipes
    for path in recipes:
        assert isinstance(read_recipe(path), Recipe)


@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [
        ("traning", {}, "r.yaml: unknown key 'traning'; did you mean 'train'?"),
        ("train.learnrate", 1, "r.yaml: unknown key 'train.learnrate'; did you mean 'learning_rate'?"),
        (
            "candidates.dense.dimensions",
            384,
            "known here: path, query_prefix, document_prefix, max_length, pooling, trust_remote_code",
        ),
        ("evaluate", {"queries": "q", "qrels": "r", "dept": 5}, "unknown key 'evaluate.dept'; did you mean 'depth'?"),
        ("seed", "three", "r.yaml: seed: expected a whole number, got 'three'"),
        ("seed", -1, "r.yaml: seed: expected a number of at least 0, got -1"),
        ("seed", 2**64, f"r.yaml: seed: expected a number of at most {2**64 - 1}, got {2**64}"),
        ("lists.bins", 1, "r.yaml: lists.bins: expected a number of at least 2, got 1"),
        ("lists.held_out", 1.0, "r.yaml: lists.held_out: expected a number below 1, got 1.0"),
        ("train.learning_rate", float("nan"), "r.yaml: train.learning_rate: expected a finite number, got nan"),
        ("train.learning_rate", float("inf"), "r.yaml: train.learning_rate: expected a finite number, got inf"),
        ("train.loss", "mse", "'lambda', 'pointwise-mse' or 'pointwise-bce', got 'mse'"),
        ("train", [1, 2], "r.yaml: train: expected a section with keys, got [1, 2]"),
        ("train", None, "r.yaml: train: expected a section with keys, got nothing"),
        ("merge.t", [0.5, 2], "r.yaml: merge.t.1: expected a number of at most 1, got 2"),
        ("merge.t", [], "r.yaml: merge.t: expected at least 1 entry, got []"),
        ("merge.first_stage_weights", [], "r.yaml: merge.first_stage_weights: "),
        ("name", "../elsewhere", "r.yaml: name: expected a name of letters, digits, '.', '_' and '-' that begins"),
        ("name", "..", "r.yaml: name: expected a name of letters, digits, '.', '_' and '-' that begins"),
        ("lists.domains", {}, "r.yaml: lists.domains is missing; name the languages of each specialist"),
        ("corpus.target", "", "r.yaml: corpus has neither target nor general: name a corpus to learn from"),
        ("corpus.general", [""], f"r.yaml: corpus.general.0.path: {EMPTY}"),
        ("candidates.dense.path", "", f"r.yaml: candidates.dense.path: {EMPTY}"),
        ("candidates.runs", {"docs": ""}, f"r.yaml: candidates.runs.docs: {EMPTY}"),
        ("queries.written", ["a.tsv", ""], f"r.yaml: queries.written.1: {EMPTY}"),
        ("merge.keep", [""], f"r.yaml: merge.keep.0: {EMPTY}"),
        ("corpus", {}, "r.yaml: corpus has neither target nor general: name a corpus to learn from"),
        ("corpus", {"general": ["x"]}, "without corpus.target there is nothing to adapt to: leave lists.domains"),
        ("lists.domains", {"general": ["de"]}, "lists.domains: a domain cannot be called 'general'; use letters"),
        ("lists.domains", {"a/b": ["de"]}, "lists.domains: a domain cannot be called 'a/b'; use letters"),
        ("lists.domains", {"a\n": ["de"]}, "lists.domains: a domain cannot be called 'a\\n'; use letters"),
        ("lists.domains", {"a": ["de"], "b": ["de"]}, "lists.domains: language 'de' stands 2 times; give it to one"),
        ("lists.domains", {"a": "*", "b": ["de", "*"]}, "lists.domains: '*', all other languages, stands 2 times;"),
        ("lists.domains", {"a": []}, "lists.domains: domain 'a' names no language, so it would never learn; name some"),
        ("lists.domains", {"a": "de"}, "r.yaml: lists.domains.a: expected a list, got 'de'; write [de]"),
        ("lists.domains", "*", "r.yaml: lists.domains: expected names with what each stands for, NAME: VALUE, got '*'"),
        ("lists.domains", {"nordic": [False]}, "lists.domains.nordic.0: expected text, got false; YAML takes yes, no"),
        ("train.loss", "gap-hinge", "train.loss gap-hinge compares with scores in [-1, 1]: set lists.rescale to min"),
        ("candidates.fusion", "sum", "candidates.fusion: expected 'rrf' or 'weighted', got 'sum'"),
        ("candidates.languages", "all", "languages: expected 'same', 'cross' or 'any', got 'all'"),
        ("candidates.index", "hnsw", "candidates.index: expected 'exact' or 'faiss', got 'hnsw'"),
        (
            "candidates",
            {"dense": {"path": "encoder"}, "fusion": "rrf", "weights": {"bm25": 1}},
            "candidates: weights are for fusion weighted, reciprocal ranks have none",
        ),
        ("candidates.weights", {"bm25": 0, "dense": 0}, "nobody counts: give bm25 or dense a weight above 0"),
        ("candidates.runs", {"docs": "x"}, "called 'docs'; a run's name is that of the folder or log whose "),
        ("evaluate", {"queries": "q", "qrels": "r", "runs": {"hybrid": "x"}}, "a run cannot be called 'hybrid'; use "),
        ("evaluate", {"queries": "q", "qrels": "r", "runs": {"order": "x"}}, "a run cannot be called 'order'; use "),
        ("evaluate", {"queries": "q", "qrels": "r", "runs": {"a+b": "x"}}, "a run cannot be called 'a+b'; use letters"),
        ("evaluate", {"queries": "q", "qrels": "r", "runs": {"a\n": "x"}}, "a run cannot be called 'a\\n'; use "),
        ("machine.shard", True, "r.yaml: machine.shard is for students that learn all layers, a warm one learns"),
        ("queries.generator", "llama", "generator 'llama' needs the section queries.llama with model"),
        ("queries.generator", ["extractive", "endpoint"], "needs the section queries.endpoint with url and model"),
        ("queries.generator", "transformers", "needs the section queries.transformers with path"),
        ("queries.generator", ["extractive"] * 2, "queries: generator 'extractive' stands 2 times; once is enough"),
        ("queries.generator", [], "r.yaml: nothing asks about corpus: name queries.written (of tamis adapt"),
        ("queries.written", ["a/x.tsv", "b/x.jsonl.gz"], "queries.written: 2 files are called x, which the ids of"),
        ("queries.written", ["a/given.tsv"], "queries.written: a file cannot be called given: other queries have that"),
        ("queries.logs", ["a/x.txt", "b/x.txt"], "queries.logs: 2 logs are called x.txt, which the ids of their"),
        ("queries.logs", [{"path": "x", "origin": "general"}], "x searches corpus.general, which is not there; set or"),
        ("queries.logs", [{"path": "x", "language": "German"}], "logs.0.language: 'German' is no language tag; did y"),
        ("queries.logs", [{"path": "x", "lang": "de"}], "unknown key 'queries.logs.0.lang'; did you mean 'language'?"),
        ("queries.generator", "both", "expected 'extractive', 'llama', 'endpoint' or 'transformers', got 'bo"),
        ("queries.temperatures", [0.2, -1], "r.yaml: queries.temperatures.1: expected a number of at least 0, got -1"),
        ("queries.prompt.kinds", {"riddle": 1}, "kinds.riddle: expected 'question', 'keyword' or 'claim', got 'ri"),
        ("queries.prompt.kinds", {"claim": 0}, "queries.prompt.kinds.claim: expected a number above 0, got 0"),
        ("queries.prompt.examples", 4, "queries.prompt.examples: expected a number of at most 3, got 4"),
        ("queries.prompt.dificulty", "hard", "unknown key 'queries.prompt.dificulty'; did you mean 'difficulty'?"),
        ("queries.endpoint", {"url": "http://h/v1"}, "r.yaml: queries.endpoint.model is missing; add it"),
        ("queries.llama", {"modell": "x", "model": "y"}, "unknown key 'queries.llama.modell'; did you mean 'model'?"),
        ("queries.written", "my/a.tsv", "r.yaml: queries.written: expected a list of paths, got 'my/a.tsv'; write [my"),
        ("queries.keep_out", "*", "r.yaml: queries.keep_out: expected a list of paths, got '*'; write [\"*\"]"),
        ("queries.temperatures", [0.1, 0.2, 0.3], "queries.temperatures: expected at most 2 entries, got [0.1, 0.2"),
        ("merge.t", 0.5, "r.yaml: merge.t: expected a list of numbers, got 0.5; write [0.5]"),
        ("merge.t", "half", "r.yaml: merge.t: expected a list of numbers, got 'half'"),
        ("merge.refine", 1.5, "r.yaml: merge.refine: expected a whole number, got 1.5"),
        ("corpus", {"target": 7}, "r.yaml: corpus.target: expected a path, got 7"),
        ("machine.shard", "perhaps", "r.yaml: machine.shard: expected true or false, got 'perhaps'"),
        ("train.loss", None, "'pointwise-bce', got nothing"),
        ("scores.teachers", [{"kind": "x"}], "r.yaml: scores.teachers.0: expected a kind among 'encoder', 'reranker'"),
        ("scores.teachers", [{"path": "x"}], "r.yaml: scores.teachers.0: kind is missing in {'path': 'x'}; add it"),
        ("scores.teachers", ["x"], "r.yaml: scores.teachers.0: expected a section with keys, got 'x'"),
        ("lists.domains", {"a": ["de", "germn"]}, "domain 'a': 'germn' is no language tag; did you mean 'de', G"),
        ("lists.domains", {"a": ["DE"]}, "lists.domains: domain 'a': 'DE' is no language tag; did you mean 'de'?"),
        ("lists.domains", {"a": ["zh_CN"]}, "domain 'a': 'zh_CN' is no language tag; did you mean 'zh-cn'?"),
        ("lists.domains", {"a": ["x y z"]}, "domain 'a': 'x y z' is no language tag; expected one in lower case such"),
        ("lists.domains", {"a": [""]}, "'' is no language tag; expected one in lower case such as de or zh-cn"),
        ("machine.requests.concurrency", 0, "machine.requests.concurrency: expected a number of at least 1, got 0"),
    ],
)  # fmt: skip
def test_a_setting_that_cannot_be_used_is_named_with_what_came(setting: str, value: object, expected: str) -> None:
    assert expected in complaint(with_setting(setting, value))


def fields(section: type[BaseModel], before: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting of a recipe with its type; of a section in a list or of one of several kinds none."""
    for name, field in section.model_fields.items():
        yield f"{before}{name}", field.annotation
        inner = [one for one in (field.annotation, *get_args(field.annotation)) if one is not type(None)]
        if len(inner) <= 2 and isinstance(inner[-1], type) and issubclass(inner[-1], BaseModel):
            yield from fields(inner[-1], f"{before}{name}.")


ANYTHING: tuple[object, ...] = (
    *(None, True, False, 3, -3, 2**80, 1.5, float("nan"), float("inf"), "x", "", "3"),
    *([], ["x"], [1], [True], [None], [[1]], [0.1], [0.1, 0.2, 0.3], [{}], [{"a": 1}], [{"kind": "x"}], [{"kind": 1}]),
    *({}, {"a": 1}, {"a": ["b"]}, {"a": None}, {"a": True}, {"claim": True}, {1: 2}),
)
"""A value of every type that YAML has."""


@pytest.mark.parametrize("setting", [name for name, _ in fields(Recipe)])
def test_whatever_comes_is_told_in_plain_words(setting: str) -> None:
    for value in ANYTHING:
        try:
            recipe_from(with_setting(setting, value), "r.yaml")
        except SettingsError as error:
            said = str(error)
            assert said.startswith("r.yaml: ")
            assert not re.search(r"Input|should|valid|tuple|dictionary|Keys|pydantic", said.split(", got ")[0]), said
            assert not re.search(r"got (None|True|False)", said)


def is_number(kind: Any) -> bool:
    return kind in (int, float) or any(map(is_number, get_args(kind)))


@pytest.mark.parametrize("setting", [name for name, kind in fields(Recipe) if is_number(kind)])
def test_true_is_not_one_and_false_is_not_nought(setting: str) -> None:
    for value in (True, False):
        assert complaint(with_setting(setting, value)) == f"r.yaml: {setting}: expected a number, got {value}".lower()
    said = complaint(with_setting("merge.t", [0.3, True]))
    assert said == "r.yaml: merge.t.1: expected a number, got true"


def test_what_may_be_true_or_anything_still_may() -> None:
    recipe = recipe_from(endpoint(extra={"stop": True, "n_probs": [True, 1]}), "r.yaml")
    assert recipe.queries.endpoint is not None
    assert recipe.queries.endpoint.extra == {"stop": True, "n_probs": [True, 1]}
    assert recipe_from(with_setting("machine.recompute", True), "r.yaml").machine.recompute


def test_a_language_that_is_called_by_its_name_is_told_its_tag() -> None:
    for tag, name in language_names().items():
        assert not_a_tag(tag) is None
        if len(name) > 3:  # Lao is written as a tag is
            assert repr(tag) in str(not_a_tag(f"{name} "))


def endpoint(**settings: object) -> dict[str, Any]:
    return with_setting("queries.endpoint", {"url": "http://h:8000/v1/", "model": "m", **settings})


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"url": "h:8000"}, "queries.endpoint.url: expected http:// or https://, a host and a path, without a user"),
        ({"url": "http://h:eighty/v1"}, "queries.endpoint.url: expected http:// or https://, a host and a path"),
        ({"url": "http://h:99999/v1"}, "queries.endpoint.url: expected http:// or https://, a host and a path"),
        ({"url": "http://api..h/v1"}, "queries.endpoint.url: expected http:// or https://, a host and a path"),
        ({"url": "http://[h/v1"}, "queries.endpoint.url: expected http:// or https://, a host and a path"),
        ({"url": "https://me:secret@h/v1"}, "a key belongs into the environment variable of key_variable"),
        ({"url": "https://h/v1?key=secret"}, "queries.endpoint.url: expected http:// or https://"),
        ({"key_variable": "sk-secret"}, "queries.endpoint.key_variable: expected the name of an environment variable"),
        ({"extra": {"messages": []}}, "queries.endpoint: extra: 'messages' is set by tamis; max_tokens, seed, temper"),
        ({"extra": {"temperature": 1}}, "extra: 'temperature' is set by tamis"),
        ({"budget_money": 5}, "queries.endpoint: budget_money needs prompt_price and completion_price"),
    ],
)
def test_an_endpoint_that_cannot_be_used_is_named_and_no_secret_is_shown(
    settings: dict[str, object], expected: str
) -> None:
    said = complaint(endpoint(**settings))
    assert expected in said
    assert "secret" not in said


def test_one_query_writer_may_stand_alone() -> None:
    recipe = recipe_from(endpoint(extra={"temperature": None, "top_p": 0.9}), "r.yaml")
    assert recipe.queries.generator == ("extractive",)
    assert recipe.queries.endpoint
    assert recipe.queries.endpoint.url == "http://h:8000/v1"
    assert recipe_from(with_setting("queries.generator", "extractive"), "r.yaml").queries.generator == ("extractive",)


@pytest.mark.parametrize("setting", ["name", "corpus", "candidates"])
def test_a_missing_section_is_named(setting: str) -> None:
    content = {name: value for name, value in SMALLEST.items() if name != setting}
    assert complaint(content) == f"r.yaml: {setting} is missing; add it"


def test_a_student_that_is_not_warm_may_be_sharded() -> None:
    content = with_setting("machine.shard", True)
    content["student"] = {"head": "stock"}
    assert recipe_from(content, "r.yaml").machine.shard


def test_gap_hinge_with_bounded_labels_is_accepted() -> None:
    content = with_setting("train.loss", "gap-hinge")
    content["lists"]["rescale"] = "min-max"
    assert recipe_from(content, "r.yaml").train.loss == "gap-hinge"


@pytest.mark.parametrize("rescale", ["none", "min-max", "rank", "quantile"])
@pytest.mark.parametrize("loss", ["margin-mse", "listwise", "ranknet", "lambda", "pointwise-mse", "pointwise-bce"])
def test_every_other_loss_takes_labels_of_any_range(loss: str, rescale: str) -> None:
    content = with_setting("train.loss", loss)
    content["lists"]["rescale"] = rescale
    assert recipe_from(content, "r.yaml").train.loss == loss


@pytest.mark.parametrize("setting", ["weigh_on", "judged"])
def test_the_judged_questions_neither_weigh_the_first_stages_nor_decide_a_merge(tmp_path: Path, setting: str) -> None:
    judged = {"queries": str(tmp_path / "queries.jsonl"), "qrels": str(tmp_path / "qrels" / "test.tsv")}
    content = with_setting("evaluate", judged)
    content["merge"] = {setting: str(tmp_path / "other" / "..")}
    assert f"merge.{setting}: " in complaint(content)
    content["merge"] = {setting: str(tmp_path / "other")}
    assert getattr(recipe_from(content, "r.yaml").merge, setting) == tmp_path / "other"


@pytest.mark.parametrize("asked", [{"written": ["my/x.y.tsv.gz"]}, {"generator": "extractive"}, {"logs": ["x.txt"]}])
def test_somebody_has_to_ask_about_target_documents(asked: dict[str, Any]) -> None:
    recipe_from({**SMALLEST, "queries": asked}, "r.yaml")
    alone = {**SMALLEST, "corpus": {"general": ["data/docs"]}, "lists": {}, "queries": {}}
    assert not recipe_from(alone, "r.yaml").queries.anybody
    assert "nothing asks about corpus" in complaint({**SMALLEST, "queries": {}})


def test_a_file_of_queries_is_a_writer_by_its_name() -> None:
    content = {**SMALLEST, "queries": {"written": ["my/x.y.tsv.gz"]}}
    assert writer_name(recipe_from(content, "r.yaml").queries.written[0]) == "x.y"


def test_the_judged_questions_are_neither_written_queries_nor_the_style(tmp_path: Path) -> None:
    judged = {"queries": str(tmp_path / "queries.jsonl"), "qrels": str(tmp_path / "qrels" / "test.tsv")}
    content = with_setting("evaluate", judged)
    same = str(tmp_path / "qrels" / ".." / "queries.jsonl")
    content["queries"] = {"written": [same]}
    assert f"queries.written: {same} holds the judged questions of evaluate.queries, which no" in complaint(content)
    content["queries"] = {"generator": "extractive", "prompt": {"like": same}}
    assert f"queries.prompt.like: {same} holds the judged questions of evaluate.queries" in complaint(content)


@pytest.mark.parametrize("setting", ["merge.judged", "merge.weigh_on"])
def test_what_chooses_is_not_learnt_from(tmp_path: Path, setting: str) -> None:
    content = with_setting(setting, str(tmp_path / "mine"))
    content["queries"] = {"logs": [str(tmp_path / "other" / ".." / "mine" / "queries.jsonl")]}
    assert f"holds the questions of {setting}, which would choose by what was learnt" in complaint(content)
    content["queries"] = {"logs": [str(tmp_path / "other" / "queries.jsonl")]}
    recipe_from(content, "r.yaml")
    content["corpus"]["general"] = [{"path": str(tmp_path / "mine"), "splits": ["train"]}]
    recipe_from(content, "r.yaml")
    content["corpus"]["general"] = [str(tmp_path / "mine")]
    assert f"split test, are the judged ones of {setting}, which would be learnt from" in complaint(content)


def test_given_queries_are_not_the_judged_ones(tmp_path: Path) -> None:
    judged = {"queries": str(tmp_path / "queries.jsonl"), "qrels": str(tmp_path / "x" / ".." / "qrels" / "test.tsv")}
    content = with_setting("evaluate", judged)
    content["corpus"]["general"] = [{"path": str(tmp_path), "splits": ["train", "dev"]}]
    recipe_from(content, "r.yaml")
    content["corpus"]["general"] = [{"path": str(tmp_path), "splits": ["train", "test"]}]
    assert f"corpus.general: the given queries of {tmp_path}, split test, are the judged ones of evaluate.qrels" in (
        complaint(content)
    )


def test_runs_whose_domains_are_kept_are_told_apart_by_their_names() -> None:
    content = with_setting("merge.keep", ["old/mine", "new/other"])
    content |= {"student": {"start": "tamis-base", "head": "own"}, "train": {"general_steps": 0}}
    content["merge"]["on"] = "weights"
    recipe_from(content, "r.yaml")
    content["merge"]["keep"] = ["old/mine", "new/mine"]
    assert "merge.keep: 2 run folders are called mine, with which the names of their domains begin" in complaint(
        content
    )


def test_written_queries_need_the_documents_that_they_are_about() -> None:
    content = with_setting("queries.written", ["x.tsv"])
    content["corpus"] = {"general": ["data/docs"]}
    content["lists"] = {"domains": {}}
    assert "queries.written: x.tsv holds queries about documents of corpus.target, which is not there" in complaint(
        content
    )


def test_a_run_of_a_general_corpus_and_weights_of_a_weighted_hybrid_are_accepted() -> None:
    content = with_setting("candidates.runs", {"docs": "engine.trec"})
    content["corpus"]["general"] = ["data/docs"]
    content["candidates"] |= {"weights": {"bm25": 2}}
    candidates = recipe_from(content, "r.yaml").candidates
    assert candidates.runs == {"docs": Path("engine.trec")}
    assert candidates.weights is not None
    assert (candidates.weights.bm25, candidates.weights.dense) == (2.0, 1.0)


@pytest.mark.parametrize("setting", ["student.start", "merge.judged", "merge.weigh_on", "machine.cache"])
def test_an_empty_path_is_none_and_not_the_working_directory(setting: str) -> None:
    assert recipe_from(with_setting(setting, ""), "r.yaml") == recipe_from(SMALLEST, "r.yaml")
    section, key = setting.split(".")
    here = getattr(recipe_from(with_setting(setting, "."), "r.yaml"), section)
    assert getattr(here, key) == Path()


def test_a_long_value_is_cut() -> None:
    assert complaint(with_setting("seed", "x" * 10_000)).endswith("x…")


# Files


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", "expected a recipe with sections, got nothing"),
        (b"- a\n- b\n", "expected a recipe with sections, got \\['a', 'b'\\]"),
        (b"just words", "expected a recipe with sections, got 'just words'"),
        (b"name: [demo\nseed: 3\n", "not YAML: while parsing a flow sequence in .*line 1, column 7"),
        (b"name: a\n\tseed: 3\n", "not YAML: .*line 2, column 1"),
        (b"\x00\x01\x02", "not YAML: unacceptable character"),
        (b"\xff\xfe\x00", "cannot be read as a recipe: 'utf-8' codec can't decode byte 0xff"),
    ],
)
def test_a_file_that_is_no_recipe_is_named(tmp_path: Path, raw: bytes, expected: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_bytes(raw)
    with pytest.raises(SettingsError, match=f"^{path}: {expected}"):
        read_recipe(path)


def test_a_recipe_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"r\.yaml: no such recipe"):
        read_recipe(tmp_path / "r.yaml")
    with pytest.raises(SettingsError, match=r"cannot be read as a recipe: .*Is a directory"):
        read_recipe(tmp_path)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=5,
)
names = st.sampled_from([*Recipe.model_fields, "lists.domains", "candidates.dense", "merge.t", "corpus.general"])


@given(names, values)
def test_any_value_is_accepted_or_refused_in_one_line(setting: str, value: object) -> None:
    said = "r.yaml: accepted"
    try:
        recipe_from(with_setting(setting, value), "r.yaml")
    except SettingsError as error:
        said = str(error)
    assert said.startswith("r.yaml: ")
    assert len(said.splitlines()) == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=30))
@example("? - a\n: b")
@example("{[a]: b}")
@example("name: &a [*a]")
@example("2020-99-99")
@example(600 * "[")
def test_any_text_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(SettingsError) as caught:
        read_recipe(path)
    assert len(str(caught.value).splitlines()) == 1


# --set


@pytest.fixture
def smallest(tmp_path: Path) -> Path:
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump(SMALLEST), encoding="utf-8")
    return path


def test_settings_are_replaced_from_outside(smallest: Path) -> None:
    recipe = read_recipe(smallest, ["seed=9", "train.loss=listwise", "merge.t=[0.5]", "candidates.dense.path=other"])
    assert recipe.seed == 9
    assert recipe.train.loss == "listwise"
    assert recipe.merge.t == (0.5,)
    assert recipe.candidates.dense.path == Path("other")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("seed", "--set seed: expected KEY=VALUE, for instance"),
        ("name.first=demo", "--set name.first=demo: 'name' is not a section of the recipe"),
        ("merge.t=[0.5", r"--set merge\.t=\[0\.5: not YAML: while parsing a flow sequence"),
        ("seeds=3", r"unknown key 'seeds'; did you mean 'seed'\?"),
        ("seed=-3", "seed: expected a number of at least 0, got -3"),
    ],
)
def test_a_replacement_that_cannot_be_used_is_named(smallest: Path, change: str, expected: str) -> None:
    with pytest.raises(SettingsError, match=expected):
        read_recipe(smallest, [change])


def test_a_similarity_is_off_or_high_enough() -> None:
    for setting in ("corpus.near_duplicate", "queries.near_duplicate"):
        for value in (0, 0.5, 1):
            recipe_from(with_setting(setting, value), "r.yaml")
        said = complaint(with_setting(setting, 0.3))
        assert said.startswith(
            f"r.yaml: {setting}: 0.3 would call texts near-duplicates that hardly are; set 0 for off"
        )


def test_general_corpora_are_told_apart_by_their_names() -> None:
    said = complaint(with_setting("corpus.general", ["a/train.jsonl", "b/train.jsonl"]))
    assert said == (
        "r.yaml: corpus.general: a/train.jsonl and b/train.jsonl have one name, with which the ids of their documents "
        "begin; rename one"
    )


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"modle": 3}, "r.yaml: unknown key 'scores.teachers.0.judge.modle'; did you mean 'model'?"),
        (
            {"url": "http://h/v1?key=sk-1"},
            "scores.teachers.0.judge.url: expected http:// or https://, a host and a path",
        ),
        (
            {"key_variable": "sk-1"},
            "scores.teachers.0.judge.key_variable: expected the name of an environment variable",
        ),
        ({"extra": {"logprobs": None}}, "extra: 'logprobs' is set by tamis; max_tokens, temperature may be null"),
        ({"budget_money": 3}, "budget_money needs prompt_price and completion_price, of a million tokens each, or req"),
        ({"kind": "remote-encoder", "extra": {"input": []}}, "extra: 'input' is set by tamis"),
        ({"kind": "remote-reranker", "extra": {"query": "x"}}, "extra: 'query' is set by tamis; raw_scores, top_n may"),
        (
            {"kind": "remote-reranker", "batch": 0},
            "remote-reranker.batch: expected a number of at least 1, got 0",
        ),
    ],
)
def test_a_teacher_behind_a_server_that_cannot_be_asked_is_named(change: dict[str, Any], expected: str) -> None:
    teacher = {"kind": "judge", "url": "http://h/v1", "model": "m"} | change
    said = complaint(with_setting("scores.teachers", [teacher]))
    assert expected in said
    assert "sk-1" not in said or "key_variable" in said
