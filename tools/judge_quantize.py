#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""judge_quantize.py - are our quantised files as good as those of llama.cpp's quantiser?

usage: judge_quantize.py LLMOS LLAMA_CPP_BIN MODEL.gguf TEXT [--context N] [--chunks N] [TYPE ...]

Makes the model in every type with `LLMOS quantize` and with llama-quantize.  Three readings of the text: ours of our file,
ours of theirs, theirs (llama-perplexity) of theirs; the divergence of both files from the model, by `LLMOS perplexity`; and
how much of a greedy text of 60 tokens is what llama-server says with their file: ours with theirs, then ours with ours, in
bytes of all.  Exits with 1 if the perplexities of our file, by ours, and of theirs, by theirs, differ by more than 0.5 %.
"""
import argparse
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

TYPES = ("F32 F16 BF16 Q8_0 Q6_K Q5_K_M Q5_K_S Q5_1 Q5_0 Q4_K_M Q4_K_S Q4_1 Q4_0 IQ4_NL IQ4_XS Q3_K_M Q3_K_S Q2_K TQ1_0 TQ2_0").split()
PROMPT, LENGTH = "Once upon a time", 60


def run(*command, **options):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **{"stderr": subprocess.DEVNULL, **options}).stdout


def perplexity(o, model):
    """and the divergence from the model that the file was made of"""
    said = json.loads(run(o.llmos, "perplexity", "--json", "-c", str(o.context), "--chunks", str(o.chunks), "-t", "1", "--kl-base",
                          o.model, model, o.text))
    return said["perplexity"], said["kl_divergence"]


def their_perplexity(o, model):
    said = run(o.bin / "llama-perplexity", "-m", model, "-f", o.text, "-c", str(o.context), "--chunks", str(o.chunks), "-t", "1",
               env=o.env, stderr=subprocess.STDOUT)
    return float(re.search(r"PPL = ([0-9.]+)", said).group(1))


def greedy(o, model):
    return run(o.llmos, "run", "--raw", "-t", "1", "-n", str(LENGTH), "-T", "0", model, PROMPT).rstrip("\n")


def their_greedy(o, model):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    server = subprocess.Popen([o.bin / "llama-server", "-m", model, "-t", "1", "-c", "512", "--port", str(port)], env=o.env,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        body = json.dumps({"prompt": PROMPT, "n_predict": LENGTH, "temperature": 0, "top_k": 1}).encode()
        for _ in range(600):
            try:
                with urllib.request.urlopen("http://127.0.0.1:%d/health" % port):
                    break
            except OSError:
                time.sleep(0.1)
        request = urllib.request.Request("http://127.0.0.1:%d/completion" % port, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)["content"].rstrip("\n")
    finally:
        server.kill()
        server.wait()


def same(a, b):
    n = len(os.path.commonprefix([a.lstrip(), b.lstrip()]))
    return "all" if n == len(a.lstrip()) == len(b.lstrip()) else "%d of %d" % (n, len(b.lstrip()))


def main():
    p = argparse.ArgumentParser()
    p.add_argument("llmos")
    p.add_argument("bin", type=pathlib.Path)
    p.add_argument("model")
    p.add_argument("text")
    p.add_argument("--context", type=int, default=256)
    p.add_argument("--chunks", type=int, default=1 << 20)
    p.add_argument("types", nargs="*")
    o = p.parse_intermixed_args()
    o.env = {**os.environ, "LD_LIBRARY_PATH": str(o.bin)}
    good = True
    print("| type | ours | theirs by ours | theirs | difference | divergence | of theirs | text: theirs by ours | text: ours |")
    print("|" + " --- |" * 9)
    for kind in o.types or TYPES:
        with tempfile.TemporaryDirectory() as folder:
            ours, theirs = os.path.join(folder, "ours.gguf"), os.path.join(folder, "theirs.gguf")
            run(o.llmos, "quantize", "-t", "1", o.model, ours, kind)
            if subprocess.run([o.bin / "llama-quantize", "--allow-requantize", o.model, theirs, kind, "1"], env=o.env, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL).returncode:
                print("| %s | %.4f | llama-quantize makes none |  |  | %.1e |  |  |  |" % (kind, *perplexity(o, ours)), flush=True)
                continue
            (a, kl_a), (b, kl_b), c = perplexity(o, ours), perplexity(o, theirs), their_perplexity(o, theirs)
            judge, said, own = their_greedy(o, theirs), greedy(o, theirs), greedy(o, ours)
            good &= abs(a / c - 1) <= 0.005
            print("| %s | %.4f | %.4f | %.4f | %+.2f %% | %.1e | %.1e | %s | %s |" % (
                kind, a, b, c, 100 * (a / c - 1), kl_a, kl_b, same(said, judge), same(own, judge)), flush=True)
    sys.exit(not good)


main()
