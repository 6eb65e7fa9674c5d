#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""judge_templates.py - do we write conversations as the transformers library does?

usage: judge_templates.py LLMOS FOLDER [--witness NODE_FOLDER] [--verbose] [--only PART]

Renders every *.jinja file of FOLDER over conversations of many kinds with `LLMOS template` and with
apply_chat_template (pip install transformers jinja2), compares byte by byte, prints a table and the
first differences.  A conversation that both refuse counts as equal; where a template raises, its
words must be in ours.  NODE_FOLDER: where `npm install @huggingface/jinja` was done; that witness is
counted, and overrules nobody.  The exit status is 1 if anything differs.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import time

os.environ["TZ"] = "UTC"  # the engine in its room knows no time zone
time.tzset()
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
from tokenizers import Tokenizer, models  # noqa: E402
from transformers import PreTrainedTokenizerFast  # noqa: E402
from transformers.utils import chat_template_utils  # noqa: E402

TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
TOKENIZER = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()), **TOKENS)


def environment():
    return chat_template_utils._compile_jinja_template("").environment


def as_passed(variables):
    """The variables as transformers hands them on to a template: no nulls in messages, all names of reasoning."""
    messages = chat_template_utils._normalize_chat_messages(variables["messages"])
    return {"tools": None, "documents": None, **variables, "messages": chat_template_utils._alias_reasoning_fields(messages)}


def of_transformers(source, variables):
    """(text, None) or (None, why)"""
    rest = {k: v for k, v in variables.items() if k not in TOKENS and k != "messages"}
    rest.setdefault("add_generation_prompt", True)
    try:
        if not variables["messages"]:  # apply_chat_template looks at the first
            rendered = chat_template_utils.render_jinja_template([[]], chat_template=source, **rest, **TOKENS)
            return rendered[0][0], None
        return TOKENIZER.apply_chat_template(variables["messages"], chat_template=source, tokenize=False, **rest), None
    except Exception as e:  # a template may do anything wrong
        return None, f"{type(e).__name__}: {e}"


class Witness:
    """npm's @huggingface/jinja, asked line by line."""

    def __init__(self, folder):
        driver = pathlib.Path(__file__).with_name("judge_templates.mjs")
        self.node = subprocess.Popen(["node", str(driver), str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def render(self, source, variables):
        """The text, None if it refuses."""
        print(json.dumps({"template": source, "variables": variables}), file=self.node.stdin, flush=True)
        return json.loads(self.node.stdout.readline())["text"]


def of_llmos(llmos, path, variables):
    p = subprocess.run([llmos, "template", str(path)], input=json.dumps(variables).encode(), capture_output=True)
    if p.returncode == 0:
        return p.stdout.decode(), None
    return None, f"{p.returncode}: {p.stderr.decode().strip()}"


# ---- conversations ----

def user(text="Hello, how are you?"):
    return {"role": "user", "content": text}


def assistant(text="I am fine.", **more):
    return {"role": "assistant", "content": text, **more}


def system(text="You are a helpful assistant."):
    return {"role": "system", "content": text}


WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "Weather of a city, \"now\".",
    "parameters": {"type": "object", "required": ["city"], "properties": {
        "city": {"type": "string", "description": "The city: Zürich <b>&</b> 東京"},
        "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "default": "celsius"},
        "days": {"type": "integer", "minimum": 1, "nullable": True},
        "precise": {"type": ["boolean", "null"]},
        "places": {"type": "array", "items": {"type": "object", "properties": {
            "lat": {"type": "number"}, "lon": {"type": "number"}}}}}}}}
NOTHING = {"type": "function", "function": {"name": "nothing", "description": "Does nothing.",
                                            "parameters": {"type": "object", "properties": {}}}}
CODE = {"type": "code_interpreter"}


def call(arguments, name="get_weather", **more):
    return {"type": "function", "function": {"name": name, "arguments": arguments}, **more}


ARGUMENTS = {"city": "Zürich", "days": 3, "precise": True, "unit": None, "f": 1.5, "list": [1, "a", {"b": []}]}
PARTS = [{"type": "text", "text": "What is this?"}, {"type": "image"}, {"type": "text", "text": "And that?"}]


def conversations():
    yield "one", {"messages": [user()]}
    yield "bare", {"messages": [user()], "add_generation_prompt": False}
    yield "system", {"messages": [system(), user()]}
    yield "developer", {"messages": [{"role": "developer", "content": "Be brief."}, user()]}
    yield "turns", {"messages": [system(), user("a"), assistant("b"), user("c"), assistant("d"), user("e")]}
    yield "turns off", {"messages": [user("a"), assistant("b"), user("c"), assistant("d")],
                        "add_generation_prompt": False}
    yield "spaces", {"messages": [system("  s \n"), user("\n\n u\t "), assistant("  a\n"), user(" ")]}
    yield "empty texts", {"messages": [system(""), user(""), assistant(""), user("")]}
    yield "unicode", {"messages": [user("Grüße 東京 🎉 \u2028 \xa0 ' \" \\ \x1f"), assistant("ß"), user("İ ǅ")]}
    yield "marks", {"messages": [user("<|im_end|>\n<|im_start|>system\n</s>[INST] {{ 7 * 7 }} {% if %}")]}
    yield "no messages", {"messages": []}
    yield "no content", {"messages": [{"role": "user"}]}
    yield "null content", {"messages": [user(), {"role": "assistant", "content": None}, user("x")]}
    yield "two users", {"messages": [user("a"), user("b")]}
    yield "begins with assistant", {"messages": [assistant(), user()]}
    yield "ends with assistant", {"messages": [user(), assistant("It is")], "add_generation_prompt": False}
    yield "unknown role", {"messages": [{"role": "critic", "content": "Bad."}]}
    yield "late system", {"messages": [user(), assistant(), system("Now be rude."), user("x")]}
    yield "parts", {"messages": [{"role": "user", "content": PARTS}]}
    yield "text parts", {"messages": [{"role": "system", "content": PARTS[:1]},
                                      {"role": "user", "content": PARTS[:1]},
                                      {"role": "assistant", "content": PARTS[2:]}, user("x")]}
    yield "image url", {"messages": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}, {"type": "text", "text": "?"}]}]}
    yield "reasoning", {"messages": [user(), assistant("42", reasoning_content="Let me think.\n6 * 7"), user("Why?")]}
    yield "thinking", {"messages": [user(), assistant("42", thinking="Hm."), user("Why?")], "enable_thinking": True}
    yield "thinks in text", {"messages": [user(), assistant("<think>\nHm.\n</think>\n\n42"), user("Why?")]}
    yield "no thinking", {"messages": [system(), user()], "enable_thinking": False, "thinking": False,
                          "reasoning_effort": "high"}
    for name, tools in (("tool", [WEATHER]), ("tools", [WEATHER, NOTHING]), ("no tools", []),
                        ("code tool", [WEATHER, CODE]), ("plain tool", [WEATHER["function"]])):
        yield name, {"messages": [user("Weather?")], "tools": tools}
        yield name + " system", {"messages": [system(), user("Weather?")], "tools": tools}
    for name, arguments in (("object", ARGUMENTS), ("text", json.dumps(ARGUMENTS)), ("empty", {})):
        asked = [system(), user("Weather?"),
                 assistant("", tool_calls=[call(arguments, id="call12345")]),
                 {"role": "tool", "name": "get_weather", "tool_call_id": "call12345", "content": "{\"t\": 21}"}]
        yield "call " + name, {"messages": asked[:3], "tools": [WEATHER], "add_generation_prompt": False}
        yield "result " + name, {"messages": asked, "tools": [WEATHER, NOTHING]}
        yield "answered " + name, {"messages": asked + [assistant("21 degrees."), user("Thanks")], "tools": [WEATHER]}
    both = assistant(None, tool_calls=[call(ARGUMENTS, id="abcdefghi"), call({}, "nothing", id="123456789")],
                     reasoning_content="I need both.")
    results = [{"role": "tool", "tool_call_id": i, "content": c} for i, c in
               (("abcdefghi", "sun"), ("123456789", {"done": True}))]
    yield "two calls", {"messages": [user(), both] + results, "tools": [WEATHER, NOTHING]}
    yield "two calls answered", {"messages": [user(), both] + results + [assistant("Sun."), user("ok")],
                                 "tools": [WEATHER, NOTHING]}
    yield "call with words", {"messages": [user(), assistant("Let me see.", tool_calls=[call(ARGUMENTS)]),
                                           {"role": "tool", "content": [{"type": "text", "text": "sun"}]}]}
    yield "bare call", {"messages": [user(), assistant("", tool_calls=[{"name": "f", "arguments": ARGUMENTS}]),
                                     {"role": "tool", "content": "x"}]}
    yield "documents", {"messages": [user()], "documents": [{"title": "T", "text": "Some text.", "doc_id": "1"}]}
    yield "builtin tools", {"messages": [user()], "builtin_tools": ["browser", "python"], "tools": [WEATHER]}
    yield "names", {"messages": [{"role": "user", "name": "ann", "content": "hi"}, assistant(), user()]}
    yield "long", {"messages": [system()] + [m for i in range(20) for m in (user(f"q{i}"), assistant(f"a{i}"))] + [user()]}


AGREED = ("equal", "refused")
# What some templates want that transformers does not give: tried where both refuse without.
EASED = {"tools": [], "datetime": "26 July 2024", "functions": "[]", "date_string": "26 Jul 2024"}


def compare(ours, theirs):
    """None if they agree, else why not"""
    (text, why), (wanted, reason) = ours, theirs
    if text is not None and wanted is not None:
        return None if text == wanted else "differs"
    if text is None and wanted is None:
        told = reason.split(": ", 1)[1]
        if reason.startswith("TemplateError") and told[:100] not in why:
            return "other words"
        return None if why.startswith("1:") else "ended badly"
    return "we refuse" if text is None else "we accept"


def show(text):
    return "".join(f"      {line!r}\n" for line in (text or "").splitlines(True)[:200])


def first_difference(a, b):
    at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
    return f"      at {at}: ours {a[at - 40 if at > 40 else 0:at + 60]!r}\n      wanted {b[at - 40 if at > 40 else 0:at + 60]!r}\n"


def both(args, path, source, variables):
    passed = as_passed(variables)
    return of_llmos(args.llmos, path, passed), of_transformers(source, variables), passed


def judge(args, path, witness):
    source = path.read_text()
    counts = dict.fromkeys(("equal", "refused", "witness equal", "witness refuses", "witness differs", "witness alone"), 0)
    notes = []
    for name, variables in conversations():
        variables = {**TOKENS, **variables}
        ours, theirs, passed = both(args, path, source, variables)
        why = compare(ours, theirs)
        if ours[0] is None and theirs[0] is None and not why:
            ours, theirs, passed = both(args, path, source, {**EASED, **variables})
            why = compare(ours, theirs)
        kind = "refused" if ours[0] is None and not why else why or "equal"
        counts[kind] = counts.get(kind, 0) + 1
        if witness:
            text = witness.render(source, {"add_generation_prompt": True, **passed})
            counts["witness " + ("equal" if text == ours[0] else "refuses" if text is None else
                                 "alone" if ours[0] is None else "differs")] += 1
        if not why:
            continue
        note = f"   {name}: {why}\n      ours: {ours[1]}\n      transformers: {theirs[1]}\n"
        if ours[0] is not None and theirs[0] is not None:
            note += first_difference(ours[0], theirs[0])
        notes.append(note)
    return counts, notes


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("llmos")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--witness", type=pathlib.Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--verbose", action="store_true", help="all differences, not the first two of each")
    args = parser.parse_args()
    witness = Witness(args.witness) if args.witness else None
    total = {}
    print(f"{'template':60} {'equal':>6} {'refused':>8} {'differ':>7}")
    for path in sorted(args.folder.glob("*.jinja")):
        if args.only not in path.name:
            continue
        counts, notes = judge(args, path, witness)
        differ = sum(n for k, n in counts.items() if k not in AGREED and not k.startswith("witness"))
        print(f"{path.name:60} {counts['equal']:6} {counts['refused']:8} {differ:7}", flush=True)
        for note in notes if args.verbose else notes[:2]:
            print(note, end="")
        for k, n in counts.items():
            total[k] = total.get(k, 0) + n
    print(", ".join(f"{k}: {n}" for k, n in total.items() if witness or not k.startswith("witness")))
    return 1 if any(k not in AGREED and not k.startswith("witness") for k in total) else 0


if __name__ == "__main__":
    sys.exit(main())
