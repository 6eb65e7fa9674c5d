#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/data/encoders: tiny random encoders of every family and with every kind of head, as GGUF
files, with the vectors and scores that Hugging Face transformers computes for them in float32.

    VENV/bin/python tools/reference_encoders.py tests/data/encoders [NAME ...]

VENV as for reference_models.py.  A file also holds, as tensors that a model does not have, what the judge
was asked and what it said: reference.tokens {n}; reference.second {1}, where the second text of a pair
begins; reference.vector {width}; and, where there is a head, reference.scores {labels, rows}.
"""
import sys

import numpy as np
import torch
import transformers

import reference_models
from reference_models import from_q8_0, q8_0, randomise, round_cache, write

MEAN, CLS, LAST, RANK = 1, 2, 3, 4

BERT = {"embeddings.word_embeddings": "token_embd", "embeddings.position_embeddings": "position_embd",
        "embeddings.token_type_embeddings": "token_types", "embeddings.LayerNorm": "token_embd_norm"}
BERT_LAYER = {"attention.self.query": "attn_q", "attention.self.key": "attn_k", "attention.self.value": "attn_v",
              "attention.output.dense": "attn_output", "attention.output.LayerNorm": "attn_output_norm",
              "intermediate.dense": "ffn_up", "output.dense": "ffn_down", "output.LayerNorm": "layer_output_norm"}
NOMIC = {"embeddings.word_embeddings": "token_embd", "embeddings.token_type_embeddings": "token_types",
         "embeddings.LayerNorm": "token_embd_norm"}
NOMIC_LAYER = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
               "self_attn.o_proj": "attn_output", "post_attention_layernorm": "attn_output_norm",
               "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
               "post_mlp_layernorm": "layer_output_norm"}
MODERN = {"embeddings.tok_embeddings": "token_embd", "embeddings.norm": "token_embd_norm", "final_norm": "output_norm",
          "head.dense": "cls", "head.norm": "cls.norm", "classifier": "cls.output"}
MODERN_LAYER = {"attn_norm": "attn_norm", "attn.Wqkv": "attn_qkv", "attn.Wo": "attn_output", "mlp_norm": "ffn_norm",
                "mlp.Wi": "ffn_up", "mlp.Wo": "ffn_down"}
DISTILBERT_LAYER = {"attention.q_lin": "attn_q", "attention.k_lin": "attn_k", "attention.v_lin": "attn_v",
                    "attention.out_lin": "attn_output", "sa_layer_norm": "attn_output_norm", "ffn.lin1": "ffn_up",
                    "ffn.lin2": "ffn_down", "output_layer_norm": "layer_output_norm"}
HEADS = {"pooler.dense": "cls", "pre_classifier": "cls", "classifier.dense": "cls", "classifier.out_proj": "cls.output", "classifier": "cls.output"}


def renamed(key, names, layer):
    """llama.cpp's name of a parameter; None: it is of no use."""
    for prefix in ("bert.", "distilbert.", "roberta.", "model."):
        key = key.removeprefix(prefix)
    stem, _, kind = key.rpartition(".")
    parts = stem.split(".")
    if "layer" in parts or "layers" in parts:
        at = parts.index("layer" if "layer" in parts else "layers")
        return f"blk.{parts[at + 1]}.{layer['.'.join(parts[at + 2:])]}.{kind}"
    to = names.get(stem)
    return to and f"{to}.{kind}"


DECODER = {"embed_tokens": "token_embd", "norm": "output_norm"}


def pooled(hidden, pooling):
    """The vector of a text; that of a model with labels is what these look at."""
    return hidden.mean(0) if pooling == MEAN else hidden[-1 if pooling == LAST else 0]


def ask(model, tokens, second):
    """What the judge says: vectors of all tokens, and scores where it has any."""
    more = {}
    if second < tokens.shape[1] and model.config.type_vocab_size > 1:
        more["token_type_ids"] = (torch.arange(tokens.shape[1]) >= second).long()[None]
    with torch.no_grad():
        out = model(tokens, output_hidden_states=True, **more)
    hidden = out.last_hidden_state if "last_hidden_state" in out else out.hidden_states[-1]
    scores = out.logits if "logits" in out else None
    return hidden[0].numpy(), None if scores is None else scores.reshape(-1, scores.shape[-1]).numpy()


def make(folder, name, arch, model, names, layer, n=70, second=None, pooling=MEAN, keys=None, cut=0, quantise=False):
    """pooling: of the vector that is compared; cut: rows in front of the table of positions."""
    c = model.config
    randomise(model, sum(map(ord, name)), 1.0)
    if quantise:
        with torch.no_grad():
            for p in model.parameters():
                if p.dim() > 1:
                    p.copy_(torch.from_numpy(from_q8_0(q8_0(p.numpy()))))
    model.eval()
    tokens = torch.randint(3, c.vocab_size, (1, n), generator=torch.Generator().manual_seed(n))
    second = n if second is None else second
    hidden, scores = ask(model, tokens, second)
    tensors = {}
    for key, w in model.state_dict().items():
        to = renamed(key, names, layer)
        if not to or key.endswith("position_ids"):
            continue
        if to == "position_embd.weight":
            w = w[cut:]
        is_table = to in ("position_embd.weight", "token_types.weight")
        w = w.contiguous().numpy()
        if w.ndim < 2 or is_table:
            tensors[to] = w.astype(np.float32)
        else:
            tensors[to] = q8_0(w) if quantise else w.astype(np.float16)
    vector = pooled(hidden, MEAN if getattr(c, "classifier_pooling", "") == "mean" else pooling)
    tensors["reference.tokens"] = tokens[0].numpy().astype(np.float32)
    tensors["reference.second"] = np.array([second], np.float32)
    tensors["reference.vector"] = np.ascontiguousarray(vector)
    if scores is not None:
        tensors["reference.scores"] = np.ascontiguousarray(scores)
    head = {"general.architecture": arch, "block_count": c.num_hidden_layers,
            "context_length": c.max_position_embeddings - cut, "embedding_length": c.hidden_size,
            "feed_forward_length": getattr(c, "intermediate_size", None) or c.hidden_dim, "attention.head_count": c.num_attention_heads,
            "pooling_type": pooling, **(keys or {})}
    if names is not DECODER:
        head["attention.causal"] = False
        head["attention.layer_norm_epsilon"] = getattr(c, "layer_norm_eps", None) or getattr(c, "norm_eps", 1e-12)
    head = {k if k.startswith("general.") else f"{arch}.{k}": v for k, v in head.items()}
    write(f"{folder}/{name}.gguf", head, tensors)
    print(f"{name}: {sum(t.nbytes for t in tensors.values())} bytes, largest number of the vector {abs(vector).max():.3f}"
          + ("" if scores is None else f", largest score {abs(scores).max():.3f}"))


# --- the models ---

SMALL = dict(vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
             max_position_embeddings=80, attn_implementation="eager", pad_token_id=0)


def bert(kind, **changes):
    return getattr(transformers, "Bert" + kind)(transformers.BertConfig(**{**SMALL, **changes}))


def bert_mean(folder, name):
    make(folder, name, "bert", bert("Model"), BERT, BERT_LAYER)


def bert_first(folder, name):
    make(folder, name, "bert", bert("Model", hidden_size=36, num_attention_heads=3), BERT, BERT_LAYER, pooling=CLS, n=33)


def bert_q8_0(folder, name):
    make(folder, name, "bert", bert("Model"), BERT, BERT_LAYER, quantise=True)


def bert_tanh(folder, name):
    make(folder, name, "bert", bert("Model", hidden_act="gelu_new"), BERT, BERT_LAYER, n=20,
         keys={"hidden_activation": "gelu_new"})


def labels(n):
    return {"classifier.output_labels": [f"kind {i}" for i in range(n)]}


def bert_classify(folder, name, **more):
    make(folder, name, "bert", bert("ForSequenceClassification", num_labels=5), {**BERT, **HEADS}, BERT_LAYER,
         pooling=RANK, second=31, keys=labels(5), **more)


def bert_classify_q8_0(folder, name):
    bert_classify(folder, name, quantise=True)


def bert_rank(folder, name):
    make(folder, name, "bert", bert("ForSequenceClassification", num_labels=1), {**BERT, **HEADS}, BERT_LAYER,
         pooling=RANK, second=9, n=41)


def bert_tokens(folder, name):
    make(folder, name, "bert", bert("ForTokenClassification", num_labels=3), {**BERT, **HEADS}, BERT_LAYER,
         keys={**labels(3), "classifier.labels_tokens": True})


def distilbert(kind, **changes):
    config = transformers.DistilBertConfig(**{
        **dict(vocab_size=64, dim=32, hidden_dim=48, n_layers=2, n_heads=4, max_position_embeddings=72, pad_token_id=0),
        **changes})
    return getattr(transformers, "DistilBert" + kind)(config)


def distilbert_mean(folder, name):
    make(folder, name, "bert", distilbert("Model"), BERT, DISTILBERT_LAYER)


def distilbert_classify(folder, name):
    make(folder, name, "bert", distilbert("ForSequenceClassification", num_labels=5), {**BERT, **HEADS}, DISTILBERT_LAYER,
         pooling=RANK, keys={**labels(5), "classifier.activation": "relu"})


def distilbert_tokens(folder, name):
    make(folder, name, "bert", distilbert("ForTokenClassification", num_labels=3), {**BERT, **HEADS}, DISTILBERT_LAYER,
         keys={**labels(3), "classifier.labels_tokens": True})


def roberta(kind, **changes):
    config = transformers.RobertaConfig(**{**SMALL, "max_position_embeddings": 82, "type_vocab_size": 1, "pad_token_id": 1,
                                           **changes})
    return getattr(transformers, "Roberta" + kind)(config)


def roberta_mean(folder, name):
    make(folder, name, "bert", roberta("Model"), BERT, BERT_LAYER, cut=2)


def roberta_classify(folder, name):
    make(folder, name, "bert", roberta("ForSequenceClassification", num_labels=4), {**BERT, **HEADS}, BERT_LAYER,
         pooling=RANK, cut=2, second=20, keys=labels(4))


def roberta_tokens(folder, name):
    make(folder, name, "bert", roberta("ForTokenClassification", num_labels=7), {**BERT, **HEADS}, BERT_LAYER,
         cut=2, n=17, keys={"classifier.labels_tokens": True})


def nomic_mean(folder, name):
    config = transformers.NomicBertConfig(**{**SMALL, "rope_parameters": {"rope_type": "default", "rope_theta": 1000.0}})
    make(folder, name, "nomic-bert", transformers.NomicBertModel(config), NOMIC, NOMIC_LAYER,
         keys={"rope.freq_base": 1000.0})


LOCAL = 16


def modern(kind, **changes):
    rope = {"full_attention": {"rope_type": "default", "rope_theta": 160000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}}
    config = transformers.ModernBertConfig(**{
        **SMALL, "num_hidden_layers": 5, "intermediate_size": 40, "local_attention": LOCAL, "max_position_embeddings": 160,
        "rope_parameters": rope, "cls_token_id": 1, "sep_token_id": 2, "bos_token_id": 1, "eos_token_id": 2, **changes})
    return getattr(transformers, "ModernBert" + kind)(config)


def make_modern(folder, name, model, pooling=MEAN, n=120, keys=None, **more):
    make(folder, name, "modern-bert", model, MODERN, MODERN_LAYER, pooling=pooling, n=n, **more,
         keys={"rope.freq_base": 160000.0, "rope.freq_base_swa": 10000.0, "attention.sliding_window": LOCAL,
               "attention.sliding_window_pattern": 3, **(keys or {})})


def modern_mean(folder, name):
    make_modern(folder, name, modern("Model"))


def modern_q8_0(folder, name):
    make_modern(folder, name, modern("Model", intermediate_size=64, num_hidden_layers=2), quantise=True)


def modern_biases(folder, name):
    make_modern(folder, name, modern("Model", attention_bias=True, mlp_bias=True, norm_bias=True, num_hidden_layers=2),
                pooling=CLS, n=90)


def modern_silu(folder, name):
    make_modern(folder, name, modern("Model", hidden_activation="silu", num_hidden_layers=2), n=40,
                keys={"hidden_activation": "silu"})


def modern_classify(folder, name):
    make_modern(folder, name, modern("ForSequenceClassification", num_labels=3, classifier_pooling="mean"), pooling=RANK,
                keys=labels(3))


def modern_classify_first(folder, name):
    make_modern(folder, name, modern("ForSequenceClassification", num_labels=3, classifier_pooling="cls", num_hidden_layers=2),
                pooling=RANK, keys={"classifier.pooling_type": CLS})


def modern_tokens(folder, name):
    make_modern(folder, name, modern("ForTokenClassification", num_labels=2, num_hidden_layers=2),
                keys={"classifier.labels_tokens": True})


# Models that generate, longer than what is computed together.

def qwen3(folder, name, pooling, **keys):
    config = transformers.Qwen3Config(**{**SMALL, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 320})
    model = transformers.Qwen3Model(config)
    round_cache(model)
    layer = {k: v for k, v in reference_models.LLAMA.items()}
    make(folder, name, "qwen3", model, DECODER, layer, pooling=pooling, n=300,
         keys={"attention.head_count_kv": 2, "attention.key_length": 8, "attention.value_length": 8,
               "attention.layer_norm_rms_epsilon": config.rms_norm_eps, **keys})


def qwen3_last(folder, name):
    qwen3(folder, name, LAST)


def qwen3_mean(folder, name):
    qwen3(folder, name, MEAN)


MODELS = [bert_mean, bert_first, bert_q8_0, bert_tanh, bert_classify, bert_classify_q8_0, bert_rank, bert_tokens, distilbert_mean, distilbert_classify,
          distilbert_tokens, roberta_mean,
          roberta_classify, roberta_tokens, nomic_mean, modern_mean, modern_q8_0, modern_biases, modern_silu, modern_classify,
          modern_classify_first, modern_tokens, qwen3_last, qwen3_mean]


def main():
    folder, wanted = sys.argv[1], sys.argv[2:]
    for model in MODELS:
        if not wanted or model.__name__ in wanted:
            model(folder, model.__name__)


if __name__ == "__main__":
    main()
