"""`ktrdr check`, run as a user runs it: on the sample, on stored data, on a strategy with a leak."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ktrdr.core.cli.main import main
from ktrdr.core.data.bar_store import default_store
from ktrdr.core.data.bars import Bars
from ktrdr.core.data.sample import install_sample
from ktrdr.core.indicators import computation

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KTRDR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "160")
    return tmp_path / "home"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def execute(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as exit_:
            main(arguments)
        captured = capsys.readouterr()
        return int(exit_.value.code or 0), captured.out, captured.err

    return execute


@pytest.fixture
def strategy_file(tmp_path: Path) -> str:
    """The shipped strategy, on two timeframes."""
    text = files("ktrdr.core").joinpath("samples/neuro_mean_reversion.yaml").read_text(encoding="utf-8")
    text = text.replace("{mode: single, timeframe: 1h}", "{mode: multi_timeframe, list: [1h, 4h], base_timeframe: 1h}")
    path = tmp_path / "strategy.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.fixture
def leak(monkeypatch: pytest.MonkeyPatch) -> None:
    """RSI is that of the next bar."""
    honest = computation.compute_indicator

    def computed(type_name: str, parameters: Mapping[str, Any], bars: Bars) -> dict[str, np.ndarray]:
        values = honest(type_name, parameters, bars)
        if type_name == "rsi" and bars.timeframe.name == "1h":
            return {name: np.append(column[1:], column[-1:]) for name, column in values.items()}
        return values

    monkeypatch.setattr(computation, "compute_indicator", computed)


def test_the_shipped_strategy_is_clean_on_the_sample(run: Run, strategy_file: str):
    status, out, err = run("check", strategy_file, "--sample", "--bars", "15")
    assert status == 0
    assert "neuro_mean_reversion on EURUSD 1h: 6,225 bars from 2017-01-01 to 2017-12-29" in out
    assert "No look-ahead found." in out
    for feature in ("1h_rsi_oversold", "1h_rsi_overbought_lag3", "4h_macd_line_near_zero", "4h_macd_turn_rising_lag1"):
        assert sum(line.split()[:2] == [feature, "none"] for line in out.splitlines()) == 1
    assert sum(line.split()[:1] == ["label"] and "none beyond the" in line for line in out.splitlines()) == 1
    assert "set `training_data.history_required` to" in out
    assert "look-ahead: 15/15 bars" in err


def test_a_planted_one_bar_leak_is_named_and_fails(run: Run, strategy_file: str, leak: None):
    status, out, _ = run("check", strategy_file, "--sample", "--bars", "15", "--json")
    assert status == 1
    report = json.loads(out)
    assert report["clean"] is False
    leaking = {feature["id"]: feature for feature in report["features"] if feature["leaks"]}
    assert set(leaking) == set(report["leaking"])
    assert set(leaking) <= {f"1h_rsi_{name}" for name in ("oversold", "neutral", "overbought")}
    assert {feature["bars_ahead"] for feature in leaking.values()} == {1}

    status, out, _ = run("check", strategy_file, "--sample", "--bars", "15")
    assert status == 1
    assert f"Look-ahead found in {len(leaking)}: {', '.join(leaking)}." in out
    assert "YES, 1 bar ahead" in out
    assert "with later bars" in out


def test_json_says_the_same_each_time_and_nothing_else(run: Run, strategy_file: str):
    arguments = ("check", strategy_file, "--sample", "--bars", "5", "--seed", "3", "--json")
    status, out, err = run(*arguments)
    assert (status, err) == (0, "")
    report = json.loads(out)
    assert (report["strategy"], report["cuts"], report["seed"], report["clean"]) == ("neuro_mean_reversion", 5, 3, True)
    assert report["labels"]["leaks"] == 0
    assert all(feature["settles_after"] > 0 for feature in report["features"])
    assert run(*arguments)[1] == out


def test_runs_on_stored_data_and_makes_the_timeframe_that_is_not_stored(run: Run, strategy_file: str):
    install_sample(default_store())
    status, out, _ = run("check", strategy_file, "--bars", "5", "--last", "1500")
    assert status == 0
    assert "on EURUSD 1h: 1,500 bars" in out
    assert "to 2017-12-29" in out


def test_without_data_says_so_and_writes_nothing(run: Run, strategy_file: str, home: Path):
    status, out, err = run("check", strategy_file)
    assert (status, out) == (2, "")
    assert err.startswith("Error: ")
    assert "EURUSD" in err
    assert "ktrdr data import" in err
    assert not [path for path in home.rglob("*") if path.is_file()]


def test_another_symbol_than_the_sample_is_refused(run: Run, strategy_file: str):
    status, _, err = run("check", strategy_file, "--sample", "--symbol", "GBPUSD")
    assert status == 2
    assert err == "Error: the sample holds EURUSD, not `GBPUSD`; leave out --symbol or --sample\n"


def test_a_timeframe_finer_than_the_sample_is_refused(run: Run, strategy_file: str):
    path = Path(strategy_file)
    path.write_text(path.read_text(encoding="utf-8").replace("list: [1h, 4h]", "list: [1h, 5m]"), encoding="utf-8")
    status, _, err = run("check", strategy_file, "--sample")
    assert status == 2
    assert "the sample holds 1h bars and cannot give 5m" in err


def test_a_strategy_that_is_not_there_is_refused(run: Run, tmp_path: Path):
    status, _, err = run("check", str(tmp_path / "none.yaml"), "--sample")
    assert status == 2
    assert "none.yaml" in err


def test_a_directory_is_refused_in_words_of_our_own(run: Run, tmp_path: Path):
    status, _, err = run("check", str(tmp_path), "--sample")
    assert status == 2
    assert "is a directory; give the path of a strategy file in it" in err


def test_a_period_longer_than_the_data_is_refused_and_not_called_clean(run: Run, strategy_file: str):
    path = Path(strategy_file)
    path.write_text(path.read_text(encoding="utf-8").replace("period: 14", "period: 7000"), encoding="utf-8")
    status, out, err = run("check", strategy_file, "--sample")
    assert (status, out) == (2, "")
    assert err.startswith(
        "Error: no bar of EURUSD 1h has all features: the data has 6225 bars, and `4h_rsi_oversold_lag3`"
    )
    assert err.endswith("use more bars, or a shorter period of the indicator\n")
