"""Every family against an independent reference: the authors' wrapper, sentence-transformers, plain transformers."""

import json
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, processors
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from tamis import Reranker
from tamis.errors import InputError, ModelError
from tamis.models.checkpoint import FORMAT
from tamis.models.embedder import Embedder
from tamis.models.encoder import Encoder
from tests.conftest import TOPICS
from tests.families import build_causal, build_encoder, build_querit, build_yes_no
from tests.rerankers import refused

PAIRS = [(question, answer) for topics in TOPICS.values() for question, answer in topics]
ENCODERS = ["bert", "xlm-roberta", "modernbert", "gte"]
CAUSAL = ["querit", "querit-moe", "yes-no", "causal"]
FAMILIES = [*ENCODERS, *CAUSAL]
LOGIT = torch.nn.Identity()


@pytest.fixture(scope="module")
def folders(tiny_encoder, tmp_path_factory):
    root = tmp_path_factory.mktemp("families")
    built = {kind: build_encoder(root / kind, kind, tiny_encoder) for kind in ENCODERS}
    built["querit"] = build_querit(root / "querit", "qwen3")
    built["querit-moe"] = build_querit(root / "querit-moe", "deepseek_v3")
    built["yes-no"] = build_yes_no(root / "yes-no")
    built["causal"] = build_causal(root / "causal")
    return built


@pytest.fixture(scope="module")
def rerankers(folders):
    return {kind: Reranker(folder) for kind, folder in folders.items()}


@pytest.fixture(params=FAMILIES)
def reranker(request, rerankers):
    return rerankers[request.param]


# Right


@pytest.mark.parametrize("kind", ENCODERS)
def test_encoders_score_as_in_sentence_transformers(folders, rerankers, kind):
    from sentence_transformers import CrossEncoder

    peer = CrossEncoder(str(folders[kind]))
    pairs = [*PAIRS, ("install a package", "install the package " * 100), ("clock", "")]
    np.testing.assert_allclose(rerankers[kind].predict(pairs), peer.predict(pairs), atol=1e-5)
    expected = peer.predict(pairs, activation_fn=LOGIT)
    np.testing.assert_allclose(rerankers[kind].predict(pairs, activation_fn=LOGIT), expected, atol=1e-4)
    assert np.ptp(expected) > 0.1


def test_a_causal_classifier_scores_as_in_sentence_transformers(folders, rerankers):
    from sentence_transformers import CrossEncoder

    peer = CrossEncoder(str(folders["causal"]))
    found = rerankers["causal"].predict(PAIRS, activation_fn=LOGIT)
    np.testing.assert_allclose(found, peer.predict(PAIRS, activation_fn=LOGIT), atol=1e-4)


@pytest.mark.parametrize("instruction", [None, "Find the manual page."])
def test_yes_no_scores_are_those_of_the_published_recipe(folders, rerankers, instruction):
    words = AutoTokenizer.from_pretrained(folders["yes-no"], padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(folders["yes-no"]).eval()
    prefix = words.encode(
        "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
        'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n',
        add_special_tokens=False,
    )
    suffix = words.encode("<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n", add_special_tokens=False)
    told = instruction or "Given a web search query, retrieve relevant passages that answer the query"
    texts = [f"<Instruct>: {told}\n<Query>: {query}\n<Document>: {document}" for query, document in PAIRS]
    ids = [prefix + words.encode(text, add_special_tokens=False) + suffix for text in texts]
    batch = words.pad({"input_ids": ids}, padding=True, return_tensors="pt")
    with torch.no_grad():
        last = model(**batch).logits[:, -1, :]
    both = torch.stack([last[:, words.convert_tokens_to_ids(answer)] for answer in ("no", "yes")], dim=1)
    expected = torch.log_softmax(both, dim=1)[:, 1].exp().numpy()
    np.testing.assert_allclose(rerankers["yes-no"].predict(PAIRS, prompt=instruction), expected, atol=1e-5)
    assert np.ptp(expected) > 0.01


class Pairs:
    """What mteb hands to a reranker: batches of texts, and the columns of the set they come from."""

    def __init__(self, texts, instructions=None):
        self.batches = [{"text": texts}] if instructions is None else [{"text": texts, "instruction": instructions}]
        self.dataset = type("Set", (), {"features": list(self.batches[0])})()

    def __iter__(self):
        return iter(self.batches)


def published(folder, pairs, instructions=None, **settings):
    """Scores of the authors' wrapper."""
    from mteb.models.model_implementations.querit_models import QueritWrapper

    wrapper = QueritWrapper(str(folder), batch_size=8, **settings)
    queries, documents = ([pair[i] for pair in pairs] for i in (0, 1))
    given = (Pairs(queries, instructions), Pairs(documents, instructions))
    return np.array(wrapper.predict(*given, task_metadata=None, hf_split="test", hf_subset="default"))


@pytest.mark.parametrize("kind", ["querit", "querit-moe"])
@pytest.mark.parametrize("instruction", [None, "Find the manual page."])
def test_querit_scores_are_those_of_the_authors_wrapper(folders, rerankers, kind, instruction):
    expected = published(folders[kind], PAIRS, instruction and [instruction] * len(PAIRS), max_length=256)
    np.testing.assert_allclose(rerankers[kind].predict(PAIRS, prompt=instruction), expected, atol=1e-5)
    assert np.ptp(expected) > 0.05


def test_querit_text_is_the_published_one_byte_for_byte(rerankers):
    from mteb.models.model_implementations.querit_models import QueritWrapper

    rows = rerankers["querit"].scorer.rows
    words = rows._backend
    for query, document in PAIRS:
        for instruction in (None, "Find the manual page."):
            text = QueritWrapper.format_instruction(instruction, query, document)
            ids = [*words.encode(text, add_special_tokens=False).ids, words.token_to_id("[CLS]")]
            assert rows.rows([(query, document)], instruction)[0].ids.tolist() == ids


def test_a_long_query_empties_the_document_in_the_authors_wrapper_and_not_here(folders):
    query = "install the package and print the document " * 12
    pairs = [(query, document) for _, document in PAIRS]
    theirs = published(folders["querit"], pairs, max_length=64)
    assert np.ptp(theirs) < 1e-6
    ours = Reranker(folders["querit"], max_tokens=64)
    scored = ours.score_pairs(pairs)
    assert np.ptp(scored.logits) > 0.05
    assert (scored.cut, scored.emptied) == (len(pairs), 0)


def test_bfloat16_scores_of_the_authors_wrapper_tie_where_ours_do_not(folders, tmp_path):
    # A head that says much, as a trained one does: in bfloat16 its scores saturate.
    folder = shutil.copytree(folders["querit"], tmp_path / "loud")
    for shard in folder.glob("*.safetensors"):
        tensors = load_file(shard)
        if "head.weight" in tensors:
            tensors["head.weight"] *= 40
            save_file(tensors, shard, metadata={"format": "pt"})
    theirs = published(folder, PAIRS, fp_options="bfloat16", max_length=128)
    ours = Reranker(folder, precision="bfloat16").predict(PAIRS, activation_fn=LOGIT)
    assert len(set(theirs)) < len(PAIRS)
    assert len(set(ours.tolist())) == len(PAIRS)


def test_the_authors_wrapper_loses_the_first_token_of_a_text_that_fills_it_and_we_do_not(folders):
    from mteb.models.model_implementations.querit_models import QueritWrapper

    wrapper = QueritWrapper(str(folders["querit"]), max_length=160)
    query, document = "Wo liegt es?", "das Paket " * 200
    theirs = wrapper.process_inputs([wrapper.format_instruction(None, query, document)])["input_ids"][0].tolist()
    rows = Reranker(folders["querit"], max_tokens=160).scorer.rows
    ours = rows.rows([(query, document)])[0].ids.tolist()
    assert rows._backend.decode(ours).startswith("Judge whether")
    assert not rows._backend.decode(theirs).startswith("Judge whether")
    assert len(ours) == 160
    assert theirs == ours[1:]


def test_a_document_that_ends_with_the_padding_token_is_read_to_its_end(folders):
    # transformers' classifier takes the last token that is not padding: here one before the end.
    words = AutoTokenizer.from_pretrained(folders["causal"])
    model = AutoModelForSequenceClassification.from_pretrained(folders["causal"]).eval()
    pair = ("Wo liegt es?", "Das Paket liegt dort." + words.pad_token)
    ids = torch.tensor(words([pair])["input_ids"])
    with torch.no_grad():
        stopped = model(ids, attention_mask=torch.ones_like(ids)).logits.item()
        read = model.score(model.model(ids).last_hidden_state[:, -1]).item()
    found = Reranker(folders["causal"]).predict([pair], activation_fn=LOGIT)[0]
    assert found == pytest.approx(read, abs=1e-5)
    assert abs(read - stopped) > 1e-3


@given(
    order=st.permutations(range(len(PAIRS))),
    budget=st.integers(1, 2000),
    window=st.integers(1, 25),
    long=st.integers(0, 60),
)
@settings(max_examples=8)
def test_a_pair_gets_the_same_score_alone_and_in_any_company(rerankers, order, budget, window, long):
    company = [("install", "install the package " * long)]
    for kind, reranker in rerankers.items():
        scorer = reranker.scorer
        alone = [reranker.score_pairs([PAIRS[i]]).logits[0] for i in order[:5]]
        before, scorer.token_budget = scorer.token_budget, budget
        try:
            windows = reranker.score_windows([*(PAIRS[i] for i in order), *company], window=window)
            found = np.concatenate([part.logits for part in windows])
        finally:
            scorer.token_budget = before
        np.testing.assert_allclose(found[:5], alone, atol=1e-5, err_msg=kind)


@pytest.mark.parametrize("kind", FAMILIES)
def test_bfloat16_ranks_nearly_as_float32(folders, rerankers, kind):
    whole = rerankers[kind].predict(PAIRS, activation_fn=LOGIT)
    half = Reranker(folders[kind], precision="bfloat16").predict(PAIRS, activation_fn=LOGIT)
    assert half.dtype == np.float32
    np.testing.assert_allclose(half, whole, atol=0.05 * np.ptp(whole) + 0.02)


# Rows


@pytest.mark.parametrize("kind", [*ENCODERS, "causal", "closing"])
@given(pair=st.tuples(*[st.lists(st.sampled_from(["install", "clock", "Paket", "?"]), max_size=9).map(" ".join)] * 2))
@settings(max_examples=15)
def test_joined_rows_are_the_tokenizers_own_pairs(folders, kind, pair):
    from tamis.models.rows import JoinedRows
    from tamis.models.serializer import Joined

    words = AutoTokenizer.from_pretrained(folders["causal" if kind == "closing" else kind])
    if kind == "closing":  # a tokenizer that only closes, as some causal ones do
        from tokenizers import processors

        words.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single="$A <|im_end|>", pair="$A $B <|im_end|>", special_tokens=[("<|im_end|>", words.eos_token_id)]
        )
    expected = words([pair], truncation="longest_first", max_length=12)["input_ids"][0]
    assert JoinedRows(words, Joined(max_tokens=12)).rows([pair])[0].ids.tolist() == expected


def test_the_router_stays_exact_in_bfloat16(folders):
    body = Reranker(folders["querit-moe"], precision="bfloat16").scorer.model.body
    biases = {name: b.dtype for name, b in body.named_buffers() if name.endswith("e_score_correction_bias")}
    assert set(biases.values()) == {torch.float32}
    assert body.layers[1].mlp.experts.gate_up_proj.dtype == torch.bfloat16


# What is cut


@pytest.mark.parametrize("kind", ["querit", "yes-no"])
@given(query=st.integers(1, 80), document=st.integers(0, 120), limit=st.integers(80, 200))
@settings(max_examples=30)
def test_the_document_is_cut_until_the_query_takes_half_of_the_room(rerankers, kind, query, document, limit):
    from dataclasses import replace

    from tamis.models.rows import TemplateRows

    whole = rerankers[kind].scorer.rows
    if limit - len(whole._prefix) - len(whole._suffix) < 40:
        limit += len(whole._prefix) + len(whole._suffix)
    rows = TemplateRows(
        AutoTokenizer.from_pretrained(rerankers[kind].path), replace(whole.serializer, max_tokens=limit)
    )
    asked, told = "Wo " * query, "das Paket liegt " * document
    row = rows.rows([(asked, told)], "Judge.")[0]
    full = whole.rows([(asked, told)], "Judge.")[0]
    assert len(row.ids) <= limit
    assert row.cut == (len(full.ids) > limit)
    assert row.emptied == (not told.strip())
    np.testing.assert_array_equal(row.ids[-len(whole._suffix) :], whole._suffix)
    text = rows._backend.decode(row.ids.tolist(), skip_special_tokens=False)
    if row.cut and document:
        assert "Paket"[:3] in text.replace(" ", "")
        # No token of the room is left unused, but for what a cut query makes by being joined anew.
        assert len(row.ids) >= limit - 4


def test_cut_and_emptied_documents_are_counted(reranker):
    pairs = [("install", "word " * 4000), ("install", "word"), ("install", ""), ("install", " \n")]
    scored = reranker.score_pairs(pairs)
    assert scored.cut >= 1
    assert scored.emptied == 2


def test_titles_join_their_texts_by_the_serializer(reranker):
    joint = reranker.serializer.title.format(title="Packages", text="install them")
    given = {"title": "Packages", "text": "install them"}
    found = reranker.predict([("install", given), ("install", {"text": "install them"}), ("install", "install them")])
    assert found[0] == pytest.approx(reranker.predict([("install", joint)])[0], abs=1e-5)
    assert found[1] == found[2]


def test_an_instruction_is_refused_where_there_is_no_place_for_one(rerankers):
    for kind in [*ENCODERS, "causal"]:
        with pytest.raises(InputError, match="takes no instruction"):
            rerankers[kind].predict(PAIRS[:1], prompt="Find it.")


def test_an_instruction_that_fills_the_model_is_refused(folders):
    reranker = Reranker(folders["querit"], max_tokens=64)
    with pytest.raises(InputError, match=r"the instruction has .* tokens; the model reads 64 in all"):
        reranker.predict([("install", "packages")], prompt="Judge every document with care. " * 20)


# Families


@pytest.mark.parametrize("kind", FAMILIES)
def test_the_family_is_found_from_the_files(rerankers, kind):
    expected = {"querit-moe": "querit", **dict.fromkeys(ENCODERS, "encoder")}.get(kind, kind)
    assert rerankers[kind].family == expected
    assert rerankers[kind].activation == ("tanh" if expected == "querit" else "sigmoid")


@pytest.mark.parametrize("name", ["Sigmoid", "Identity"])
def test_the_activation_that_sentence_transformers_stored_is_used(folders, tmp_path, name):
    from sentence_transformers import CrossEncoder

    peer = CrossEncoder(str(folders["bert"]), activation_fn=getattr(torch.nn, name)())
    peer.save_pretrained(str(tmp_path / "saved"))
    reranker = Reranker(tmp_path / "saved")
    assert reranker.activation == name.lower()
    np.testing.assert_allclose(reranker.predict(PAIRS), peer.predict(PAIRS), atol=1e-5)


OLD = "sbert_ce_default_activation_function"
STORED = [
    {},
    {OLD: "torch.nn.modules.linear.Identity"},
    {OLD: "torch.nn.modules.activation.Tanh"},
    {OLD: "torch.nn.modules.activation.Sigmoid"},
    {OLD: None},
    {OLD: "torch.nn.modules.linear.Identity", "sentence_transformers": {"version": "4.0.0"}},
    {OLD: "torch.nn.modules.linear.Identity", "sentence_transformers": {"activation_fn": "torch.nn.Tanh"}},
    {"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}},
]
TANH = {"model_type": "CrossEncoder", "activation_fn": "torch.nn.modules.activation.Tanh"}
CASES = [
    *((stored, True, own) for stored in STORED[:3] for own in (TANH, TANH | {"activation_fn": None})),
    *((stored, False, own) for stored in STORED for own in (None, TANH)),
    (STORED[1], True, {"activation_fn": "torch.nn.modules.activation.Tanh"}),  # of a bi-encoder
    (STORED[7], True, {"model_type": "CrossEncoder", "prompts": {}}),
]


@pytest.fixture(scope="module")
def saved_by_peer(folders, tmp_path_factory):
    from sentence_transformers import CrossEncoder

    folder = tmp_path_factory.mktemp("saved") / "bert"
    CrossEncoder(str(folders["bert"]), device="cpu").save_pretrained(str(folder))
    return folder


@pytest.mark.parametrize(("stored", "modules", "own"), CASES)
def test_an_activation_is_found_where_sentence_transformers_finds_it(saved_by_peer, tmp_path, stored, modules, own):
    from sentence_transformers import CrossEncoder

    folder = shutil.copytree(saved_by_peer, tmp_path / "copy")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | stored))
    file = folder / "config_sentence_transformers.json"
    file.unlink()
    if own is not None:
        file.write_text(json.dumps(own))
    if not modules:
        (folder / "modules.json").unlink()
    peer = CrossEncoder(str(folder), device="cpu")
    np.testing.assert_allclose(Reranker(folder).predict(PAIRS[:4]), peer.predict(PAIRS[:4]), atol=1e-5)


@pytest.mark.parametrize("named", ["torch.nn.modules.activation.ReLU", "mine.Own", 3])
def test_an_activation_of_another_kind_is_refused_by_name(folders, tmp_path, named):
    folder = shutil.copytree(folders["bert"], tmp_path / "copy")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {OLD: named}))
    assert f"activation {named!r} is not one of Sigmoid, Tanh and Identity" in refused(folder)


def test_a_serializer_in_tamis_json_takes_the_place_of_the_familys_own(folders, tmp_path):
    folder = shutil.copytree(folders["querit"], tmp_path / "copy")
    serializer = {"kind": "template", "template": "Q: {query} D: {document}", "suffix": "[CLS]", "max_tokens": 100}
    (folder / "tamis.json").write_text(json.dumps({"format": 2, "serializer": serializer}))
    rows = Reranker(folder).scorer.rows
    ids = rows._backend.encode("Q: a D: b[CLS]", add_special_tokens=False).ids
    assert rows.rows([("a", "b")])[0].ids.tolist() == ids


# Checkpoints that cannot be used


def test_a_body_without_a_head_names_the_families(folders, tmp_path):
    folder = shutil.copytree(folders["querit"], tmp_path / "copy")
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    for name in ("head.weight", "head.bias"):
        shard = index["weight_map"].pop(name)
        tensors = load_file(folder / shard)
        del tensors[name]
        save_file(tensors, folder / shard, metadata={"format": "pt"})
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    message = refused(folder)
    assert "no score head (architecture MLQwen3Model)" in message
    assert "encoder, causal, querit, yes-no, warm" in message


@pytest.mark.parametrize("read", [Reranker, Encoder.load, Embedder])
def test_a_folder_without_a_tokenizer_is_refused(folders, tmp_path, read):
    """transformers makes a tokenizer of five words up, with which each text of a BERT is as many unknown words."""
    folder = shutil.copytree(folders["bert"], tmp_path / "copy")
    for file in folder.glob("*token*"):
        file.unlink()
    with pytest.raises(
        ModelError, match=r"copy: no tokenizer \(tokenizer.json, vocab.* or .*copy the model's own into"
    ):
        read(folder)


@pytest.mark.parametrize("kind", ["bert", "xlm-roberta", "causal"])
def test_a_configuration_of_old_that_names_no_architecture_is_read_as_in_sentence_transformers(folders, tmp_path, kind):
    from sentence_transformers import CrossEncoder

    folder = shutil.copytree(folders[kind], tmp_path / "copy")
    config = json.loads((folder / "config.json").read_text())
    kept = {name: value for name, value in config.items() if name not in ("architectures", "id2label", "label2id")}
    (folder / "config.json").write_text(json.dumps(kept))
    expected = CrossEncoder(str(folder), device="cpu").predict(PAIRS, activation_fn=LOGIT)
    np.testing.assert_allclose(Reranker(folder).predict(PAIRS, activation_fn=LOGIT), expected, atol=1e-4)


@pytest.mark.parametrize("pair", ["<s>:0 $A:0 </s>:0 $B:0 </s>:0", "<s>:0 $A:0 </s>:0 $B:1 </s>:1"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_token_types_and_the_side_that_is_cut_are_the_tokenizers(folders, tmp_path, pair, side):
    from sentence_transformers import CrossEncoder

    folder = shutil.copytree(folders["bert"], tmp_path / "copy")
    words = Tokenizer.from_file(str(folder / "tokenizer.json"))
    special = {"single": "<s> $A </s>", "special_tokens": [("<s>", 0), ("</s>", 2)]}
    words.post_processor = processors.TemplateProcessing(pair=pair, **special)
    words.save(str(folder / "tokenizer.json"))
    file = folder / "tokenizer_config.json"
    changes = {"model_input_names": ["input_ids", "token_type_ids", "attention_mask"], "truncation_side": side}
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    pairs = [*PAIRS[:3], ("clock", "set the clock " * 50 + "package"), ("user " * 70 + "log", "set the clock " * 50)]
    expected = CrossEncoder(str(folder), device="cpu").predict(pairs, activation_fn=LOGIT)
    np.testing.assert_allclose(Reranker(folder).predict(pairs, activation_fn=LOGIT), expected, atol=1e-4)


def test_token_types_of_another_order_are_refused(folders, tmp_path):
    folder = shutil.copytree(folders["bert"], tmp_path / "copy")
    words = Tokenizer.from_file(str(folder / "tokenizer.json"))
    special = {"single": "<s> $A </s>", "special_tokens": [("<s>", 0), ("</s>", 2)]}
    words.post_processor = processors.TemplateProcessing(pair="<s>:1 $A:0 </s>:0 $B:1 </s>:1", **special)
    words.save(str(folder / "tokenizer.json"))
    file = folder / "tokenizer_config.json"
    changes = {"model_input_names": ["input_ids", "token_type_ids", "attention_mask"]}
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    assert "gives the tokens of a pair the types [1, 0, 0, 1, 1], expected 0 up to the second" in refused(folder)


def test_a_missing_shard_is_refused(folders, tmp_path):
    folder = shutil.copytree(folders["querit"], tmp_path / "copy")
    (folder / "model-00002-of-00002.safetensors").unlink()
    assert "model-00002-of-00002.safetensors" in refused(folder)


def test_a_head_of_another_shape_is_refused(folders, tmp_path):
    folder = shutil.copytree(folders["querit"], tmp_path / "copy")
    for shard in folder.glob("*.safetensors"):
        tensors = load_file(shard)
        if "head.weight" in tensors:
            tensors["head.weight"] = torch.randn(3, 32)
            save_file(tensors, shard, metadata={"format": "pt"})
    assert "expected [2, 32] and [2]" in refused(folder)


def test_several_labels_are_refused(folders, tmp_path):
    folder = shutil.copytree(folders["bert"], tmp_path / "copy")
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=3, ignore_mismatched_sizes=True)
    model.save_pretrained(folder)
    assert "the classification head has 3 labels, expected one" in refused(folder)


def test_a_language_model_of_another_kind_is_refused(folders, tiny_encoder, tmp_path):
    folder = shutil.copytree(folders["yes-no"], tmp_path / "copy")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny_encoder / name, folder / name)
    assert "a language model without the token 'yes'" in refused(folder)


def test_a_tokenizer_without_cls_is_refused(folders, tmp_path):
    folder = shutil.copytree(folders["querit"], tmp_path / "copy")
    text = (folder / "tokenizer.json").read_text().replace("[CLS]", "[NONE]")
    (folder / "tokenizer.json").write_text(text)
    assert "the tokenizer has no token '[CLS]'" in refused(folder)


@pytest.mark.parametrize("kind", CAUSAL)
def test_weights_that_are_not_numbers_are_refused(folders, tmp_path, kind):
    folder = shutil.copytree(folders[kind], tmp_path / "copy")
    for shard in folder.glob("*.safetensors"):
        tensors = load_file(shard)
        for name in tensors:
            if name.endswith("layers.0.input_layernorm.weight"):
                tensors[name][0] = float("nan")
        save_file(tensors, shard, metadata={"format": "pt"})
    assert "scores are not finite" in refused(folder)


def test_code_of_a_checkpoint_is_never_run_unasked(folders, tmp_path):
    folder = shutil.copytree(folders["querit"], tmp_path / "copy")
    (folder / "modeling_querit.py").write_text("raise SystemExit('ran')")
    np.testing.assert_array_equal(Reranker(folder).predict(PAIRS), Reranker(folders["querit"]).predict(PAIRS))


# A language model that may be a reranker

SAID = json.dumps({"format": FORMAT, "family": "yes-no"})


def said_of(folder, caplog):
    """Lines about what a folder is taken for."""
    caplog.clear()
    Reranker(folder)
    return [one.getMessage() for one in caplog.records if "no file says that it is a reranker" in one.getMessage()]


def test_a_language_model_that_says_nothing_of_itself_is_taken_for_a_reranker_with_one_loud_line(tmp_path, caplog):
    folder = build_yes_no(tmp_path / "plain")
    (line,) = said_of(folder, caplog)
    assert line.startswith(f"{folder}: a language model")
    assert SAID in line
    assert said_of(folder, caplog) == []  # once in a process


CARDS = {
    "tag": "---\nlibrary_name: transformers\ntags:\n- reranker\n---\n# A model\n",
    "pipeline": "---\npipeline_tag: text-ranking\n---\n",
}


@pytest.mark.parametrize("kind", [*CARDS, "tamis.json"])
def test_a_language_model_that_says_it_is_a_reranker_is_taken_for_one_without_a_word(kind, tmp_path, caplog):
    """Qwen3-Reranker's architecture is every Qwen3's; what tells them apart is the card, or a tamis.json."""
    folder = build_yes_no(tmp_path / "model")
    name, text = ("README.md", CARDS[kind]) if kind in CARDS else (kind, SAID)
    (folder / name).write_text(text)
    assert said_of(folder, caplog) == []


@pytest.mark.parametrize("card", ["---\npipeline_tag: text-generation\n---\n", "---\n: [\n---\n", "# No head\n"])
def test_a_card_of_another_kind_is_no_sign(card, tmp_path, caplog):
    folder = build_yes_no(tmp_path / "model")
    (folder / "README.md").write_text(card)
    assert len(said_of(folder, caplog)) == 1
