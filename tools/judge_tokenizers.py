#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""judge_tokenizers.py - our tokens against those of Hugging Face's tokenizers and of SentencePiece.

usage: tools/judge_tokenizers.py [--count N] [--seed N] LIBRARY FOLDER [NAME ...]
       tools/judge_tokenizers.py --vectors tests/data/tokenizer

LIBRARY: libllmos.so.  FOLDER: vocabularies as GGUF (ggml-vocab-gpt-2.gguf, ggml-vocab-bert-bge.gguf).
NAME: a pre-tokenizer, "added" (special tokens that take white space), "gemma4", "gemma4-phrases" (the same with tokens
of several words), "bert", "t5", "llama" or "wordpiece" (every normalizer that a WordPiece folder may have, each read by
the `llmos convert` beside the library); all of them if none is given.  Needs the packages tokenizers and sentencepiece.

Behind the splits of a model's tokenizer.json stand all pairs of bytes as tokens, in random order: where a text is cut
shows.  Behind "gpt-2" and "added" stands GPT-2's vocabulary.
The models for "gemma4", "t5" and "llama" are trained here, on text that is made here.
The second form writes small vocabularies, and what their makers' tokenizers make of random strings.
Prints how many random strings were the same, and the first that were not; exits with 1 if any was not.
"""
import argparse
import ctypes
import json
import itertools
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import unicodedata

os.environ["TOKENIZERS_PARALLELISM"] = "false"
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers  # noqa: E402

# ---- GGUF ----

SIZES = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


def gguf_read(path):
    data = open(path, "rb").read()
    at = 24

    def text():
        nonlocal at
        n, = struct.unpack_from("<Q", data, at)
        at += 8 + n
        return data[at - n:at].decode("utf-8", "surrogateescape")

    def value(kind):
        nonlocal at
        if kind == 8:
            return text()
        if kind == 9:
            inner, n = struct.unpack_from("<IQ", data, at)
            at += 12
            return [value(inner) for _ in range(n)]
        f = "<" + SIZES[kind]
        v, = struct.unpack_from(f, data, at)
        at += struct.calcsize(f)
        return v

    values = {}
    for _ in range(struct.unpack_from("<Q", data, 16)[0]):
        key = text()
        kind, = struct.unpack_from("<I", data, at)
        at += 4
        values[key] = value(kind)
    return values


def gguf_write(path, values):
    def text(s):
        b = s.encode("utf-8", "surrogateescape")
        return struct.pack("<Q", len(b)) + b

    out = [b"GGUF", struct.pack("<IQQ", 3, 0, len(values))]
    for key, v in values.items():
        out.append(text(key))
        if isinstance(v, bool):
            out.append(struct.pack("<I?", 7, v))
        elif isinstance(v, int):
            out.append(struct.pack("<II", 4, v))
        elif isinstance(v, str):
            out.append(struct.pack("<I", 8) + text(v))
        elif isinstance(v, bytes):
            out.append(struct.pack("<IIQ", 9, 0, len(v)) + v)
        elif isinstance(v[0], str):
            out.append(struct.pack("<IIQ", 9, 8, len(v)) + b"".join(text(s) for s in v))
        else:
            f, kind = ("f", 6) if isinstance(v[0], float) else ("i", 5)
            out.append(struct.pack("<IIQ%d%s" % (len(v), f), 9, kind, len(v), *v))
    open(path, "wb").write(b"".join(out) + bytes(64))


# ---- ours ----

class Ours:
    def __init__(self, library, path):
        self.lib = lib = ctypes.CDLL(library)
        for name in ("llmos_model_tokenizer",):
            getattr(lib, name).restype = ctypes.c_void_p
        lib.llmos_tokenize.restype = ctypes.c_long
        model, error = ctypes.c_void_p(), ctypes.create_string_buffer(1024)
        fd = os.open(path, os.O_RDONLY)
        if lib.llmos_model_open_vocabulary_fd(ctypes.byref(model), fd, error) < 0:
            sys.exit("%s: %s" % (path, error.raw[4:].split(b"\0")[0].decode()))
        os.close(fd)
        self.t = ctypes.c_void_p(lib.llmos_model_tokenizer(model))
        self.ids = (ctypes.c_int32 * 65536)()

    def encode(self, text):
        b = text.encode()
        n = self.lib.llmos_tokenize(self.t, b, ctypes.c_size_t(len(b)), 0, self.ids, ctypes.c_size_t(65536), None)
        return self.ids[:n] if n >= 0 else n


# ---- theirs: the splits as the models' tokenizer.json have them ----

CONTRACTION = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
TAIL = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
TAIL_SLASH = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
BLOOM = " ?[^(\\s|[.,!?…。，、।۔،])]+"
CJK = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
KANA = "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"


def cased(tail, upper=UPPER, lower=LOWER):
    return (r"[^\r\n\p{L}\p{N}]?" + upper + "*" + lower + "+" + tail + r"|[^\r\n\p{L}\p{N}]?" + upper + "+" + lower + "*" + tail)


def splits(*expressions):
    return [pre_tokenizers.Split(Regex(e), "isolated") for e in expressions]


def bytes_with_regex():
    return [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]


DIGIT = [pre_tokenizers.Digits(individual_digits=True)]
PUNCTUATION = [pre_tokenizers.Punctuation("contiguous")]
GPT_2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
MARKED_WORD = (r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+""")
DEEPSEEK_3 = MARKED_WORD + r"[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
BUT_HAN = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]"
SCRIPTS = (r"(?:[\u4E00-\u9FFF\u3040-\u309F\u30A0-\u30FF\u3400-\u4DBF\uf900-\uFAFF\uFF65-\uFF9F\u2F00-\u2FDF]+|[\u0E00-\u0E7F]+|"
           r"[\u0E80-\u0EFF]+|[\u1780-\u17FF]+|[\u1000-\u109F\uAA60-\uAA7F\uA9E0-\uA9FF]+|[\uAC00-\uD7AF\u1100-\u11FF]+)")
POWERS = "|".join(r"\s{%d}(?!\S)" % (1 << n) for n in range(9, 1, -1)) + r"|\s{1,2}(?!\S)|\s{1}"

FAMILIES = {
    "gpt-2": bytes_with_regex,
    "starcoder": lambda: DIGIT + bytes_with_regex(),
    "llama-bpe": lambda: splits(CONTRACTION + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|" + TAIL),
    "dbrx": lambda: splits(CONTRACTION + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|" + TAIL),
    "qwen2": lambda: splits(CONTRACTION + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|" + TAIL),
    "qwen35": lambda: splits(CONTRACTION + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"),
    "bailingmoe": lambda: splits(r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"),
    "seed-coder": lambda: splits(CONTRACTION + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+"),
    "exaone-moe": lambda: splits(CONTRACTION + r"|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+"),
    "tekken": lambda: splits(cased("") + r"|\p{N}|" + TAIL_SLASH),
    "gpt-4o": lambda: splits(cased(CONTRACTION + "?") + r"|\p{N}{1,3}|" + TAIL_SLASH),
    "youtu": lambda: splits("[\uac00-\ud7a3\u3131-\u318e]+|[\uff01\u2026\u201c\u201d\u2018\u2019\u2014\uff1a\uff1b\uff0c\u3001-\u303f\ufe30-\ufe4f]+|[\u3105-\u312f]+|" + KANA,
                            cased(CONTRACTION + "?") + r"|\p{N}|" + TAIL_SLASH),
    "deepseek-coder": lambda: splits("[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", CJK) + DIGIT,
    "deepseek-v3": lambda: splits(r"\p{N}{1,3}", KANA, DEEPSEEK_3),
    "falcon": lambda: PUNCTUATION + splits(GPT_2, "[0-9][0-9][0-9]"),
    "bloom": lambda: splits(BLOOM),
    "viking": lambda: splits(BLOOM) + DIGIT,
    "jais-2": lambda: splits(CONTRACTION + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|" + POWERS),
    "minicpm5": lambda: splits(r"\p{N}{1,3}", CONTRACTION + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+|" + TAIL),
    "k2-horizon": lambda: splits(CONTRACTION + r"|[^\r\n\p{L}\p{N}]?(?:\p{L}|\p{M}|\u200C|\u200D)+|\p{N}{1,3}|" + TAIL),
    "ufakzeka": lambda: splits(r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|" + TAIL),
    "laguna": lambda: [pre_tokenizers.Split(Regex(r"(?:\r?\n)+(?!\r?\n)"), "merged_with_next")] + splits(
        CONTRACTION + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|" + TAIL),
    "granite-embed-multi-97m": lambda: splits(cased(CONTRACTION + "?") + r"|\p{N}{1,3}|" + TAIL_SLASH),
    "tiny_aya": lambda: splits(r"\d{1,3}(?=(?:\d{3})*\b)", cased(CONTRACTION + "?") + r"|\p{N}{1,3}|" + TAIL_SLASH),
    "kimi-k2": lambda: splits(r"[\p{Han}]+|" + cased(CONTRACTION + "?", *BUT_HAN) + r"|\p{N}{1,3}|" + TAIL),
    "spark2_5": lambda: splits(r"\p{N}{1,3}", KANA, MARKED_WORD + r"|[\r\n]|\s+(?!\S)|\s+", r"\p{N}"),
    "afmoe": lambda: splits(r"\p{Nd}{1,510}(?=(?>\p{Nd}{510})*(?:\P{Nd}|$))|\G\p{Nd}{510}", r"\A\p{Nd}{1,2}(?=\p{Nd}{3}+\z)",
                            r"\A\p{Nd}{3}|\G\p{Nd}{3}", SCRIPTS, DEEPSEEK_3),
    "superbpe": lambda: splits(r"\p{N}+", r"(?=(\d{3})+(?!\d))"),
}
IGNORE_MERGES = {"llama-bpe", "tekken", "youtu", "minicpm5", "granite-embed-multi-97m"}
SYLLABLES = "an ba co du el fi go ha in ju ka lo mi no os pe qu ra st te ur ve wi xa yo zé ße ñu жи 中 ん".split()
# What random strings have too little of.
LONG = {"jais-2": [" " * n for n in (3, 9, 20, 100, 700)], "tiny_aya": ["1" * n for n in (4, 5, 6, 20)], "afmoe": ["2" * n for n in (4, 5, 6, 700)]}
for spaced in ("gemma4", "gemma4-phrases"):
    LONG[spaced] = 2 * SYLLABLES + [" " + s for s in SYLLABLES] + 9 * [" ", "  ", "\n", "\n\n\n", "\u2581", "<0x0A>", "<unk>"]


def pairs(seed):
    """All bytes and all pairs of them, whose merges have the ranks of chance."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [a + " " + b for a in letters for b in letters]
    random.Random(seed).shuffle(merges)
    tokens = letters + [m.replace(" ", "") for m in merges]
    return {"general.architecture": "judge", "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.tokens": tokens,
            "tokenizer.ggml.token_type": [1] * len(tokens), "tokenizer.ggml.merges": merges}


def bpe_of(name, vocabulary):
    tokens, merges = vocabulary["tokenizer.ggml.tokens"], vocabulary["tokenizer.ggml.merges"]
    bpe = models.BPE({s: i for i, s in enumerate(tokens)}, [tuple(m.split(" ")) for m in merges],
                     ignore_merges=name in IGNORE_MERGES)
    t = Tokenizer(bpe)
    steps = FAMILIES[name]()
    if name != "gpt-2" and name != "starcoder":
        steps = steps + [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    t.pre_tokenizer = pre_tokenizers.Sequence(steps)
    return t


# Special tokens of every habit, some inside of others.
ADDED = [(name, {k: True for b, k in enumerate(("lstrip", "rstrip", "single_word", "normalized")) if habits >> b & 1})
         for name, habits in (("<plain>", 0), ("<l>", 1), ("<r>", 2), ("<lr>", 3), ("<one>", 4), ("wordx", 4), (" gap", 0),
                              ("<l-one>", 5), ("<r-one>", 6), ("<n>", 8), ("plai", 8), ("<n-lr>", 11), ("<all>", 15), ("n>x", 0))]


def added_of(vocabulary, path):
    """GPT-2 with those; they are written to the path, too."""
    from tokenizers import AddedToken
    values = {k: v for k, v in vocabulary.items() if k.startswith("tokenizer.")}
    t, first = bpe_of("gpt-2", vocabulary), len(values["tokenizer.ggml.tokens"])
    t.add_tokens([AddedToken(name, **{"normalized": False, **habits}) for name, habits in ADDED])
    bits = [sum(1 << b for b, k in enumerate(("lstrip", "rstrip", "single_word", "normalized")) if k in h) for _, h in ADDED]
    values["tokenizer.ggml.tokens"] = values["tokenizer.ggml.tokens"] + [name for name, _ in ADDED]
    values["tokenizer.ggml.token_type"] = values["tokenizer.ggml.token_type"] + [4] * len(ADDED)
    values["llmos.added_tokens"] = [x for i, b in enumerate(bits) for x in (first + i, b)]
    gguf_write(path, values)
    return t


def bert_of(vocabulary):
    tokens = vocabulary["tokenizer.ggml.tokens"]
    kinds = vocabulary["tokenizer.ggml.token_type"]
    plain = {}
    for i, (s, k) in enumerate(zip(tokens, kinds)):
        plain[s if k != 1 or s.startswith("[unused") else s[1:] if s.startswith("\u2581") else "##" + s] = i
    t = Tokenizer(models.WordPiece(plain, unk_token="[UNK]", max_input_chars_per_word=100))
    t.normalizer = normalizers.BertNormalizer()
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return t


# ---- theirs: folders of WordPiece ----

def wordpiece_steps():
    """(name, normalizer, pre_tokenizer) of everything that is not refused."""
    def sequence(*names):
        return normalizers.Sequence([getattr(normalizers, n)() for n in names])

    bert, words, spaces, marks = (pre_tokenizers.BertPreTokenizer, pre_tokenizers.Whitespace, pre_tokenizers.WhitespaceSplit,
                                  pre_tokenizers.Punctuation)
    for clean, chinese, accents, lower in itertools.product((True, False), (True, False), (None, True, False), (True, False)):
        yield ("bert %d%d%s%d" % (clean, chinese, "-" if accents is None else int(accents), lower), normalizers.BertNormalizer(
            clean_text=clean, handle_chinese_chars=chinese, strip_accents=accents, lowercase=lower), bert())
    for names in (("NFD", "Lowercase", "StripAccents"), ("Lowercase", "NFD", "StripAccents"), ("NFD", "StripAccents"),
                  ("StripAccents", "Lowercase"), ("Lowercase",), ("Strip",)):
        yield "+".join(names), sequence(*names), words()
    cuts = {"Bert": [bert()], "Whitespace": [words()], "WhitespaceSplit": [spaces()], "spaces+marks": [spaces(), marks()],
            "words+marks": [words(), marks()], "marks+words": [marks(), words()]}
    for name, steps in cuts.items():
        yield "none " + name, None, pre_tokenizers.Sequence(steps) if len(steps) > 1 else steps[0]


def safetensors_write(path, shapes):
    header, at = {}, 0
    for name, shape in shapes.items():
        n = 4
        for s in shape:
            n *= s
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + n]}
        at += n
    text = json.dumps(header).encode()
    open(path, "wb").write(struct.pack("<Q", len(text)) + text + bytes(at))


def wordpiece_folder(folder, vocab):
    """All but the tokenizer; the smallest BERT there can be, of zeros."""
    config = {"architectures": ["BertModel"], "model_type": "bert", "vocab_size": len(vocab), "hidden_size": 2, "num_hidden_layers": 1,
              "num_attention_heads": 1, "intermediate_size": 2, "max_position_embeddings": 8, "type_vocab_size": 2,
              "hidden_act": "gelu", "layer_norm_eps": 1e-12, "position_embedding_type": "absolute"}
    json.dump(config, open(os.path.join(folder, "config.json"), "w"))
    layer = "encoder.layer.0."
    shapes = {"embeddings.word_embeddings.weight": [len(vocab), 2], "embeddings.position_embeddings.weight": [8, 2],
              "embeddings.token_type_embeddings.weight": [2, 2]}
    for name in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense", "intermediate.dense",
                 "output.dense"):
        shapes.update({layer + name + ".weight": [2, 2], layer + name + ".bias": [2]})
    for name in ("embeddings.LayerNorm", layer + "attention.output.LayerNorm", layer + "output.LayerNorm"):
        shapes.update({name + ".weight": [2], name + ".bias": [2]})
    safetensors_write(os.path.join(folder, "model.safetensors"), shapes)


def wordpiece_vocabulary():
    """Characters of every kind, each as what begins a word and as what goes on, so that no difference hides in an [UNK]."""
    vocab = {s: i for i, s in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])}
    letters = [chr(c) for c in range(1, 0x110000) if unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co")]
    for c in (c for i, c in enumerate(letters) if unicodedata.category(c) != "Lo" or i % 8 == 0 or ord(c) < 0x1200):
        if not c.isspace():
            vocab.setdefault(c, len(vocab))
            vocab.setdefault("##" + c, len(vocab))
    return vocab


def judge_wordpiece(library, count, seed):
    good = True
    vocab = wordpiece_vocabulary()
    with tempfile.TemporaryDirectory() as folder:
        wordpiece_folder(folder, vocab)
        for i, (name, normalizer, pre) in enumerate(wordpiece_steps()):
            path = os.path.join(folder, "%d.gguf" % i)
            t = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]", max_input_chars_per_word=100))
            if normalizer:
                t.normalizer = normalizer
            t.pre_tokenizer = pre
            t.save(os.path.join(folder, "tokenizer.json"))
            subprocess.run([os.path.join(os.path.dirname(os.path.abspath(library)), "llmos"), "convert", folder, path],
                           check=True, capture_output=True)

            def theirs(batch, t=t):
                return [e.ids for e in t.encode_batch_fast(batch, add_special_tokens=False)]
            good &= judge("wordpiece " + name, Ours(library, path), theirs, count, seed + i)
    return good


# ---- theirs: SentencePiece ----

def corpus(seed):
    r = random.Random(seed)
    words = ["".join(r.choice(SYLLABLES) for _ in range(r.randint(1, 4))) for _ in range(2000)]
    for _ in range(4000):
        yield " ".join(words[min(int(r.expovariate(0.01)), 1999)] for _ in range(r.randint(3, 20)))


def byte_level_trained():
    """A byte-level BPE of 400 tokens, as the metadata of a GGUF."""
    from tokenizers import trainers
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.train_from_iterator(corpus(2), trainers.BpeTrainer(
        vocab_size=400, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    model = json.loads(t.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    return {"general.architecture": "judge", "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "gpt-2",
            "tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": [1] * len(tokens),
            "tokenizer.ggml.merges": [" ".join(m) for m in model["merges"]]}


def spaced_trained(name):
    """A BPE of characters with spaces as U+2581 and tokens for bytes, and the same as the metadata of a GGUF."""
    from tokenizers import trainers
    t = Tokenizer(models.BPE())
    t.normalizer = normalizers.Replace(" ", "\u2581")
    if name == "gemma4":
        t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    lines = [line + end for line, end in zip(corpus(4), itertools.cycle(["\n", "  ", "\n\n\n", " 12 é."]))]
    t.train_from_iterator(lines, trainers.BpeTrainer(vocab_size=600, show_progress=False))
    model = json.loads(t.to_str())["model"]
    tokens = ["<pad>", "<eos>", "<bos>", "<unk>"] + ["<0x%02X>" % b for b in range(256)] + sorted(model["vocab"], key=model["vocab"].get)
    merges = [tuple(m) for m in model["merges"]]
    t = Tokenizer(models.BPE({s: i for i, s in enumerate(tokens)}, merges, byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    t.normalizer = normalizers.Replace(" ", "\u2581")
    t.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    return t, {"general.architecture": "judge", "tokenizer.ggml.model": "gemma4", "tokenizer.ggml.tokens": tokens,
               "tokenizer.ggml.token_type": [3, 3, 3, 2] + [6] * 256 + [1] * (len(tokens) - 260),
               "tokenizer.ggml.merges": [" ".join(m) for m in merges], "tokenizer.ggml.unknown_token_id": 3}


def bert_trained():
    from tokenizers import trainers
    t = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    t.normalizer, t.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    t.train_from_iterator(list(corpus(3)) + ["a b c d e f g h i j k l m n o p q r s t u v w x y z 0 1 2 3 ! ? , . ' ( )"],
                          trainers.WordPieceTrainer(vocab_size=400, show_progress=False, special_tokens=special))
    tokens = sorted(t.get_vocab(), key=t.get_vocab().get)
    return {"general.architecture": "judge", "tokenizer.ggml.model": "bert",
            "tokenizer.ggml.tokens": [s if s in special else s[2:] if s.startswith("##") else "\u2581" + s for s in tokens],
            "tokenizer.ggml.token_type": [3 if s in special else 1 for s in tokens],
            "tokenizer.ggml.unknown_token_id": 1, "tokenizer.ggml.cls_token_id": 2,
            "tokenizer.ggml.seperator_token_id": 3}


def fnv(ids):
    h = 0x811C9DC5
    for i in ids:
        for b in struct.pack("<i", i):
            h = (h ^ b) * 0x01000193 & 0xFFFFFFFF
    return h


def write_vectors(folder, count, seed):
    """NAME.gguf, and NAME.txt: a line of names, then strings in hex with the FNV-1a of their tokens."""
    def put(name, columns, encoders):
        with open(os.path.join(folder, name + ".txt"), "w") as f:
            print("text", *columns, file=f)
            for text in strings(count, seed, LONG.get(name)):
                print(text.encode().hex(), *("%08x" % fnv(e(text)) for e in encoders), file=f)

    def of(t):
        return lambda text: t.encode(text, add_special_tokens=False).ids

    values = byte_level_trained()
    gguf_write(os.path.join(folder, "gpt2.gguf"), values)
    put("gpt2", list(FAMILIES), [of(bpe_of(name, values)) for name in FAMILIES])
    t, values = spaced_trained("gemma4")
    gguf_write(os.path.join(folder, "gemma4.gguf"), values)
    put("gemma4", ["gemma4"], [of(t)])
    values = bert_trained()
    gguf_write(os.path.join(folder, "bert.gguf"), values)
    put("bert", ["bert"], [of(bert_of(values))])
    for kind in ("t5", "llama"):
        with tempfile.TemporaryDirectory() as temporary:
            path, t = sentencepiece_of(kind, temporary, SMALL_RULES)
            shutil.move(path, os.path.join(folder, kind + ".gguf"))
            put(kind, [kind], [t.encode])


# A to a, ligatures and wide letters apart, a soft hyphen away: a small map in place of NFKC.
SMALL_RULES = {"A": "a", "É": "é", "\ufb01": "fi", "\uff41": "a", "\xad": "", "\xa0": " ", "\u3000": " ", "\n": " ", "\t": " ",
               "e\u0301": "é", "\u2026": "...", "²": "2", "½": "1/2", "İ": "i", "ſ": "s", "\u2003": " ", "\r": " "}


def sentencepiece_of(kind, folder, rules=None):
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2 as pb
    prefix = os.path.join(folder, kind)
    t5 = kind == "t5"
    normal = {"normalization_rule_name": "nmt_nfkc" if t5 else "identity"}
    if rules and t5:
        normal = {"normalization_rule_tsv": prefix + ".tsv"}
        with open(prefix + ".tsv", "w") as f:
            for a, b in sorted(rules.items()):
                print(" ".join("%x" % ord(c) for c in a), " ".join("%x" % ord(c) for c in b), sep="\t", file=f)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=corpus(1), model_prefix=prefix, vocab_size=600, hard_vocab_limit=False, model_type="unigram" if t5 else "bpe",
        byte_fallback=not t5, **normal,
        remove_extra_whitespaces=t5, character_coverage=1.0, num_threads=1, minloglevel=2,
        pad_id=0 if t5 else -1, eos_id=1 if t5 else 2, unk_id=2 if t5 else 0, bos_id=-1 if t5 else 1)
    m = pb.ModelProto()
    m.ParseFromString(open(prefix + ".model", "rb").read())
    values = {"general.architecture": "judge", "tokenizer.ggml.model": kind,
              "tokenizer.ggml.tokens": [p.piece for p in m.pieces],
              "tokenizer.ggml.scores": [float(p.score) for p in m.pieces],
              "tokenizer.ggml.token_type": [int(p.type) for p in m.pieces],
              "tokenizer.ggml.add_space_prefix": bool(m.normalizer_spec.add_dummy_prefix),
              "tokenizer.ggml.remove_extra_whitespaces": bool(m.normalizer_spec.remove_extra_whitespaces)}
    if m.normalizer_spec.precompiled_charsmap:
        values["tokenizer.ggml.precompiled_charsmap"] = m.normalizer_spec.precompiled_charsmap
    path = prefix + ".gguf"
    gguf_write(path, values)
    return path, sentencepiece.SentencePieceProcessor(model_file=prefix + ".model")


# ---- random strings ----

def alphabets():
    assigned = [chr(c) for c in range(0x110000) if unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co")]
    by = {}
    for c in assigned:
        by.setdefault(unicodedata.category(c), []).append(c)
    spaces = list(" \t\n\r\x0b\x0c\x85\xa0\u1680\u2003\u2028\u2029\u202f\u205f\u3000")
    words = ["the", " the", "'s", "'S", "'ll", "'LL", "'ve", "'\u017f", " don't", "HeLLo", "é", "e\u0301", "123", "1234567", "  ",
             "\n\n", " \n", "\r\n", "中国", "ひらがな", "한국어", "👨\u200d👩\u200d👧", "🇩🇪", "...", "!?", "()", "==", "/", "_", "ſ", "İ",
             "ß", "ǅ", "ʰ", "²", "½", "Ⅷ", "٣", "ก็", "\u200b", "\ufeff", "<|endoftext|>", "'", "’s"]
    ascii_ = [chr(c) for c in range(1, 128)]
    return [assigned, spaces, words, ascii_, words, [c for k in ("Lu", "Lt", "Ll", "Lm") for c in by[k]],
            [c for k in ("Nd", "Nl", "No") for c in by[k]], [c for k in ("Mn", "Mc", "Me") for c in by[k]],
            [c for k in by if k[0] in "PS" for c in by[k]]]


def strings(count, seed, more=None):
    """more: what every string has of besides."""
    r = random.Random(seed)
    sources = [more + s for s in alphabets()[1:4]] if more else alphabets()
    for _ in range(count):
        few = [r.choice(sources) for _ in range(r.randint(1, 3))]
        yield "".join(r.choice(r.choice(few)) for _ in range(r.randint(1, 24)))


# ---- the verdict ----

def judge(name, ours, theirs, count, seed):
    same, shown = 0, 0
    batch = []

    def settle():
        nonlocal same, shown
        for text, ids in zip(batch, theirs(batch)):
            got = ours.encode(text)
            if got == ids:
                same += 1
            elif shown < 5:
                shown += 1
                print("   %s\n     ours   %s\n     theirs %s" % (ascii(text), got, ids))
        batch.clear()

    for text in strings(count, seed, [text for text, _ in ADDED] if name == "added" else LONG.get(name)):
        batch.append(text)
        if len(batch) == 5000:
            settle()
    settle()
    print("%-28s %d of %d the same" % (name, same, count), flush=True)
    return same == count


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--count", type=int, default=10000)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--vectors", metavar="FOLDER")
    p.add_argument("library", nargs="?")
    p.add_argument("folder", nargs="?")
    p.add_argument("names", nargs="*")
    o = p.parse_args()
    if o.vectors:
        return write_vectors(o.vectors, 300, o.seed)
    gpt2 = gguf_read(os.path.join(o.folder, "ggml-vocab-gpt-2.gguf"))
    good = True
    with tempfile.TemporaryDirectory() as folder:
        for name in o.names or list(FAMILIES) + ["added", "gemma4", "gemma4-phrases", "bert", "t5", "llama", "wordpiece"]:
            if name == "wordpiece":
                good &= judge_wordpiece(o.library, o.count, o.seed)
                continue
            if name in FAMILIES:
                path = os.path.join(folder, name + ".gguf")
                values = {k: v for k, v in gpt2.items() if k.startswith("tokenizer.")} if name == "gpt-2" else pairs(o.seed)
                gguf_write(path, {**values, "tokenizer.ggml.pre": name})
                t = bpe_of(name, values)
            elif name == "added":
                path = os.path.join(folder, "added.gguf")
                t = added_of(gpt2, path)
            elif name.startswith("gemma4"):
                path = os.path.join(folder, name + ".gguf")
                t, values = spaced_trained(name)
                gguf_write(path, values)
            elif name == "bert":
                path = os.path.join(o.folder, "ggml-vocab-bert-bge.gguf")
                t = bert_of(gguf_read(path))
            else:
                path, t = sentencepiece_of(name, folder)
            if name in ("t5", "llama"):
                def theirs(batch, t=t):
                    return t.encode(batch)
            else:
                def theirs(batch, t=t):
                    return [e.ids for e in t.encode_batch_fast(batch, add_special_tokens=False)]
            good &= judge(name, Ours(o.library, path), theirs, o.count, o.seed)
    sys.exit(not good)


main()
