#!/usr/bin/env python3
"""make_jinja_vectors.py - writes tests/data/jinja.json: small templates and what Python's jinja2 makes of them.

usage: python3 tools/make_jinja_vectors.py > tests/data/jinja.json        (pip install transformers jinja2)

Each is {"template", "variables", "expected"}, or "refused": true instead of "expected".  All of a line
of TEXTS is one template; EXPRESSIONS stand in {{ }}.
"""
import json

from judge_templates import environment

VARIABLES = {
    "a": 7, "b": -3, "f": 2.5, "t": True, "n": None, "s": "Hello, World", "u": "Größe 東京 🎉", "e": "",
    "l": [3, 1, 2], "m": [{"r": "u", "c": " x "}, {"r": "a", "c": "y", "k": {"z": [1, 2]}}, {"r": "u"}],
    "d": {"b": 1, "A": [1.0, None, True], "c": {"items": "x", "q": "it's \"ok\" \\ \n"}}, "w": "  a b\tc\n ",
}

EXPRESSIONS = r"""
1 + 2 * 3 - 4 / 2
7 // 2, -7 // 2, 7 % 3, -7 % 3, 7 % -3, 7.5 // 2, -7.5 % 2
2 ** 10, 2 ** -1, -2 ** 2
9223372036854775807
9223372036854775807 - 1, -9223372036854775807 - 1
1_000, 0x1f, 0b101, 0o17, 1e3, 1.5e-7, 1e16, 123456789012345.0, 0.1, 1e22, 1e-5, 1.0
1 < 2 < 3, 1 < 3 < 2, 1 == 1.0, 'a' < 'b', [1, 2] < [1, 3], 1 != 2 == true
not a == 7, not not a, not (a is defined)
a and b, n or 'x', e or n or 0, t and s
'x' if a > 5 else 'y', ('x' if a > 50), 'p' if t else 'q' if n else 'r'
a in l, 3 in l, 'ell' in s, 'b' in d, 'zz' not in d, 1 in (1, 2)
1 in 'abc'
a ~ b ~ f ~ t ~ n ~ l, ('x' ~ 1) + '2'
'x' ~ 1 + 2
'a' 'b' "c"
'tab\there', 'nl\\n', '\x41\u00e9\U0001f600\101', '\q', 'it\'s'
s[0], s[-1], s[2:5], s[::-1], s[-3:], s[:-3], s[1:8:3], s[10:2:-2], s[5:2], s[100:], u[6:8], u[::-1]
l[0], l[-1], l[5], l[1:], l[::-1], l[:2], l[::2], l[-2:-1], (1, 2, 3)[1:]
d.b, d['b'], d.c.q, d['c']['q'], d.missing, d['missing'], d.A[1], m[1].k.z[0], m[1]['k'].z.1
d.c['items'], d.c.items is callable
missing
missing.attribute
missing['item']
n.x, n['x'], a.x
[1, 'a', none, true, 1.5, [], {}, (), (1,), {'k': 'v', 2: [3]}]
{'a': 1, 'b': {'c': [1, 2]}}, {}['x']
(1, 2) == (1, 2), [1] == [1.0], {'a': 1} == {'a': 1}, [1, 2] == (1, 2), 'a' == 1, n == missing
'it\'s', ["it's", 'say "x"', 'both \' "', 'back\\slash', 'nl\n', '\x07', '\u00ad', 'ü', '\u2028', '🎉']
s.upper(), s.lower(), s.title(), s.capitalize(), s.swapcase(), u.upper(), 'ß'.upper(), 'ŉ ǆ'.title()
"they're bill's friends".title(), "they're bill's"|title, 'a-b c(d'|title, 'aBC dEF'|capitalize
w.strip(), w.lstrip(), w.rstrip(), 'xxaxx'.strip('x'), 'abcba'.lstrip('ab'), '東a東'.strip('東')
w.split(), s.split(', '), 'a,b,c'.split(',', 1), 'a,b,c'.rsplit(',', 1), ''.split(), ''.split(','), ' a  b '.split(none, 1)
'a b  c d'.rsplit(none, 2), 'a\nb\r\nc\u2028d'.splitlines(), 'a\nb'.splitlines(true)
s.split('')
s.startswith('He'), s.endswith('ld'), s.startswith(('x', 'H')), s.endswith(''), s.startswith('e', 1)
s.replace('l', 'L'), s.replace('l', 'L', 1), 'abc'.replace('', '-'), s.find('o'), s.rfind('o'), s.find('zz'), s.count('l'), u.find('京')
s.index('zz')
', '.join(['a', 'b']), 'a'.join([]), 'abc'.partition('b'), 'abcb'.rpartition('b'), 'abc'.partition('x')
', '.join([1])
'12'.isdigit(), 'ab'.isalpha(), 'a1'.isalnum(), ' '.isspace(), ''.isdigit(), 'AB'.isupper(), 'ab'.islower()
'7'.zfill(3), '-7'.zfill(4), 'ab'.ljust(4, '.'), 'ab'.rjust(4), 'ab'.center(5, '*'), 'abc'.removeprefix('ab'), 'abc'.removesuffix('x')
'{} and {}'.format(1, 'x'), '{1}{0}'.format('a', 'b'), '{k}'.format(k=2), '{{}}'.format()
'%s %d %05.2f %r %%'|format('x', 3, 2.5, 'q'), '%s' % s, '%s-%s' % (1, 2), '%-4s|%4s|' % ('a', 'b'), '%x %X %o' % (255, 255, 8)
'%d' % 'x'
d.keys()|list, d.values()|list, d.items()|list, d.get('b'), d.get('x'), d.get('x', 5), d.keys(), d.items(), d.values()
d.update({'x': 1})
l.index(2), l.count(3), (1, 2).index(2)
a|string + 'x', 5|string|length, l|length, s|length, u|length, d|length, missing|length, d.items()|length
a|length
(l|map('string'))|length
s|first, s|last, l|first, l|last, []|first, d|first, u|last
l|sort, l|sort(reverse=true), ['b', 'A', 'c']|sort, ['b', 'A', 'c']|sort(case_sensitive=true), m[:2]|sort(attribute='r')|map(attribute='r')|list
l|reverse|list, s|reverse, l|unique|list, [1, 1.0, 'a', 'A']|unique|list
[1, 'a']|sort
l|min, l|max, l|sum, []|min, ['b', 'A']|max, [[1], [2]]|sum(start=[]), m[1].k.z|sum
m|map(attribute='r')|list, m|map(attribute='c', default='-')|list, m[1:2]|map(attribute='k.z.0')|list, ['a', 'b']|map('upper')|join
m|selectattr('c')|list|length, m|selectattr('r', 'equalto', 'u')|list|length, m|rejectattr('k', 'defined')|map(attribute='r')|join(',')
[1, 2, 3, 4]|select('even')|list, [1, 2, 3, 4]|reject('gt', 2)|list, [0, 1, '']|select|list, l|select('in', [1, 2])|list
l|select('nonsense')|list
l|nonsense
l is nonsense
l|join(', '), l|join, m|join('|', attribute='r'), 'abc'|join('-'), d|join(',')
d|dictsort, d|dictsort(true), {'a': 2, 'b': 1}|dictsort(by='value'), {'a': 2, 'b': 1}|dictsort(reverse=true)
d|items|list, missing|items|list
n|items|list
d|tojson, d|tojson(indent=2), []|tojson(indent=2), {}|tojson(indent=2), u|tojson, u|tojson(ensure_ascii=true), (1, 2)|tojson
{'b': 1, 'a': [1, 2]}|tojson(sort_keys=true, separators=(',', ':')), {1: 2, none: 3, true: 4, 1.5: 5}|tojson, 1e30|tojson, '\x7f\x1f\u2028</script>'|tojson
missing|tojson
range(3)|tojson
'a\nb\n\nc'|indent, 'a\nb\n\nc'|indent(2, true), 'a\nb\n\nc'|indent(2, blank=true), 'a\nb'|indent('>>'), ''|indent
w|trim, 'xax'|trim('x'), n|trim, missing|trim, a|upper, n|lower
missing|default('x'), n|default('x'), n|default('x', true), e|d('x'), e|d('x', boolean=true), missing|d, d.x|default(d.b)
'12'|int, ' 12 '|int, '1_0'|int, '12.7'|int, 'x'|int, 'x'|int(5), '0x1f'|int(base=16), 'ff'|int(base=16), 3.9|int, -3.9|int, none|int, true|int
'1.5'|float, 'x'|float, 'x'|float(2.5), 3|float, '1e3'|float, 'inf'|float, '0x1'|float
-5|abs, (-5)|abs, (-2.5)|abs, 2.5|round, 3.5|round, 2.567|round(2), 2.567|round(1, 'floor'), 2.5|round(0, 'ceil'), 7|round, 7|round(1)
'<a href="x">&\'</a>'|escape, '<b>'|safe, '<b>'|safe + '<c>', ('<c>' + '<b>'|safe), '<b>'|safe ~ '<c>', '<'|e|e, '<'|e|forceescape
[1, 2, 3, 4, 5]|batch(2)|list, [1, 2, 3]|batch(2, 'x')|list, [1, 2, 3, 4, 5]|slice(2)|list, [1, 2, 3]|slice(2, 'x')|list
'foo bar baz qux'|truncate(9), 'foo bar baz qux'|truncate(9, true), 'foo bar'|truncate(7), 'foo bar baz'|truncate(5, false, '!', 0), 'a b_c d'|wordcount, 'a b/ü'|urlencode, 'ab'|center(6)
m[:2]|groupby('r')|list|length
a is odd, a is even, a is divisibleby 7, a is number, a is integer, f is float, t is boolean, t is integer, t is number, n is none, t is true, t is false
s is string, l is iterable, s is iterable, a is iterable, l is sequence, d is sequence, d is mapping, l is mapping, missing is sequence, missing is iterable, range is callable
a is defined, missing is defined, missing is undefined, d.x is defined, d.b is defined, d.items is defined, d.c.items is defined
'a' is lower, 'A' is upper, a is eq 7, a is gt(5), a is lt 5, a is ne 7, 1 is in [1], a is sameas a, n is sameas none, 'upper' is filter, 'odd' is test
a is not odd, not a is odd, a is odd and b is odd, a is defined and a > 3
l is string if t else d is mapping
range(3), range(1, 4)|list, range(5, 0, -2)|list, range(0), range(3)[1], range(3)|length, range(10)[2:4]|list
range(1000000)
dict(a=1, b=2), dict({'x': 1}, y=2), dict([('k', 1)])
namespace(a=1).a, namespace({'b': 2}).b, namespace().c
'x' * 3, 3 * 'x', [1] * 2, 'x' * -1, [1] + [2], (1,) + (2,)
'x' + 1
1 + n
-s
-missing
l()
a.b.c
t + t, true - 1, 1 / 3, 10 / 5
1 / 0
1 // 0
1.0 % 0
(1, 2)|string, (1,)|string, ()|string
{'a': missing}|string
l|map('upper')|list, l|list is sequence, (l|map('string')) is sequence
{'a': 1, **{'b': 2}}
raise_exception('that is wrong')
l|attr('count') is callable, d|attr('b') is defined
s|replace('l', 1), 12|replace(1, 'x'), u|replace('京', '')
'%s'|format(l), l|string|length
strftime_now('%%') , strftime_now('x')
[] is sameas []
s is in [s]
""".strip("\n").split("\n")

TEXTS = [
    "{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.revindex }}{{ loop.revindex0 }}{{ x }};{% endfor %}",
    "{% for x in l %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }},{{ loop.cycle('a', 'b') }}{{ loop.changed(x > 1) }} {% endfor %}",
    "{% for x in [] %}x{% else %}none{% endfor %}{% for x in missing %}x{% else %}none{% endfor %}",
    "{% for x in n %}{% endfor %}",
    "{% for x in a %}{% endfor %}",
    "{% for x in l if x > 1 %}{{ loop.index }}/{{ loop.length }}:{{ x }} {% else %}no{% endfor %}{% for x in l if x > 9 %}{% else %}no{% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}{% for k in d %}{{ k }}{% endfor %}{% for c in 'aé🎉' %}<{{ c }}>{% endfor %}",
    "{% for k, v in [[1, 2], (3, 4)] %}{{ k }}{{ v }}{% endfor %}{% for (i, (j, k)) in [[1, [2, 3]]] %}{{ i }}{{ j }}{{ k }}{% endfor %}",
    "{% for k, v in [[1, 2, 3]] %}{% endfor %}",
    "{% for x in range(9) %}{% if x == 2 %}{% continue %}{% endif %}{% if x > 4 %}{% break %}{% endif %}{{ x }}{% endfor %}",
    "{% for x in [1, 2] %}{% for y in [1, 2, 3] %}{% if y == 2 %}{% break %}{% endif %}{{ x }}{{ y }} {% endfor %}{% endfor %}",
    "{% for x in [[1, [2, [3]]]] recursive %}({{ loop.depth }}{{ x if x is number else loop(x) }}){% endfor %}",
    "{% set x = 1 %}{% for y in [1] %}{% set x = 2 %}{{ x }}{% endfor %}{{ x }}{% if true %}{% set x = 3 %}{% endif %}{{ x }}",
    "{% set ns = namespace(x=0) %}{% for y in l %}{% set ns.x = ns.x + y %}{% endfor %}{{ ns.x }}",
    "{% set x.y = 1 %}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set c = 1, 2 %}{{ c }}{% set (d, e) = [3, 4] %}{{ d }}{{ e }}",
    "{% set x %} a {{ s }} {% endset %}[{{ x }}]{% set y | upper | trim %} b {% endset %}[{{ y }}]",
    "{% macro f(a, b=2, c=a) %}{{ a }}{{ b }}{{ c }};{% endmacro %}{{ f(1) }}{{ f(1, 3) }}{{ f(b=4, a=5) }}{{ f() }}{{ f(*[7, 8]) }}{{ f(**{'a': 9}) }}",
    "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, 2) }}",
    "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(z=2) }}",
    "{% macro f() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1, 2, x=3) }}",
    "{% macro f(n) %}{{ n }}{% if n > 0 %},{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(3) }}{{ f.name }}",
    "{% macro f() %}[{{ caller() }}]{% endmacro %}{% call f() %}in {{ s }}{% endcall %}",
    "{% macro f() %}[{{ caller(1, 2) }}]{% endmacro %}{% call(x, y=5) f() %}{{ x }}{{ y }}{% endcall %}",
    "{% macro f() %}{{ x }}{% endmacro %}{% set x = 1 %}{{ f() }}{% for x in [2] %}{{ f() }}{% endfor %}",
    "{% macro f() %}{% set q = 1 %}{{ q }}{% endmacro %}{{ f() }}{{ q }}",
    "{% filter upper %}a{{ s }}{% endfilter %}{% filter replace('a', 'b')|trim %} aa {% endfilter %}",
    "{% with x = 1, y = 2 %}{{ x }}{{ y }}{% endwith %}{{ x }}{% with %}{% set z = 1 %}{% endwith %}{{ z }}",
    "{% generation %}{{ s }}{% set g = 1 %}{% endgeneration %}{{ g }}",
    "{% raw %}{{ no }}{% if %}{% endraw %}{#- comment -#} x {# {{ y }} #}z",
    "a\n{% if true %}\nb\n{% endif %}\nc\n",
    "a\n  {% if true %}\n  b\n  {% endif %}\nc",
    "a {%- if true -%} b {%- endif -%} c",
    "a \n {%+ if true %}\n b \n{% endif +%}\nc",
    "  {{ 1 }}  \n  {{- 2 -}}  \n  {# x #}\n  y\n\n",
    "\n\n{%- set x = 1 -%}\n\n {{ x }}\n",
    "x {% if true %} y\n{% endif %}z",
    "  {# a #} {# b #}\nx",
    "a\r\n{% if true %}\r\nb\r{% endif %}\nc",
    "{%-raw-%} a {%-endraw-%} b{% raw %}\nx\n{% endraw %}\ny",
    "{% if a == 1 %}1{% elif a == 7 %}7{% elif a %}x{% else %}y{% endif %}{% if n %}{% else %}e{% endif %}",
    "{% if missing %}x{% endif %}{% if not missing %}y{% endif %}{{ 'z' if missing is defined }}",
    "{{ m|selectattr('r', 'equalto', 'zz') and 'generators are true' }}{{ 'e' if [] else 'f' }}",
    "{% set g = m|map(attribute='r') %}{{ g|list }}{{ g|list }}{% set h = l|map('string') %}{{ h|first }}{{ h|join }}",
    "{% print 1, 2 %}{% print s %}",
    "{{ '{{' }}{{ '%}' }}{{ \"}}\" }}{{ {'a': {'b': 1}}['a'] }}",
    "{% set j = joiner(', ') %}{% for x in l %}{{ j() }}{{ x }}{% endfor %}",
    "{% for role, items in m|groupby('r') %}{{ role }}:{{ items|length }} {% endfor %}",
    "{% if x %}", "{% endif %}", "{{ 1 +", "{{ }}", "{% for x %}{% endfor %}", "{% nonsense %}", "{{ 'a }}", "{# a", "{{ (1 }}",
    "{% break %}", "{{ 1 2 }}", "{% set 1 = 2 %}", "{{ a b }}", "{% raw %}x", "{{ f(a=1, 2) }}", "{{ [1, 2 }}", "{{ !a }}",
    "{{ missing.x.y }}", "{{ d.x.y }}", "{% for x in d.x %}{% endfor %}ok{{ d.x|length }}",
    "{{ l|map(attribute='x')|list }}{{ m[0].get('c', '').strip() }}{{ (m[1].k or {}).get('z') }}",
    "{% for x in l|sort %}{{ ', ' if not loop.first else '' }}{{ x }}{% endfor %}{{- '\\n' -}} end",
    "{{ m[0]['c'] | trim + '\\n' }}|{{ 'a' + s | upper }}|{{ -1 | abs }}|{{ 2 * 3 | string }}",
    "{% set x = [] %}{% set y = x + [1] %}{{ y }}{% set z = {} %}{{ dict(z, k=1) }}",
    "{{ none ~ true ~ 1.0 ~ [none] }}{{ none }}{{ true }}{{ 1.0 }}",
]


def vector(template):
    out = {"template": template}
    try:
        out["expected"] = environment().from_string(template).render(**VARIABLES)
    except Exception:  # whatever it is, it must be refused
        out["refused"] = True
    return out


def main():
    vectors = [vector("{{ " + e + " }}") for e in EXPRESSIONS] + [vector(t) for t in TEXTS]
    print('{"variables": ' + json.dumps(VARIABLES) + ', "vectors": [')
    print(",\n".join(json.dumps(v) for v in vectors))
    print("]}")


if __name__ == "__main__":
    main()
