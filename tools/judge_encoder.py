#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""judge_encoder.py BUILD FOLDER ... - do encoders say what Hugging Face transformers says?

    VENV/bin/python tools/judge_encoder.py [--types f32,f16,q8_0] [--labelled FILE.jsonl] build FOLDER ...

VENV as for reference_models.py.  Each folder is converted by build/llmos to each type, and read by
build/libllmos.so.  For 100 sentences and an empty text the ids of the tokens are compared, the cosines of the vectors,
and, where there is a classifier, the scores.  A line for each folder and type:

    FOLDER TYPE ids 101/101 cosine 0.99999999 scores 1.2e-06 labels 101/101

cosine is the least one, of texts that say something: the empty one, of which only the ids are compared,
is all special tokens.  scores the largest error, of the largest score of a text; labels how often the
best label is the same.  --labelled: lines with "text" and "label"; how many labels are right, here and
there, is then said as well.  The exit status is 1 if ids differ or a cosine is below what the type
should reach (f32, f16: 0.9999; q8_0: 0.999).
"""
import argparse
import ctypes as C
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch
import transformers

LEAST = {"f32": 0.9999, "f16": 0.9999, "bf16": 0.999, "q8_0": 0.999}
BEGIN, END = 1, 4  # LLMOS_TOKENIZE_ADD_BOS, _ADD_EOS
MEAN, CLS, LAST = range(3)
NO_LABELS, OF_TEXTS, OF_TOKENS, RANKS = range(4)


class Error(C.Structure):
    _fields_ = [("code", C.c_int), ("text", C.c_char * 252)]


class Options(C.Structure):
    _fields_ = [("threads", C.c_uint32), ("tokens_max", C.c_uint32), ("memory_max_bytes", C.c_uint64),
                ("batch_tokens", C.c_uint32)]


class Info(C.Structure):
    _fields_ = [("backend", C.c_char_p), ("pooling", C.c_int), ("classifier", C.c_int), ("threads", C.c_uint32),
                ("width", C.c_uint32), ("labels", C.c_uint32), ("tokens_max", C.c_uint32), ("scratch_bytes", C.c_uint64),
                ("batch_tokens", C.c_uint32)]


class Encoder:
    def __init__(self, library, path, threads=2):
        self.lib = C.CDLL(library)
        for name in ("llmos_model_tokenizer", "llmos_encoder_label"):
            getattr(self.lib, name).restype = C.c_void_p
        self.lib.llmos_encoder_label.restype = C.c_char_p
        self.lib.llmos_tokenize.restype = C.c_long
        self.error, self.model, self.encoder, self.info = Error(), C.c_void_p(), C.c_void_p(), Info()
        self.check(self.lib.llmos_model_open(C.byref(self.model), path.encode(), C.byref(self.error)))
        self.check(self.lib.llmos_encoder_create(C.byref(self.encoder), self.model, C.byref(Options(threads, 0, 0, 0)),
                                                 C.byref(self.error)))
        self.lib.llmos_encoder_info(self.encoder, C.byref(self.info))
        self.tokenizer = C.c_void_p(self.lib.llmos_model_tokenizer(self.model))

    def check(self, rc):
        if rc < 0:
            sys.exit(self.error.text.decode())
        return rc

    def tokens(self, text):
        b, ids = text.encode(), (C.c_int32 * 8192)()
        n = self.check(self.lib.llmos_tokenize(self.tokenizer, b, C.c_size_t(len(b)), BEGIN | END, ids, C.c_size_t(8192),
                                               C.byref(self.error)))
        return list(ids[:n])

    def embed(self, tokens):
        ids, out = (C.c_int32 * len(tokens))(*tokens), (C.c_float * self.info.width)()
        self.check(self.lib.llmos_encoder_embed(self.encoder, ids, C.c_size_t(len(tokens)), C.c_bool(False), out,
                                                C.byref(self.error)))
        return np.array(out, np.float64)

    def classify(self, tokens):
        rows = len(tokens) if self.info.classifier == OF_TOKENS else 1
        ids, out = (C.c_int32 * len(tokens))(*tokens), (C.c_float * (rows * self.info.labels))()
        self.check(self.lib.llmos_encoder_classify(self.encoder, ids, C.c_size_t(len(tokens)), C.c_size_t(len(tokens)), out,
                                                   C.byref(self.error)))
        return np.array(out, np.float64).reshape(rows, -1)

    def label(self, i):
        return self.lib.llmos_encoder_label(self.encoder, i).decode()

    def close(self):
        self.lib.llmos_encoder_destroy(self.encoder)
        self.lib.llmos_model_close(self.model)


class Judge:
    def __init__(self, folder):
        with open(os.path.join(folder, "config.json")) as f:
            architecture = json.load(f)["architectures"][0]
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self.model = getattr(transformers, architecture).from_pretrained(folder, dtype=torch.float32).eval()

    def tokens(self, text):
        return self.tokenizer(text)["input_ids"]

    def read(self, tokens):
        """The vectors of the tokens, and the scores if there are any."""
        with torch.no_grad():
            out = self.model(torch.tensor([tokens]), output_hidden_states=True)
        hidden = out.last_hidden_state if "last_hidden_state" in out else out.hidden_states[-1]
        scores = out.logits.reshape(-1, out.logits.shape[-1]).double().numpy() if "logits" in out else None
        return hidden[0].double().numpy(), scores


def sentences():
    who = ["A small dog", "The committee", "My neighbour's brother", "Nobody", "The river"]
    does = ["crosses the old bridge", "has voted against the proposal", "can't find the keys", "was painted in 1889",
            "measures 3.5 metres"]
    where = ["before sunrise.", "near Zürich!", "although it rains; again", "(as the newspaper said)"]
    # 97 of these, three that are otherwise, and no text at all
    made = [f"{a} {b} {c}" for a in who for b in does for c in where][:97]
    return made + ["", "naïve café, ÉCOLE, straße", "机器学习 and 東京", "word " * 100]


def cosine(a, b):
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def compare(encoder, judge, texts):
    """How many ids are equal, the least cosine, the largest error of scores, equal labels."""
    equal, least, worst, same, rows = 0, 1.0, 0.0, 0, 0
    for text in texts:
        tokens = judge.tokens(text)
        equal += tokens == encoder.tokens(text)
        if not text:
            continue
        tokens = tokens[:encoder.info.tokens_max]
        hidden, scores = judge.read(tokens)
        pooled = {MEAN: hidden.mean(0), CLS: hidden[0], LAST: hidden[-1]}[encoder.info.pooling]
        least = min(least, cosine(encoder.embed(tokens), pooled))
        if encoder.info.classifier == NO_LABELS:
            continue
        ours = encoder.classify(tokens)
        worst = max(worst, abs(ours - scores).max() / abs(scores).max())
        same += (ours.argmax(1) == scores.argmax(1)).sum()
        rows += len(scores)
    return equal, least, worst, same, rows


def accuracy(encoder, judge, path):
    ours = theirs = 0
    with open(path) as f:
        lines = [json.loads(line) for line in f]
    for line in lines:
        tokens = judge.tokens(line["text"])
        ours += encoder.label(int(encoder.classify(tokens)[0].argmax())) == line["label"]
        theirs += judge.model.config.id2label[int(judge.read(tokens)[1][0].argmax())] == line["label"]
    return f" right {ours}/{len(lines)} (transformers {theirs})"


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--types", default="f32,f16,q8_0")
    p.add_argument("--labelled")
    p.add_argument("build")
    p.add_argument("folder", nargs="+")
    o = p.parse_args()
    transformers.logging.set_verbosity_error()
    texts, failed = sentences(), False
    for folder in o.folder:
        judge = Judge(folder)
        for type in o.types.split(","):
            with tempfile.TemporaryDirectory() as out:
                path = os.path.join(out, "model.gguf")
                subprocess.run([f"{o.build}/llmos", "convert", "--type", type, folder, path], check=True,
                               stderr=subprocess.DEVNULL)
                encoder = Encoder(f"{o.build}/libllmos.so", path)
                equal, least, worst, same, rows = compare(encoder, judge, texts)
                line = f"{os.path.basename(folder.rstrip('/'))} {type} ids {equal}/{len(texts)} cosine {least:.8f}"
                if rows:
                    line += f" scores {worst:.1e} labels {same}/{rows}"
                if o.labelled:
                    line += accuracy(encoder, judge, o.labelled)
                print(line, flush=True)
                failed |= equal < len(texts) or least < LEAST[type]
                encoder.close()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
