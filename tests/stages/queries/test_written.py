"""Files of written queries, and of people's as examples of style, from the recipe to the lists."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tamis.artifacts import ItemStore, read_json, read_records
from tamis.errors import InputError, SettingsError
from tamis.formats.prompt_files import read_style
from tamis.inspection import Inspection
from tamis.pipeline.parts import open_parts
from tamis.pipeline.reading import recipe_from
from tamis.pipeline.run import run_recipe
from tamis.records import Dropped, Query, TrainingList
from tamis.stages.lists.held_out import given_and_written
from tamis.stages.queries.written import check_query_files
from tests.commands import tamis, write_recipe
from tests.conftest import TOPICS, tiny_recipe, write_beir
from tests.formats.files import write_jsonl, write_text
from tests.keys import settings_of, writers_settings
from tests.pipeline.test_estimate import counts, estimated

Content = dict[str, Any]

ROWS = [
    ("en/0", "which tool fetches dependencies"),
    ("en/0", "Which tool fetches   dependencies?"),
    ("en/1", "modprobe"),
    ("en/1", "Kernel modules live below the library folder."),
    ("en/4", "why " * 41),
    ("en/5", "Welches Skript legt einen neuen Benutzer mit Passwort an?"),
    ("en/7", TOPICS["en"][7][0]),
    ("en/copy", "how do copies get lost"),
    ("en/never", "who has ever seen this document"),
    ("de/5", "neuer Benutzer mit Heimatordner"),
]
"""Document and query: each row with a fate of its own."""

FATES = {
    "mine/2/en/0": "copy of another query",
    "mine/3/en/1": "too short",
    "mine/4/en/1": "copy of the passage",
    "mine/5/en/4": "too long",
    "mine/6/en/5": "wrong language",
    "mine/7/en/7": "kept out: same words",
    "mine/8/en/copy": "its document was left out",
    "mine/9/en/never": "unknown document",
}


@dataclass(frozen=True)
class Mined:
    """Lists of a run with a file of written queries, and the recipe without it."""

    content: Content
    plain: Content
    root: Path
    folders: dict[str, Path]

    def left_out(self) -> dict[str, str]:
        dropped = read_records(self.folders["queries"] / "dropped.parquet", Dropped)
        return {one.record_id: one.reason for one in dropped if one.record_id.startswith("mine/")}


@pytest.fixture(scope="module")
def mined(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Mined:
    base = tmp_path_factory.mktemp("mined")
    plain = tiny_recipe(write_beir(base / "corpus"), write_beir(base / "general", "g-"), tiny_encoder)
    with (base / "corpus" / "corpus.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"_id": "en/copy", "text": TOPICS["en"][3][1], "lang": "en"}) + "\n")
    plain["queries"]["keep_out"] = [str(write_jsonl(base / "kept.jsonl", {"_id": "q", "text": TOPICS["en"][7][0]}))]
    content: Content = json.loads(json.dumps(plain))
    del content["queries"]["generator"]
    lines = "".join(f"{document}\t{query}\n" for document, query in ROWS)
    content["queries"]["written"] = [str(write_text(base / "mine.tsv", f"document-id\tquery\n{lines}"))]
    return Mined(content, plain, base / "run", run_recipe(recipe_from(content, "tiny"), base / "run", "lists"))


def queries_settings(content: Content) -> Any:
    return settings_of(recipe_from(content, "tiny"), "queries")


def test_written_queries_pass_the_filters_of_written_ones_and_each_drop_has_its_reason(mined: Mined) -> None:
    queries = read_records(mined.folders["queries"] / "queries.parquet", Query)
    mine = [query for query in queries if query.generator == "mine"]
    assert mine == [
        Query("mine/1/en/0", "which tool fetches dependencies", "en", "target", "en/0", "mine"),
        Query("mine/10/de/5", "neuer Benutzer mit Heimatordner", "de", "target", "de/5", "mine"),
    ]
    assert mined.left_out() == FATES
    assert {query.generator for query in queries} == {"mine", "given"}
    counted = read_json(mined.folders["queries"] / "manifest.json")["generators"]["mine"]
    assert (counted["in"], counted["kept"], sum(counted["dropped"].values())) == (10, 2, 8)


def test_they_become_lists_that_count_as_written(mined: Mined) -> None:
    lists = read_records(mined.folders["lists"] / "lists.parquet", TrainingList)
    queries = {query.query_id: query for query in read_records(mined.folders["queries"] / "queries.parquet", Query)}
    _, written = given_and_written(lists, queries)
    assert {one.query_id.split("/")[0] for one in written} <= {"mine"}
    assert "mine" in read_json(mined.folders["lists"] / "manifest.json")["generators"]


def test_the_history_of_a_written_query_names_its_file_and_its_document(mined: Mined) -> None:
    inspection = Inspection(mined.root)
    kept = inspection.history("mine/1/en/0")
    assert kept.source
    assert (kept.source.doc_id, kept.query.generator) == ("en/0", "mine")
    assert inspection.history("mine/8/en/copy").dropped == ("queries", "its document was left out")
    shown = tamis("inspect", mined.root, "mine/1/en/0")
    assert "mine" in shown.out


def test_a_recipe_without_written_queries_keeps_its_key_and_a_changed_file_has_another(mined: Mined) -> None:
    assert queries_settings(mined.plain) == [
        writers_settings(recipe_from(mined.plain, "tiny")),
        *queries_settings(mined.plain)[1:],
    ]
    assert not any("written" in one for one in queries_settings(mined.plain))
    file = Path(mined.content["queries"]["written"][0])
    before, text = queries_settings(mined.content), file.read_text(encoding="utf-8")
    file.write_text(text + "en/2\tone more of them\n", encoding="utf-8")
    after = queries_settings(mined.content)
    file.write_text(text, encoding="utf-8")
    assert before != after
    assert queries_settings(mined.content) == before


def test_the_name_of_a_file_is_in_the_key_and_its_folder_is_not(mined: Mined, tmp_path: Path) -> None:
    text = Path(mined.content["queries"]["written"][0]).read_text(encoding="utf-8")
    moved, renamed = json.loads(json.dumps(mined.content)), json.loads(json.dumps(mined.content))
    moved["queries"]["written"] = [str(write_text(tmp_path / "mine.tsv", text))]
    renamed["queries"]["written"] = [str(write_text(tmp_path / "others.tsv", text))]
    assert queries_settings(moved) == queries_settings(mined.content)
    assert queries_settings(renamed) != queries_settings(mined.content)


def test_the_estimate_counts_the_queries_of_known_documents(mined: Mined, tmp_path: Path) -> None:
    content = json.loads(json.dumps(mined.content))
    none = {**content["queries"], "generator": [], "logs": [str(write_text(tmp_path / "log.txt", "what is this\n"))]}
    without = {key: value for key, value in none.items() if key != "written"}
    found = [
        counts(estimated({**content, "queries": queries}, tmp_path / "run", "lists"))["candidates", "queries to search"]
        for queries in (without, none)
    ]
    assert found[1][0] - found[0][0] == len(ROWS) - 2  # all but those of the documents that are not there
    rows = [("en/0", "en"), ("en/0", "de"), ("de/1", "de"), ("en/never", "en"), ("en/copy", "en"), ("de/2", "")]
    lines = "".join(f"{document}\twhat is it{n}\t{language}\n" for n, (document, language) in enumerate(rows))
    file = write_text(tmp_path / "told.tsv", f"document-id\tquery\tlanguage\n{lines}")
    content["queries"] = {**none, "written": [str(file)]}
    told = counts(estimated(content, tmp_path / "run", "lists"))["candidates", "queries to search"]
    assert told[0] - found[0][0] == 3  # nor those in another language than their document


def test_extracts_stand_beside_them_where_the_recipe_says_so(mined: Mined, tmp_path: Path) -> None:
    content = json.loads(json.dumps(mined.content))
    content["queries"]["generator"] = "extractive"
    folder = run_recipe(recipe_from(content, "tiny"), tmp_path / "run", "queries")["queries"]
    assert {"mine", "extractive", "given"} <= read_json(folder / "manifest.json")["generators"].keys()


def test_a_file_about_other_documents_is_refused_with_an_id_of_each_side(mined: Mined, tmp_path: Path) -> None:
    content = json.loads(json.dumps(mined.content))
    other = write_jsonl(tmp_path / "other.jsonl", {"doc_id": 17, "query": "what is it"}, {"doc_id": 18, "query": "why"})
    content["queries"]["written"].append(str(other))
    with pytest.raises(InputError) as error:
        run_recipe(recipe_from(content, "tiny"), tmp_path / "run", "queries")
    assert str(error.value).startswith(
        f"{other}: none of its 2 queries is about a document of corpus.target: its first document is '17', the corpus "
        "has 'en/0'; name the file of this corpus"
    )


def test_white_space_around_the_id_of_a_document_is_told(mined: Mined, tmp_path: Path) -> None:
    content = json.loads(json.dumps(mined.content))
    file = write_text(tmp_path / "other.tsv", "doc_id\tquery\nen/0\twhat is it\nen/1 \twhy is it\n")
    content["queries"]["written"] = [str(file)]
    with pytest.raises(InputError) as error:
        run_recipe(recipe_from(content, "tiny"), tmp_path / "run", "queries")
    assert str(error.value) == (
        f"{file}: query '2' names the document 'en/1 ', the corpus has 'en/1'; take the white space away"
    )


def test_a_run_from_written_queries_alone_ends_with_a_report(tmp_path: Path, corpus: Path, tiny_encoder: Path) -> None:
    content = tiny_recipe(corpus, corpus, tiny_encoder)
    del content["corpus"]["general"]
    rows = [
        {"doc_id": f"{language}/{number}", "query": " ".join(answer.split()[start : start + 3])}
        for language, topics in TOPICS.items()
        for number, (_, answer) in enumerate(topics)
        for start in (0, 3)
    ]
    content["queries"] = {"written": [str(write_jsonl(tmp_path / "asked.jsonl", *rows))]}
    outcome = tamis("run", write_recipe(content, tmp_path), "--out", tmp_path / "run")
    assert outcome.status == 0, outcome.err
    (card,) = (tmp_path / "run").glob("merge/*/model/README.md")
    assert "- asked.jsonl: queries written about the documents, outside this run" in card.read_text(encoding="utf-8")
    (page,) = (tmp_path / "run").glob("report/*/report.html")
    text = page.read_text(encoding="utf-8")
    assert "Queries written elsewhere" in text
    assert '<th scope="row">asked</th>' in text


def test_writers_are_shown_what_the_student_reads_and_the_rest_is_warned_of(recipe: Content, tmp_path: Path) -> None:
    recipe["student"] |= {"document_tokens": 8}
    read = recipe_from(recipe, "tiny")
    folders = run_recipe(read, tmp_path / "run", "queries")
    with open_parts(read, ItemStore(tmp_path / "run" / "items.sqlite")) as parts:
        parts.context.folders.update(folders)
        shown = parts.writers.documents()
        whole = {d.doc_id: d.text for d in parts.context.documents.values()}
        tokens = parts.encoders.encoder.tokenise([d.text for d in shown], "", 1000)
    assert max(map(len, tokens)) == 8
    assert all(whole[d.doc_id].startswith(d.text) for d in shown)
    longer = sum(1 for d in shown if d.text != whole[d.doc_id])
    (warning,) = read_json(folders["queries"] / "manifest.json")["warnings"]
    assert warning.startswith(f"{longer} of {len(shown)} documents (")
    assert "longer than the 8 tokens that the student reads" in warning


# Examples of style


@pytest.fixture
def styled(recipe: Content, tmp_path: Path) -> Content:
    """A recipe whose writer is shown examples of style."""
    like = write_text(tmp_path / "like.txt", "".join(f"people ask thing{i}\n" for i in range(10)))
    recipe["queries"] |= {
        "generator": "endpoint",
        "endpoint": {"url": "http://h/v1", "model": "m"},
        "prompt": {"like": str(like)},
    }
    return recipe


def test_examples_of_style_count_by_their_content_and_none_are_as_if_there_were_no_such_setting(
    styled: Content, tmp_path: Path
) -> None:
    like = Path(styled["queries"]["prompt"]["like"])
    first = queries_settings(styled)
    like.rename(tmp_path / "moved.txt")
    styled["queries"]["prompt"]["like"] = str(tmp_path / "moved.txt")
    assert queries_settings(styled) == first
    with (tmp_path / "moved.txt").open("a", encoding="utf-8") as file:
        file.write("and one more\n")
    assert queries_settings(styled) != first
    styled["queries"]["prompt"] = {}
    assert "like" not in json.dumps(queries_settings(styled))


def test_what_is_kept_out_to_judge_by_may_not_be_the_style(styled: Content, tmp_path: Path) -> None:
    judged = write_jsonl(tmp_path / "judged.jsonl", {"_id": "q7", "text": "People ask: thing3!"})
    styled["queries"]["keep_out"] = [str(judged)]
    with pytest.raises(
        SettingsError,
        match=r"like\.txt holds 'people ask thing3', which is query judged\.jsonl:q7 of queries\.keep_out; what is",
    ):
        run_recipe(recipe_from(styled, "tiny"), tmp_path / "run", "queries")
    assert not (tmp_path / "run").exists()


LIKE = [f"people ask thing{number}" for number in range(10)]
FORMS = {
    "a query a line": "".join(f"{query}\n" for query in LIKE),
    "ids and queries": "".join(f"u{number}\t{query}\n" for number, query in enumerate(LIKE)),
    "a header": "qid\tquery\tlang\n" + "".join(f"u{number}\t{query}\ten\n" for number, query in enumerate(LIKE)),
    "JSON": "".join(json.dumps({"_id": f"u{number}", "text": query}) + "\n" for number, query in enumerate(LIKE)),
}


@pytest.mark.parametrize("name", ["like.txt", "like.tsv", "like.jsonl", "like"])
@pytest.mark.parametrize("form", FORMS)
def test_the_queries_of_a_style_are_read_in_every_form_and_none_gets_by(
    styled: Content, tmp_path: Path, form: str, name: str
) -> None:
    like = write_text(tmp_path / name, FORMS[form])
    styled["queries"]["prompt"]["like"] = str(like)
    assert read_style(like) == tuple(LIKE)
    styled["queries"]["keep_out"] = [str(write_jsonl(tmp_path / "judged.jsonl", {"_id": "q7", "text": "ask: thing3!"}))]
    check_query_files(recipe_from(styled, "tiny").queries)
    judged = write_jsonl(tmp_path / "judged.jsonl", {"_id": "q7", "text": "People ask: thing3!"})
    styled["queries"]["keep_out"] = [str(judged)]
    with pytest.raises(SettingsError, match=r"holds 'people ask thing3', which is query judged\.jsonl:q7 of queries\."):
        check_query_files(recipe_from(styled, "tiny").queries)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (FORMS["a query a line"] + "why " * 51, r'line 11: "why why .* has 203 characters, expected 1 to 200 of some'),
        (FORMS["JSON"] + '{"_id": "x", "text": " "}', r'line 11: " " has 0 characters|line 11: "" has 0 characters'),
        (FORMS["JSON"] + '{"_id": "x"}', r"line 11: no text; expected a field text, query or question"),
        (FORMS["JSON"] + "people ask", r"line 11: got 'people ask', expected a JSON object"),
        (FORMS["ids and queries"] + "people ask", r"line 11: got 1 cells .*, expected id and query between a tab"),
        (FORMS["a query a line"] + "u1\tpeople", r"line 11: got .* with a tab, the first line has none; expected a q"),
    ],
)
def test_an_example_of_style_that_is_none_is_named_by_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=rf"like\.txt, {message}"):
        read_style(write_text(tmp_path / "like.txt", text))


def test_too_few_examples_of_style_are_named_before_anything_is_done(styled: Content, tmp_path: Path) -> None:
    styled["queries"]["prompt"]["like"] = str(write_text(tmp_path / "few.txt", "one\ntwo\n"))
    outcome = tamis("run", write_recipe(styled, tmp_path), "--out", tmp_path / "run", "--until", "queries")
    assert outcome.status == 2
    assert outcome.complaint.startswith(f"queries.prompt.like: {tmp_path / 'few.txt'} holds 2 different queries, expec")
    assert not (tmp_path / "run").exists()


def test_examples_of_style_that_are_not_there_are_named_by_their_setting(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"queries\.prompt\.like: .*none\.txt: no such file; expected 8 to 50 queries"):
        read_style(tmp_path / "none.txt")
