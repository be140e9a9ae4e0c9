"""`ktrdr check` on labels: every source is clean on the sample, and one that reaches beyond its span is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from ktrdr.core.cli.main import main
from ktrdr.core.data.bars import Bars
from ktrdr.core.labels import make
from ktrdr.core.labels.label_set import LabelSet
from ktrdr.core.strategy.model import CLASSES

Check = Callable[[str, dict[str, Any]], tuple[int, dict[str, Any]]]

SOURCES: list[tuple[str, dict[str, Any]]] = [
    ("zigzag", {"zigzag_threshold": 0.004, "label_lookahead": 30}),
    ("forward_return", {"horizon": 12}),
    ("triple_barrier", {"vol_method": "atr"}),
    ("triple_barrier", {"vol_method": "close", "sl_multiplier": 2.0, "max_holding_period": 40}),
    ("direction", {"horizon": 3, "threshold": 0.001}),
]


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Check:
    """Run `ktrdr check --sample` on the shipped strategy with other labels."""
    monkeypatch.setenv("KTRDR_HOME", str(tmp_path / "home"))
    text = files("ktrdr.core").joinpath("samples/neuro_mean_reversion.yaml").read_text(encoding="utf-8")

    def run(source: str, parameters: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        document = yaml.safe_load(text)
        document["training"]["labels"] = {"source": source, **parameters}
        if source == "forward_return":
            document["decisions"] = {"output_format": "regression"}
            document["training"]["loss"] = "mse"
            document["training"].pop("class_weights", None)
        path = tmp_path / "strategy.yaml"
        path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
        with pytest.raises(SystemExit) as exit_:
            main(("check", str(path), "--sample", "--bars", "25", "--last", "1200", "--json"))
        captured = capsys.readouterr()
        assert captured.err == ""
        return int(exit_.value.code or 0), json.loads(captured.out)

    return run


@pytest.mark.parametrize(("source", "parameters"), SOURCES)
def test_every_source_is_clean(check: Check, source: str, parameters: dict[str, Any]):
    status, report = check(source, parameters)
    assert status == 0
    assert report["labels"]["leaks"] == 0
    assert report["label_look_ahead"] > 1


def one_bar_short(bars: Bars, **parameters: Any) -> LabelSet:
    """The direction over ten bars, with a declared look-ahead of nine."""
    n = len(bars)
    values = np.full(n, np.nan)
    values[: max(n - 10, 0)] = np.where(bars.close[10:] > bars.close[: max(n - 10, 0)], 0.0, 2.0)
    return LabelSet(values, np.minimum(np.arange(n) + 9, max(n - 1, 0)), 9, CLASSES)


def filled_up(bars: Bars, **parameters: Any) -> LabelSet:
    """HOLD for bars whose future is not known yet."""
    n = len(bars)
    values = np.full(n, 1.0)
    values[: max(n - 10, 0)] = np.where(bars.close[10:] > bars.close[: max(n - 10, 0)], 0.0, 2.0)
    values[-1:] = np.nan
    return LabelSet(values, np.minimum(np.arange(n) + 10, max(n - 1, 0)), 10, CLASSES)


@pytest.mark.parametrize("leaky", [one_bar_short, filled_up])
def test_a_planted_violation_is_found(check: Check, monkeypatch: pytest.MonkeyPatch, leaky: Callable[..., LabelSet]):
    monkeypatch.setattr(make, "MAKERS", {**make.MAKERS, "direction": leaky})
    status, report = check("direction", {"horizon": 3})
    assert status == 1
    assert report["leaking"] == ["label"]
    assert report["labels"]["leaks"] > 0
    assert report["labels"]["bars_ahead"] >= 1
