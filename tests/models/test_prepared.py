import pytest
import torch

from tamis.models import prepared as module
from tamis.models.prepared import Prepared
from tests.conftest import TOPICS
from tests.rerankers import new_stock, new_warm

DOCUMENTS = {f"{lang}/{n}": answer for lang, topics in TOPICS.items() for n, (_, answer) in enumerate(topics)}


@pytest.fixture(params=[new_warm, new_stock])
def student(request, encoder):
    return request.param(encoder)


def refuse(*_):
    raise AssertionError("a text is prepared again")


def test_files_hold_what_memory_holds_and_no_text_is_prepared_twice(student, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 7)
    expected = Prepared(student).documents(list(DOCUMENTS), DOCUMENTS)
    found = Prepared(student, tmp_path, "one").documents(list(DOCUMENTS), DOCUMENTS)
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
    assert len(list(tmp_path.glob("*.safetensors"))) == -(-len(DOCUMENTS) // 7)
    again = Prepared(student, tmp_path, "one")
    monkeypatch.setattr(student, "prepare_documents", refuse)
    told = []
    read = again.documents(list(DOCUMENTS)[::-1] * 2, DOCUMENTS, told.append)
    assert all(torch.equal(a, b) for a, b in zip(expected[::-1] * 2, read, strict=True))
    assert sum(told) == len(DOCUMENTS)
    with pytest.raises(AssertionError, match="prepared again"):
        Prepared(student, tmp_path, "another").documents(list(DOCUMENTS), DOCUMENTS)


def test_a_kill_loses_one_block(student, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 7)
    real, calls = student.prepare_documents, []

    def killed(texts, progress=None):
        calls.append(texts)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(texts, progress)

    monkeypatch.setattr(student, "prepare_documents", killed)
    with pytest.raises(KeyboardInterrupt):
        Prepared(student, tmp_path, "one").documents(list(DOCUMENTS), DOCUMENTS)
    Prepared(student, tmp_path, "one").documents(list(DOCUMENTS), DOCUMENTS)
    assert len(calls) == 1 + -(-len(DOCUMENTS) // 7)
    assert calls[2] == calls[3]
