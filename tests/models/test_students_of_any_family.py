import copy
import itertools

import numpy as np
import pytest
import torch
from torch import nn

from tamis.errors import ModelError
from tamis.models.checkpoint import Deployment
from tamis.models.encoder import Encoder
from tamis.models.experts import is_router
from tamis.models.reranker import Reranker
from tamis.models.saving import save_student
from tamis.stages.student.settings import StudentSettings
from tamis.stages.student.start import start_student
from tests.conftest import TOPICS
from tests.families import build_causal, build_encoder, build_querit, build_yes_no, deepseek_config, lively, tokenizer
from tests.rerankers import logits

PAIRS = [(question, answer) for topics in TOPICS.values() for question, answer in topics]
PAIRS += [("what?", "(in short) yes"), ("is it; so", "a: b"), ("long " * 90, "word " * 90), ("x", "word " * 400)]
RERANKERS = ["querit", "querit-experts", "yes-no", "causal", "encoder"]
NO_LINEAGE = Deployment({}, {})


@pytest.fixture(scope="module")
def folders(tmp_path_factory, tiny_encoder):
    root = tmp_path_factory.mktemp("students")
    build = {
        "querit": lambda folder: build_querit(folder, "qwen3"),
        "querit-experts": lambda folder: build_querit(folder, "deepseek"),
        "yes-no": build_yes_no,
        "causal": build_causal,
        "encoder": lambda folder: build_encoder(folder, "xlm-roberta", tiny_encoder),
    }
    for name, make in build.items():
        (root / name).mkdir()
        make(root / name)
    return root


def student_of(folder, **wanted):
    settings = StudentSettings(**{"start": folder, "head": "own", "document_tokens": 192, **wanted})
    return start_student(settings, lambda: Encoder.load(folder), ("", ""), "float32", seed=1)


def one_step(student, rate=1e-2):
    parameters = [p for p in student.parameters() if p.requires_grad]
    queries = student.prepare_queries([query for query, _ in PAIRS[:6]])
    documents = student.prepare_documents([document for _, document in PAIRS[:6]])
    (student(queries, documents) * torch.linspace(-1, 1, 6)).sum().backward()
    torch.optim.SGD(parameters, lr=rate).step()
    for parameter in parameters:
        parameter.grad = None


@pytest.mark.parametrize("family", RERANKERS)
def test_a_student_scores_as_the_reranker_that_it_started_from(folders, family):
    reranker = Reranker(folders / family, max_tokens=128 if family == "encoder" else 256)
    student = student_of(folders / family)
    short = [pair for pair in PAIRS if not pair[0].startswith("long")]
    np.testing.assert_allclose(logits(student, short), reranker.score_pairs(short).logits, atol=2e-5)


@pytest.mark.parametrize("family", RERANKERS)
def test_a_trained_student_is_saved_as_what_it_has_become(folders, family, tmp_path):
    student = student_of(folders / family)
    before = logits(student, PAIRS[:8])
    one_step(student)
    after = logits(student, PAIRS[:8])
    assert np.abs(after - before).max() > 1e-3
    save_student(student, tmp_path / "saved", NO_LINEAGE)
    saved = Reranker(tmp_path / "saved")
    assert saved.family == ("encoder" if family == "encoder" else "causal")
    found = saved.score_pairs(PAIRS[:8]).logits
    # A causal classifier has no bias: one constant less.
    np.testing.assert_allclose(found - found[0], after - after[0], atol=2e-5)


def test_a_causal_body_gets_a_score_of_its_last_token(folders, tmp_path):
    from transformers import AutoModel

    words = tokenizer(tmp_path / "body")
    lively(AutoModel.from_config(deepseek_config(words)), seed=1).save_pretrained(tmp_path / "body")
    student = student_of(tmp_path / "body", head="stock")
    assert student.serializer.suffix == "[CLS]"
    assert np.ptp(logits(student, PAIRS[:8])) > 0.01
    save_student(student, tmp_path / "saved", NO_LINEAGE)
    np.testing.assert_allclose(
        Reranker(tmp_path / "saved").score_pairs(PAIRS[:8]).logits, logits(student, PAIRS[:8]), atol=2e-5
    )


def changed(student, before):
    return {name for name, tensor in student.model.state_dict().items() if not torch.equal(tensor, before[name])}


@pytest.mark.parametrize("routers", ["frozen", "trained"])
def test_routers_learn_only_if_asked_and_their_correction_bias_never(folders, routers):
    student = student_of(folders / "querit-experts", routers=routers)
    before = copy.deepcopy(student.model.state_dict())
    one_step(student)
    found = changed(student, before)
    assert any(name.endswith("gate.weight") for name in found) == (routers == "trained")
    assert any("experts" in name for name in found)
    assert not any("e_score_correction_bias" in name or "embed_tokens" in name for name in found)


def test_the_load_of_the_experts_is_counted(folders):
    student = student_of(folders / "querit-experts")
    (router,) = [module for module in student.body.modules() if is_router(module)]
    student.experts.read()
    logits(student, PAIRS[:4])
    (counts,) = student.experts.counts.values()
    tokens = sum(len(row.ids) for row in Reranker(folders / "querit-experts").scorer.encode(PAIRS[:4]))
    assert counts.sum() >= tokens * router.top_k  # padding is routed too
    busiest = float(counts.max() / counts.float().mean())
    assert list(student.experts.read().values()) == [pytest.approx(busiest)]
    assert student.experts.read() == {}
    assert student_of(folders / "querit").experts is None


@pytest.mark.parametrize("embeddings", ["frozen", "trained"])
def test_the_tables_of_tokens_learn_only_if_asked(folders, embeddings):
    student = student_of(folders / "encoder", embeddings=embeddings)
    before = copy.deepcopy(student.model.state_dict())
    one_step(student)
    assert any("word_embeddings" in name for name in changed(student, before)) == (embeddings == "trained")


@pytest.mark.parametrize("family", ["querit", "encoder", "querit-experts"])
def test_adapters_learn_instead_of_the_weights_and_leave_merged(folders, family, tmp_path):

    student = student_of(folders / family, lora_rank=2)
    plain = student_of(folders / family)
    np.testing.assert_allclose(logits(student, PAIRS[:8]), logits(plain, PAIRS[:8]), atol=1e-5)
    start = student.trained()
    frozen = {n: p.detach().clone() for n, p in student.model.named_parameters() if not p.requires_grad}
    for _ in range(2):  # the first step moves one factor, the second both
        one_step(student)
    assert all(torch.equal(p, frozen[n]) for n, p in student.model.named_parameters() if n in frozen)
    learnt, after = student.trained(), logits(student, PAIRS[:8])
    assert np.abs(after - logits(plain, PAIRS[:8])).max() > 1e-3
    assert start.keys() == learnt.keys()
    assert all(
        torch.linalg.matrix_rank(learnt[n] - t, atol=1e-7) <= 2
        for n, t in start.items()
        if n.endswith("base_layer.weight")
    )
    again = student_of(folders / family, lora_rank=2)
    again.load_trained(learnt)
    np.testing.assert_allclose(logits(again, PAIRS[:8]), after, atol=1e-5)
    save_student(student, tmp_path / "saved", NO_LINEAGE)
    found = Reranker(tmp_path / "saved").score_pairs(PAIRS[:8]).logits
    np.testing.assert_allclose(found - found[0], after - after[0], atol=2e-5)


def test_adapters_are_drawn_from_the_seed_alone(folders):
    def drawn():
        return {n: p for n, p in student_of(folders / "querit", lora_rank=2).named_parameters() if "lora_" in n}

    first = drawn()
    torch.randn(1)
    assert all(torch.equal(p, first[n]) for n, p in drawn().items())
    assert any(p.any() for p in first.values())


@pytest.mark.parametrize("family", ["querit", "encoder"])
def test_layers_are_left_out_evenly_and_the_last_one_stays(folders, family, tmp_path):
    whole, student = student_of(folders / family), student_of(folders / family, layers=1)
    name = "layer" if family == "encoder" else "layers"
    last = getattr(getattr(whole.body, "encoder", whole.body), name)[-1].state_dict()
    (kept,) = getattr(getattr(student.body, "encoder", student.body), name)
    assert all(torch.equal(tensor, last[key]) for key, tensor in kept.state_dict().items())
    save_student(student, tmp_path / "saved", NO_LINEAGE)
    found = Reranker(tmp_path / "saved").score_pairs(PAIRS[:8]).logits
    np.testing.assert_allclose(found - found[0], logits(student, PAIRS[:8]) - logits(student, PAIRS[:8])[0], atol=2e-5)


def test_more_layers_than_there_are_are_refused(folders):
    with pytest.raises(ModelError, match=r"student\.layers is 9, expected 1 to 2"):
        student_of(folders / "querit", layers=9)


@pytest.mark.parametrize("family", ["querit", "encoder", "querit-experts"])
def test_saving_memory_gives_the_same_gradients(folders, family):
    def gradients(saving):
        student = student_of(folders / family)
        if saving:
            student.save_memory()
        queries = student.prepare_queries([query for query, _ in PAIRS[:6]])
        documents = student.prepare_documents([document for _, document in PAIRS[:6]])
        student(queries, documents).square().sum().backward()
        return {n: p.grad for n, p in student.named_parameters() if p.grad is not None}

    plain, saving = gradients(False), gradients(True)
    assert plain.keys() == saving.keys()
    assert len(plain) > 5
    for name, gradient in plain.items():
        torch.testing.assert_close(saving[name], gradient, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family", ["querit", "yes-no"])
def test_rows_put_together_from_parts_are_those_of_the_whole_text(folders, family):
    rows = Reranker(folders / family, max_tokens={"querit": 120, "yes-no": 280}[family]).scorer.rows
    texts = [text.strip() for pair in PAIRS for text in pair if not text.startswith("long")]
    for query, document in itertools.product(texts[::3], texts[::4]):
        (expected,) = rows.rows([(query, document)])
        (head,), (tail,) = rows.query_ids([query]), rows.document_ids([document])
        found = rows.join(head, tail)
        if len(head) <= 50 or family == "yes-no":
            assert found.ids.tolist() == expected.ids.tolist()
            assert (found.cut, found.emptied) == (expected.cut, expected.emptied)
        assert len(found.ids) <= rows.serializer.max_tokens


def test_no_body_under_training_has_any_dropout(folders):
    for family in RERANKERS:
        student = student_of(folders / family).train()
        assert not any(isinstance(m, nn.Dropout) and m.p > 0 for m in student.modules()), family


@pytest.mark.parametrize("kind", ["xlm-roberta", "modernbert", "mpnet", "electra"])
def test_a_lowered_head_moves_every_score_alike_and_is_saved_so(kind, tiny_encoder, tmp_path):
    (tmp_path / "body").mkdir()
    build_encoder(tmp_path / "body", kind, tiny_encoder)
    student = student_of(tmp_path / "body")
    before = logits(student, PAIRS)
    student.lower(1.5)
    np.testing.assert_allclose(logits(student, PAIRS), before - 1.5, atol=1e-5)
    save_student(student, tmp_path / "out", NO_LINEAGE)
    saved = Reranker(tmp_path / "out", precision="float32").predict(PAIRS)
    np.testing.assert_allclose(saved, 1 / (1 + np.exp(1.5 - before)), atol=1e-5)


@pytest.mark.parametrize("family", ["querit", "causal"])
def test_a_head_without_a_bias_stays(family, folders):
    student = student_of(folders / family)
    before = logits(student, PAIRS)
    student.lower(1.5)
    np.testing.assert_array_equal(logits(student, PAIRS), before)
