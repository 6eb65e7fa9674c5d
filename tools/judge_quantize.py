#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""judge_quantize.py - are our quantised files as good as those of llama.cpp's quantiser?

usage: judge_quantize.py LLMOS LLAMA_CPP_BIN MODEL.gguf TEXT [--context N] [TYPE ...]

Makes the model in every type with `LLMOS quantize` and with llama-quantize, and has `LLMOS perplexity`
read the text with both files.  Prints a table, with how much of a greedy text is the same; exits with 1
if two perplexities differ by more than 0.5 %.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

TYPES = ("F16 BF16 Q8_0 Q6_K Q5_K_M Q5_K_S Q5_1 Q5_0 Q4_K_M Q4_K_S Q4_1 Q4_0 IQ4_NL IQ4_XS Q3_K_M Q3_K_S Q2_K TQ1_0 TQ2_0").split()


def run(*command, **options):
    return subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout


def perplexity(o, model):
    return json.loads(run(o.llmos, "perplexity", "--json", "-c", str(o.context), "-t", "1", model, o.text))["perplexity"]


def greedy(o, model):
    return run(o.llmos, "run", "--raw", "-t", "1", "-n", "60", "-T", "0", model, "Once upon a time")


def main():
    p = argparse.ArgumentParser()
    p.add_argument("llmos")
    p.add_argument("bin", type=pathlib.Path)
    p.add_argument("model")
    p.add_argument("text")
    p.add_argument("--context", type=int, default=256)
    p.add_argument("types", nargs="*")
    o = p.parse_args()
    good = True
    print("| type | ours | llama.cpp's | difference | same bytes of greedy text |\n| --- | --- | --- | --- | --- |")
    for kind in o.types or TYPES:
        with tempfile.TemporaryDirectory() as folder:
            ours, theirs = os.path.join(folder, "ours.gguf"), os.path.join(folder, "theirs.gguf")
            run(o.llmos, "quantize", "-t", "1", o.model, ours, kind)
            run(o.bin / "llama-quantize", o.model, theirs, kind, "1", env={**os.environ, "LD_LIBRARY_PATH": str(o.bin)})
            a, b = perplexity(o, ours), perplexity(o, theirs)
            said = [greedy(o, m) for m in (ours, theirs)]
            same = len(os.path.commonprefix(said))
            good &= abs(a / b - 1) <= 0.005
            print("| %s | %.4f | %.4f | %+.2f %% | %d of %d |" % (kind, a, b, 100 * (a / b - 1), same, len(said[0])), flush=True)
    sys.exit(not good)


main()
