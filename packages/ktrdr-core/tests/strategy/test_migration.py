"""Migration of versions 1 and 2 to version 3, with a message for every key that is lost."""

from __future__ import annotations

import pytest
import yaml

from ktrdr.core.errors import BadInputError
from ktrdr.core.features.columns import feature_columns
from ktrdr.core.strategy.diagnostics import StrategyError
from ktrdr.core.strategy.loader import load_strategy_text
from ktrdr.core.strategy.migration import migrate_text

VERSION_2 = """\
# A strategy of the predecessor.
name: old_two
description: Reverts to the mean
version: "2.0"
hypothesis: It works
scope: universal
training_data:
  symbols: {mode: multi_symbol, list: [EURUSD, NO]}
  timeframes: {mode: multi_timeframe, list: [1h, 4h], base_timeframe: 1h}
  history_required: 200
deployment:
  target_symbols: {mode: universal}
  target_timeframes: {mode: single, supported: [1h]}
indicators:
  - {name: rsi, feature_id: rsi_14, period: 14, source: close}
  - name: MACD
    feature_id: macd_std
    params: {fast_period: 10, slow_period: 20, typo: 1}
  - {name: ZigZag, threshold: 0.05}
  - {name: BollingerBands, feature_id: bb, period: 10}
fuzzy_sets:
  rsi_14:
    oversold: {type: triangular, parameters: [0, 20, 35]}
    overbought: [65, 80, 100, 100]
  macd_std.histogram:
    up: {type: sigmoid, parameters: [0, 1e3]}
  bb_upper:
    far: [1, 2, 3]
  ZigZag:
    turn: [0, 1, 2]
model:
  type: mlp
  architecture: {hidden_layers: [64, 32], activation: relu, output_activation: softmax, dropout: 0.2}
  features: {lookback_periods: 2}
  training:
    learning_rate: 0.001
    epochs: 50
    optimizer: adam
    early_stopping: {enabled: true, patience: 10}
decisions:
  confidence_threshold: 0.6
  filters: {min_signal_separation: 4, volume_filter: false}
training:
  method: supervised
  labels: {source: zigzag, zigzag_threshold: 0.02, label_lookahead: 20}
  epochs: 40
  fitness_metrics: {primary: accuracy}
orchestrator: {max_position_size: 0.9}
"""

VERSION_1 = """\
name: old_one
data: {symbols: [AAPL], timeframes: [1h], history_required: 100}
indicators:
  - {name: rsi, period: 14}
  - {name: sma, feature_id: sma_20, params: {period: 20}}
fuzzy_sets:
  rsi: {oversold: [0, 10, 30], overbought: [70, 90, 100]}
  sma_20: {low: [0, 1, 2]}
model: {type: mlp}
decisions: {}
training: {labels: {source: zigzag}}
"""


def test_a_version_2_file():
    migration = migrate_text(VERSION_2)
    assert migration.version == 2
    assert yaml.safe_load(migration.text) == {
        "name": "old_two",
        "description": "Reverts to the mean",
        "version": "3.0",
        "training_data": {
            "symbols": {"mode": "multi_symbol", "list": ["EURUSD", False]},  # `NO`, as it was spelled
            "timeframes": {"mode": "multi_timeframe", "list": ["1h", "4h"], "base_timeframe": "1h"},
            "history_required": 200,
        },
        "indicators": {
            "rsi_14": {"type": "rsi", "period": 14, "source": "close"},
            "macd_std": {"type": "MACD", "fast_period": 10, "slow_period": 20},
            "bb": {"type": "BollingerBands", "period": 10},
        },
        "fuzzy_sets": {
            "rsi_14": {
                "indicator": "rsi_14",
                "oversold": {"type": "triangular", "parameters": [0, 20, 35]},
                "overbought": [65, 80, 100, 100],
            },
            "macd_std_histogram": {
                "indicator": "macd_std.histogram",
                "up": {"type": "sigmoid", "parameters": [0, "1e3"]},  # a number to us
            },
            "bb_upper": {"indicator": "bb.upper", "far": [1, 2, 3]},
        },
        "nn_inputs": [
            {"fuzzy_set": "rsi_14", "timeframes": "all"},
            {"fuzzy_set": "macd_std_histogram", "timeframes": "all"},
            {"fuzzy_set": "bb_upper", "timeframes": "all"},
        ],
        "model": {
            "type": "mlp",
            "architecture": {
                "hidden_layers": [64, 32],
                "activation": "relu",
                "output_activation": "softmax",
                "dropout": 0.2,
            },
        },
        "decisions": {
            "confidence_threshold": 0.6,
            "filters": {"min_signal_separation": 4, "volume_filter": False},
        },
        "training": {
            "method": "supervised",
            "labels": {"source": "zigzag", "zigzag_threshold": 0.02, "label_lookahead": 20},
            "epochs": 40,
            "learning_rate": 0.001,
            "optimizer": "adam",
            "early_stopping": {"patience": 10},
        },
        "deployment": {
            "target_symbols": {"mode": "universal"},
            "target_timeframes": {"mode": "single", "supported": ["1h"]},
        },
    }


def test_keys_that_a_version_2_file_loses_are_listed_with_their_line_in_the_old_file():
    lost = [(item.line, item.path, item.message) for item in migrate_text(VERSION_2).lost]
    assert lost == [
        (1, "", "comments are not carried over"),
        (5, "hypothesis", "not carried over: write it into `description`"),
        (6, "scope", "not carried over: version 3 has `training_data.symbols` and `deployment` instead"),
        (18, "indicators.macd_std.typo", "not carried over: version 3 has no such key"),
        (
            19,
            "indicators[2]",
            "not carried over: `zigzag` looks into the future, so it cannot be an indicator; it exists as a label "
            "source: `training: {labels: {source: zigzag}}`",
        ),
        (29, "fuzzy_sets.ZigZag", "not carried over: it belongs to no indicator of the new file"),
        (34, "model.features.lookback_periods", "not carried over: use `lags` in `nn_inputs`"),
        (37, "model.training.epochs", "not carried over: `training` has another value for it"),
        (47, "training.fitness_metrics", "not carried over: the best epoch is chosen by `early_stopping.monitor`"),
        (48, "orchestrator", "not carried over: positions are sized under `risk`"),
    ]


def test_a_migrated_file_loads():
    strategy = load_strategy_text(migrate_text(VERSION_2).text).strategy
    assert strategy.training_data.symbols == ("EURUSD", "NO")
    assert strategy.fuzzy_sets["macd_std_histogram"].memberships["up"].parameters == (0.0, 1000.0)
    assert len(feature_columns(strategy)) == 8


def test_a_version_1_file():
    migration = migrate_text(VERSION_1)
    assert (migration.version, migration.lost, migration.warnings) == (1, (), ())
    found = yaml.safe_load(migration.text)
    assert found["training_data"] == {
        "symbols": {"mode": "single", "symbol": "AAPL"},
        "timeframes": {"mode": "single", "timeframe": "1h"},
        "history_required": 100,
    }
    assert found["indicators"] == {"rsi": {"type": "rsi", "period": 14}, "sma_20": {"type": "sma", "period": 20}}
    assert found["fuzzy_sets"]["sma_20"] == {"indicator": "sma_20", "low": [0, 1, 2]}
    assert found["nn_inputs"] == [
        {"fuzzy_set": "rsi", "timeframes": "all"},
        {"fuzzy_set": "sma_20", "timeframes": "all"},
    ]


@pytest.mark.parametrize(
    ("data", "symbols", "timeframes", "base"),
    [
        ("{symbols: [A, B], timeframes: [1h, 1d]}", ("A", "B"), ("1h", "1d"), "1h"),
        ("{symbols: [A, B], timeframes: [5m, 1h], base_timeframe: 1h}", ("A", "B"), ("5m", "1h"), "1h"),
        ("{symbols: A, timeframes: 1h}", ("A",), ("1h",), "1h"),
        ("{symbol: A, timeframe: 1h}", ("A",), ("1h",), "1h"),
        ("{symbols: {mode: single, symbol: A}, timeframes: {mode: single, timeframe: 1h}}", ("A",), ("1h",), "1h"),
    ],
)
def test_spellings_of_the_data_in_version_1(data, symbols, timeframes, base):
    text = VERSION_1.replace("{symbols: [AAPL], timeframes: [1h], history_required: 100}", data)
    found = load_strategy_text(migrate_text(text).text).strategy.training_data
    assert (found.symbols, found.timeframes, found.base_timeframe) == (symbols, timeframes, base)


def test_early_stopping_that_was_not_enabled_stays_off():
    text = VERSION_2.replace("enabled: true", "enabled: false")
    assert load_strategy_text(migrate_text(text).text).strategy.training.early_stopping is None


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("period: 14}", "period: zero}", "old.yaml:4:17: indicators.rsi.period: `period` must be a whole number"),
        ("[0, 10, 30]", "[30, 10, 0]", "old.yaml:7:9: fuzzy_sets.rsi.oversold: `triangular` needs a <= b <= c"),
        ("name: old_one\n", "", "`name` is required"),
        ("{labels: {source: zigzag}}", "{}", "training: `labels` is required"),
        ("{name: sma, feature_id: sma_20", "{name: sma, feature_id: rsi", "two indicators are called `rsi`; give them"),
        ("{name: rsi, period: 14}", "{period: 14}", "indicators[0]: this indicator has no `name`; add one"),
        ("{name: rsi, period: 14}", "rsi", "indicators[0]: this indicator has no `name`; add one"),
        ("{name: rsi,", "{name: [rsi],", "indicators[0]: this indicator has no `name`; add one"),
        ("timeframes: [1h]", "timeframes: [3h]", "unknown timeframe `3h`"),
        ("model:", "model: [", "not valid YAML"),
    ],
)
def test_a_wrong_required_part_is_an_error_with_its_line_in_the_old_file(old, new, said):
    assert old in VERSION_1
    with pytest.raises(StrategyError) as caught:
        migrate_text(VERSION_1.replace(old, new), name="old.yaml")
    assert said in str(caught.value)


def test_a_file_of_version_3_is_left_alone(make_text):
    with pytest.raises(
        BadInputError, match="is not a file of version 1 or 2 .*; check it as version 3 with `ktrdr validate`"
    ):
        migrate_text(make_text(), name="new.yaml")


@pytest.mark.parametrize("text", ["", "- a\n", "text\n", "a: *b\n"])
def test_text_that_is_no_strategy_is_refused(text):
    with pytest.raises(StrategyError):
        migrate_text(text)
