"""Spreads and futures whose prices fall to 0 or below: refused at the first line that has one, and it is said why."""

from __future__ import annotations

from pathlib import Path

import pytest

from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.consistency import check_bars, first_inconsistency
from ktrdr.core.data.vendor.importer import import_file
from ktrdr.core.errors import BadInputError

# Crude oil of May 2020: the low of line 3 is below 0, and of line 4 the open too.
_OIL = """Date,Open,High,Low,Close,Volume
2020-04-17,19.00,20.00,17.31,18.27,126000
2020-04-20,17.73,17.85,-40.32,-37.63,247000
2020-04-21,-14.00,13.86,-16.74,10.01,2290
"""


def test_the_first_line_is_named_whatever_is_wrong_with_it(store: BarStore, tmp_path: Path):
    path = tmp_path / "CLK20_1d.csv"
    path.write_text(_OIL, encoding="utf-8")
    with pytest.raises(BadInputError) as refused:
        import_file(path, store, calendar="24/7")
    assert str(refused.value) == (
        f"{path}, line 3: the bar of 2020-04-20 00:00 has low -40.32, which is not above 0, and prices that fall so"
        " far, such as those of spreads and negative futures, cannot be traded here (and 1 more); correct the file, or"
        " leave such rows out with --skip-bad"
    )
    assert store.datasets() == []


def test_the_advice_works(store: BarStore, tmp_path: Path):
    path = tmp_path / "CLK20_1d.csv"
    path.write_text(_OIL, encoding="utf-8")
    report = import_file(path, store, calendar="24/7", timeframe="1d", skip_bad=True)
    assert [write.rows for write in report.writes] == [1]
    (left_out, *_) = report.validations[0].findings
    assert (left_out.kind, left_out.count) == ("left_out", 1)


def test_the_first_bar_counts_and_not_the_first_check(make_bars):
    bars = make_bars(20)
    assert first_inconsistency(bars) is None
    bars.open[9] = -1.0  # the open is looked at before the volume
    bars.volume[4] = -1.0
    found = first_inconsistency(bars)
    assert found is not None
    assert (found.kind, found.rows.tolist()) == ("negative_volume", [4])
    with pytest.raises(BadInputError, match=r"the bar of 2017-01-01 04:00 has volume -1$"):
        check_bars(bars)
