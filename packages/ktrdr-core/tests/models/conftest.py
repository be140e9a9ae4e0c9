"""Bundles to put into stores, and to break."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ktrdr.core.features.columns import feature_columns
from ktrdr.core.models.bundle import Bundle
from ktrdr.core.models.manifest import (
    DataReference,
    Environment,
    EvaluationRecord,
    ManifestFields,
    MemberRecord,
    Period,
    PluginReference,
    SplitBoundaries,
)
from ktrdr.core.models.model_store import BundleWriter, ModelStore
from ktrdr.core.models.out_of_sample import OutOfSample, write_out_of_sample
from ktrdr.core.plugins.contract import EpochRecord
from ktrdr.core.strategy.loader import load_strategy_text
from ktrdr.core.strategy.model import Strategy

TEXT = """\
name: waves
training_data:
  symbols: {mode: single, symbol: EURUSD}
  timeframes: {mode: single, timeframe: 1h}
indicators:
  rsi_14: {type: rsi, period: 14}
fuzzy_sets:
  rsi: {indicator: rsi_14, low: [0, 25, 50], high: [50, 75, 100]}
nn_inputs:
  - {fuzzy_set: rsi, timeframes: all, lags: [1]}
model: {type: mlp}
decisions: {output_format: classification}
training:
  labels: {source: direction, horizon: 4, threshold: 0.001}
  seed: 42
"""


@pytest.fixture
def strategy() -> Strategy:
    return load_strategy_text(TEXT).strategy


@pytest.fixture
def fields(strategy: Strategy) -> ManifestFields:
    ids = tuple(column.id for column in feature_columns(strategy))
    return ManifestFields(
        plugin=PluginReference(name="torch", version="0.1.0", contract="2.0", distribution="ktrdr-ml-torch"),
        model_type="mlp",
        architecture={"hidden_layers": [8, 4]},
        input_size=len(ids),
        feature_ids=ids,
        output="classification",
        classes=("BUY", "HOLD", "SELL"),
        strategy=strategy,
        data=DataReference(
            fingerprint="0" * 64,
            symbols=("EURUSD",),
            timeframes=("1h",),
            base_timeframe="1h",
            start=dt.datetime(2017, 1, 1, 22, tzinfo=dt.UTC),
            end=dt.datetime(2017, 9, 30, tzinfo=dt.UTC),
            rows={"EURUSD": 4600},
        ),
        seed=42,
        environment=Environment(python="3.11.9", platform="Linux"),
    )


def safetensors(values: bytes = b"\0" * 8) -> bytes:
    header = json.dumps({"w": {"dtype": "F32", "shape": [len(values) // 4], "data_offsets": [0, len(values)]}}).encode()
    return len(header).to_bytes(8, "little") + header + values


@pytest.fixture
def fill() -> Callable[[BundleWriter], None]:
    """Return a function that writes the files a training would."""

    def run(writer: BundleWriter, weights: bytes = b"\1" * 8) -> None:
        writer.write_strategy(TEXT)
        writer.write_normalizers({"EURUSD": {}})
        writer.write_history([EpochRecord(1, {"train_loss": 1.0, "val_loss": float("nan")})])
        (writer.directory / "weights.safetensors").write_bytes(safetensors(weights))

    return run


@pytest.fixture
def add_ensemble(store: ModelStore, fields: ManifestFields) -> Callable[..., Bundle]:
    """Return ``add_ensemble(number)``, which puts an ensemble of that many members into the store."""

    def run(number: int = 3) -> Bundle:
        text = TEXT.replace("{type: mlp}", f"{{type: ensemble, of: {{type: mlp}}, members: {{seeds: {number}}}}}")
        ensemble = load_strategy_text(text).strategy
        records = tuple(
            MemberRecord(
                seed=42 + more,
                best_epoch=1,
                metrics={"test": {"samples": 5, "accuracy": 0.25 * more}},
                monitor="val_loss",
                monitored=1.0 + more,
                facts={"best_epoch": 1},
            )
            for more in range(number)
        )
        with store.create("waves") as writer:
            writer.write_strategy(text)
            writer.write_normalizers({"EURUSD": {}})
            for more in range(number):
                place = f"members/{more + 1:02}"
                writer.write_history([EpochRecord(1, {"val_loss": 1.0 + more})], place=place, histories=number)
                weights = safetensors(bytes([more + 1]) * 8)
                (writer.directory / place / "weights.safetensors").write_bytes(weights)
                description = json.dumps({"model_type": "mlp", "input_size": fields.input_size})
                (writer.directory / place / "model.json").write_text(description, encoding="utf-8")
            return writer.commit(fields.model_copy(update={"strategy": ensemble, "members": records}))

    return run


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models")


@pytest.fixture
def add(store: ModelStore, fields: ManifestFields, fill: Callable[..., None]) -> Callable[..., Bundle]:
    """Return ``add(weights=...)``, which puts one more version of the model into the store."""

    def run(weights: bytes = b"\1" * 8) -> Bundle:
        with store.create("waves") as writer:
            fill(writer, weights)
            return writer.commit(fields)

    return run


@pytest.fixture
def predictions() -> dict[str, OutOfSample]:
    """Predictions of three hours, the second of which lacks features."""
    time = np.datetime64("2017-03-01T00", "ns") + np.arange(3) * np.timedelta64(1, "h")
    outputs = np.array([[0.5, 0.25, 0.25], [np.nan] * 3, [0.0, 0.0, 1.0]])
    return {"EURUSD": OutOfSample(time, outputs)}


@pytest.fixture
def evaluated_fields(fields: ManifestFields) -> ManifestFields:
    """The manifest of a model that was trained from an evaluation with a reserve."""
    data = fields.data
    reserve = Period(start=data.end, end=dt.datetime(2017, 12, 31, tzinfo=dt.UTC))
    split = SplitBoundaries(train=Period(start=data.start, end=data.end), reserve=reserve)
    record = EvaluationRecord(
        reference="waves/3",
        kind="cpcv",
        folds=15,
        seeds=5,
        accounts=25,
        median=(2, 42),
        tested=Period(start=data.start, end=data.end),
        bars={"EURUSD": "1" * 64},
        spread={"sharpe": {"number": 25, "mean": 0.5, "median": 0.4, "low": 0.1, "high": 0.9, "min": -1.0, "max": 2}},
        metrics={"accuracy": {"value": 0.5, "low": 0.45, "high": 0.55}},
        account={"capital": 10_000.0, "commission": 0.0002, "slippage": 0.0},
        reserve=reserve,
        best_epoch=7,
    )
    return fields.model_copy(
        update={"data": data.model_copy(update={"split": {"EURUSD": split}}), "evaluation": record}
    )


@pytest.fixture
def add_evaluated(
    store: ModelStore,
    evaluated_fields: ManifestFields,
    predictions: dict[str, OutOfSample],
    fill: Callable[..., None],
) -> Callable[[], Bundle]:
    """Return ``add_evaluated()``, which puts a model that was trained from an evaluation into the store."""

    def run() -> Bundle:
        with store.create("waves") as writer:
            fill(writer)
            write_out_of_sample(writer.directory, predictions)
            return writer.commit(evaluated_fields)

    return run


@pytest.fixture
def rewrite() -> Callable[..., None]:
    """Return ``rewrite(bundle, **changes)``: an attacker's manifest, with hashes that fit the files as they are now."""
    import hashlib

    def run(bundle: Bundle, **changes: object) -> None:
        path = bundle.directory / "manifest.json"
        manifest = json.loads(path.read_text(encoding="utf-8"))
        manifest["files"] = {
            file.relative_to(bundle.directory).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
            for file in bundle.directory.rglob("*")
            if file != path and file.is_file()
        }
        manifest.update(changes)
        path.write_text(json.dumps(manifest), encoding="utf-8")

    return run


@pytest.fixture
def copy_of(tmp_path: Path) -> Callable[[Path], Path]:
    def run(path: Path) -> Path:
        return Path(shutil.copytree(path, tmp_path / "copies" / path.name))

    return run
