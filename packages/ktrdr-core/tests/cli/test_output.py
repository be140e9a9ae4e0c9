"""Tables that commands print."""

from __future__ import annotations

import io
import sys

import pytest

from ktrdr.core.cli import output


@pytest.mark.parametrize("title", ["", "EURUSD 4h: 3 bars"])
def test_a_table_is_laid_out_alike_whoever_draws_it(capsys, monkeypatch, title):
    columns, right = ["data set", "bars", "until (UTC)"], ["bars"]
    rows = [["EURUSD 1h", 6225, "2017-12-29 22:00"], ["A 1d", None, ""], ["LONGER 4h", "1", "x"]]
    monkeypatch.setenv("COLUMNS", "120")
    drawn = []
    for fits, longest in ((False, 500), (True, 500), (False, 2)):
        monkeypatch.setattr(output, "_fits_on_screen", lambda columns, rows, title, fits=fits: fits)
        monkeypatch.setattr(output, "_MOST_FOLDED", longest)
        output.print_table(columns, rows, right=right, title=title)
        drawn.append([line.rstrip() for line in capsys.readouterr().out.splitlines()])
    assert drawn[0] == drawn[1] == drawn[2]


def test_a_table_is_folded_that_is_wider_than_the_screen_or_has_wide_characters(capsys, monkeypatch):
    row = ["x" * 30, "y" * 30]
    for columns, cells, lines in (("65", row, 3), ("64", row, 4), ("65", [row[0], "two\nlines"], 4)):
        monkeypatch.setenv("COLUMNS", columns)
        output.print_table(["a", "b"], [cells])
        shown = capsys.readouterr().out.splitlines()
        assert len([line for line in shown if line.strip()]) == lines
        assert max(map(len, shown)) <= int(columns)
    monkeypatch.setenv("COLUMNS", "65")
    assert not output._fits_on_screen(["a"], [["\u5e74"]], "")


def test_whole_columns_are_neither_folded_nor_cut_on_a_narrow_screen(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    output.print_table(["a long name", "range"], [["an even longer name", "0.123..0.456"]], whole=["range"])
    shown = capsys.readouterr().out
    assert "0.123..0.456" in shown
    assert not any(line.endswith(" ") for line in shown.splitlines())


class Screen(io.TextIOWrapper):
    """A terminal with an encoding."""

    def __init__(self, encoding):
        self.bytes = io.BytesIO()
        super().__init__(self.bytes, encoding=encoding)

    def isatty(self):
        return True

    def shown(self):
        self.flush()
        return self.bytes.getvalue().decode(self.encoding)


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "ascii", "cp437", "utf-8"])
@pytest.mark.parametrize(
    ("columns", "longest", "whole"), [("80", 500, []), ("80", 0, []), ("4", 500, []), ("80", 500, ["a"])]
)
def test_an_encoding_without_lines_or_letters_stops_no_table(monkeypatch, encoding, columns, longest, whole):
    screen = Screen(encoding)
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr(output, "_MOST_FOLDED", longest)
    output.print_table(["a"], [["plain"]], whole=whole, title="t")
    output.print_table(["a"], [["w\u5e74\u0161"]], whole=whole, title="t \u5e74")
    assert "--" in screen.shown() or "\u2500" in screen.shown()
    assert ("\u5e74" in screen.shown()) is (encoding == "utf-8")
    assert ("?" in screen.shown()) is (encoding != "utf-8")


@pytest.mark.parametrize(
    ("name", "value", "escapes"), [("NO_COLOR", "1", 0), ("TERM", "dumb", 0), ("TERM", "xterm", 1)]
)
@pytest.mark.parametrize("columns", ["80", "4"])
def test_a_table_has_escape_codes_only_where_they_are_wanted(monkeypatch, name, value, escapes, columns):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv(name, value)
    monkeypatch.setenv("COLUMNS", columns)
    screen = Screen("utf-8")
    monkeypatch.setattr(sys, "stdout", screen)
    output.print_table(["a"], [["plain"]], title="t")
    assert ("\x1b" in screen.shown()) is bool(escapes)


def test_a_title_wider_than_its_table_is_folded_and_a_shorter_one_is_not(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    output.print_table(["a"], [["x" * 10]], title="one two three four five six")
    shown = capsys.readouterr().out.splitlines()
    assert max(map(len, shown)) <= 20
    assert output._fits_on_screen(["a"], [["x" * 10]], "one two")
    assert not output._fits_on_screen(["a"], [["x" * 10]], "one two three four")
