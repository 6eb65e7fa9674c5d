# SPDX-License-Identifier: Apache-2.0
"""published.py - tiny random folders whose config.json has the keys of published models.

What is there and what is not is what the model's own config.json has; numbers are smaller.  Used by
judge_folders.py.
"""
import copy
import json
import os

import safetensors.torch
import torch
import transformers

import hf_folders

BASE = dict(bos_token_id=1, eos_token_id=2, hidden_size=64, initializer_range=0.02, intermediate_size=96,
            max_position_embeddings=64, num_attention_heads=4, num_hidden_layers=3, num_key_value_heads=2,
            torch_dtype="float32", use_cache=True, vocab_size=272)


def config(architecture, model_type, without=(), **keys):
    made = {**BASE, "architectures": [architecture], "model_type": model_type, **keys}
    return {k: v for k, v in made.items() if k not in without}


def llama(**keys):
    return config("LlamaForCausalLM", "llama", **{**dict(hidden_act="silu", pretraining_tp=1, rms_norm_eps=1e-5,
                                                         rope_scaling=None, tie_word_embeddings=False), **keys})


LLAMA3 = dict(attention_bias=False, attention_dropout=0.0, mlp_bias=False, rope_theta=500000.0)
LLAMA31 = dict(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16,
               rope_type="llama3")


def mistral(**keys):
    return config("MistralForCausalLM", "mistral", **{**dict(
        attention_dropout=0.0, hidden_act="silu", rms_norm_eps=1e-5, rope_theta=1000000.0, sliding_window=None,
        tie_word_embeddings=False), **keys})


def mistral_small(**text):
    """Mistral Small 3.1: the text part of a model that sees."""
    return dict(architectures=["Mistral3ForConditionalGeneration"], image_token_index=10, model_type="mistral3",
                multimodal_projector_bias=False, projector_hidden_act="gelu", spatial_merge_size=2, torch_dtype="float32",
                vision_feature_layer=-1,
                text_config={**dict(attention_dropout=0.0, head_dim=32, hidden_act="silu", hidden_size=64,
                                    initializer_range=0.02, intermediate_size=96, max_position_embeddings=64,
                                    model_type="mistral", num_attention_heads=4, num_hidden_layers=3,
                                    num_key_value_heads=2, rms_norm_eps=1e-5, rope_theta=1000000000.0,
                                    sliding_window=None, use_cache=True, vocab_size=272), **text},
                vision_config=dict(attention_dropout=0.0, head_dim=16, hidden_act="silu", hidden_size=32, image_size=28,
                                   intermediate_size=48, model_type="pixtral", num_attention_heads=2,
                                   num_channels=3, num_hidden_layers=1, patch_size=14, rope_theta=10000.0))


def qwen2(**keys):
    return config("Qwen2ForCausalLM", "qwen2", **{**dict(
        attention_dropout=0.0, hidden_act="silu", max_window_layers=2, rms_norm_eps=1e-6, rope_theta=1000000.0,
        sliding_window=8, tie_word_embeddings=False, use_sliding_window=False, vocab_size=288), **keys})


def qwen3(architecture="Qwen3ForCausalLM", model_type="qwen3", **keys):
    return config(architecture, model_type, **{**dict(
        attention_bias=False, attention_dropout=0.0, head_dim=32, hidden_act="silu", max_window_layers=3,
        rms_norm_eps=1e-6, rope_scaling=None, rope_theta=1000000, sliding_window=None, tie_word_embeddings=False,
        use_sliding_window=False), **keys})


def qwen3_moe(**keys):
    return qwen3("Qwen3MoeForCausalLM", "qwen3_moe", **{**dict(
        decoder_sparse_step=1, mlp_only_layers=[], moe_intermediate_size=24, norm_topk_prob=True, num_experts=6,
        num_experts_per_tok=3, output_router_logits=False, router_aux_loss_coef=0.001), **keys})


def qwen2_moe(**keys):
    return config("Qwen2MoeForCausalLM", "qwen2_moe", **{**dict(
        attention_dropout=0.0, decoder_sparse_step=1, hidden_act="silu", max_window_layers=2, moe_intermediate_size=24,
        norm_topk_prob=False, num_experts=6, num_experts_per_tok=3, output_router_logits=False, rms_norm_eps=1e-6,
        rope_theta=1000000.0, router_aux_loss_coef=0.001, shared_expert_intermediate_size=40, sliding_window=8,
        tie_word_embeddings=False, use_sliding_window=False), **keys})


def gemma1(**keys):
    return config("GemmaForCausalLM", "gemma", **{**dict(
        attention_bias=False, attention_dropout=0.0, head_dim=32, hidden_act="gelu", hidden_activation=None,
        pad_token_id=0, rms_norm_eps=1e-6, rope_scaling=None, rope_theta=10000.0), **keys})


def gemma2(**keys):
    return config("Gemma2ForCausalLM", "gemma2", **{**dict(
        attention_bias=False, attention_dropout=0.0, attn_logit_softcapping=50.0, cache_implementation="hybrid",
        final_logit_softcapping=30.0, head_dim=32, hidden_act="gelu_pytorch_tanh", hidden_activation="gelu_pytorch_tanh",
        pad_token_id=0, query_pre_attn_scalar=32, rms_norm_eps=1e-6, rope_theta=10000.0, sliding_window=6), **keys})


def gemma3(**keys):
    return config("Gemma3ForCausalLM", "gemma3_text", **{**dict(
        attention_bias=False, attention_dropout=0.0, attn_logit_softcapping=None, cache_implementation="hybrid",
        eos_token_id=[1, 106], final_logit_softcapping=None, head_dim=32, hidden_activation="gelu_pytorch_tanh",
        num_hidden_layers=7, pad_token_id=0, query_pre_attn_scalar=32, rms_norm_eps=1e-6, rope_local_base_freq=10000,
        rope_scaling=None, rope_theta=1000000, sliding_window=4, sliding_window_pattern=6), **keys})


VISION = dict(hidden_size=32, image_size=28, intermediate_size=48, model_type="siglip_vision_model",
              num_attention_heads=2, num_hidden_layers=1, patch_size=14, vision_use_head=False)


def gemma3_4b(**text):
    """Heads, their width, positions and vocabulary are left to what Gemma3TextConfig has by default."""
    return dict(architectures=["Gemma3ForConditionalGeneration"], boi_token_index=255999, eoi_token_index=256000,
                eos_token_id=[1, 106], image_token_index=262144, initializer_range=0.02, mm_tokens_per_image=4,
                model_type="gemma3", torch_dtype="float32", vision_config=VISION,
                text_config={**dict(hidden_size=32, intermediate_size=48, model_type="gemma3_text",
                                    num_hidden_layers=7, rope_scaling=dict(factor=8.0, rope_type="linear"),
                                    sliding_window=4, vocab_size=272), **text})


SHORT8 = [1.0, 1.05, 1.1, 1.2, 1.3, 1.4, 1.6, 1.9]
LONG8 = [1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 7.5, 11.0]


def phi3(**keys):
    return config("Phi3ForCausalLM", "phi3", **{**dict(
        attention_bias=False, attention_dropout=0.0, embd_pdrop=0.0, hidden_act="silu",
        original_max_position_embeddings=64, pad_token_id=0, resid_pdrop=0.0, rms_norm_eps=1e-5, rope_scaling=None,
        rope_theta=10000.0, sliding_window=7, tie_word_embeddings=False), **keys})


def phi3_128k(**keys):
    return phi3(**{**dict(
        original_max_position_embeddings=16, sliding_window=262144,
        rope_scaling=dict(long_factor=LONG8, short_factor=SHORT8, type="longrope")), **keys})


def smollm3(**keys):
    return config("SmolLM3ForCausalLM", "smollm3", **{**dict(
        attention_bias=False, attention_dropout=0.0, hidden_act="silu", layer_types=["full_attention"] * 5,
        max_window_layers=28, mlp_bias=False, no_rope_layer_interval=4, no_rope_layers=[1, 1, 1, 0, 1],
        num_hidden_layers=5, pad_token_id=0, pretraining_tp=2, rms_norm_eps=1e-6, rope_scaling=None,
        rope_theta=5000000.0, sliding_window=None, use_sliding_window=False), **keys})


def olmo2(**keys):
    return config("Olmo2ForCausalLM", "olmo2", **{**dict(
        attention_bias=False, attention_dropout=0.0, hidden_act="silu", pad_token_id=0, rms_norm_eps=1e-6,
        rope_scaling=None, rope_theta=500000, tie_word_embeddings=False), **keys})


def olmo3(**keys):
    return config("Olmo3ForCausalLM", "olmo3", **{**dict(
        attention_bias=False, attention_dropout=0.0, hidden_act="silu", pad_token_id=0, rms_norm_eps=1e-6,
        layer_types=["sliding_attention"] * 3 + ["full_attention"] + ["sliding_attention"],
        num_hidden_layers=5, rope_scaling=dict(attention_factor=1.2079441541679836, beta_fast=32.0, beta_slow=1.0,
                                               factor=8.0, original_max_position_embeddings=16, rope_type="yarn"),
        rope_theta=500000, sliding_window=6, tie_word_embeddings=False), **keys})


def granite(**keys):
    return config("GraniteForCausalLM", "granite", **{**dict(
        attention_bias=False, attention_dropout=0.1, attention_multiplier=0.0625, embedding_multiplier=12.0,
        hidden_act="silu", logits_scaling=8.0, mlp_bias=False, pad_token_id=0, residual_multiplier=0.22,
        rms_norm_eps=1e-5, rope_scaling=None, rope_theta=10000000.0, tie_word_embeddings=True), **keys})


def starcoder2(**keys):
    return config("Starcoder2ForCausalLM", "starcoder2", **{**dict(
        activation_function="gelu", attention_dropout=0.1, attention_softmax_in_fp32=True, embedding_dropout=0.1,
        hidden_act="gelu_pytorch_tanh", layer_norm_epsilon=1e-5, mlp_type="default", norm_epsilon=1e-5,
        norm_type="layer_norm", residual_dropout=0.1, rope_theta=999999.4420358813, scale_attention_softmax_in_fp32=True,
        scale_attn_weights=True, sliding_window=7, use_bias=True), **keys})


def gpt2(**keys):
    return {**dict(
        activation_function="gelu_new", architectures=["GPT2LMHeadModel"], attn_pdrop=0.1, bos_token_id=256,
        embd_pdrop=0.1, eos_token_id=256, initializer_range=0.02, layer_norm_epsilon=1e-05, model_type="gpt2", n_ctx=64,
        n_embd=64, n_head=4, n_layer=3, n_positions=64, resid_pdrop=0.1, summary_activation=None,
        summary_first_dropout=0.1, summary_proj_to_labels=True, summary_type="cls_index", summary_use_proj=True,
        vocab_size=272), **keys}


def mixtral(**keys):
    return config("MixtralForCausalLM", "mixtral", **{**dict(
        attention_dropout=0.0, hidden_act="silu", num_experts_per_tok=2, num_local_experts=4, output_router_logits=False,
        rms_norm_eps=1e-5, rope_theta=1000000.0, router_aux_loss_coef=0.02, sliding_window=None,
        tie_word_embeddings=False), **keys})


def gpt_oss(**keys):
    return config("GptOssForCausalLM", "gpt_oss", **{**dict(
        attention_bias=True, attention_dropout=0.0, experts_per_token=2, head_dim=32, hidden_act="silu",
        initial_context_length=16, layer_types=["sliding_attention", "full_attention"] * 2, num_experts_per_tok=2,
        num_hidden_layers=4, num_local_experts=4, output_router_logits=False, pad_token_id=0, rms_norm_eps=1e-5,
        rope_scaling=dict(beta_fast=32.0, beta_slow=1.0, factor=4.0, original_max_position_embeddings=16,
                          rope_type="yarn", truncate=False),
        rope_theta=150000, router_aux_loss_coef=0.9, sliding_window=6, swiglu_limit=7.0,
        tie_word_embeddings=False), **keys})


def as_version_5(c):
    """As transformers 5 writes it: rotation in one place, dtype."""
    c = copy.deepcopy(c)
    rope = dict(c.pop("rope_scaling", None) or {"rope_type": "default"})
    rope["rope_theta"] = c.pop("rope_theta")
    rope["rope_type"] = rope.get("rope_type") or rope.pop("type")
    if "partial_rotary_factor" in c:
        rope["partial_rotary_factor"] = c.pop("partial_rotary_factor")
    if "rope_local_base_freq" in c:
        rope = {"full_attention": rope,
                "sliding_attention": {"rope_type": "default", "rope_theta": c.pop("rope_local_base_freq")}}
        n, pattern = c["num_hidden_layers"], c.pop("sliding_window_pattern")
        c["layer_types"] = ["full_attention" if (i + 1) % pattern == 0 else "sliding_attention" for i in range(n)]
    if c["model_type"] == "olmo3":
        rope = {"full_attention": rope,
                "sliding_attention": {"rope_type": "default", "rope_theta": rope["rope_theta"]}}
    c["rope_parameters"] = rope
    c["dtype"] = c.pop("torch_dtype")
    return c


YARN = dict(factor=4.0, original_max_position_embeddings=16)

MODELS = {
    "llama-2-7b": llama(),
    "llama-3-8b": llama(**LLAMA3),
    "llama-3.1-8b": llama(**LLAMA3, rope_scaling=LLAMA31, eos_token_id=[1, 2, 3]),
    "llama-3.2-1b": llama(**LLAMA3, rope_scaling={**LLAMA31, "factor": 32.0}, head_dim=16, tie_word_embeddings=True),
    "llama-3.2-1b-v5": as_version_5(llama(**LLAMA3, rope_scaling={**LLAMA31, "factor": 32.0}, head_dim=16,
                                          tie_word_embeddings=True)),
    "falcon3-7b": llama(**{**LLAMA3, "rope_theta": 1000042}, head_dim=32),
    "deepseek-coder-6.7b": llama(rope_scaling=dict(factor=4.0, type="linear"), rope_theta=100000),
    "smollm2-135m": llama(attention_bias=False, attention_dropout=0.0, is_llama_config=True, mlp_bias=False,
                          rope_interleaved=False, rope_theta=100000, tie_word_embeddings=True),
    "yarn-llama-2-7b-64k": llama(rope_scaling=dict(YARN, type="yarn", finetuned=True)),
    "mistral-7b-v0.1": mistral(rope_theta=10000.0, sliding_window=7),
    "mistral-7b-v0.3": mistral(),
    "mistral-nemo": mistral(head_dim=32),
    "mistral-nemo-v5": as_version_5(mistral(head_dim=32)),
    "mistral-small-3.1": mistral_small(),
    "ministral-3": mistral_small(model_type="ministral3"),
    "qwen2.5-7b": qwen2(),
    "qwen2.5-0.5b": qwen2(tie_word_embeddings=True),
    "qwen2.5-7b-yarn": qwen2(rope_scaling=dict(YARN, type="yarn")),
    "yarn-attention-factor": qwen2(rope_scaling=dict(YARN, type="yarn", attention_factor=0.8)),
    "yarn-mscale": qwen2(rope_scaling=dict(YARN, type="yarn", mscale=0.7, mscale_all_dim=1.5)),
    "yarn-truncate": qwen2(rope_scaling=dict(YARN, type="yarn", truncate=False, original_max_position_embeddings=32),
                           rope_theta=10000.0),
    "yarn-betas": qwen2(rope_scaling=dict(YARN, type="yarn", beta_fast=2, beta_slow=0.3), rope_theta=10000.0),
    "qwen2.5-gelu": qwen2(hidden_act="gelu_pytorch_tanh"),
    "qwen2.5-7b-v5": as_version_5(qwen2(layer_types=["full_attention"] * 3, sliding_window=None)),
    "qwen2.5-windows": qwen2(use_sliding_window=True),
    "deepseek-r1-distill-qwen-7b": qwen2(use_mrope=False),
    "qwen3-8b": qwen3(),
    "qwen3-8b-yarn": qwen3(rope_scaling=dict(YARN, rope_type="yarn")),
    "qwen3-8b-v5": as_version_5(qwen3(layer_types=["full_attention"] * 3)),
    "qwen3-30b-a3b": qwen3_moe(),
    "qwen3-moe-mlp-only": qwen3_moe(mlp_only_layers=[1]),
    "qwen3-moe-not-normed": qwen3_moe(norm_topk_prob=False),
    "qwen1.5-moe-a2.7b": qwen2_moe(),
    "gemma-7b": gemma1(),
    "gemma-2-2b": gemma2(),
    "gemma-2-27b": gemma2(query_pre_attn_scalar=16),
    "gemma-2-no-caps": gemma2(attn_logit_softcapping=None, final_logit_softcapping=None),
    "gemma-3-1b": gemma3(),
    "gemma-3-local": gemma3(rope_local_base_freq=500, sliding_window_pattern=3, final_logit_softcapping=20.0,
                            rope_scaling=dict(rope_type="linear", factor=2.0)),
    "gemma-3-local-v5": as_version_5(gemma3(rope_local_base_freq=500, sliding_window_pattern=6,
                                            rope_scaling=dict(rope_type="linear", factor=2.0))),
    "gemma-3-1b-v5": as_version_5(gemma3()),
    "gemma-3-270m": gemma3(layer_types=["sliding_attention"] * 5 + ["full_attention", "sliding_attention"],
                           use_bidirectional_attention=False, _sliding_window_pattern=6),
    "gemma-3-4b": gemma3_4b(),
    "gemma-3-27b": gemma3_4b(num_attention_heads=4, num_key_value_heads=2, head_dim=16, query_pre_attn_scalar=8),
    "phi-3-mini-4k": phi3(),
    "phi-3-mini-128k": phi3_128k(),
    "phi-4": phi3(rope_theta=250000, sliding_window=None),
    "phi-4-mini": phi3_128k(interpolate_factor=1, lm_head_bias=False, mlp_bias=False, partial_rotary_factor=0.75,
                            tie_word_embeddings=True, rope_scaling=dict(
                                long_factor=LONG8[:6], short_factor=SHORT8[:6], type="longrope")),
    "phi-4-mini-v5": as_version_5(phi3_128k(partial_rotary_factor=0.75, tie_word_embeddings=True, rope_scaling=dict(
        long_factor=LONG8[:6], short_factor=SHORT8[:6], type="longrope"))),
    "smollm3-3b": smollm3(),
    "smollm3-3b-v5": as_version_5(smollm3()),
    "olmo-2-7b": olmo2(),
    "olmo-3-7b": olmo3(),
    "olmo-3-7b-v5": as_version_5(olmo3()),
    "granite-3.3-2b": granite(),
    "starcoder2-3b": starcoder2(),
    "gpt2": gpt2(),
    "mixtral-8x7b": mixtral(),
    "gpt-oss-20b": gpt_oss(),
    "gpt-oss-truncate": gpt_oss(rope_scaling=dict(beta_fast=32.0, beta_slow=1.0, factor=4.0, rope_type="yarn",
                                                  original_max_position_embeddings=16)),
    "gpt-oss-20b-v5": as_version_5(gpt_oss()),
}

# Those that this version cannot compute, and says so.
REFUSED = {"qwen3-moe-mlp-only", "qwen2.5-windows", "ministral-3"}


def randomise(model, seed):
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            made = torch.randn(p.shape, generator=g)
            if p.dim() < 2:
                is_norm = "norm" in name.lower() or ".ln_" in name
                from_zero = "gemma" in model.config.model_type
                made = made * 0.2 + (0 if from_zero or name.endswith("bias") else 1) if is_norm else made * 0.5
            elif not ("embed" in name or "wte" in name or "wpe" in name):
                is_turned = ".c_" in name and "transformer.h." in name  # GPT-2 keeps [in][out]
                made = made * 1.3 / p.shape[0 if is_turned else -1] ** 0.5
            p.copy_(made)


def make(folder, name):
    """The folder; its config and the size of its vocabulary."""
    made = MODELS[name]
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(made, f, indent=2)
    read = transformers.AutoConfig.from_pretrained(folder)
    model = getattr(transformers, made["architectures"][0])(read)
    randomise(model, sum(map(ord, name)))
    model.tie_weights()
    t, special = hf_folders.byte_level()
    model.save_pretrained(folder)
    transformers.PreTrainedTokenizerFast(tokenizer_object=t, **special).save_pretrained(folder)
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(made, f, indent=2)
    os.remove(os.path.join(folder, "generation_config.json"))
    return made, t.get_vocab_size()
