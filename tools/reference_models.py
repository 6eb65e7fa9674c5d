#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/data/reference: tiny random models of every family, as GGUF files, with the logits that
Hugging Face transformers computes for them in float32.

    python3 -m venv VENV && VENV/bin/pip install torch transformers numpy
    VENV/bin/python tools/reference_models.py tests/data/reference [NAME ...]

A file also holds what the judge was asked and what it said, as tensors that a model does not have:
reference.tokens {n} and reference.logits {vocabulary, n}.  Matrices are kept in f16, and the judge
computes with exactly these numbers.  It is changed in one place: keys and values are rounded to f16
before attention, as our cache keeps them.
"""
import importlib
import math
import struct
import sys

import numpy as np
import torch
import transformers

U32, F32, BOOL, STRING, ARRAY = 4, 6, 7, 8, 9


# --- the file ---

def text(s):
    b = s.encode()
    return struct.pack("<Q", len(b)) + b


def value(v):
    if isinstance(v, bool):
        return struct.pack("<IB", BOOL, v)
    if isinstance(v, int):
        return struct.pack("<II", U32, v)
    if isinstance(v, float):
        return struct.pack("<If", F32, v)
    if isinstance(v, list):
        return struct.pack("<IIQ", ARRAY, STRING, len(v)) + b"".join(map(text, v))
    return struct.pack("<I", STRING) + text(v)


# A block of q8_0.
Q8_0 = np.dtype([("d", np.float16), ("q", np.int8, 32)])


def q8_0(w):
    """Blocks whose values are those of w, or nearly: exactly, if w comes from from_q8_0."""
    x = w.reshape(*w.shape[:-1], -1, 32).astype(np.float32)
    blocks = np.zeros(x.shape[:-1], Q8_0)
    blocks["d"] = abs(x).max(-1) / 127
    blocks["q"] = np.rint(x / np.maximum(blocks["d"].astype(np.float32), 1e-30)[..., None])
    return blocks


def from_q8_0(blocks):
    x = blocks["d"].astype(np.float32)[..., None] * blocks["q"].astype(np.float32)
    return x.reshape(*blocks.shape[:-1], -1)


def write(path, keys, tensors):
    """tensors: name -> array; float16 and float32 are kept as such."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys))
    for k, v in keys.items():
        head += text(k) + value(v)
    offset = 0
    for name, t in tensors.items():
        head += text(name) + struct.pack("<I", t.ndim)
        inner = 32 if t.dtype == Q8_0 else 1
        head += b"".join(struct.pack("<Q", n) for n in (t.shape[-1] * inner, *reversed(t.shape[:-1])))
        head += struct.pack("<IQ", {np.float32: 0, np.float16: 1, np.void: 8}[t.dtype.type], offset)
        offset += (t.nbytes + 31) // 32 * 32
    head += b"\0" * (-len(head) % 32)
    with open(path, "wb") as f:
        f.write(head)
        for t in tensors.values():
            f.write(t.tobytes() + b"\0" * (-t.nbytes % 32))


# --- names: of transformers, of llama.cpp ---

ENDS = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
        "model.norm.bias": "output_norm.bias", "lm_head.weight": "output.weight"}
ATTENTION = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
             "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm",
             "self_attn.k_norm": "attn_k_norm", "self_attn.qkv_proj": "attn_qkv"}
LLAMA = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", **ATTENTION,
         "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
         "mlp.gate_up_proj": "ffn_up"}
GEMMA = {**LLAMA, "post_attention_layernorm": "post_attention_norm",
         "pre_feedforward_layernorm": "ffn_norm", "post_feedforward_layernorm": "post_ffw_norm"}
OLMO2 = {**GEMMA}
STARCODER2 = {**LLAMA, "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down"}
EXPERTS = {"mlp.gate": "ffn_gate_inp", "mlp.router": "ffn_gate_inp",
           "mlp.shared_expert_gate": "ffn_gate_inp_shexp", "mlp.shared_expert.gate_proj": "ffn_gate_shexp",
           "mlp.shared_expert.up_proj": "ffn_up_shexp", "mlp.shared_expert.down_proj": "ffn_down_shexp"}
MOE = {**LLAMA, **EXPERTS}
GPT_OSS = {**MOE, "post_attention_layernorm": "post_attention_norm"}
GPT2_ENDS = {"transformer.wte.weight": "token_embd.weight", "transformer.wpe.weight": "position_embd.weight",
             "transformer.ln_f.weight": "output_norm.weight", "transformer.ln_f.bias": "output_norm.bias"}
GPT2 = {"ln_1": "attn_norm", "ln_2": "ffn_norm", "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output",
        "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down"}


def renamed(name, ends, layer):
    if name in ends:
        return ends[name]
    _, _, rest = name.partition("layers." if "layers." in name else ".h.")
    number, _, rest = rest.partition(".")
    stem, _, kind = rest.rpartition(".")
    return f"blk.{number}.{layer[stem]}.{kind}"


def interleaved(w, heads):
    """llama.cpp rotates pairs (2i, 2i + 1) of these families, transformers (i, i + d / 2)."""
    shape = w.shape
    return w.reshape(heads, 2, shape[0] // heads // 2, -1).transpose(1, 2).reshape(shape)


def experts(name, w):
    """Tensors of an expert parameter: gate and up apart, in rows of what they multiply."""
    _, _, rest = name.partition("layers.")
    number, _, stem = rest.partition(".")
    prefix = f"blk.{number}."
    is_gpt_oss = "sinks" in experts.of
    if stem.endswith("_bias"):
        parts = {"gate_up_proj_bias": {"ffn_gate_exps.bias": w[..., ::2], "ffn_up_exps.bias": w[..., 1::2]},
                 "down_proj_bias": {"ffn_down_exps.bias": w}}
    elif is_gpt_oss:
        w = w.transpose(1, 2)
        parts = {"gate_up_proj": {"ffn_gate_exps.weight": w[:, ::2], "ffn_up_exps.weight": w[:, 1::2]},
                 "down_proj": {"ffn_down_exps.weight": w}}
    else:
        half = w.shape[1] // 2
        parts = {"gate_up_proj": {"ffn_gate_exps.weight": w[:, :half], "ffn_up_exps.weight": w[:, half:]},
                 "down_proj": {"ffn_down_exps.weight": w}}
    return {prefix + k: v for k, v in parts[stem.rpartition(".")[2]].items()}


# --- the judge ---

def randomise(model, seed, norm_middle):
    g = torch.Generator().manual_seed(seed)

    def normal(shape):
        return torch.randn(shape, generator=g)

    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() >= 2:
                is_lookup = "embed" in name or "wte" in name or "wpe" in name
                is_turned = ".c_" in name and "transformer.h." in name  # GPT-2 keeps [in][out]
                inner = p.shape[0 if is_turned else -1]
                p.copy_((normal(p.shape) * (1 if is_lookup else 1.3 / math.sqrt(inner))).half().float())
            elif "norm" in name.lower() or ".ln_" in name:
                p.copy_(normal(p.shape) * 0.2 + (norm_middle if name.endswith("weight") else 0))
            else:
                p.copy_(normal(p.shape) * 0.5)


def round_cache(model):
    """Keys and values as an f16 cache has them."""
    module = importlib.import_module(type(model).__module__)
    plain = getattr(module, "plain_attention", module.eager_attention_forward)
    module.plain_attention = plain

    def attention(m, query, key, value, *args, **kwargs):
        return plain(m, query, key.half().float(), value.half().float(), *args, **kwargs)

    module.eager_attention_forward = attention


def make(folder, name, arch, model, n, keys=None, names=(ENDS, LLAMA), permute=False, norm_middle=1.0,
         add_one=False, extra=None, context=64, quantise=False):
    c = model.config
    randomise(model, sum(map(ord, name)), norm_middle)
    if quantise:
        with torch.no_grad():
            for p in model.parameters():
                if p.dim() > 1:
                    p.copy_(torch.from_numpy(from_q8_0(q8_0(p.numpy()))))
    if c.tie_word_embeddings:
        model.tie_weights()
    round_cache(model)
    model.eval()
    tokens = torch.randint(0, c.vocab_size, (1, n), generator=torch.Generator().manual_seed(n))
    with torch.no_grad():
        logits = model(tokens, use_cache=False).logits[0].float().numpy()
    heads_kv = getattr(c, "num_key_value_heads", None) or c.num_attention_heads
    tensors = {}
    experts.of = {key.rpartition(".")[2] for key in model.state_dict()}
    for key, w in model.state_dict().items():
        if ".experts." in key:
            for to, part in experts(key, w).items():
                kind = np.float32 if to.endswith("bias") else np.float16
                tensors[to] = part.contiguous().numpy().astype(kind)
            continue
        if key.endswith(".sinks"):
            tensors[f"blk.{key.split('.')[2]}.attn_sinks.weight"] = w.numpy()
            continue
        if "shared_expert_gate" in key:
            w = w[0]
        if c.tie_word_embeddings and key == "lm_head.weight":
            continue
        to = renamed(key, *names)
        if permute and ".attn_q." in to:
            w = interleaved(w, c.num_attention_heads)
        if permute and ".attn_k." in to:
            w = interleaved(w, heads_kv)
        if names[1] is GPT2 and w.dim() == 2 and to.startswith("blk."):
            w = w.T
        if add_one and "norm" in to:
            w = w + 1
        is_matrix = w.dim() > 1 and not quantise
        tensors[to] = w.contiguous().numpy().astype(np.float16 if is_matrix else np.float32)
    if quantise:
        tensors = {k: q8_0(t) if t.ndim > 1 else t for k, t in tensors.items()}
    tensors.update(extra(model) if extra else {})
    tensors["reference.tokens"] = tokens[0].numpy().astype(np.float32)
    tensors["reference.logits"] = np.ascontiguousarray(logits)
    head = {"general.architecture": arch, "block_count": c.num_hidden_layers, "context_length": context,
            "embedding_length": c.hidden_size, "attention.head_count": c.num_attention_heads,
            "attention.head_count_kv": heads_kv, **(keys or {})}
    if hasattr(c, "intermediate_size"):
        head["feed_forward_length"] = c.intermediate_size
    if getattr(c, "head_dim", None):
        head["attention.key_length"] = head["attention.value_length"] = c.head_dim
    if hasattr(c, "rms_norm_eps"):
        head["attention.layer_norm_rms_epsilon"] = c.rms_norm_eps
    head = {k if k.startswith("general.") else f"{arch}.{k}": v for k, v in head.items()}
    write(f"{folder}/{name}.gguf", head, tensors)
    print(f"{name}: {sum(t.nbytes for t in tensors.values())} bytes, largest logit {abs(logits).max():.3f}")


# --- the models ---

SMALL = dict(vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=64, tie_word_embeddings=False,
             attn_implementation="eager", pad_token_id=0, bos_token_id=1, eos_token_id=2)
THETA = {"rope_type": "default", "rope_theta": 10000.0}


def small(kind, **changes):
    config = getattr(transformers, kind + "Config")(**{**SMALL, **changes})
    return getattr(transformers, kind + "ForCausalLM")(config)


def llama(folder, name):
    make(folder, name, "llama", small("Llama"), 30, permute=True)


def llama_biases(folder, name):
    make(folder, name, "llama", small("Llama", attention_bias=True, mlp_bias=True, head_dim=12), 20, permute=True)


def llama_linear(folder, name):
    model = small("Llama", rope_parameters={"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0})
    make(folder, name, "llama", model, 24, permute=True,
         keys={"rope.scaling.type": "linear", "rope.scaling.factor": 4.0})


def llama_yarn(folder, name):
    yarn = {"rope_type": "yarn", "factor": 4.0, "rope_theta": 10000.0, "original_max_position_embeddings": 16}
    make(folder, name, "llama", small("Llama", rope_parameters=yarn), 40, permute=True,
         keys={"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0,
               "rope.scaling.original_context_length": 16})


def llama_yarn_between(folder, name):
    """The ramp ends between pairs, and vectors are not as long as they usually are."""
    yarn = {"rope_type": "yarn", "factor": 4.0, "rope_theta": 10000.0, "original_max_position_embeddings": 32,
            "truncate": False, "attention_factor": 0.9}
    make(folder, name, "llama", small("Llama", rope_parameters=yarn, head_dim=16), 30, permute=True,
         keys={"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0, "rope.scaling.original_context_length": 32,
               "rope.scaling.yarn_truncate": False, "rope.scaling.attn_factor": 0.9 / (1 + 0.1 * math.log(4))})


def smollm3(folder, name):
    model = small("SmolLM3", num_hidden_layers=4, no_rope_layer_interval=4, rope_parameters=THETA, intermediate_size=32)
    make(folder, name, "smollm3", model, 30, permute=True)


def llama3(folder, name):
    scaled = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
              "original_max_position_embeddings": 32, "rope_theta": 500000.0}
    plain = 500000.0 ** (-np.arange(0, 16, 2) / 16)

    def factors(model):
        inverse = model.model.rotary_emb.inv_freq.numpy()
        return {"rope_freqs.weight": (plain / inverse).astype(np.float32)}

    make(folder, name, "llama", small("Llama", rope_parameters=scaled, head_dim=16), 40, permute=True,
         keys={"rope.freq_base": 500000.0}, extra=factors)


def mistral(folder, name):
    make(folder, name, "llama", small("Mistral", sliding_window=7, head_dim=8), 30, permute=True,
         keys={"attention.sliding_window": 7})


def qwen2(folder, name):
    make(folder, name, "qwen2", small("Qwen2", tie_word_embeddings=True), 30)


def qwen3(folder, name):
    make(folder, name, "qwen3", small("Qwen3", head_dim=16), 30)


def phi3(folder, name):
    make(folder, name, "phi3", small("Phi3", sliding_window=9), 30, keys={"attention.sliding_window": 9})


def phi3_long(folder, name, n=40):
    short = [1.0, 1.1, 1.3, 1.6]
    long = [1.0, 2.0, 3.5, 7.0]
    scale = math.sqrt(1 + math.log(64 / 16) / math.log(16))
    model = small("Phi3", original_max_position_embeddings=16,
                  rope_parameters={"rope_type": "longrope", "rope_theta": 10000.0, "short_factor": short,
                                   "long_factor": long, "original_max_position_embeddings": 16})
    make(folder, name, "phi3", model, n,
         keys={"rope.scaling.attn_factor": scale, "rope.scaling.original_context_length": 16},
         extra=lambda m: {"rope_factors_long.weight": np.array(long, np.float32),
                          "rope_factors_short.weight": np.array(short, np.float32)})


def phi4_mini(folder, name):
    """Only the first 6 of 8 dimensions are rotated."""
    short, long = [1.0, 1.2, 1.6], [1.0, 2.5, 6.0]
    rope = {"rope_type": "longrope", "rope_theta": 10000.0, "short_factor": short, "long_factor": long,
            "original_max_position_embeddings": 16, "partial_rotary_factor": 0.75}
    model = small("Phi3", original_max_position_embeddings=16, rope_parameters=rope, tie_word_embeddings=True)
    make(folder, name, "phi3", model, 30,
         keys={"rope.scaling.attn_factor": math.sqrt(1 + math.log(64 / 16) / math.log(16)),
               "rope.scaling.original_context_length": 16, "rope.dimension_count": 6},
         extra=lambda m: {"rope_factors_long.weight": np.array(long, np.float32),
                          "rope_factors_short.weight": np.array(short, np.float32)})


def phi3_q8_0(folder, name):
    make(folder, name, "phi3", small("Phi3", intermediate_size=64), 30, quantise=True)


def phi3_short(folder, name):
    phi3_long(folder, name, 12)


def granite(folder, name):
    model = small("Granite", embedding_multiplier=3.0, logits_scaling=4.0, residual_multiplier=0.5,
                  attention_multiplier=0.3)
    make(folder, name, "granite", model, 30, permute=True,
         keys={"embedding_scale": 3.0, "logit_scale": 4.0, "residual_scale": 0.5, "attention.scale": 0.3})


def gemma(folder, name):
    model = small("Gemma", head_dim=16, tie_word_embeddings=True, hidden_act="gelu_pytorch_tanh")
    make(folder, name, "gemma", model, 30, norm_middle=0.0, add_one=True)


def gemma2(folder, name):
    model = small("Gemma2", head_dim=8, query_pre_attn_scalar=8, sliding_window=6, attn_logit_softcapping=5.0,
                  final_logit_softcapping=30.0, tie_word_embeddings=True, num_hidden_layers=3)
    make(folder, name, "gemma2", model, 30, names=(ENDS, GEMMA), norm_middle=0.0, add_one=True,
         keys={"attention.sliding_window": 6, "attn_logit_softcapping": 5.0, "final_logit_softcapping": 30.0})


def gemma3(folder, name):
    rope = {"sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
            "full_attention": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e6}}
    config = transformers.Gemma3TextConfig(**{
        **SMALL, "head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 6, "num_hidden_layers": 7,
        "intermediate_size": 32, "tie_word_embeddings": True, "num_attention_heads": 2,
        "num_key_value_heads": 1, "rope_parameters": rope})
    model = transformers.Gemma3ForCausalLM(config)
    make(folder, name, "gemma3", model, 30, names=(ENDS, GEMMA), norm_middle=0.0, add_one=True,
         keys={"attention.sliding_window": 6, "rope.freq_base": 1e6, "rope.scaling.type": "linear",
               "rope.scaling.factor": 2.0})


def olmo2(folder, name):
    make(folder, name, "olmo2", small("Olmo2"), 30, names=(ENDS, OLMO2))


def olmo3(folder, name):
    """Layers with a window are not scaled."""
    yarn = {"rope_type": "yarn", "factor": 4.0, "rope_theta": 10000.0, "original_max_position_embeddings": 16}
    model = small("Olmo3", num_hidden_layers=5, sliding_window=6, intermediate_size=32,
                  rope_parameters={"full_attention": yarn, "sliding_attention": THETA})
    make(folder, name, "olmo2", model, 30, names=(ENDS, OLMO2),
         keys={"attention.sliding_window": 6, "rope.scaling.type": "yarn", "rope.scaling.factor": 4.0,
               "rope.scaling.original_context_length": 16})


def gpt2(folder, name):
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(
        vocab_size=64, n_embd=32, n_layer=2, n_head=4, n_positions=40, attn_implementation="eager"))
    make(folder, name, "gpt2", model, 30, names=(GPT2_ENDS, GPT2), context=40,
         keys={"feed_forward_length": 128, "attention.layer_norm_epsilon": 1e-5})


def starcoder2(folder, name):
    model = small("Starcoder2", use_bias=True, sliding_window=None, tie_word_embeddings=True)
    make(folder, name, "starcoder2", model, 30, names=(ENDS, STARCODER2),
         keys={"attention.layer_norm_epsilon": model.config.norm_epsilon})


def mixtral(folder, name):
    model = small("Mixtral", num_local_experts=4, num_experts_per_tok=2, sliding_window=None,
                  intermediate_size=32)
    make(folder, name, "llama", model, 30, names=(ENDS, MOE), permute=True,
         keys={"rope.freq_base": 1e6, "expert_count": 4, "expert_used_count": 2})


def qwen2moe(folder, name):
    model = small("Qwen2Moe", num_experts=5, num_experts_per_tok=2, moe_intermediate_size=16,
                  shared_expert_intermediate_size=24, decoder_sparse_step=1, norm_topk_prob=False)
    make(folder, name, "qwen2moe", model, 30, names=(ENDS, MOE),
         keys={"expert_count": 5, "expert_used_count": 2, "expert_feed_forward_length": 16,
               "expert_shared_feed_forward_length": 24})


def qwen3moe(folder, name):
    model = small("Qwen3Moe", num_experts=6, num_experts_per_tok=3, moe_intermediate_size=16, head_dim=8,
                  norm_topk_prob=True)
    make(folder, name, "qwen3moe", model, 30, names=(ENDS, MOE),
         keys={"expert_count": 6, "expert_used_count": 3, "expert_feed_forward_length": 16})


def qwen3moe_shares(folder, name):
    model = small("Qwen3Moe", num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16, head_dim=8,
                  norm_topk_prob=False)
    make(folder, name, "qwen3moe", model, 30, names=(ENDS, MOE),
         keys={"expert_count": 4, "expert_used_count": 2, "expert_feed_forward_length": 16,
               "expert_weights_norm": False})


def gpt_oss(folder, name):
    yarn = {"rope_type": "yarn", "factor": 4.0, "beta_fast": 32.0, "beta_slow": 1.0, "truncate": False,
            "original_max_position_embeddings": 16, "rope_theta": 10000.0}
    model = small("GptOss", num_local_experts=4, num_experts_per_tok=2, head_dim=8, sliding_window=6,
                  intermediate_size=16, rope_parameters=yarn)
    make(folder, name, "gpt-oss", model, 40, names=(ENDS, GPT_OSS),
         keys={"expert_count": 4, "expert_used_count": 2, "expert_feed_forward_length": 16,
               "attention.sliding_window": 6, "rope.scaling.type": "yarn", "rope.scaling.factor": 4.0,
               "rope.scaling.original_context_length": 16})


MODELS = [mixtral, qwen2moe, qwen3moe, qwen3moe_shares, gpt_oss, llama, llama_biases, llama_linear, llama_yarn,
          llama_yarn_between, llama3, mistral, smollm3, qwen2, qwen3, phi3, phi3_long, phi3_short, phi3_q8_0, phi4_mini,
          granite, gemma, gemma2, gemma3, olmo2, olmo3, gpt2, starcoder2]


def main():
    folder, wanted = sys.argv[1], sys.argv[2:]
    for model in MODELS:
        if not wanted or model.__name__ in wanted:
            model(folder, model.__name__)


if __name__ == "__main__":
    main()
