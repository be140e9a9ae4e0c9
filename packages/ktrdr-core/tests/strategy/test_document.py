"""YAML within limits: any text gives a tree with places or a list of problems."""

from __future__ import annotations

import pytest

from ktrdr.core.limits import LONGEST_STRATEGY
from ktrdr.core.strategy.document import plain, read_document, write_document


def read(text: str):
    document = read_document(text)
    assert not document.problems, document.problems
    return plain(document.root)


def problem(text: str) -> str:
    document = read_document(text)
    assert len(document.problems) == 1
    found = document.problems[0]
    return f"{found.line}:{found.column}: {found.path}: {found.message}"


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1", 1),
        ("-12", -12),
        ("1_000", 1000),
        ("1.5", 1.5),
        ("1e-4", 1e-4),
        ("1E3", 1000.0),
        (".5", 0.5),
        ("true", True),
        ("No", False),
        ("on", True),
        ("null", None),
        ("~", None),
        ("", None),
        ("010", "010"),
        ("010.5", 10.5),
        ("1.", 1.0),
        ("1_0.5e1", 105.0),
        ("12:30", "12:30"),
        ("2017-01-01", "2017-01-01"),
        ("0x1F", "0x1F"),
        ("'1'", "1"),
        ('"true"', "true"),
        (".nan", ".nan"),
        (".inf", ".inf"),
        ("1e999", "1e999"),
        ("9223372036854775808", 2.0**63),
        ("9223372036854775807", 9223372036854775807),
        ("1h", "1h"),
        ("NULLS", "NULLS"),
    ],
)
def test_plain_scalars_are_what_older_files_mean_by_them(written, value):
    found = read(f"key: {written}\n")["key"]
    assert found == value
    assert type(found) is type(value)


def test_every_value_has_its_place():
    root = read_document("a:\n  - x\n  - {b: 1}\n").root
    entry = root.value["a"]
    assert (entry.line, entry.column) == (1, 1)
    first, second = entry.node.value
    assert (first.line, first.column) == (2, 5)
    assert (second.value["b"].line, second.value["b"].column) == (3, 6)


def test_an_anchor_and_a_merge_mean_what_they_do_in_yaml():
    text = "a: &one {x: 1, y: 2}\nb: {<<: *one, y: 3}\nc: {<<: [{z: 4}, *one]}\nd: *one\n"
    assert read(text) == {
        "a": {"x": 1, "y": 2},
        "b": {"x": 1, "y": 3},
        "c": {"z": 4, "x": 1, "y": 2},
        "d": {"x": 1, "y": 2},
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "1:1: : the file is empty"),
        ("# only a comment\n", "the file is empty"),
        ("---\n...\n", "the file is empty"),
        ("a: 1\n---\nb: 2\n", "2:1: : a second YAML document begins here"),
        ("a: [1, 2\nb: 3\n", "1:4: : not valid YAML: "),
        ("a: !!python/object/apply:os.system ['x']\n", "1:4: a: YAML tags such as `tag:yaml.org,2002:python"),
        ("a: !!str 1\n", "1:4: a: YAML tags"),
        ("!thing a: 1\n", "YAML tags"),
        ("a:\n\tb: 1\n", "2:1: : not valid YAML: a tab cannot indent; use spaces"),
        ("a: *nowhere\n", "1:4: a: there is no anchor `&nowhere` above `*nowhere`; add the anchor"),
        ("a: &x [1, *x]\n", "1:11: a[1]: `*x` stands inside its own anchor `&x`; remove it"),
        ("[1, 2]: 3\n", "a key must be a word, not a list or a map"),
        ("a: &x k\n*x : 3\n", "a key must be a word, not an alias"),
        ("? ''\n: 3\n", "this key is empty; write a name"),
        (f"{'k' * 201}: 3\n", "this key has more than 200 characters"),
        ("a: \x00\n", "1:4: : not a text file: the character U+0000 is not allowed in YAML; remove it"),
        ("a: 1\nb: \x1b\n", "2:4: : not a text file: the character U+001B is not allowed"),
        ('a: "\\ud800"\n', "half a character"),
        ('a: "\\xZZ"\n', "not valid YAML"),
        ("%YAML 9.1\n---\na: 1\n", "not valid YAML"),
        ("a: 1\na: 2\n", "2:1: a: `a` is given twice, first at line 1; remove one of them"),
        ("x: {b: 1, b: 2}\n", "1:11: x.b: `b` is given twice, first at line 1; remove one of them"),
        ("<<: 3\nb: 1\n", "the value of `<<` must be a map or a list of maps"),
        ("a: " + "[" * 20 + "]" * 20, "nested more than 16 levels deep; use fewer levels"),
        ("x" * (LONGEST_STRATEGY + 1), "131,073 characters; shorten it to 131,072 or fewer"),
        ("a: [" + "1," * 10_001 + "]", "more than 10,000 values"),
        ("a: &x 1\nb: [" + "*x," * 101 + "]", "more than 100 aliases"),
    ],
)
def test_what_is_not_allowed_is_named_with_its_place(text, said):
    assert said in problem(text)


def test_a_bomb_of_aliases_is_stopped_before_it_grows():
    lines = ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    for level in range(1, 9):
        lines.append(f"l{level}: &l{level} [{', '.join([f'*l{level - 1}'] * 10)}]")
    assert "more than 10,000 values, counting an alias as every value that it repeats" in problem("\n".join(lines))


def test_nesting_by_aliases_counts_as_nesting():
    lines = ["l0: &l0 [x]"] + [f"l{level}: &l{level} [*l{level - 1}]" for level in range(1, 20)]
    assert "nested more than 16 levels deep; use fewer levels" in problem("\n".join(lines))


def test_every_duplicate_is_reported():
    found = read_document("a: 1\na: 2\nb: {c: 1, c: 2}\n").problems
    assert [item.path for item in found] == ["a", "b.c"]


@pytest.mark.parametrize(
    "text",
    [
        "a: NO\nb: 010\nc: 1e-4\nd: '1e-4'\ne: 'NO'\nf: ''\ng: ~\nh: 1_000\n",
        "on: 1\n'1': x\na b: 'two words'\nc: \"line\\nbreak\\n\"\nd: ' lead'\ne: 'trail\\n '\nf: '# no comment'\n",
        "list: [a, [b, {c: d}], {}, []]\nmap: {x: {y: 2017-01-01}}\n",
        "text: |\n  two\n  lines\nümlaut: ß 漢\n",
    ],
)
def test_writing_and_reading_gives_the_same_values_and_spellings(text):
    root = read_document(text).root
    again = read_document(write_document(root)).root
    assert plain(again) == plain(root)
    assert spellings(again) == spellings(root)


def spellings(node):
    if isinstance(node.value, dict):
        return {key: spellings(entry.node) for key, entry in node.value.items()}
    if isinstance(node.value, list):
        return [spellings(item) for item in node.value]
    return "" if node.value is None else node.text
