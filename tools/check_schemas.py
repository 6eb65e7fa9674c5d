#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""check_schemas.py - random texts of JSON schemas and regular expressions, judged by other people's validators.

Each text must be valid; and of those changed at random, what is not valid must not be a text of the grammar.

Wants the package jsonschema[format] (pip, in a venv outside of this tree).
usage: check_schemas.py build/tests/e2e/schema_say [TEXTS_EACH]
"""
import decimal
import json
import random
import re
import subprocess
import sys
import tempfile

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
     ("date", "time", "date-time", "duration", "uuid", "email", "hostname", "ipv4", "ipv6", "uri", "idn-email", "idn-hostname", "iri", "uri-reference", "iri-reference", "uri-template", "json-pointer", "relative-json-pointer", "regex")] + [
    {"type": "integer", "minimum": lo, "maximum": hi} for lo, hi in
    ((0, 9), (5, 5), (-3, 7), (17, 4123), (-120, -7), (99, 1001), (0, 1000000), (-1, 0), (1990, 2035))
] + [
    {"type": "integer", "minimum": 1}, {"type": "integer", "exclusiveMinimum": 9}, {"type": "integer", "maximum": 30},
    {"type": "integer", "exclusiveMaximum": -5}, {"type": "integer", "minimum": 2.5, "maximum": 7.5}, {"type": "integer", "minimum": 123},
    {"type": "number", "minimum": 0}, {"type": "number", "exclusiveMinimum": 0, "maximum": 100}, {"type": "number", "minimum": -5, "exclusiveMaximum": 5},
    {"type": "number", "maximum": -2}, {"type": "number", "exclusiveMinimum": 1, "exclusiveMaximum": 2}, {"minimum": 3, "maximum": 3, "type": "number"},
    {"oneOf": [{"type": "number"}, I]}, {"type": "object", "properties": {"a": S, "b": I}, "oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
    {"oneOf": [obj(required=[], more=False, a=S, c=I), obj(required=[], more=False, a={"type": ["string", "null"]})]},
    {"type": "integer", "oneOf": [{"maximum": 5}, {"minimum": 3}, {"multipleOf": 4}]}, {"oneOf": [{"type": "string", "maxLength": 4}, {"type": "string", "pattern": "^a"}]},
    {"type": "array", "items": {"type": "integer", "minimum": -2, "maximum": 9, "multipleOf": 2}, "uniqueItems": True, "minItems": 2},
    {"anyOf": [S, obj(a=I)]}, {"oneOf": [I, S, {"type": "array", "items": I}]},
    {"oneOf": [obj(kind={"const": "a"}, x=I, more=False), obj(kind={"const": "b"}, y=S, more=False)]},
    {"allOf": [obj(a=S), obj(b=I)]}, {"allOf": [{"type": "integer", "minimum": 3}, {"maximum": 8}]},
    {"type": "object", "properties": {"a": S}, "required": ["a"], "anyOf": [obj(b=I), obj(c=I)]},
    {"$defs": {"s": {"type": "string", "maxLength": 3}}, "type": "object", "properties": {"x": {"$ref": "#/$defs/s", "minLength": 2}}, "required": ["x"]},
    TREE, {"type": "array", "items": {"$ref": "#"}, "maxItems": 2},
    {"$defs": {"a/b~c %": I}, "type": "array", "items": {"$ref": "#/$defs/a~1b~0c%20%25"}, "minItems": 1},
    # numbers between bounds that are not whole, multiples
    {"type": "number", "minimum": 0.5}, {"type": "number", "exclusiveMinimum": -1.25, "maximum": 3.75}, {"type": "number", "minimum": 0.001, "maximum": 0.01},
] + [{"type": t, "multipleOf": m} for t in ("integer", "number") for m in (1, 2, 3, 7, 10, 12, 100, 250, 365, 1000, 0.5, 0.25, 2.5, 1000000)] + [
    {"type": "number", "multipleOf": 0.01}, {"type": "number", "multipleOf": 0.05, "minimum": 0, "maximum": 5},
    {"type": "integer", "multipleOf": 5, "minimum": -12, "exclusiveMaximum": 40}, {"allOf": [{"type": "integer", "multipleOf": 4}, {"multipleOf": 6, "maximum": 100}]},
    # names and numbers of properties
    {"type": "object", "patternProperties": {"^a": S}}, {"patternProperties": {"^a": I, "b$": {"maximum": 5}}, "additionalProperties": False},
    {"type": "object", "properties": {"ab": {"minimum": 3}, "c": S}, "patternProperties": {"^a": I, "z$": {"maximum": 9}}, "additionalProperties": {"type": "null"}},
    {"type": "object", "patternProperties": {"^[a-z]{1,3}$": I}, "required": ["abc"], "properties": {"zz": {"minimum": 2}}},
    {"type": "object", "propertyNames": {"maxLength": 2}}, {"type": "object", "propertyNames": {"pattern": "^[a-c]+$", "minLength": 2}, "additionalProperties": I},
    {"type": "object", "propertyNames": {"enum": ["x", "y", "z"]}, "additionalProperties": I, "minProperties": 2}, {"propertyNames": False},
    {"properties": {"a": I, "bb": I, "ccc": I}, "propertyNames": {"maxLength": 2}}, {"type": "object", "propertyNames": {"not": {"enum": ["a", "ab"]}}},
    {"type": "object", "minProperties": 1}, {"type": "object", "minProperties": 1, "maxProperties": 2, "additionalProperties": I}, {"type": "object", "maxProperties": 0},
    {"type": "object", "properties": {"a": I, "b": I, "c": I, "d": I}, "minProperties": 2, "maxProperties": 3},
    {"type": "object", "properties": {"a": I, "b": I, "c": I}, "required": ["b"], "minProperties": 2, "maxProperties": 4, "additionalProperties": {"type": "null"}},
    # arrays that contain, and whose items differ
    {"type": "array", "contains": {"const": 7}}, {"type": "array", "items": I, "contains": {"minimum": 10}, "minContains": 2, "maxContains": 3, "maxItems": 6},
    {"type": "array", "prefixItems": [S, I, S], "contains": {"const": 3}}, {"type": "array", "items": {"enum": [1, 2, 3]}, "contains": {"const": 2}, "maxContains": 1},
    {"type": "array", "contains": S, "minContains": 0, "maxContains": 1, "items": {"type": ["string", "integer"]}, "minItems": 2},
    {"type": "array", "items": {"enum": ["a", "b", "c"]}, "uniqueItems": True}, {"items": {"enum": [1, 1.0, "1", True]}, "uniqueItems": True, "minItems": 2},
    {"type": "array", "items": {"enum": list(range(12))}, "uniqueItems": True, "minItems": 2, "maxItems": 5}, {"items": {"type": ["boolean", "null"]}, "uniqueItems": True},
    {"type": "array", "uniqueItems": True, "maxItems": 1},
    # what is not, and on conditions
    {"type": "string", "not": {"enum": ["a", "ab", "é\n"]}}, {"type": "string", "not": {"pattern": "b"}, "maxLength": 4}, {"not": S}, {"not": {"const": None}, "type": ["null", "integer"]},
    {"type": "integer", "not": {"const": 5}, "minimum": 0, "maximum": 12}, {"type": "number", "not": {"enum": [0, 1.5, -3]}, "minimum": -4, "maximum": 2}, {"type": "number", "not": I},
    {"type": "integer", "not": {"multipleOf": 3}}, {"not": {"anyOf": [S, {"type": "object"}]}}, {"not": {"type": "number", "minimum": 3}, "type": "number"},
    {"type": "object", "properties": {"a": I, "b": I}, "not": {"required": ["a", "b"]}}, {"type": "array", "items": {"enum": [1, 2]}, "not": {"contains": {"const": 1}}, "minItems": 1},
    {"type": "array", "items": {"enum": [1, 2]}, "not": {"items": {"const": 1}}}, {"type": "boolean", "not": {"const": True}},
    {"type": "object", "properties": {"kind": {"enum": ["a", "b"]}, "x": I, "y": S}, "required": ["kind"], "if": {"properties": {"kind": {"const": "a"}}},
     "then": {"required": ["x"]}, "else": {"required": ["y"], "properties": {"x": False}}},
    {"type": "object", "properties": {"country": {"enum": ["US", "NL", "DE"]}, "code": S}, "required": ["country", "code"],
     "if": {"properties": {"country": {"const": "US"}}, "required": ["country"]}, "then": {"properties": {"code": {"pattern": "^[0-9]{5}$"}}},
     "else": {"properties": {"code": {"pattern": "^[A-Z]{2} ?[0-9]{4}$", "maxLength": 6}}}},
    {"type": "integer", "if": {"minimum": 10}, "then": {"multipleOf": 10}, "else": {"exclusiveMinimum": 3}},
    {"type": "object", "properties": {"card": I, "street": S, "zip": I}, "dependentRequired": {"card": ["street"], "street": ["zip"]}},
    {"type": "object", "properties": {"a": I, "b": I}, "dependentSchemas": {"a": {"properties": {"b": {"minimum": 5}}, "required": ["b"]}}},
    {"type": "object", "properties": {"a": I, "b": I}, "dependencies": {"a": ["b"]}, "minProperties": 1},
    # together
    {"enum": [1, 5, "a", "abc", [1], [1, 1], {"a": 1}], "minimum": 3, "minLength": 2, "uniqueItems": True, "minProperties": 1},
    {"type": "string", "pattern": "^a", "maxLength": 3, "allOf": [{"pattern": "z$"}]}, {"type": "string", "format": "hostname", "maxLength": 8, "pattern": "a"},
    {"allOf": [{"prefixItems": [S, {"minimum": 2}]}, {"items": {"type": ["string", "integer"]}}]}, {"type": "string", "minLength": 3, "pattern": "^[ab]*$", "maxLength": 5},
    {"allOf": [{"properties": {"c": S}, "additionalProperties": I}, {"properties": {"b": {"minimum": 1}}}]}, {"oneOf": [{"type": "number", "multipleOf": 5}, S]},
    {"type": "array", "items": {"type": "object", "properties": {"id": I, "tags": {"type": "array", "items": {"enum": ["x", "y"]}, "uniqueItems": True}}, "required": ["id"],
                                "patternProperties": {"^x-": S}, "maxProperties": 3}, "minItems": 1},
]

REGEXES = [
    "abc", "a|bc*|", "(a|b){2,3}c?", "[a-z]+@[a-z]+\\.(com|org)", "\\d{3}-\\d{4}", "[^\\n\"]{1,5}", ".", "\\w+\\s\\W", "(?:x(?P<n>y)?)+?",
    "^foo$", "[\\]\\-\\\\^]+", "[a\\d_-]{2}", "\\u00e9\\x41", "(a(b(c(d)?)?)?)?", "\\+?[0-9]{1,3}", "[é-ü]{2}", "\\D\\S", "a{2,}b{0,1}",
]

REFUSED = [
    ({"not": {"format": "date"}}, "not"), ({"type": "array", "uniqueItems": True}, "uniqueItems"), ({"type": "object", "patternProperties": {"(?!a)": S}}, "patternProperties"),
    ({"type": "integer", "multipleOf": 1009}, "multipleOf"), ({"type": "strin"}, "type"), ({"typ": "string"}, "did you mean 'type'"),
    ({"type": "string", "format": "datetime"}, "format"), ({"$ref": "http://x/y"}, "$ref"), ({"$ref": "#/$defs/x"}, "leads to nothing"),
    ({"oneOf": [S, {"format": "date"}]}, "may both hold"), ({"type": "string", "pattern": "(?=a)"}, "looking ahead"), (False, "nothing is valid"),
    ({"type": "number", "minimum": 1e-40}, "minimum"), ({"properties": {"a": {"items": {"if": {"oneOf": [S]}, "then": S}}}}, "#/properties/a/items"),
    ({"allOf": [{"$ref": "#"}]}, "without end"), ({"type": "integer", "minimum": 3, "maximum": 2}, "minimum"),
    ({"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}, "itself"), ({"$dynamicRef": "#x"}, "$dynamicRef"), ({"type": "object", "minProperties": 3}, "minProperties"),
    ({"type": "array", "contains": {"oneOf": [S]}, "maxContains": 2}, "contains"), ({"type": "object", "unevaluatedProperties": S}, "unevaluatedProperties"),
]


def say(program, kind, text, count, seed=1):
    r = subprocess.run([program, kind, str(count), str(seed)], input=text.encode(), capture_output=True, check=False)
    return r.returncode, [json.loads(line) for line in r.stdout.decode().split('\n') if line], r.stderr.decode().strip()


def judged(program, schema, texts):
    with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
        json.dump(texts, f)
        f.flush()
        r = subprocess.run([program, "schema", f.name], input=json.dumps(schema).encode(), capture_output=True, check=False)
    answers = [c == '1' for c in r.stdout.decode().split()]
    if len(answers) != len(texts):
        raise RuntimeError(r.stderr.decode())
    return answers


def mutated(value, rng):
    """The value with something in it changed."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        key = rng.choice(list(value))
        rest = {k: v for k, v in value.items() if k != key}
        return rng.choice([rest, {**rest, rng.choice(["a", "b", "ab", "x", "kind", key + "a"]): value[key]}, {**value, key: mutated(value[key], rng)},
                           {**value, rng.choice(["a", "b", "x", "abz", "zz"]): rng.choice([0, "a", None])}])
    if isinstance(value, list) and value and rng.random() < 0.8:
        i = rng.randrange(len(value))
        return rng.choice([value[:i] + value[i + 1:], value + [value[i]], value[:i] + [mutated(value[i], rng)] + value[i + 1:], value[:i] + value[i:] + value])
    if isinstance(value, bool) or value is None:
        return rng.choice([True, False, None, 0, "", [], {}])
    if isinstance(value, (int, float)):
        return rng.choice([value + 1, value - 1, -value, value * 10, value + 0.5, value // 2, 0, 5, 10, str(value)])
    if isinstance(value, str):
        i = rng.randrange(len(value) + 1)
        return rng.choice([value[:i] + rng.choice("ab1z-\\\"é ") + value[i:], value[:i], value[i:], value[:i] + value[i + 1:], value * 2, 0, None])
    return rng.choice([0, 1, -1, 1.5, "", "a", "abc", None, True, [], [1], {}, {"a": 1}])


def is_valid(validator, text):
    try:
        # Numbers as they are written: binary ones would round multiples of 0.01.
        validator.validate(json.loads(text, parse_float=decimal.Decimal))
        return True
    except Exception:  # noqa: BLE001 - whatever it is
        return False


def no_double(pairs):
    keys = [k for k, _ in pairs]
    if len(set(keys)) != len(keys):
        raise ValueError(f"a key twice: {keys}")
    return dict(pairs)


def main():
    program, count = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1000
    wrong = texts = refused = 0
    for schema in SCHEMAS:
        rng = random.Random(1)
        validator = Draft202012Validator(json.loads(json.dumps(schema), parse_float=decimal.Decimal), format_checker=Draft202012Validator.FORMAT_CHECKER)
        code, said, why = say(program, "schema", json.dumps(schema) if not isinstance(schema, bool) else "{}", count)
        short = json.dumps(schema)[:100]
        if code not in (0, 3) or not said:
            print(f"not ok {short}: {code} {why}")
            wrong += 1
            continue
        for text in said:
            try:
                validator.validate(json.loads(text, parse_float=decimal.Decimal, object_pairs_hook=no_double if schema not in ({}, True, {"type": "object"}) and
                                              not re.search("additionalProp|patternProp|propertyN|minProp|maxProp|not", json.dumps(schema)) else dict))
            except Exception as e:  # noqa: BLE001 - whatever it is, it is wrong
                print(f"not ok {short}: {text[:200]!r}: {str(e)[:200]}")
                wrong += 1
                break
        texts += len(said)
        bad = []
        for text in said:
            changed = json.dumps(mutated(json.loads(text), rng), ensure_ascii=False)
            if not is_valid(validator, changed):
                bad.append(changed)
        refused += len(bad)
        taken = [t for t, yes in zip(bad, judged(program, schema, bad)) if yes]
        if taken:
            print(f"not ok {short}: takes {taken[0][:200]!r}")
            wrong += 1
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
    print(f"{texts} texts of {len(SCHEMAS)} schemas and {len(REGEXES)} regular expressions, {refused} texts that are not valid, "
          f"{len(REFUSED)} refusals, {wrong} wrong")
    return wrong > 0


if __name__ == "__main__":
    sys.exit(main())
