"""Tables that commands print."""

from __future__ import annotations

import pytest

from ktrdr.core.cli import output


@pytest.mark.parametrize("title", ["", "EURUSD 4h: 3 bars"])
def test_a_long_table_looks_like_a_short_one(capsys, monkeypatch, title):
    monkeypatch.setenv("COLUMNS", "120")
    columns, right = ["data set", "bars", "until (UTC)"], ["bars"]
    rows = [["EURUSD 1h", 6225, "2017-12-29 22:00"], ["A 1d", None, ""], ["LONGER 4h", "1", "x"]]
    output.print_table(columns, rows, right=right, title=title)
    folded = capsys.readouterr().out
    monkeypatch.setattr(output, "_MOST_FOLDED", 2)
    output.print_table(columns, rows, right=right, title=title)
    unfolded = capsys.readouterr().out
    assert [line.rstrip() for line in unfolded.splitlines()] == [line.rstrip() for line in folded.splitlines()]


def test_whole_columns_are_neither_folded_nor_cut_on_a_narrow_screen(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    output.print_table(["a long name", "range"], [["an even longer name", "0.123..0.456"]], whole=["range"])
    shown = capsys.readouterr().out
    assert "0.123..0.456" in shown
    assert not any(line.endswith(" ") for line in shown.splitlines())
