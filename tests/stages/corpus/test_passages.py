"""Long documents in passages: nothing is lost or too long; who is cut, and what passages are to later stages."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.artifacts import ItemStore, read_json, read_records
from tamis.errors import SettingsError
from tamis.formats.written_queries import WrittenQuery
from tamis.models.read_part import Reading, ReadPart
from tamis.pipeline.parts import open_parts
from tamis.pipeline.reading import recipe_from
from tamis.pipeline.run import run_recipe
from tamis.records import Document, Dropped, Query
from tamis.stages.corpus.passages import Cutter, headings_of
from tamis.stages.corpus.settings import PassageSettings
from tamis.stages.lists.alike import alike_documents, alike_texts
from tamis.stages.queries.passages import about_passages, passages_by_document
from tests.commands import tamis, write_recipe
from tests.conftest import TOPICS
from tests.formats.files import write_jsonl, write_text

TOKENS = 48
SENTENCES = {
    "en": "The package manager fetches what it needs. ",
    "zh": "软件包管理器会取得它所需要的一切。",
    "ja": "パッケージ管理は必要なものを取得します。",
    "th": "ตัวจัดการแพ็กเกจจะดึงสิ่งที่จำเป็น ",
    "ar": "يجلب مدير الحزم كل ما يحتاجه؟ ",
    "hi": "पैकेज प्रबंधक जो चाहिए वह लाता है। ",
}


@pytest.fixture(scope="module")
def reading(tiny_encoder: Path) -> Reading:
    return Reading(tiny_encoder, "passage: ", TOKENS)


def cut(reading: Reading, text: str, title: str = "", **settings: Any) -> list[Document]:
    cutter = Cutter(reading, PassageSettings(**settings))
    found = list(cutter.cut(Document("a.md", text, "en", title=title, path="a.md")))
    return [one for one in found if isinstance(one, Document)]


LINES = st.lists(
    st.one_of(
        st.sampled_from(["# One", "## Two words", "### Three", "```", "", "- item", "| a | b |"]),
        st.tuples(st.sampled_from(list(SENTENCES.values())), st.integers(1, 9)).map(lambda two: two[0] * two[1]),
        st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"]), max_size=60),
    ),
    min_size=8,
    max_size=20,
)


@settings(max_examples=20)
@given(LINES, st.sampled_from([0, 12]), st.sampled_from(["auto", "headings", "sentences"]), st.booleans())
def test_passages_hold_every_word_in_order_and_are_short(
    reading: Reading, lines: list[str], overlap: int, by: str, titled: bool
) -> None:
    text = ("A title\n" if titled else "") + "\n".join(lines)
    passages = cut(reading, text, "A title" if titled else "", overlap=overlap, by=by)
    if [one.doc_id for one in passages] == ["a.md"]:
        return
    count = ReadPart(reading).count
    covered = np.zeros(len(text), dtype=bool)
    for passage in passages:
        assert count(passage.text) <= TOKENS
        assert passage.text.endswith(text[passage.start : passage.end])
        covered[passage.start : passage.end] = True
    assert not any(character.isalnum() for character, held in zip(text, covered, strict=True) if not held)
    assert sorted(one.start for one in passages) == [one.start for one in passages]


@pytest.mark.parametrize("language", SENTENCES)
def test_passages_end_where_sentences_end(reading: Reading, language: str) -> None:
    passages = cut(reading, SENTENCES[language] * 60)
    assert len(passages) > 1
    assert all(one.text.endswith(SENTENCES[language].strip()) for one in passages)
    assert all(one.text.startswith(SENTENCES[language][:5]) for one in passages)


def test_a_sentence_that_is_too_long_is_cut_between_words(reading: Reading) -> None:
    words = [f"wort{number}" for number in range(60)]
    passages = cut(reading, " ".join(words))
    assert [word for one in passages for word in one.text.split()] == words


def test_passages_carry_title_and_headings(reading: Reading) -> None:
    long = SENTENCES["en"] * 6
    text = f"# Manual\nOf all.\n## Printing\n{long}\n### Paper\n{long}\n```\n# no heading\n```\n## Faxing\n{long}"
    passages = cut(reading, text, "Manual")
    assert [one.doc_id for one in passages] == [f"a.md#{number}" for number in range(1, len(passages) + 1)]
    assert {one.document for one in passages} == {"a.md"}
    for one in passages:
        assert one.text.startswith(("Manual\n", "# Manual\n"))
        # By hand: the last heading of each level before the passage, as far as no higher one came since.
        before = text[: one.start]
        section = max(("Printing", "Faxing"), key=lambda name: before.rfind(f"## {name}\n"))
        inner = text[one.start :].startswith("## ")
        assert one.headings[:1] == (("Manual",) if one.start else ())
        if one.start and not inner and f"## {section}\n" in before:
            assert one.headings[1] == section
            assert section in one.text.split("\n")[1]
    assert any(one.headings == ("Manual", "Printing", "Paper") for one in passages)
    assert [heading.words for heading in headings_of(text)] == ["Manual", "Printing", "Paper", "Faxing"]


def test_what_fits_stays_as_it_is_and_bad_settings_are_refused(reading: Reading) -> None:
    short = Document("a", "Short.", "en")
    assert list(Cutter(reading, PassageSettings()).cut(short)) == [short]
    assert Cutter(reading, PassageSettings()).tokens == TOKENS
    with pytest.raises(SettingsError, match=r"corpus.passages: 8 tokens leave room for \d+ tokens of text"):
        Cutter(Reading(reading.start, "", 8), PassageSettings())
    with pytest.raises(ValueError, match="overlap 90 is more than half of tokens 160"):
        PassageSettings(overlap=90)


@pytest.mark.parametrize(
    ("given", "by"), [(True, "headings"), ("on", "headings"), (False, "off"), ("off", "off"), ("auto", "auto")]
)
def test_one_word_stands_for_all_settings(given: object, by: str) -> None:
    assert PassageSettings.model_validate(given) == PassageSettings.model_validate({"by": given})
    assert PassageSettings.model_validate(given).by == by


# Which corpora are cut


@pytest.fixture
def content(recipe: dict[str, Any]) -> dict[str, Any]:
    """A recipe without judged questions, whose student reads little."""
    del recipe["evaluate"]
    recipe["student"] |= {"document_tokens": 48}
    return recipe


def run_corpus(content: dict[str, Any], target: Path, run: Path, **settings: Any) -> Path:
    corpus = content["corpus"] | {"target": str(target)} | settings
    return run_recipe(recipe_from({**content, "corpus": corpus}, "tiny"), run, until="corpus")["corpus"]


def facts_of(content: dict[str, Any], target: Path, items: Path, **settings: Any) -> Any:
    corpus = content["corpus"] | {"target": str(target)} | settings
    with open_parts(recipe_from({**content, "corpus": corpus}, "tiny"), ItemStore(items)) as parts:
        return parts.corpus.key()


def test_a_beir_folder_keeps_its_bytes_and_key(content: dict[str, Any], tmp_path: Path) -> None:
    with (tmp_path / "corpus/corpus.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"_id": "long", "text": SENTENCES["en"] * 40}) + "\n")
    default = run_corpus(content, tmp_path / "corpus", tmp_path / "one")
    off = run_corpus(content, tmp_path / "corpus", tmp_path / "two", passages="off")
    assert default.name == off.name
    assert (default / "corpus.parquet").read_bytes() == (off / "corpus.parquet").read_bytes()
    assert "passages" not in facts_of(content, tmp_path / "corpus", tmp_path / "items")[0]
    cut = run_corpus(content, tmp_path / "corpus", tmp_path / "three", passages=True)
    assert cut.name != off.name
    assert any(one.document == "long" for one in read_records(cut / "corpus.parquet", Document))


def test_rows_are_cut_where_most_are_longer_than_the_student_reads(content: dict[str, Any], tmp_path: Path) -> None:
    long = [{"id": f"l{number}", "text": f"{number} " + SENTENCES["en"] * 12} for number in range(3)]
    short = [{"id": f"s{number}", "text": f"Short one, number {number}."} for number in range(3)]
    few = write_jsonl(tmp_path / "few.jsonl", *long[:2], *short)
    many = write_jsonl(tmp_path / "many.jsonl", *long, *short[:2])
    content["corpus"]["general"] = []
    kept = read_records(run_corpus(content, few, tmp_path / "one") / "corpus.parquet", Document)
    assert [one.document for one in kept] == [""] * 5
    kept = read_records(run_corpus(content, many, tmp_path / "two") / "corpus.parquet", Document)
    assert {one.document for one in kept} == {"l0", "l1", "l2", ""}


def test_folders_are_cut_and_everybody_is_told(content: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "manual"
    answers = [answer for _, answer in TOPICS["en"]]
    write_text(folder / "a.md", "# All\n" + "\n\n".join(answers))
    write_text(folder / "b.txt", answers[0])
    content["corpus"] = {"target": str(folder)}
    said = tamis("run", write_recipe(content, tmp_path), "--until", "corpus", "--out", tmp_path / "run")
    assert said.status == 0, said.err
    (stage,) = (tmp_path / "run/corpus").iterdir()
    kept = read_records(stage / "corpus.parquet", Document)
    assert read_json(stage / "manifest.json")["passages"] == {"kept": len(kept), "documents": 2, "cut": 1}
    told = f"2 files: 2 read, {len(kept)} passages of 2 documents, 1 cut"
    assert told in said.err
    assert told in " ".join(tamis("inspect", tmp_path / "run").out.split())
    first = facts_of(content, folder, tmp_path / "items")
    assert facts_of(content, folder, tmp_path / "items", passages={"tokens": 40}) != first
    content["student"] |= {"document_tokens": 64}
    assert facts_of(content, folder, tmp_path / "items") != first
    # A passage that says what another one says is dropped, and near_duplicate sees passages.
    write_text(folder / "c.md", "# All\n" + "\n\n".join(answers) + "\n\nOne more line at its end.")
    near = run_corpus(content, folder, tmp_path / "near", near_duplicate=0.8)
    dropped = read_records(near / "dropped.parquet", Dropped)
    assert {one.reason for one in dropped} <= {"duplicate text", "near-duplicate"}
    assert any(one.record_id.startswith("c.md#") and one.overlaps.startswith("a.md#") for one in dropped)


# What passages are to later stages


def passages_of(texts: Sequence[str], document: str = "a") -> Iterator[Document]:
    for number, text in enumerate(texts, 1):
        yield Document(f"{document}#{number}", text, "en", document=document)


def test_passages_of_one_document_never_teach_against_each_other() -> None:
    documents = {one.doc_id: one for one in passages_of(["How to print.", "Where to send a fax.", "Who pays."])}
    documents |= {"b": Document("b", "What nobody asks.", "en"), "c": Document("c", "What else there is.", "en")}
    ids = [*documents]
    vectors = dict(zip(ids, np.eye(len(ids), dtype=np.float32), strict=True))
    for alike in (alike_documents(["a#1", "b"], documents, vectors), alike_texts(["a#1", "b"], documents)):
        assert alike.repeats("a#1", ids).tolist() == [True, True, True, False, False]
        assert alike.repeats("b", ["a#1", "c"]).tolist() == [False, False]


def test_a_query_about_a_document_is_about_the_passage_that_shares_its_words() -> None:
    documents = {
        one.doc_id: one for one in passages_of(["Manual: print a page", "Manual: send a fax", "Manual: a bill"])
    }
    documents["b"] = Document("b", "Another fax", "en")
    asked = {
        ("a", "how do I send a fax"): "a#2",
        ("a", "Fax!"): "a#2",
        ("a", "a manual"): "a",  # of no one passage
        ("a", "combien cela coûte"): "a",
        ("a#3", "fax"): "a#3",
        ("b", "bill"): "b",
    }
    rows = [WrittenQuery(str(number), doc_id, text, "", "") for number, (doc_id, text) in enumerate(asked)]
    found = about_passages(rows, passages_by_document(documents))
    assert [one.document_id for one in found] == [*asked.values()]


def test_written_queries_find_their_passages_or_are_counted(content: dict[str, Any], tmp_path: Path) -> None:
    answers = [answer for _, answer in TOPICS["en"]]
    folder = tmp_path / "manual"
    write_text(folder / "a.md", "# All\n" + "\n\n".join(answers))
    rows = [{"doc_id": "a.md", "query": " ".join(answer.split()[:5])} for answer in answers]
    rows.append({"doc_id": "a.md", "query": "xyzzy qwerty uiop"})
    content["queries"] = {"written": [str(write_jsonl(tmp_path / "asked.jsonl", *rows))]}
    content["corpus"] = {"target": str(folder), "languages": ["en"]}
    folders = run_recipe(recipe_from(content, "tiny"), tmp_path / "run", until="queries")
    ids = {one.doc_id: one for one in read_records(folders["corpus"] / "corpus.parquet", Document)}
    for query in read_records(folders["queries"] / "queries.parquet", Query):
        assert query.text in " ".join(ids[query.document_id].text.split())
    counts = read_json(folders["queries"] / "manifest.json")["counts"]
    assert counts["dropped"]["about no one passage of its document"] == 1
    assert counts["in"] == len(rows)
