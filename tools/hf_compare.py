#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""hf_compare.py CONVERTER FOLDER OURS.gguf - is what we made of a folder what llama.cpp would make?

CONVERTER is its convert_hf_to_gguf.py; it runs here with --outtype f32 or the type that our file
has.  Its pre-tokenizer is found by a hash of known vocabularies, which a tiny one is not, so ours is
taken over.  Compared are keys and, tensor by tensor, shape and values.  Differences are printed; the
exit status says whether there were any in the tensors.
"""
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile

import numpy as np

# Keys that we write and it does not, or otherwise, on purpose.
OURS_ONLY = ("general.", "llmos.", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.normalizer", "GGUF.")


def load(path):
    from gguf import GGUFReader, dequantize
    r = GGUFReader(path)
    keys = {}
    for name, field in r.fields.items():
        keys[name] = field.contents()
    tensors = {}
    for t in r.tensors:
        values = np.asarray(t.data)
        if t.tensor_type.name == "BF16":
            values = (np.frombuffer(values.tobytes(), dtype=np.uint16).astype(np.uint32) << 16).view(np.float32)
        else:
            values = np.asarray(values, dtype=np.float32)
        tensors[t.name] = (tuple(int(n) for n in t.shape), values.reshape(-1), t.tensor_type.name)
    return keys, tensors


def as_it_knows(folder, copy):
    """A copy of the folder as transformers 4 wrote it: rotation beside the other keys, no nulls."""
    shutil.copytree(folder, copy)
    path = os.path.join(copy, "config.json")
    with open(path) as f:
        config = {k: v for k, v in json.load(f).items() if v is not None}
    rope = config.pop("rope_parameters", None) or {}
    rope = rope.get("full_attention", rope)
    if "rope_theta" in rope:
        config["rope_theta"] = rope["rope_theta"]
    if rope.get("rope_type", "default") != "default":
        config["rope_scaling"] = dict(rope, type=rope["rope_type"])
        config.setdefault("original_max_position_embeddings", rope.get("original_max_position_embeddings"))
    if "n_positions" in config:
        config["n_ctx"] = config["n_positions"]
    with open(path, "w") as f:
        json.dump(config, f)
    return copy


def subclasses(cls):
    return {cls}.union(*map(subclasses, cls.__subclasses__()))


def convert(script, folder, out, pre):
    sys.path.insert(0, os.path.dirname(script))
    spec = importlib.util.spec_from_file_location("converter", script)
    m = importlib.util.module_from_spec(spec)
    sys.modules["converter"] = m
    spec.loader.exec_module(m)
    if hasattr(m, "get_model_class"):  # since 2026 the classes are in files of their own
        with open(os.path.join(folder, "config.json")) as f:
            m.get_model_class(json.load(f)["architectures"][0])
    for cls in subclasses(getattr(m, "ModelBase", None) or m.Model):
        if "get_vocab_base_pre" in vars(cls):
            cls.get_vocab_base_pre = lambda self, tokenizer: pre
        # Ours are tokenizer.json alone; where it insists on tokenizer.model, tensors are compared all the same.
        for name in ("_set_vocab_sentencepiece", "set_vocab"):
            if name in vars(cls):
                setattr(cls, name, falling_back(vars(cls)[name]))
    sys.argv = ["convert", folder, "--outfile", out, "--outtype", "f32"]
    m.main()


def falling_back(set_vocab):
    def wrapped(self, *args, **kwargs):
        try:
            set_vocab(self, *args, **kwargs)
        except (FileNotFoundError, ValueError):
            self._set_vocab_gpt2()
    return wrapped


def same(a, b):
    if isinstance(a, float) or isinstance(b, float):
        return abs(a - b) <= 1e-6 * max(abs(a), abs(b), 1e-30)
    return a == b


def main():
    if sys.argv[1] == "--convert":
        return convert(*sys.argv[2:6])
    script, folder, ours = sys.argv[1:4]
    our_keys, our_tensors = load(ours)
    with tempfile.TemporaryDirectory() as d:
        out = os.path.join(d, "peer.gguf")
        # In a process of its own: it brings a gguf package of its own age.
        subprocess.run([sys.executable, __file__, "--convert", script,
                        as_it_knows(folder, os.path.join(d, "folder")), out,
                        our_keys.get("tokenizer.ggml.pre") or "default"], check=True)
        keys, tensors = load(out)
    for k in sorted(set(keys) | set(our_keys)):
        if k.startswith(OURS_ONLY):
            continue
        if k not in our_keys:
            print("  only theirs:", k, str(keys[k])[:60])
        elif k not in keys:
            print("  only ours:", k, str(our_keys[k])[:60])
        elif not same(keys[k], our_keys[k]):
            print("  differs:", k, str(keys[k])[:70], "| ours", str(our_keys[k])[:70])
    bad = 0
    for name in sorted(set(tensors) | set(our_tensors)):
        if name not in our_tensors or name not in tensors:
            print("  tensor only", "theirs:" if name in tensors else "ours:", name)
            bad += 1
        elif tensors[name][0] != our_tensors[name][0]:
            print("  shape of", name, tensors[name][0], our_tensors[name][0])
            bad += 1
        elif not np.array_equal(tensors[name][1], our_tensors[name][1]):
            print("  values of", name, "differ by", np.abs(tensors[name][1] - our_tensors[name][1]).max())
            bad += 1
    print("%s: %d tensors, %d differ" % (os.path.basename(folder), len(tensors), bad))
    return bad > 0


sys.exit(main())
