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
