"""`ktrdr indicators`, and a user indicator that leaks, from a distribution on disk."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from textwrap import dedent

import pytest

from ktrdr.core.cli.main import main
from ktrdr.core.indicators.registry import default_registry, get_indicator, indicator_names

Run = Callable[..., tuple[int, str, str]]

LEAKY = """
import numpy as np
from ktrdr.core.indicators.types import IndicatorType

def formula(c, p):
    return (np.append(c["close"][1:], c["close"][-1:]) / c["close"],)

INDICATOR = IndicatorType("to_come", "Return of the next bar.", "our own", ("to",), formula, lambda p: 0, ("close",))
"""


@pytest.fixture(autouse=True)
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory on ``sys.path``, so that what is put there counts as installed."""
    monkeypatch.setenv("KTRDR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "100")
    directory = tmp_path / "site"
    directory.mkdir()
    monkeypatch.syspath_prepend(directory)
    default_registry.cache_clear()
    yield directory
    default_registry.cache_clear()
    for name in [name for name in sys.modules if name.startswith("users_")]:
        del sys.modules[name]


@pytest.fixture
def install(site: Path) -> Callable[[str, str, str], None]:
    """Return ``install(distribution, entry_point, code)``."""

    def run(distribution: str, entry_point: str, code: str) -> None:
        module = distribution.replace("-", "_")
        (site / f"{module}.py").write_text(dedent(code), encoding="utf-8")
        info = site / f"{module}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n", encoding="utf-8")
        target = f"{entry_point} = {module}:INDICATOR"
        (info / "entry_points.txt").write_text(f"[ktrdr.indicators]\n{target}\n", encoding="utf-8")

    return run


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def execute(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as exit_:
            main(arguments)
        captured = capsys.readouterr()
        return int(exit_.value.code or 0), captured.out, captured.err

    return execute


def test_lists_every_type_with_parameters_and_outputs(run: Run):
    status, out, err = run("indicators")
    assert (status, err) == (0, "")
    listed = [line.split()[0] for line in out.splitlines() if line and not line.startswith((" ", "`"))]
    assert listed == list(indicator_names())
    assert "rsi                  Relative Strength Index (period 14, source close)\n" in out
    text = " ".join(out.split())
    assert "bbands Bollinger Bands (period 20, multiplier 2, source close) -> upper, middle, lower" in text
    assert max(len(line) for line in out.splitlines()) <= 100


def test_shows_one_type_by_name_or_alias(run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "140")
    status, out, _ = run("indicators", "BollingerBands")
    assert status == 0
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[0] == "bbands (ktrdr-core)"
    assert lines[1] == get_indicator("bbands").description
    assert "period 20 whole number from 2 to 10000 bars in the window" in lines
    assert "multiplier 2 number above 0 to 1000 standard deviations between mean and band" in lines
    assert "outputs upper, middle, lower; the id alone means upper" in lines
    assert "warm-up 19 bars at the defaults" in lines
    assert "aliases bollingerbands, bollinger_bands" in lines
    assert "bbands_1: {type: bbands, period: 20, multiplier: 2, source: close}" in lines
    assert any(line.startswith("formula Bollinger, Bollinger on Bollinger Bands (2001)") for line in lines)


@pytest.mark.parametrize("name", indicator_names())
def test_every_type_can_be_shown_and_its_example_is_a_definition(run: Run, name: str):
    import yaml

    status, out, _ = run("indicators", name)
    assert status == 0
    (definition,) = yaml.safe_load(out.partition("In a strategy:\n")[2])["indicators"].values()
    assert definition.pop("type") == name
    assert get_indicator(name).validate(definition)[1] == []


def test_json_says_everything(run: Run):
    status, out, err = run("indicators", "--json")
    assert (status, err) == (0, "")
    listed = json.loads(out)
    assert [entry["name"] for entry in listed["indicators"]] == list(indicator_names())
    assert listed["unusable"] == {}
    one = json.loads(run("indicators", "macd", "--json")[1])
    assert one == next(entry for entry in listed["indicators"] if entry["name"] == "macd")
    assert one["outputs"] == ["macd", "signal", "histogram"]
    assert one["parameters"][0] | {"description": ""} == {
        "name": "fast_period",
        "kind": "int",
        "required": False,
        "default": 12,
        "minimum": 2,
        "maximum": 10_000,
        "exclusive_minimum": False,
        "exclusive_maximum": False,
        "choices": None,
        "description": "",
    }


def test_an_unknown_name_gets_a_suggestion(run: Run):
    assert run("indicators", "rsii") == (2, "", "Error: unknown indicator type `rsii`, did you mean `rsi`?\n")
    status, out, err = run("indicators", "zigzag", "--json")
    assert (status, out) == (2, "")
    assert "looks into the future" in err


def test_a_user_indicator_is_listed_with_where_it_is_from(run: Run, install: Callable[[str, str, str], None]):
    install("users-leaky", "to_come", LEAKY)
    status, out, _ = run("indicators")
    assert status == 0
    assert "to_come              Return of the next bar, from users-leaky 1.2\n" in out
    assert "to_come (users-leaky 1.2)\n" in run("indicators", "to_come")[1]
    assert json.loads(run("indicators", "to_come", "--json")[1])["origin"] == "users-leaky 1.2"


def test_what_cannot_be_used_is_listed_with_the_reason(run: Run, install: Callable[[str, str, str], None]):
    install("users-broken", "broken", "raise RuntimeError('no luck')")
    install("users-clash", "rsi", LEAKY)
    status, out, _ = run("indicators")
    assert status == 0
    assert "broken cannot be used: indicator `broken` of users-broken 1.2 cannot be imported" in out
    assert "rsi cannot be used: ktrdr-core and users-clash both provide `rsi`; uninstall users-clash" in out
    assert set(json.loads(run("indicators", "--json")[1])["unusable"]) == {"broken", "rsi"}
    status, out, err = run("indicators", "broken")
    assert (status, out) == (2, "")
    assert "RuntimeError: no luck" in err


def test_check_finds_a_user_indicator_that_looks_ahead(
    run: Run, install: Callable[[str, str, str], None], tmp_path: Path
):
    install("users-leaky", "to_come", LEAKY)
    text = files("ktrdr.core").joinpath("samples/neuro_mean_reversion.yaml").read_text(encoding="utf-8")
    text = text.replace("indicators:\n", "indicators:\n  mine: {type: to_come}\n")
    text = text.replace("nn_inputs:\n", "nn_inputs:\n  - {raw_indicator: mine, timeframes: all}\n")
    path = tmp_path / "strategy.yaml"
    path.write_text(text, encoding="utf-8")
    status, out, _ = run("check", str(path), "--sample", "--bars", "10", "--last", "2000")
    assert status == 1
    assert "Look-ahead found in 1: 1h_mine_raw." in out
    assert "YES, 1 bar ahead, at 10 of 10 cuts" in out
