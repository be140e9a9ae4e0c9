"""`ktrdr strategy plot`."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest

from ktrdr.core.cli.main import main
from ktrdr.core.data.bar_store import default_store
from ktrdr.core.data.sample import install_sample

Run = Callable[..., tuple[int, str, str]]

STRATEGY = str(files("ktrdr.core").joinpath("samples/neuro_mean_reversion.yaml"))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KTRDR_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def execute(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as exit_:
            main(("strategy", "plot", *arguments))
        captured = capsys.readouterr()
        return int(exit_.value.code or 0), captured.out, captured.err

    return execute


def test_draws_the_sample(run: Run, tmp_path: Path):
    status, out, _ = run(STRATEGY, "--sample", "-o", "picture.html")
    assert (status, out) == (0, "Wrote picture.html\n")
    text = (tmp_path / "picture.html").read_text(encoding="utf-8")
    assert "neuro_mean_reversion: membership functions" in text
    assert "6,225 bars of EURUSD 1h, 2017-01-01 to 2017-12-29" in text
    for name in ("oversold", "near_zero", "rising", "reads macd_12_26_9.histogram on 1h"):
        assert name in text


def test_draws_stored_data_under_a_name_of_its_own(run: Run, tmp_path: Path):
    install_sample(default_store())
    status, out, _ = run(STRATEGY)
    assert (status, out) == (0, "Wrote neuro_mean_reversion-memberships.html\n")
    assert (tmp_path / "neuro_mean_reversion-memberships.html").stat().st_size > 1_000_000


def test_another_format_is_refused_before_anything_is_done(run: Run, tmp_path: Path):
    status, _, err = run(STRATEGY, "--sample", "-o", "picture.png")
    assert (status, err) == (2, "Error: `picture.png`: pictures are written as HTML; give a name that ends in .html\n")
    assert not (tmp_path / "picture.png").exists()


def test_without_data_says_so_and_writes_nothing(run: Run, tmp_path: Path):
    status, _, err = run(STRATEGY, "-o", "picture.html")
    assert status == 2
    assert "ktrdr data import" in err
    assert not list(tmp_path.glob("*.html"))


def test_a_directory_is_no_strategy(run: Run, tmp_path: Path):
    status, _, err = run(str(tmp_path), "--sample")
    assert status == 2
    assert "is a directory; give the path of a strategy file in it" in err


def test_a_directory_that_is_not_there_is_refused(run: Run):
    status, _, err = run(STRATEGY, "--sample", "-o", "nowhere/picture.html")
    assert status != 0
    assert "nowhere" in err
    assert "Traceback" not in err


def test_a_period_longer_than_the_data_is_refused(run: Run, tmp_path: Path):
    strategy = tmp_path / "strategy.yaml"
    text = Path(STRATEGY).read_text(encoding="utf-8").replace("period: 14", "period: 7000")
    strategy.write_text(text, encoding="utf-8")
    status, _, err = run(str(strategy), "--sample", "-o", "picture.html")
    assert status == 2
    assert err == ("Error: `rsi_14` has no value on 6,225 bars of EURUSD 1h: give more bars or shorten its period\n")
    assert not (tmp_path / "picture.html").exists()
