#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""hf_folders.py OUT [NAME ...|reference] - one tiny random Hugging Face folder for each architecture, by transformers.

What they are for: tools/hf_compare.py compares what `llmos convert` makes of them with what the
converter of llama.cpp makes.  Needs torch, transformers and tokenizers.
"""
import json
import os
import sys

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
    "roberta": ("RobertaModel", "RobertaConfig", byte_level, dict(pad_token_id=1)),
    "xlmroberta": ("XLMRobertaModel", "XLMRobertaConfig", unigram, dict(pad_token_id=1, type_vocab_size=1)),
    "xlmroberta-classes": ("XLMRobertaForSequenceClassification", "XLMRobertaConfig", unigram,
                           dict(pad_token_id=1, type_vocab_size=1, num_labels=1)),
    "modernbert": ("ModernBertModel", "ModernBertConfig", byte_level, dict(pad_token_id=1, local_attention=16)),
}


def make(out, name):
    architecture, config_class, tokenizer, extra = FOLDERS[name]
    torch.manual_seed(len(name))
    t, special = tokenizer()
    values = dict(SMALL, vocab_size=t.get_vocab_size())
    if config_class == "GPT2Config":
        values = dict(vocab_size=t.get_vocab_size())
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


def make_reference(out):
    """The folder of tests/data/hf-llama, and what transformers computes of it: the tokens of a
    prompt, and behind it the most likely token with its log-probability, again and again."""
    torch.manual_seed(7)
    t, special = pieces()
    values = dict(hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
                  num_key_value_heads=1, max_position_embeddings=64, vocab_size=t.get_vocab_size(),
                  bos_token_id=1, eos_token_id=2)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**values)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.randn(parameter.shape) * (0.3 if "norm" not in name else 0.1))
            if "norm" in name:
                parameter.add_(1)
    model.save_pretrained(out)
    transformers.PreTrainedTokenizerFast(tokenizer_object=t, **special).save_pretrained(out)
    tokens = t.encode("the and than").ids
    with open(os.path.join(out, "expected.txt"), "w") as f:
        print(len(tokens), *tokens, file=f)
        for _ in range(12):
            with torch.no_grad():
                p = torch.log_softmax(model(torch.tensor([tokens])).logits[0, -1].double(), dim=-1)
            best = int(p.argmax())
            print(best, "%.6f" % p[best], file=f)
            tokens.append(best)


def main():
    out = sys.argv[1]
    if sys.argv[2:] == ["reference"]:
        return make_reference(out)
    for name in sys.argv[2:] or FOLDERS:
        try:
            make(out, name)
            print("made", name)
        except Exception as why:  # one architecture that this version of transformers lacks
            print("NOT made", name, type(why).__name__, why)


main()
