"""A token passes the shared weights and as many experts as the router chooses."""

from transformers import AutoModel, Qwen3Config

from tamis.models.experts import parameter_counts
from tests.families import build_querit


def test_idle_experts_do_not_count_as_active(tmp_path):
    body = AutoModel.from_pretrained(build_querit(tmp_path / "moe", "deepseek_v3"))
    config = body.config
    active, total = parameter_counts(body)
    assert total == sum(parameter.numel() for parameter in body.parameters())
    one_expert = 3 * config.hidden_size * config.moe_intermediate_size
    layers = config.num_hidden_layers - config.first_k_dense_replace
    assert layers > 0
    assert total - active == layers * (config.n_routed_experts - config.num_experts_per_tok) * one_expert


def test_of_a_dense_body_all_are_active():
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    body = AutoModel.from_config(Qwen3Config(vocab_size=50, num_key_value_heads=1, head_dim=8, **sizes))
    active, total = parameter_counts(body)
    assert active == total == sum(parameter.numel() for parameter in body.parameters())
