#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""check_schemas.py - random texts of JSON schemas and regular expressions, judged by other people's validators.

Wants the package jsonschema[format] (pip, in a venv outside of this tree).
usage: check_schemas.py build/tests/e2e/schema_say [TEXTS_EACH]
"""
import json
import re
import subprocess
import sys

from jsonschema import Draft202012Validator

S = {"type": "string"}
I = {"type": "integer"}
TREE = {"$defs": {"node": {"type": "object", "properties": {"v": I, "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
                           "required": ["v", "next"], "additionalProperties": False}}, "$ref": "#/$defs/node"}


def obj(required=None, more=None, **properties):
    s = {"type": "object", "properties": properties, "required": list(properties) if required is None else required}
    if more is not None:
        s["additionalProperties"] = more
    return s


SCHEMAS = [
    {}, True, {"type": "object"}, {"type": "array"}, S, I, {"type": "number"}, {"type": "boolean"}, {"type": "null"},
    {"type": ["string", "null", "integer"]}, {"enum": ["a", "b\"c\\", 3, None, True, {"a": [1]}, "é\n"]}, {"const": {"x": [1.5, "y"]}},
    {"type": "string", "enum": ["red", "green", 5]},
    obj(a=S, b=I, more=False), obj(required=[], a=S, b=I, c={"type": "boolean"}), obj(required=["b"], a=S, b=I, c=S),
    obj(required=["c"], a=S, b=I, c=S, more=True), obj(a=S, ab=I, abc=S, more={"type": "integer"}), obj(required=[], more={"type": "boolean"}), obj(required=["and"], **{"and": I, "also": S, "all-": S, "é\"x": S}, more={"type": "null"}),
    obj(required=["z"], a=S), {"properties": {"a": I}}, {"type": "object", "additionalProperties": {"type": "array", "items": I}},
    {"type": "array", "items": I}, {"type": "array", "items": S, "minItems": 2, "maxItems": 4}, {"type": "array", "minItems": 3},
    {"type": "array", "maxItems": 2}, {"prefixItems": [S, I, {"type": "boolean"}]}, {"prefixItems": [S], "items": I, "minItems": 2},
    {"type": "array", "prefixItems": [S, I], "items": False, "minItems": 1}, {"type": "array", "items": False},
    {"type": "string", "minLength": 3}, {"type": "string", "maxLength": 4}, {"type": "string", "minLength": 2, "maxLength": 5},
    {"type": "string", "pattern": "^[a-c]+\\d{2}$"}, {"type": "string", "pattern": "[f-z]|b[aeiou]r$"}, {"pattern": "^\\w+@(x|y)\\.com$"},
    {"type": "string", "pattern": "^[^a-z]{2,4}$"}, {"type": "string", "pattern": "^\"\\\\.\\s?$"},
] + [{"type": "string", "format": f} for f in
     ("date", "time", "date-time", "duration", "uuid", "email", "hostname", "ipv4", "ipv6", "uri")] + [
    {"type": "integer", "minimum": lo, "maximum": hi} for lo, hi in
    ((0, 9), (5, 5), (-3, 7), (17, 4123), (-120, -7), (99, 1001), (0, 1000000), (-1, 0), (1990, 2035))
] + [
    {"type": "integer", "minimum": 1}, {"type": "integer", "exclusiveMinimum": 9}, {"type": "integer", "maximum": 30},
    {"type": "integer", "exclusiveMaximum": -5}, {"type": "integer", "minimum": 2.5, "maximum": 7.5}, {"type": "integer", "minimum": 123},
    {"type": "number", "minimum": 0}, {"type": "number", "exclusiveMinimum": 0, "maximum": 100}, {"type": "number", "minimum": -5, "exclusiveMaximum": 5},
    {"type": "number", "maximum": -2}, {"type": "number", "exclusiveMinimum": 1, "exclusiveMaximum": 2}, {"minimum": 3, "maximum": 3, "type": "number"},
    {"anyOf": [S, obj(a=I)]}, {"oneOf": [I, S, {"type": "array", "items": I}]},
    {"oneOf": [obj(kind={"const": "a"}, x=I, more=False), obj(kind={"const": "b"}, y=S, more=False)]},
    {"allOf": [obj(a=S), obj(b=I)]}, {"allOf": [{"type": "integer", "minimum": 3}, {"maximum": 8}]},
    {"type": "object", "properties": {"a": S}, "required": ["a"], "anyOf": [obj(b=I), obj(c=I)]},
    {"$defs": {"s": {"type": "string", "maxLength": 3}}, "type": "object", "properties": {"x": {"$ref": "#/$defs/s", "minLength": 2}}, "required": ["x"]},
    TREE, {"type": "array", "items": {"$ref": "#"}, "maxItems": 2},
    {"$defs": {"a/b~c %": I}, "type": "array", "items": {"$ref": "#/$defs/a~1b~0c%20%25"}, "minItems": 1},
]

REGEXES = [
    "abc", "a|bc*|", "(a|b){2,3}c?", "[a-z]+@[a-z]+\\.(com|org)", "\\d{3}-\\d{4}", "[^\\n\"]{1,5}", ".", "\\w+\\s\\W", "(?:x(?P<n>y)?)+?",
    "^foo$", "[\\]\\-\\\\^]+", "[a\\d_-]{2}", "\\u00e9\\x41", "(a(b(c(d)?)?)?)?", "\\+?[0-9]{1,3}", "[é-ü]{2}", "\\D\\S", "a{2,}b{0,1}",
]

REFUSED = [
    ({"not": S}, "not"), ({"type": "array", "uniqueItems": True}, "uniqueItems"), ({"type": "object", "patternProperties": {"^a": S}}, "patternProperties"),
    ({"type": "integer", "multipleOf": 3}, "multipleOf"), ({"type": "strin"}, "type"), ({"typ": "string"}, "did you mean 'type'"),
    ({"type": "string", "format": "regex"}, "format"), ({"$ref": "http://x/y"}, "$ref"), ({"$ref": "#/$defs/x"}, "leads to nothing"),
    ({"oneOf": [{"type": "number"}, I]}, "may both hold"), ({"type": "string", "pattern": "(?=a)"}, "looking ahead"), (False, "nothing is valid"),
    ({"type": "number", "minimum": 0.5}, "minimum"), ({"properties": {"a": {"items": {"if": S}}}}, "#/properties/a/items"),
    ({"allOf": [{"$ref": "#"}]}, "without end"), ({"type": "integer", "minimum": 3, "maximum": 2}, "minimum"),
    ({"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}, "itself"),
]


def say(program, kind, text, count, seed=1):
    r = subprocess.run([program, kind, str(count), str(seed)], input=text.encode(), capture_output=True, check=False)
    return r.returncode, [json.loads(line) for line in r.stdout.decode().split('\n') if line], r.stderr.decode().strip()


def no_double(pairs):
    keys = [k for k, _ in pairs]
    if len(set(keys)) != len(keys):
        raise ValueError(f"a key twice: {keys}")
    return dict(pairs)


def main():
    program, count = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1000
    wrong = texts = 0
    for schema in SCHEMAS:
        validator = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
        code, said, why = say(program, "schema", json.dumps(schema) if not isinstance(schema, bool) else "{}", count)
        short = json.dumps(schema)[:100]
        if code not in (0, 3) or not said:
            print(f"not ok {short}: {code} {why}")
            wrong += 1
            continue
        for text in said:
            try:
                validator.validate(json.loads(text, object_pairs_hook=no_double if schema not in ({}, True, {"type": "object"}) and
                                              "additionalProperties" not in json.dumps(schema) else dict))
            except Exception as e:  # noqa: BLE001 - whatever it is, it is wrong
                print(f"not ok {short}: {text[:200]!r}: {str(e)[:200]}")
                wrong += 1
                break
        texts += len(said)
        if len(said) < count // 2:
            print(f"# only {len(said)} of {count}: {short}")
    for regex in REGEXES:
        code, said, why = say(program, "regex", regex, count)
        bad = [t for t in said if not re.fullmatch(regex, t, re.ASCII)]
        texts += len(said)
        if code not in (0, 3) or not said or bad:
            print(f"not ok {regex}: {code} {why} {bad[:3]}")
            wrong += 1
    for schema, part in REFUSED:
        code, _, why = say(program, "schema", json.dumps(schema) if schema is not False else '{"properties": {"a": false}, "required": ["a"]}', 1)
        if code != 1 or (part not in why and schema is not False):
            print(f"not ok {json.dumps(schema)}: {code} {why!r} lacks {part!r}")
            wrong += 1
    print(f"{texts} texts of {len(SCHEMAS)} schemas and {len(REGEXES)} regular expressions, {len(REFUSED)} refusals, {wrong} wrong")
    return wrong > 0


if __name__ == "__main__":
    sys.exit(main())
