"""An ensemble over HTTP: listed, read, verified, downloaded and uploaded as any model."""

from __future__ import annotations

import datetime as dt
import json

import pytest

from ktrdr.core.features.columns import feature_columns
from ktrdr.core.models.manifest import DataReference, Environment, ManifestFields, MemberRecord, PluginReference
from ktrdr.core.models.model_store import ModelStore
from ktrdr.core.plugins.contract import EpochRecord
from ktrdr.core.strategy.loader import load_strategy_text

TEXT = """
name: waves
training_data:
  symbols: {mode: single, symbol: EURUSD}
  timeframes: {mode: single, timeframe: 1h}
indicators: {rsi_14: {type: rsi, period: 14}}
fuzzy_sets: {rsi: {indicator: rsi_14, low: [0, 25, 50], high: [50, 75, 100]}}
nn_inputs: [{fuzzy_set: rsi, timeframes: all}]
model: {type: ensemble, of: {type: mlp}, members: {seeds: 2}}
decisions: {output_format: classification}
training: {labels: {source: direction, horizon: 4, threshold: 0.001}}
"""
URL = "/api/v1/models/waves/1"


@pytest.fixture
def bundle(home):
    """An ensemble of two members in the store of the server."""
    strategy = load_strategy_text(TEXT).strategy
    ids = tuple(column.id for column in feature_columns(strategy))
    header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    with ModelStore(home / "models").create("waves") as writer:
        writer.write_strategy(TEXT)
        writer.write_normalizers({"EURUSD": {}})
        for place in ("members/01", "members/02"):
            writer.write_history([EpochRecord(1, {"val_loss": 1.0})], place=place, histories=2)
            weights = len(header).to_bytes(8, "little") + header + bytes(8)
            (writer.directory / place / "weights.safetensors").write_bytes(weights)
        return writer.commit(
            ManifestFields(
                plugin=PluginReference(name="torch", version="1", contract="2.0", distribution="ktrdr-ml-torch"),
                model_type="mlp",
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
                    start=dt.datetime(2017, 1, 1, tzinfo=dt.UTC),
                    end=dt.datetime(2017, 9, 30, tzinfo=dt.UTC),
                    rows={"EURUSD": 4600},
                ),
                seed=0,
                environment=Environment(python="3.11.9", platform="Linux"),
                members=tuple(MemberRecord(seed=seed, best_epoch=1) for seed in (0, 1)),
            )
        )


def test_it_is_listed_with_its_members_and_has_no_history_of_its_own(client, bundle):
    (listed,) = client.get("/api/v1/models").json()
    assert (listed["model_type"], listed["members"]) == ("mlp", 2)
    detail = client.get(URL).json()
    assert detail["history"] == []
    assert [member["seed"] for member in detail["manifest"]["members"]] == [0, 1]
    assert detail["manifest"]["strategy"]["model"]["type"] == "ensemble"
    assert detail["weights_hash"] == bundle.manifest.weights_hash


def test_it_is_verified_moved_and_a_damaged_member_named(client, bundle):
    assert client.post(f"{URL}/verify").json() == {"model": "waves/1", "files": 6}
    archive = client.get(f"{URL}/archive").content
    again = client.post("/api/v1/models", content=archive)
    assert (again.status_code, again.json()["model"]) == (200, "waves/1")
    assert client.delete(URL).status_code == 204
    stored = client.post("/api/v1/models", content=archive)
    assert (stored.status_code, stored.json()["members"], stored.json()["origin"]) == (201, 2, "waves/1")
    directory = bundle.directory.with_name("2")
    (directory / "members/02/weights.safetensors").write_bytes(b"")
    refused = client.post("/api/v1/models/waves/2/verify")
    assert refused.status_code == 422
    assert "members/02/weights.safetensors was changed" in refused.json()["detail"]
