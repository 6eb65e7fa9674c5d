#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""hf_folders.py OUT [NAME ...|references [NAME ...]] - one tiny random Hugging Face folder for each architecture, by transformers.

What they are for: tools/hf_compare.py compares what `llmos convert` makes of them with what the
converter of llama.cpp makes.  Needs torch, transformers and tokenizers.

references: the folders of tests/data/hf-*, with what transformers computes of them.  Two of them are
quantised, as published ones are: gpt-oss in MXFP4, and FP8 with scales for blocks.  There
transformers computes with the numbers that the formulas of the two formats give.
"""
import importlib
import json
import os
import sys

import safetensors.torch
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE, Unigram, WordPiece

SMALL = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=64)


def byte_level():
    """256 bytes, a few merges, two special tokens."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {c: i for i, c in enumerate(letters)}
    merges = [("t", "h"), ("th", "e"), ("Ġ", "the"), ("a", "n"), ("an", "d")]
    for a, b in merges:
        vocab[a + b] = len(vocab)
    t = Tokenizer(BPE(vocab=vocab, merges=merges))
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens(["<|endoftext|>", "<|im_end|>"])
    return t, dict(bos_token="<|endoftext|>", eos_token="<|endoftext|>", pad_token="<|im_end|>")


def pieces():
    """SentencePiece's manner: a mark for spaces, bytes as a fallback."""
    vocab = {"<unk>": 0, "<s>": 1, "</s>": 2}
    for i in range(256):
        vocab["<0x%02X>" % i] = len(vocab)
    for c in "▁abcdefghijklmnopqrstuvwxyz":
        vocab[c] = len(vocab)
    merges = [("t", "h"), ("th", "e"), ("▁", "the"), ("a", "n"), ("an", "d"), ("▁", "and")]
    for a, b in merges:
        vocab[a + b] = len(vocab)
    t = Tokenizer(BPE(vocab=vocab, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    t.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    t.add_special_tokens(["<unk>", "<s>", "</s>"])
    return t, dict(bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def words():
    vocab = {w: i for i, w in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])}
    for c in "abcdefghijklmnopqrstuvwxyz":
        vocab[c] = len(vocab)
        vocab["##" + c] = len(vocab)
    t = Tokenizer(WordPiece(vocab=vocab, unk_token="[UNK]"))
    t.normalizer = normalizers.BertNormalizer(lowercase=True)
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    t.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    return t, dict(unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]", mask_token="[MASK]")


def unigram():
    pairs = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    pairs += [(c, -3.0 - i / 7) for i, c in enumerate("▁abcdefghijklmnopqrstuvwxyz")]
    pairs += [("▁the", -2.5), ("and", -2.75), ("<mask>", 0.0)]
    t = Tokenizer(Unigram(pairs, unk_id=3))
    t.pre_tokenizer = pre_tokenizers.Metaspace()
    t.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    t.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    return t, dict(bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>", cls_token="<s>",
                   sep_token="</s>", mask_token="<mask>")


LLAMA3 = dict(rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=32)
YARN = dict(rope_type="yarn", rope_theta=10000.0, factor=4.0, original_max_position_embeddings=32)
LONG = dict(rope_type="longrope", rope_theta=10000.0, long_factor=[1.0, 2.0, 3.0, 4.0],
            short_factor=[1.0, 1.1, 1.2, 1.3], original_max_position_embeddings=32)

# name: architecture, configuration class, tokenizer, what differs from SMALL
FOLDERS = {
    "llama": ("LlamaForCausalLM", "LlamaConfig", pieces, {}),
    "llama3": ("LlamaForCausalLM", "LlamaConfig", byte_level, dict(rope_parameters=LLAMA3, tie_word_embeddings=True)),
    "mistral": ("MistralForCausalLM", "MistralConfig", pieces, dict(head_dim=16)),
    "mixtral": ("MixtralForCausalLM", "MixtralConfig", pieces, dict(num_local_experts=3, num_experts_per_tok=2)),
    "granite": ("GraniteForCausalLM", "GraniteConfig", byte_level,
                dict(attention_multiplier=0.25, embedding_multiplier=12.0, residual_multiplier=0.5, logits_scaling=8.0)),
    "qwen2": ("Qwen2ForCausalLM", "Qwen2Config", byte_level, dict(rope_parameters=YARN)),
    "qwen3": ("Qwen3ForCausalLM", "Qwen3Config", byte_level, dict(head_dim=16)),
    "qwen2moe": ("Qwen2MoeForCausalLM", "Qwen2MoeConfig", byte_level,
                 dict(num_experts=3, num_experts_per_tok=2, moe_intermediate_size=24, shared_expert_intermediate_size=40)),
    "qwen3moe": ("Qwen3MoeForCausalLM", "Qwen3MoeConfig", byte_level,
                 dict(num_experts=3, num_experts_per_tok=2, moe_intermediate_size=24, head_dim=16)),
    "gemma2": ("Gemma2ForCausalLM", "Gemma2Config", pieces, dict(head_dim=16, sliding_window=16)),
    "gemma3": ("Gemma3ForCausalLM", "Gemma3TextConfig", pieces, dict(head_dim=16, sliding_window=16)),
    "phi3": ("Phi3ForCausalLM", "Phi3Config", pieces,
             dict(rope_parameters=LONG, original_max_position_embeddings=32, sliding_window=16, pad_token_id=0)),
    "starcoder2": ("Starcoder2ForCausalLM", "Starcoder2Config", byte_level, {}),
    "olmo2": ("Olmo2ForCausalLM", "Olmo2Config", byte_level, dict(pad_token_id=1)),
    "gptoss": ("GptOssForCausalLM", "GptOssConfig", byte_level,
               dict(num_local_experts=3, num_experts_per_tok=2, head_dim=8, sliding_window=16)),
    "gpt2": ("GPT2LMHeadModel", "GPT2Config", byte_level, dict(n_embd=32, n_layer=2, n_head=4, n_positions=64)),
    "bert": ("BertModel", "BertConfig", words, {}),
    "bert-classes": ("BertForSequenceClassification", "BertConfig", words, dict(num_labels=3)),
    "bert-tags": ("BertForTokenClassification", "BertConfig", words, dict(num_labels=5)),
    "distilbert": ("DistilBertModel", "DistilBertConfig", words, {}),
    "distilbert-classes": ("DistilBertForSequenceClassification", "DistilBertConfig", words, dict(num_labels=3)),
    "distilbert-tags": ("DistilBertForTokenClassification", "DistilBertConfig", words, dict(num_labels=5)),
    "roberta": ("RobertaModel", "RobertaConfig", byte_level, dict(pad_token_id=1)),
    "roberta-classes": ("RobertaForSequenceClassification", "RobertaConfig", byte_level, dict(pad_token_id=1, num_labels=4)),
    "roberta-tags": ("RobertaForTokenClassification", "RobertaConfig", byte_level, dict(pad_token_id=1, num_labels=3)),
    "xlmroberta": ("XLMRobertaModel", "XLMRobertaConfig", unigram, dict(pad_token_id=1, type_vocab_size=1)),
    "xlmroberta-classes": ("XLMRobertaForSequenceClassification", "XLMRobertaConfig", unigram,
                           dict(pad_token_id=1, type_vocab_size=1, num_labels=1)),
    "modernbert": ("ModernBertModel", "ModernBertConfig", byte_level, dict(pad_token_id=1, local_attention=16)),
    "modernbert-classes": ("ModernBertForSequenceClassification", "ModernBertConfig", byte_level,
                           dict(pad_token_id=1, local_attention=16, num_labels=3, classifier_pooling="mean")),
    "modernbert-tags": ("ModernBertForTokenClassification", "ModernBertConfig", byte_level,
                        dict(pad_token_id=1, local_attention=16, num_labels=3, num_hidden_layers=5)),
    "nomicbert": ("NomicBertModel", "NomicBertConfig", words, {}),
}


def make(out, name):
    architecture, config_class, tokenizer, extra = FOLDERS[name]
    torch.manual_seed(len(name))
    t, special = tokenizer()
    values = dict(SMALL, vocab_size=t.get_vocab_size())
    if config_class == "GPT2Config":
        values = dict(vocab_size=t.get_vocab_size())
    if "bert" in config_class.lower():
        del values["num_key_value_heads"]
    for key in ("bos_token", "eos_token", "pad_token"):
        if key in special:
            values[key + "_id"] = t.token_to_id(special[key])
    values.update(extra)
    model = getattr(transformers, architecture)(getattr(transformers, config_class)(**values))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape) * 0.2)
    folder = os.path.join(out, name)
    model.to(torch.bfloat16 if len(name) % 2 else torch.float32).save_pretrained(folder, max_shard_size="40KB")
    transformers.PreTrainedTokenizerFast(tokenizer_object=t, **special).save_pretrained(folder)


def round_cache(model):
    """Keys and values as an f16 cache has them."""
    module = importlib.import_module(type(model).__module__)
    plain = module.eager_attention_forward

    def attention(m, query, key, value, *args, **kwargs):
        return plain(m, query, key.half().float(), value.half().float(), *args, **kwargs)

    module.eager_attention_forward = attention


def write_expected(out, model, t):
    """The tokens of a prompt, and behind it the most likely token with its log-probability, again and again."""
    round_cache(model)
    tokens = t.encode("the and than").ids
    with open(os.path.join(out, "expected.txt"), "w") as f:
        print(len(tokens), *tokens, file=f)
        for _ in range(12):
            with torch.no_grad():
                logits = model(torch.tensor([tokens]), use_cache=False).logits[0, -1]
            p = torch.log_softmax(logits.double(), dim=-1)
            best = int(p.argmax())
            print(best, "%.6f" % p[best], file=f)
            tokens.append(best)


def mxfp4(out_rows, columns, experts):
    """Random blocks and scales, and the numbers that they are: OCP Microscaling Formats 1.0, MXFP4."""
    levels = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6])
    blocks = torch.randint(0, 256, (experts, out_rows, columns // 32, 16), dtype=torch.uint8)
    scales = torch.randint(121, 125, (experts, out_rows, columns // 32), dtype=torch.uint8)
    codes = torch.stack([blocks & 15, blocks >> 4], dim=-1).reshape(experts, out_rows, columns // 32, 32)
    values = levels[codes.long()] * torch.exp2(scales.float() - 127)[..., None]
    return blocks, scales, values.reshape(experts, out_rows, columns)


def quantise_mxfp4(model):
    made = {}
    for name, p in model.named_parameters():
        if name.endswith("experts.gate_up_proj") or name.endswith("experts.down_proj"):
            blocks, scales, values = mxfp4(p.shape[2], p.shape[1], p.shape[0])
            p.copy_(values.transpose(1, 2))  # transformers keeps them the other way round
            made[name] = {name + "_blocks": blocks, name + "_scales": scales}
    return made, dict(quant_method="mxfp4")


def quantise_fp8(model, rows=20, columns=24):
    """OCP 8-bit Floating Point 1.0, E4M3, one factor for each block of rows x columns."""
    made = {}
    for name, p in model.named_parameters():
        if not name.endswith("_proj.weight"):
            continue
        codes = (torch.randn(p.shape) * 40).to(torch.float8_e4m3fn)
        factors = torch.rand(-(-p.shape[0] // rows), -(-p.shape[1] // columns)) * 0.01 + 0.001
        spread = factors.repeat_interleave(rows, 0)[:p.shape[0]].repeat_interleave(columns, 1)[:, :p.shape[1]]
        p.copy_(codes.float() * spread)
        made[name] = {name: codes, name + "_scale_inv": factors}
    return made, dict(quant_method="fp8", weight_block_size=[rows, columns])


REFERENCES = {
    "hf-llama": ("LlamaForCausalLM", "LlamaConfig", pieces, None, dict(
        hidden_size=16, intermediate_size=24, num_attention_heads=2, num_key_value_heads=1)),
    "hf-mxfp4": ("GptOssForCausalLM", "GptOssConfig", byte_level, quantise_mxfp4, dict(
        hidden_size=32, intermediate_size=32, num_attention_heads=2, num_key_value_heads=1, head_dim=16,
        num_local_experts=3, num_experts_per_tok=2, sliding_window=4, rope_parameters=dict(YARN, truncate=False),
        max_position_embeddings=128)),
    # The text outgrows the 12 tokens for which the short factors are.
    "hf-longrope": ("Phi3ForCausalLM", "Phi3Config", pieces, None, dict(
        hidden_size=16, intermediate_size=24, num_attention_heads=2, num_key_value_heads=1, pad_token_id=0,
        original_max_position_embeddings=12, rope_parameters=dict(LONG, original_max_position_embeddings=12))),
    "hf-fp8": ("Qwen3ForCausalLM", "Qwen3Config", byte_level, quantise_fp8, dict(
        hidden_size=32, intermediate_size=40, num_attention_heads=2, num_key_value_heads=1, head_dim=16)),
}


def make_reference(out, name):
    architecture, config_class, tokenizer, quantise, extra = REFERENCES[name]
    torch.manual_seed(7)
    t, special = tokenizer()
    values = dict(num_hidden_layers=2, max_position_embeddings=64, vocab_size=t.get_vocab_size(),
                  bos_token_id=1, eos_token_id=2)
    values.update(extra)
    model = getattr(transformers, architecture)(getattr(transformers, config_class)(**values)).eval()
    model.set_attn_implementation("eager")
    folder = os.path.join(out, name)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            parameter.copy_(torch.randn(parameter.shape) * (0.3 if "norm" not in key else 0.1))
            if "norm" in key:
                parameter.add_(1)
        made, method = quantise(model) if quantise else ({}, None)
    model.save_pretrained(folder)
    transformers.PreTrainedTokenizerFast(tokenizer_object=t, **special).save_pretrained(folder)
    if made:
        rewrite(folder, made, method)
    write_expected(folder, model, t)


def rewrite(folder, made, method):
    """The quantised tensors in place of those that they were made to."""
    path = os.path.join(folder, "model.safetensors")
    tensors = safetensors.torch.load_file(path)
    for name, instead in made.items():
        del tensors[name]
        tensors.update(instead)
    safetensors.torch.save_file(tensors, path, metadata={"format": "pt"})
    path = os.path.join(folder, "config.json")
    with open(path) as f:
        config = json.load(f)
    config["quantization_config"] = method
    with open(path, "w") as f:
        json.dump(config, f, indent=2)
        f.write("\n")


def main():
    out = sys.argv[1]
    if sys.argv[2:3] == ["references"]:
        for name in sys.argv[3:] or REFERENCES:
            make_reference(out, name)
        return
    for name in sys.argv[2:] or FOLDERS:
        try:
            make(out, name)
            print("made", name)
        except Exception as why:  # one architecture that this version of transformers lacks
            print("NOT made", name, type(why).__name__, why)


if __name__ == "__main__":
    main()
