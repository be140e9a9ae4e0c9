"""Explanations of YAML syntax errors: the line to change and how, instead of the message of the parser."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import NamedTuple

import yaml

__all__ = ["YamlFault", "explain_fault"]

_KEY = r"[^\s:#\"'\[\]{},][^:#\"'\[\]{},]*"
_GLUED = re.compile(rf"\s*(?:- +)?(?P<key>{_KEY}):(?P<value>[^\s:].*)")
_WITH_VALUE = re.compile(rf"\s*(?:- +)?(?P<key>{_KEY}):\s+(?P<value>[^#\s].*)")
_CLOSING = {"[": "]", "{": "}"}
_QUOTES = ("'", '"')
_LONGEST = 40


class YamlFault(NamedTuple):
    """A syntax error.

    Attributes:
        line: line to change, counted from 1.
        column: column to change, counted from 1.
        message: what is wrong and what to do.
    """

    line: int
    column: int
    message: str


def explain_fault(text: str, error: yaml.MarkedYAMLError) -> YamlFault:
    """Return the syntax error in ``text`` that PyYAML reported as ``error``.

    PyYAML often reports a place after the one to change: it notices an unclosed quote at the next quote or at the end
    of the text.
    """
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return YamlFault(1, 1, "the text cannot be read; write each line as `key: value` or `- item`")
    start = error.context_mark or mark
    context, problem = error.context or "", error.problem or ""
    swallowed = _swallowed(text, mark.line)
    if "quoted scalar" in context and "found unexpected" in problem:
        return _at(start, _unclosed(text[start.index]))
    if swallowed is not None and "escape" not in problem:
        return swallowed
    for phrase, explain in _EXPLANATIONS:
        if phrase in problem or phrase in context:
            return explain(text, start, mark, problem)
    return _at(mark, "this cannot stand here; a line is `key: value`, `- item`, or the rest of the value above")


def _at(mark: yaml.Mark, message: str) -> YamlFault:
    return YamlFault(mark.line + 1, mark.column + 1, message)


def _unclosed(quote: str) -> str:
    other = _QUOTES[quote == "'"]
    return (
        f"the quote {quote} that opens here is not closed; write {quote} at the end of the text, or put a text that"
        f" contains {quote} between {other}"
    )


def _swallowed(text: str, line: int) -> YamlFault | None:
    """Return the fault of a quote that opened on an earlier line, if YAML reads its text as ending on ``line``."""
    last = None
    for token in _tokens(text):
        if isinstance(token, yaml.ScalarToken) and token.style in _QUOTES and token.start_mark.line <= line:
            last = token
    if last is None or last.end_mark.line != line or last.start_mark.line == line:
        return None
    return _at(last.start_mark, f"{_unclosed(last.style)} (YAML takes its text to end on line {line + 1})")


def _tokens(text: str) -> Iterator[yaml.Token]:
    """Yield the tokens before the syntax error."""
    with contextlib.suppress(yaml.YAMLError):
        yield from yaml.scan(text, Loader=yaml.SafeLoader)


def _colon(text: str, start: yaml.Mark, mark: yaml.Mark, problem: str) -> YamlFault:
    """Explain a colon where no key can stand."""
    lines = text.splitlines()
    line = lines[mark.line]
    if re.search(r":\s", line[: mark.column]) and _indent(line) <= mark.column:
        return _at(mark, "this is a second `: ` on the line; put a value that contains a colon between quotes")
    before = next((number for number in range(mark.line - 1, -1, -1) if _content(lines[number])), None)
    if before is not None:
        glued, valued = _GLUED.fullmatch(lines[before]), _WITH_VALUE.fullmatch(lines[before])
        if glued is not None:
            key = glued["key"].strip()
            return YamlFault(
                before + 1,
                glued.end("key") + 2,
                f"a space is missing after the colon: write `{key}: {_short(glued['value'])}`",
            )
        if valued is not None and _indent(line) > _indent(lines[before]):
            key = _short(line.strip().partition(":")[0])
            return YamlFault(
                mark.line + 1,
                _indent(line) + 1,
                f"`{key}` is indented deeper than line {before + 1}, which has a value already; indent it like line"
                f" {before + 1}, by {_spaces(_indent(lines[before]))}",
            )
        if ":" not in lines[before]:
            return _no_colon(lines[before], before)
    return _at(mark, "a colon cannot stand here; put a value that contains a colon between quotes")


def _missing_colon(text: str, start: yaml.Mark, mark: yaml.Mark, problem: str) -> YamlFault:
    return _no_colon(text.splitlines()[start.line], start.line, start.column)


def _no_colon(line: str, number: int, column: int | None = None) -> YamlFault:
    first = _indent(line) if column is None else column
    word = _short(line[first:].removeprefix("- ").strip())
    return YamlFault(
        number + 1,
        first + 1,
        f"a colon is missing after `{word}`; if this is the rest of the text above, indent it deeper than that line",
    )


def _indentation(text: str, start: yaml.Mark, mark: yaml.Mark, problem: str) -> YamlFault:
    """Explain a line whose indentation fits no line above it."""
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    if line[: mark.column].strip(" -"):
        # The fault does not begin its line, so the indentation is not the reason.
        what = problem.rpartition("found ")[2].strip("'")
        if what in ("]", "}"):
            return _at(mark, f"this `{what}` has no opening bracket; remove it")
        return _at(
            mark,
            "there is more text after the end of the value; put the whole value between one pair of quotes, of a kind"
            " that it does not contain",
        )
    if mark.column == start.column and line[mark.column : mark.column + 2].rstrip() == "-":
        return _at(
            mark,
            f"this is an item (`- `), but line {start.line + 1} began `key: value` pairs; write it as `key: value`",
        )
    if mark.column == start.column and lines[start.line][start.column :].startswith("-"):
        return _at(mark, f"line {start.line + 1} began a list, but this is not an item; begin it with `- `")
    levels = [str(level) for level in sorted(_levels(lines[: mark.line], start.column))]
    fitting = " or ".join(filter(None, [", ".join(levels[:-1]), levels[-1]]))
    return _at(mark, f"this is indented by {_spaces(mark.column)}, but the lines above allow only {fitting}; change it")


def _levels(lines: list[str], floor: int) -> set[int]:
    """Return the columns of the keys and items above that are still open, from ``floor`` on."""
    open_levels: list[int] = []
    for line in lines:
        if not _content(line):
            continue
        column = _indent(line)
        rest = line[column:]
        columns = [column]
        while rest.startswith("- "):
            inner = len(rest) - len(rest[2:].lstrip())
            column, rest = column + inner, rest[inner:]
            columns.append(column)
        open_levels = [level for level in open_levels if level < columns[0]] + columns
    return {level for level in open_levels if level >= min(floor, *open_levels)} if open_levels else {0}


def _unclosed_bracket(text: str, start: yaml.Mark, mark: yaml.Mark, problem: str) -> YamlFault:
    bracket = text[start.index]
    closing = _CLOSING.get(bracket, "]")
    if mark.line == start.line:
        return _at(mark, f"a comma, or the `{closing}` that closes `{bracket}`, is missing before this; add it")
    return _at(start, f"the `{bracket}` that opens here is not closed; write `{closing}` at its end")


def _content_missing(text: str, start: yaml.Mark, mark: yaml.Mark, problem: str) -> YamlFault:
    if problem.endswith("'<stream end>'"):
        opened: list[yaml.Mark] = []
        for token in _tokens(text):
            if isinstance(token, yaml.FlowSequenceStartToken | yaml.FlowMappingStartToken):
                opened.append(token.start_mark)
            elif isinstance(token, yaml.FlowSequenceEndToken | yaml.FlowMappingEndToken):
                opened.pop()
        return _unclosed_bracket(text, opened[-1], mark, problem)
    return _at(mark, "a value is missing before this; add it, or put this between quotes")


def _first_character(text: str, start: yaml.Mark, mark: yaml.Mark, problem: str) -> YamlFault:
    character = text[mark.index]
    if character == "\t":
        return _at(mark, "a tab cannot indent; use spaces")
    return _at(mark, f"a text cannot begin with `{character}`; put it between quotes")


def _anchor(text: str, start: yaml.Mark, mark: yaml.Mark, problem: str) -> YamlFault:
    return _at(start, f"a text cannot begin with `{text[start.index]}`; put it between quotes")


def _escape(text: str, start: yaml.Mark, mark: yaml.Mark, problem: str) -> YamlFault:
    return _at(
        mark,
        "a backslash begins an escape between double quotes, and this escape does not exist; write two backslashes,"
        " or put the text between single quotes",
    )


def _block_text(text: str, start: yaml.Mark, mark: yaml.Mark, problem: str) -> YamlFault:
    return _at(start, "nothing may follow `|` or `>`; begin the text on the next line")


def _item(text: str, start: yaml.Mark, mark: yaml.Mark, problem: str) -> YamlFault:
    return _at(mark, "an item (`- `) cannot begin here; write it on a line of its own, below its key")


def _directive(text: str, start: yaml.Mark, mark: yaml.Mark, problem: str) -> YamlFault:
    return _at(start, "a line that begins with `%` is a YAML directive, which a strategy does not need; remove it")


def _document(text: str, start: yaml.Mark, mark: yaml.Mark, problem: str) -> YamlFault:
    return _at(mark, "this comes after a line `...` or `---`, which ends the strategy; remove that line")


def _tag(text: str, start: yaml.Mark, mark: yaml.Mark, problem: str) -> YamlFault:
    return _at(start, "a text cannot begin with `!`, which begins a YAML tag; put it between quotes")


def _complex_key(text: str, start: yaml.Mark, mark: yaml.Mark, problem: str) -> YamlFault:
    return _at(mark, "a text cannot begin with `? `; put it between quotes")


# A phrase in PyYAML's problem or context, and the function that explains it. The first match counts.
_EXPLANATIONS = (
    ("mapping values are not allowed", _colon),
    ("could not find expected ':'", _missing_colon),
    ("cannot start any token", _first_character),
    ("sequence entries are not allowed", _item),
    ("mapping keys are not allowed", _complex_key),
    ("YAML directive", _directive),
    ("tag handle", _tag),
    ("incompatible YAML document", _directive),
    ("scanning a directive", _directive),
    ("scanning an a", _anchor),
    ("escape", _escape),
    ("block scalar", _block_text),
    ("a tag", _tag),
    ("a directive", _directive),
    ("<document start>", _document),
    ("the node content", _content_missing),
    ("flow sequence", _unclosed_bracket),
    ("flow mapping", _unclosed_bracket),
    ("<block end>", _indentation),
)


def _content(line: str) -> str:
    return re.sub(r"(^|\s)#.*", "", line).strip()


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _spaces(count: int) -> str:
    return "1 space" if count == 1 else f"{count} spaces"


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
