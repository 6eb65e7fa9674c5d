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

from reference_models import from_q8_0, q8_0, randomise, write

MEAN, CLS, LAST, RANK = 1, 2, 3, 4

BERT = {"embeddings.word_embeddings": "token_embd", "embeddings.position_embeddings": "position_embd",
        "embeddings.token_type_embeddings": "token_types", "embeddings.LayerNorm": "token_embd_norm"}
BERT_LAYER = {"attention.self.query": "attn_q", "attention.self.key": "attn_k", "attention.self.value": "attn_v",
              "attention.output.dense": "attn_output", "attention.output.LayerNorm": "attn_output_norm",
              "intermediate.dense": "ffn_up", "output.dense": "ffn_down", "output.LayerNorm": "layer_output_norm"}
HEADS = {"pooler.dense": "cls", "classifier.dense": "cls", "classifier.out_proj": "cls.output", "classifier": "cls.output"}


def renamed(key, names, layer):
    """llama.cpp's name of a parameter; None: it is of no use."""
    for prefix in ("bert.", "roberta.", "model."):
        key = key.removeprefix(prefix)
    stem, _, kind = key.rpartition(".")
    parts = stem.split(".")
    if "layer" in parts or "layers" in parts:
        at = parts.index("layer" if "layer" in parts else "layers")
        return f"blk.{parts[at + 1]}.{layer['.'.join(parts[at + 2:])]}.{kind}"
    to = names.get(stem)
    return to and f"{to}.{kind}"


def pooled(hidden, pooling):
    return hidden.mean(0) if pooling == MEAN else hidden[-1 if pooling == LAST else 0]


def ask(model, tokens, second):
    """What the judge says: vectors of all tokens, and scores where it has any."""
    more = {}
    if second < tokens.shape[1]:
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
    vector = pooled(hidden, pooling)
    tensors["reference.tokens"] = tokens[0].numpy().astype(np.float32)
    tensors["reference.second"] = np.array([second], np.float32)
    tensors["reference.vector"] = np.ascontiguousarray(vector)
    if scores is not None:
        tensors["reference.scores"] = np.ascontiguousarray(scores)
    head = {"general.architecture": arch, "block_count": c.num_hidden_layers,
            "context_length": c.max_position_embeddings - cut, "embedding_length": c.hidden_size,
            "feed_forward_length": c.intermediate_size, "attention.head_count": c.num_attention_heads,
            "attention.layer_norm_epsilon": getattr(c, "layer_norm_eps", None) or c.norm_eps,
            "attention.causal": False, "pooling_type": pooling, **(keys or {})}
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


MODELS = [bert_mean, bert_first, bert_q8_0]


def main():
    folder, wanted = sys.argv[1], sys.argv[2:]
    for model in MODELS:
        if not wanted or model.__name__ in wanted:
            model(folder, model.__name__)


if __name__ == "__main__":
    main()
