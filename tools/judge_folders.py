#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""judge_folders.py BUILD [NAME ...] - do converted folders compute what Hugging Face transformers computes?

    VENV/bin/python tools/judge_folders.py [--keep FOLDER] build [NAME ...]

VENV as for reference_models.py.  The models are tiny and random, but their config.json has the keys
of published ones, as they stand there (tools/published.py).  transformers reads each folder;
build/llmos converts it to f32, and build/libllmos.so runs it.  For a sequence of random tokens the
logits of every position are compared:

    NAME error 3.1e-07 (f32 alone 2.9e-07) tokens 48/48

error: the largest difference, of the largest logit.  The judge computes in f64; f32 alone: how far
transformers itself is off when it computes in f32.  Keys and values are rounded to f16 in both, as
our cache keeps them: where f32 falls to the other side of such a rounding, it is off by more.
tokens: positions at which the most likely token is the same.  A folder that is refused is printed
with the sentence; the exit status is 1 if one is off by more than 1e-4 and by more than four times what f32 alone is.
"""
import argparse
import contextlib
import ctypes as C
import importlib
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch
import transformers

import published


class Error(C.Structure):
    _fields_ = [("code", C.c_int), ("text", C.c_char * 252)]


class ContextOptions(C.Structure):
    _fields_ = [("threads", C.c_uint32), ("context_tokens", C.c_uint32), ("sessions_max", C.c_uint32),
                ("kv_tokens", C.c_uint32), ("batch_tokens", C.c_uint32), ("memory_max_bytes", C.c_uint64),
                ("draft_max", C.c_uint32), ("draft_lookup", C.c_bool), ("draft_model", C.c_void_p),
                ("kv_type", C.c_char_p)]


class Engine:
    def __init__(self, library, path, context):
        self.lib = C.CDLL(library)
        self.lib.llmos_session_logits.restype = C.POINTER(C.c_float)
        self.error, self.model, self.context = Error(), C.c_void_p(), C.c_void_p()
        self.check(self.lib.llmos_model_open(C.byref(self.model), path.encode(), C.byref(self.error)))
        options = ContextOptions(threads=1, context_tokens=context, batch_tokens=1)
        self.check(self.lib.llmos_context_create(C.byref(self.context), self.model, C.byref(options),
                                                 C.byref(self.error)))

    def check(self, rc):
        if rc < 0:
            raise ValueError(self.error.text.decode())
        return rc

    def logits(self, tokens, vocab):
        """Of every position, of the sequence as a whole."""
        session, out = C.c_void_p(), (C.c_char * 1024)()
        self.check(self.lib.llmos_session_create(C.byref(session), self.context, None, C.byref(self.error)))
        ids = (C.c_int32 * len(tokens))(*tokens)
        self.check(self.lib.llmos_session_append(session, ids, C.c_size_t(len(tokens)), C.byref(self.error)))
        rows = []
        for _ in tokens:
            self.check(self.lib.llmos_context_step(self.context, C.byref(session), C.c_size_t(1), out,
                                                   C.byref(self.error)))
            rows.append(np.ctypeslib.as_array(self.lib.llmos_session_logits(session), (vocab,)).astype(np.float64))
        self.lib.llmos_session_destroy(session)
        return np.stack(rows)

    def close(self):
        self.lib.llmos_context_destroy(self.context)
        self.lib.llmos_model_close(self.model)


def round_cache(model):
    """Keys and values as an f16 cache has them."""
    for module in {type(m).__module__ for m in model.modules()}:
        module = importlib.import_module(module)
        plain = getattr(module, "plain_attention", getattr(module, "eager_attention_forward", None))
        if plain is None:
            continue
        module.plain_attention = plain

        def attention(m, query, key, value, *args, plain=plain, **kwargs):
            return plain(m, query, key.half().to(key.dtype), value.half().to(value.dtype), *args, **kwargs)

        module.eager_attention_forward = attention


@contextlib.contextmanager
def no_f32():
    """Norms, angles and softmax are computed in f32 whatever the model's type is, unless f32 means f64."""
    names = torch.float32, torch.float, torch.Tensor.float
    torch.float32 = torch.float = torch.float64
    torch.Tensor.float = torch.Tensor.double
    yield
    torch.float32, torch.float, torch.Tensor.float = names


def judged(folder, architecture, dtype, tokens):
    model = getattr(transformers, architecture).from_pretrained(folder, dtype=dtype, attn_implementation="eager",
                                                                  experts_implementation="eager").eval()
    round_cache(model)
    with torch.no_grad(), no_f32() if dtype == torch.float64 else contextlib.nullcontext():
        return model(input_ids=torch.tensor([tokens]), use_cache=False).logits[0].double().numpy()


def judge(build, name, folder, n):
    config, vocab = published.make(folder, name)
    architecture = config["architectures"][0]
    path = os.path.join(folder, "model.gguf")
    done = subprocess.run([f"{build}/llmos", "convert", "--type", "f32", folder, path], capture_output=True, text=True)
    if done.returncode:
        print(f"{name} refused: {done.stderr.strip()}", flush=True)
        return name in published.REFUSED
    engine = Engine(f"{build}/libllmos.so", path, 64)
    worst = alone = 0.0
    same = 0
    tokens = torch.randint(0, vocab, (n,), generator=torch.Generator().manual_seed(n)).tolist()
    for part in [tokens[:14], tokens]:
        exact = judged(folder, architecture, torch.float64, part)
        f32 = judged(folder, architecture, torch.float32, part)
        ours = engine.logits(part, exact.shape[1])
        worst = max(worst, abs(ours - exact).max() / abs(exact).max())
        alone = max(alone, abs(f32 - exact).max() / abs(exact).max())
        same += (ours.argmax(1) == exact.argmax(1)).sum()
    engine.close()
    print(f"{name} error {worst:.1e} (f32 alone {alone:.1e}) tokens {same}/{n + 14}", flush=True)
    return worst < max(1e-4, 4 * alone)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--keep")
    p.add_argument("--tokens", type=int, default=48)
    p.add_argument("build")
    p.add_argument("name", nargs="*")
    o = p.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    failed = False
    for name in o.name or published.MODELS:
        with tempfile.TemporaryDirectory() as out:
            folder = os.path.join(o.keep or out, name)
            os.makedirs(folder, exist_ok=True)
            try:
                failed |= not judge(o.build, name, folder, o.tokens)
            except Exception as why:  # the next ones are judged all the same
                print(f"{name} failed: {type(why).__name__} {why}", flush=True)
                failed = True
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
