"""A set of ir_datasets, registered from local files, is measured as the same texts in a BEIR folder are."""

import json

import pytest

from tamis.errors import InputError
from tamis.evaluation.ir_datasets import _text
from tests.commands import tamis
from tests.conftest import TOPICS, write_beir

NAME = "tamis-local/en/test"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The BEIR folder, once ir_datasets knows its texts under `NAME` and its documents alone under their own."""
    base = tmp_path_factory.mktemp("irds")
    folder = write_beir(base / "set", languages=("en",))
    numbered = list(enumerate(TOPICS["en"]))
    docs, queries, qrels = (base / name for name in ("docs.tsv", "queries.tsv", "qrels.trec"))
    docs.write_text("".join(f"en/{n}\t{answer}\n" for n, (_, answer) in numbered), encoding="utf-8")
    queries.write_text("".join(f"q/en/{n}\t{question}\n" for n, (question, _) in numbered), encoding="utf-8")
    qrels.write_text("".join(f"q/en/{n} 0 en/{n} 1\n" for n, _ in numbered), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IR_DATASETS_HOME", str(base / "home"))  # it makes folders there when it is imported
        import ir_datasets
        from ir_datasets.datasets.base import Dataset
        from ir_datasets.formats import TrecQrels, TsvDocs, TsvQueries
        from ir_datasets.util import LocalDownload

        documents = TsvDocs(LocalDownload(docs), namespace="tamis-local", lang="en")
        asked = TsvQueries(LocalDownload(queries), namespace="tamis-local", lang="en")
        ir_datasets.registry.register("tamis-local/en", Dataset(documents))
        judged = TrecQrels(LocalDownload(qrels), {0: "not relevant", 1: "relevant"})
        ir_datasets.registry.register(NAME, Dataset(documents, asked, judged))
        yield folder


def test_its_figures_are_those_of_the_same_texts_in_a_folder(folder, warm_folder, tmp_path):
    arguments = (f"m={warm_folder}", "--on", f"irds:{NAME}", "--on", folder, "--depth", 5, "--out", tmp_path / "out")
    found = tamis("evaluate", *arguments)
    assert found.status == 0, found.err
    sets = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))["sets"]
    theirs, ours = sets["tamis-local-en-test"], sets["set"]
    assert (theirs["questions"], theirs["documents"]) == (10, 10)
    assert theirs["groups"]["language"].keys() == {"en"}
    assert theirs["figures"] == ours["figures"]
    assert theirs["figures"]["m@bm25"]["nDCG@10"] > 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tamis-local/nowhere", "ir_datasets knows no 'tamis-local/nowhere'; `ir_datasets list` shows what it knows"),
        ("tamis-local/en", "tamis-local/en has no queries; name one of its splits, as in beir/scifact/test"),
    ],
)
def test_a_name_that_it_does_not_know_and_one_without_questions(folder, tmp_path, name, message):
    found = tamis("evaluate", "--on", f"irds:{name}", "--out", tmp_path / "out")
    assert found.complaint == f"--on irds:{name}: {message}"


@pytest.mark.parametrize("places", [1, 3])
def test_texts_that_cannot_be_fetched_are_one_line(folder, tmp_path, places):
    import ir_datasets
    from ir_datasets.datasets.base import Dataset
    from ir_datasets.formats import TrecQrels, TsvDocs, TsvQueries
    from ir_datasets.util import Download, LocalDownload

    gone = Download([LocalDownload(tmp_path / f"gone{place}") for place in range(places)], tmp_path / "cache")
    name = f"tamis-local/gone{places}"
    ir_datasets.registry.register(name, Dataset(TsvDocs(gone), TsvQueries(gone), TrecQrels(gone, {1: "relevant"})))
    found = tamis("evaluate", "--on", f"irds:{name}", "--out", tmp_path / "out")
    assert found.status == 2
    assert found.complaint.startswith(f"--on irds:{name}: ir_datasets cannot read {name} (")
    assert found.complaint.endswith("); it fetches what is not in ~/.ir_datasets")


def test_of_documents_without_a_default_text_the_field_text_is_read_and_no_other_is_guessed():
    from typing import NamedTuple

    class Query(NamedTuple):  # as ir_datasets has them of BRIGHT
        query_id: str
        text: str
        gold_answer: str

    class Trial(NamedTuple):  # as it has them of clinicaltrials
        doc_id: str
        title: str
        summary: str

    assert _text("irds:x", Query("1", "Why?", "Because.")) == "Why?"
    with pytest.raises(
        InputError, match=r"--on irds:x: ir_datasets gives no text of a Trial, which has doc_id, title, su"
    ):
        _text("irds:x", Trial("1", "A trial", "Of a drug."))
