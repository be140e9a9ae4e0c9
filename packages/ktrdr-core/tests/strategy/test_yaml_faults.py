"""Every YAML syntax error gets a message with the line to change and a remedy that works."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.strategy.document import read_document

STRATEGY = (Path(__file__).parents[4] / "strategies" / "neuro_mean_reversion.yaml").read_text(encoding="utf-8")

# text, line and column of what is told, part of the sentence, the text as the sentence says to write it
FAULTS = {
    "double quote": ('name: "a\nmodel:\n  type: b\n', 1, 7, 'the quote " that opens', 'name: "a"\nmodel:\n  type: b\n'),
    "single quote": ("name: 'a\nmodel: b\n", 1, 7, "the quote ' that opens", "name: 'a'\nmodel: b\n"),
    "quote before another": ("name: 'a\nmodel: 'b'\n", 1, 7, "its text to end on line 2", "name: 'a'\nmodel: 'b'\n"),
    "quote in a list": ("a: ['b, c]\nd: 'e'\n", 1, 5, "the quote ' that opens", "a: ['b', c]\nd: 'e'\n"),
    "quote before ---": ("a: 'b\n---\nc: d\n", 1, 4, "the quote ' that opens", "a: 'b'\nc: d\n"),
    "after a text of lines": ("a: 'b\n  c'\nd: e: f\n", 3, 5, "a second `: `", "a: 'b\n  c'\nd: 'e: f'\n"),
    "apostrophe": ("a: 'it's'\nb: c\n", 1, 8, "between one pair of quotes", "a: \"it's\"\nb: c\n"),
    "after a quote": ("a: 'b' c\nd: e\n", 1, 8, "between one pair of quotes", "a: 'b c'\nd: e\n"),
    "[": ("a: [b, c\nd: e\n", 1, 4, "the `[` that opens here is not closed", "a: [b, c]\nd: e\n"),
    "[ at the end": ("a: [b,\n", 1, 4, "the `[` that opens here", "a: [b,]\n"),
    "{": ("a: {b: c\nd: e\n", 1, 4, "the `{` that opens here is not closed", "a: {b: c}\nd: e\n"),
    "]": ("a: [b]]\n", 1, 7, "this `]` has no opening bracket", "a: [b]\n"),
    "comma": ("a: {b: 1 c: 2}\n", 1, 11, "a comma, or the `}`", "a: {b: 1, c: 2}\n"),
    "too deep": ("a:\n  b: c\n    d: e\n", 3, 5, "`d` is indented deeper than line 2", "a:\n  b: c\n  d: e\n"),
    "too deep, far": ("a:\n  b: c\n\n  #\n    d: e\n", 5, 5, "allow only 0 or 2;", "a:\n  b: c\n\n  #\n  d: e\n"),
    "between levels": ("a:\n    b: c\n  d: e\n", 3, 3, "above allow only 0 or 4;", "a:\n    b: c\n    d: e\n"),
    "list, between": ("a:\n  - b: 1\n   c: 2\n", 3, 4, "allow only 0, 2 or 4;", "a:\n  - b: 1\n    c: 2\n"),
    "item, between": ("a:\n  - b: 1\n - c: 2\n", 3, 2, "by 1 space, but", "a:\n  - b: 1\n  - c: 2\n"),
    "item among keys": ("a: b\n- c\n", 2, 1, "an item (`- `), but line 1 began", "a: b\nc: d\n"),
    "key among items": ("- a\nb: c\n", 2, 1, "line 1 began a list", "- a\n- b: c\n"),
    "item beside a key": ("a: - b\n", 1, 4, "on a line of its own, below its key", "a:\n  - b\n"),
    "no colon": ("a: b\nmodel\n  c: d\n", 2, 1, "a colon is missing after `model`", "a: b\nmodel:\n  c: d\n"),
    "no colon, last": ("a: b\nmodel\n", 2, 1, "a colon is missing after `model`", "a: b\nmodel:\n"),
    "text not indented": ("a: >\nbc\n", 2, 1, "indent it deeper", "a: >\n  bc\n"),
    "no space": ("a:b\nc: d\n", 1, 3, "write `a: b`", "a: b\nc: d\n"),
    "no space, nested": ("a:\n  b:c\n  d: 3\n", 2, 5, "write `b: c`", "a:\n  b: c\n  d: 3\n"),
    "two colons": ("a: b: c\n", 1, 5, "between quotes", "a: 'b: c'\n"),
    "tab": ("a:\n\tb: c\n", 2, 1, "a tab cannot indent; use spaces", "a:\n  b: c\n"),
    "percent sign": ("a: %b\n", 1, 4, "a text cannot begin with `%`; put it between quotes", "a: '%b'\n"),
    "at sign": ("a: @b\n", 1, 4, "a text cannot begin with `@`", "a: '@b'\n"),
    "ampersand": ("a: & b\n", 1, 4, "a text cannot begin with `&`", "a: '& b'\n"),
    "asterisk": ("a: * b\n", 1, 4, "a text cannot begin with `*`", "a: '* b'\n"),
    "backslash": ('a: "b\\qc"\n', 1, 7, "write two backslashes", 'a: "b\\\\qc"\n'),
    "backslash x": ('a: "b\\xc"\n', 1, 8, "between single quotes", "a: 'b\\xc'\n"),
    "block text": ("a: |x\n  b\n", 1, 4, "on the next line", "a: |\n  b\n"),
    "end": ("a: b\n...\nc: d\n", 3, 1, "remove that line", "a: b\nc: d\n"),
    "directive": ("%YAML 9.9\n---\na: b\n", 1, 1, "remove it", "---\na: b\n"),
    "broken tag": ("a: !<x\n", 1, 4, "between quotes", "a: '!<x'\n"),
    "tag handle": ("a: !e!x b\n", 1, 4, "between quotes", "a: '!e!x b'\n"),
    "comma first": ("a: [, b]\n", 1, 5, "a value is missing before this", "a: [c, b]\n"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_the_line_to_change_and_a_remedy_that_works(name):
    text, line, column, said, mended = FAULTS[name]
    (problem,) = read_document(text).problems
    assert (problem.line, problem.column) == (line, column), problem
    assert problem.message.startswith("not valid YAML: ")
    assert said in problem.message
    assert read_document(mended).problems == []


EXTRAS = ("'", '"', "[", "]", "{", "}", ":", ": ", " ", "  ", "- ", ",", "#", "\n", "")
JARGON = ("<", "scalar", "token", "while ", "mapping", "sequence", "stream", "alphabetic", "expected", "document start")


@given(data=st.data())
def test_no_message_repeats_the_words_of_the_parser(data):
    lines = STRATEGY.splitlines(keepends=True)
    for _ in range(data.draw(st.integers(1, 3))):
        number = data.draw(st.integers(0, len(lines) - 1))
        place = data.draw(st.integers(0, len(lines[number])))
        extra = data.draw(
            st.sampled_from(["'", '"', "[", "]", "{", "}", ":", ": ", " ", "  ", "- ", ",", "#", "\n", ""])
        )
        gone = data.draw(st.integers(0, 3))
        lines[number] = lines[number][:place] + extra + lines[number][place + gone :]
    text = "".join(lines)
    for problem in read_document(text).problems:
        if problem.message.startswith("not valid YAML: "):
            assert not [word for word in JARGON if word in problem.message.replace(">`, which", "")], problem
            assert "this is no YAML here" not in problem.message
            assert 1 <= problem.line <= text.count("\n") + 1


@given(st.text(alphabet=" abc:-[]{}'\"\n#|>&*!%@`?\\,\t", max_size=60))
def test_any_text_is_read_or_gets_a_message(text):
    for problem in read_document(text).problems:
        assert problem.line >= 1
        assert problem.column >= 1
        assert problem.message
