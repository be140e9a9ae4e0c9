"""How the result of a training is shown."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ktrdr.core.plugins.contract import Device
from ktrdr.core.training.result import TrainingResult


@pytest.mark.parametrize(
    ("name", "epochs", "shown"),
    [
        ("waves", 1_000, "<TrainingResult waves/1: 1,000 epochs on cpu, best epoch 1>"),
        ("waves", 1, "<TrainingResult waves/1: 1 epoch on cpu, best epoch 1>"),
    ],
)
def test_a_result_is_shown_on_a_line(name: str, epochs: int, shown: str) -> None:
    bundle: Any = SimpleNamespace(ref=f"{name}/1", manifest={"feature_ids": ["feature"] * 10_000})
    result = TrainingResult(bundle, Device("cpu", "cpu"), {"train": {"EURUSD": 1_000}}, epochs, 1)
    assert repr(result) == shown
