"""Which documents say the same by their words alone."""

from tamis.records import Document
from tamis.stages.lists.alike import alike_texts

TEXT = "Install a package with the package manager of the system. It fetches all dependencies that the package needs."
TEXTS = {
    "own": TEXT,
    "copy": f"{TEXT} Really.",
    "spelt": TEXT.upper(),
    "half": TEXT.split(".")[0],
    "other": "The root account may change everything on the machine. Use it with care and only where you have to.",
}
DOCUMENTS = {doc_id: Document(doc_id, text, "en") for doc_id, text in TEXTS.items()}


def test_copies_repeat_a_document_and_parts_and_others_do_not():
    found = alike_texts(["own"], DOCUMENTS).repeats("own", [*TEXTS])
    assert dict(zip(TEXTS, found.tolist(), strict=True)) == {
        "own": True,
        "copy": True,
        "spelt": True,
        "half": False,
        "other": False,
    }


def test_copies_among_the_own_documents_are_one_cluster():
    clusters = alike_texts(["own", "copy", "other"], DOCUMENTS).cluster_of
    assert clusters.get("own", "own") == clusters.get("copy", "copy")
    assert clusters.get("other", "other") == "other"
