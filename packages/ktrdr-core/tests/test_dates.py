"""Days and times are read in one way, and refused in the same words wherever they are asked for."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.cli.main import main
from ktrdr.core.data.times import check_order, parse_time
from ktrdr.core.dates import parse_day, parse_instant
from ktrdr.core.errors import BadInputError
from ktrdr.core.jobs.job_settings import BacktestSettings, SweepSettings, TrainingSettings
from ktrdr.core.jobs.refusals import read_settings
from ktrdr.core.strategy.loader import load_strategy_text

AS_A_DAY = "2017-01-31"
ODD = [
    "01.02.2017",
    "2017",
    "2017-2-1",
    "20170131",
    "2017-W05-2",
    "２０１７-01-31",
    "2017-01-31T00:00",
    "noon",
    "",
]
NO_DAYS = {"2017-13-01": "month must be in 1..12", "2017-02-30": "day is out of range for month"}


@given(st.dates())
def test_a_day_is_read_as_it_is_written(day):
    assert parse_day(day.isoformat()) == day
    assert parse_instant(day.isoformat()) == dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC)


@given(st.text(max_size=12))
def test_whatever_is_written_is_a_day_or_refused(text):
    try:
        assert parse_day(text).isoformat() == text
    except BadInputError as error:
        assert str(error).startswith(f"{text!r} is not a date: ")  # noqa: PT017
        assert str(error).endswith(f"write it as {AS_A_DAY}")  # noqa: PT017


@given(st.datetimes(min_value=dt.datetime(2, 1, 1)), st.integers(-23 * 60, 23 * 60))
def test_a_time_is_brought_to_utc(time, minutes):
    zone = dt.timezone(dt.timedelta(minutes=minutes))
    read = parse_instant(time.replace(tzinfo=zone).isoformat())
    assert read == time.replace(tzinfo=zone)
    assert read.tzinfo is dt.UTC


@pytest.mark.parametrize("text", ["", "noon", "2017-13-01", "2017-01-31T25:00", "0001-01-01T00:00+23:00"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(BadInputError, match="is not a date: write it as 2017-01-31 or 2017-01-31T14:00 [(]UTC[)]$"):
        parse_instant(text)


def test_an_end_must_come_after_the_start():
    early, late = parse_time("2017-01-01"), parse_time("2017-01-02")
    for start, end in ((early, late), (None, early), (early, None), (None, None)):
        check_order(start, end)
    for start, end in ((late, early), (early, early)):
        with pytest.raises(BadInputError, match="is not after the start"):
            check_order(start, end)
    assert np.datetime64("2017-01-01", "ns") == early


def as_a_setting(kind, **more):
    def read(text):
        read_settings(kind, {**more, "end": text}, called=lambda name: f"--{name}")

    return read


def in_a_strategy(text):
    load_strategy_text(f"training_data: {{date_range: {{end: '{text}'}}}}")


def on_the_command_line(*arguments):
    def run(text):
        with pytest.raises(SystemExit) as ended:
            main([*arguments, text])
        assert ended.value.code == 2

    return run


PLACES = {
    "training": as_a_setting(TrainingSettings),
    "backtest": as_a_setting(BacktestSettings),
    "sweep": as_a_setting(SweepSettings, settings={"risk.stop_loss": [1]}),
    "strategy": in_a_strategy,
    "ktrdr train": on_the_command_line("train", "strategy.yaml", "--end"),
    "ktrdr backtest": on_the_command_line("backtest", "model", "--end"),
    "ktrdr sweep": on_the_command_line("sweep", "model", "--set", "risk.stop_loss=1", "--end"),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("text", [*ODD, *NO_DAYS])
def test_every_place_refuses_the_same_in_the_same_words(place, text, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("KTRDR_HOME", str(tmp_path))
    reason = f"{NO_DAYS[text]}; " if text in NO_DAYS else ""
    said = f": {text!r} is not a date: {reason}write it as {AS_A_DAY}"
    try:
        PLACES[place](text)
    except BadInputError as error:
        assert said in str(error)  # noqa: PT017
    else:
        assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [20170131, 1.5, True, [AS_A_DAY]])
def test_a_setting_takes_no_other_type_for_a_day(value):
    with pytest.raises(BadInputError, match="--end: input should be a valid date"):
        as_a_setting(TrainingSettings)(value)
