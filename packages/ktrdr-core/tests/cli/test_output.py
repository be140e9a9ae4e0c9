"""Tables that commands print."""

from __future__ import annotations

import pytest

from ktrdr.core.cli import output


@pytest.mark.parametrize("title", ["", "EURUSD 4h: 3 bars"])
def test_a_table_is_laid_out_alike_whoever_draws_it(capsys, monkeypatch, title):
    columns, right = ["data set", "bars", "until (UTC)"], ["bars"]
    rows = [["EURUSD 1h", 6225, "2017-12-29 22:00"], ["A 1d", None, ""], ["LONGER 4h", "1", "x"]]
    monkeypatch.setenv("COLUMNS", "120")
    drawn = []
    for fits, longest in ((False, 500), (True, 500), (False, 2)):
        monkeypatch.setattr(output, "_fits_on_screen", lambda columns, rows, fits=fits: fits)
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
    assert not output._fits_on_screen(["a"], [["\u5e74"]])


def test_whole_columns_are_neither_folded_nor_cut_on_a_narrow_screen(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    output.print_table(["a long name", "range"], [["an even longer name", "0.123..0.456"]], whole=["range"])
    shown = capsys.readouterr().out
    assert "0.123..0.456" in shown
    assert not any(line.endswith(" ") for line in shown.splitlines())
