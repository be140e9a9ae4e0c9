"""Loading of files: all errors at once, each with its line; a loaded strategy can be stored and read again."""

from __future__ import annotations

import json
import os
from importlib.resources import files

import pytest

from ktrdr.core.errors import BadInputError
from ktrdr.core.features.columns import feature_columns
from ktrdr.core.strategy.diagnostics import StrategyError
from ktrdr.core.strategy.loader import load_strategy, load_strategy_text
from ktrdr.core.strategy.model import Strategy

SAMPLE = str(files("ktrdr.core").joinpath("samples/neuro_mean_reversion.yaml"))

BROKEN = """\
name: my strategy
training_data:
  symbols: {mode: single, symbol: EURUSD}
  timeframes: 1h
indicators:
  rsi_14: {type: rsi, perod: 14}
  macd: {type: macd, fast: 12}
  zz: {type: zigzag}
fuzzy_sets:
  rsi:
    indicator: rsi14
    low: [40, 20, 0]
nn_inputs:
  - fuzzy_set: rsi
    timeframes: 1h
model: {type: mlp, layers: [3]}
decisions: {confidence_threshold: 2}
training:
  labels: {source: zigzac}
  optimizer: adamm
  epochs: 0
  epochs: 5
"""


def test_all_errors_are_reported_at_once_in_the_order_of_the_file():
    with pytest.raises(StrategyError) as caught:
        load_strategy_text(BROKEN, name="broken.yaml")
    places = [(item.line, item.column, item.path) for item in caught.value.diagnostics]
    assert places == [
        (1, 1, "name"),
        (4, 3, "training_data.timeframes"),
        (6, 23, "indicators.rsi_14.perod"),
        (7, 22, "indicators.macd.fast"),
        (8, 8, "indicators.zz.type"),
        (11, 5, "fuzzy_sets.rsi.indicator"),
        (12, 5, "fuzzy_sets.rsi.low"),
        (15, 5, "nn_inputs[0].timeframes"),
        (16, 20, "model.layers"),
        (17, 13, "decisions.confidence_threshold"),
        (19, 12, "training.labels.source"),
        (20, 3, "training.optimizer"),
        (21, 3, "training.epochs"),
        (22, 3, "training.epochs"),
    ]
    lines = str(caught.value).splitlines()
    assert lines[0] == "broken.yaml has 14 errors:"
    assert lines[3] == "broken.yaml:6:23: indicators.rsi_14.perod: unknown key `perod`, did you mean `period`?"
    assert caught.value.exit_status == 2


def test_one_error_is_one_line(make_text):
    with pytest.raises(StrategyError) as caught:
        load_strategy_text(make_text({"training.epochs": 0}), name="x.yaml")
    assert str(caught.value) == "x.yaml:46:3: training.epochs: `epochs` must be at least 1, not 0"


def test_the_shipped_sample_loads_without_a_warning():
    loaded = load_strategy(SAMPLE)
    assert loaded.warnings == ()
    assert loaded.strategy.name == "neuro_mean_reversion"
    with open(SAMPLE, encoding="utf-8") as file:
        assert loaded.text == file.read()


def test_features_come_in_the_order_the_grammar_gives():
    ids = [column.id for column in feature_columns(load_strategy(SAMPLE).strategy)]
    assert ids == [
        *(f"1h_rsi_{name}{lag}" for lag in ("", "_lag1", "_lag3") for name in ("oversold", "neutral", "overbought")),
        *(f"1h_macd_line_{name}" for name in ("negative", "near_zero", "positive")),
        *(f"1h_macd_turn_{name}{lag}" for lag in ("", "_lag1") for name in ("falling", "flat", "rising")),
    ]


def test_timeframes_come_before_lags_and_outputs_keep_their_names(load):
    changes = {
        "nn_inputs": [
            {"raw_indicator": "macd.signal", "timeframes": ["1d", "1h"], "lags": [2]},
            {"fuzzy_set": "rsi", "timeframes": ["1h"]},
        ]
    }
    assert [column.id for column in feature_columns(load(changes).strategy)] == [
        "1d_macd.signal_raw",
        "1d_macd.signal_raw_lag2",
        "1h_macd.signal_raw",
        "1h_macd.signal_raw_lag2",
        "1h_rsi_low",
        "1h_rsi_mid",
        "1h_rsi_high",
    ]


# --- warnings


def test_what_no_input_reads_is_warned_of(load):
    changes = {
        "indicators.unused": {"type": "atr"},
        "fuzzy_sets.idle": {"indicator": "rsi_14", "low": [0, 1, 2]},
        "nn_inputs.0.timeframes": ["1h"],
    }
    warnings = load(changes).warnings
    assert [(item.severity, item.path, item.message) for item in warnings] == [
        (
            "warning",
            "training_data.timeframes",
            "timeframe `1d` is not used: no item of `nn_inputs` names it; use it or remove it",
        ),
        (
            "warning",
            "indicators.unused",
            "indicator `unused` is not used: no fuzzy set and no raw input reads it; use it or remove it",
        ),
        (
            "warning",
            "fuzzy_sets.idle",
            "fuzzy set `idle` is not used: no item of `nn_inputs` names it; use it or remove it",
        ),
    ]


def test_warnings_are_told_beside_errors(make_text):
    with pytest.raises(StrategyError) as caught:
        load_strategy_text(make_text({"indicators.unused": {"type": "atr"}, "training.epochs": 0}))
    assert [item.severity for item in caught.value.diagnostics] == ["warning", "error"]
    assert "unused" not in str(caught.value)


def test_places_of_keys_and_items(load, make_text):
    places = load().places
    lines = make_text().splitlines()
    for path, (line, column) in places.items():
        if path and isinstance(path[-1], str):
            assert lines[line - 1][column - 1 :].startswith(path[-1]), path
    assert places["fuzzy_sets", "rsi", "low", 2][0] == places["fuzzy_sets", "rsi", "mid"][0] - 1


# --- kept and read again


@pytest.mark.parametrize("with_plugins", [False, True])
def test_a_strategy_dumps_to_json_and_back(load, plugins, with_plugins):
    changes = {
        "description": "two\nlines",
        "training_data.date_range": {"start": "2017-01-01"},
        "nn_inputs.0.lags": [1, 5],
        "decisions.filters": {"volume_filter": True},
        "training.lr_scheduler": True,
        "training.early_stopping": True,
        "training.learning_rate": 1e-05,
        "risk": {"sizing": {"type": "fixed_cash", "cash": 0.1}, "stop_loss": {"atr": 3}},
        "deployment": {"target_symbols": ["EURUSD"]},
        "model.architecture": {"hidden_layers": [3]},
    }
    strategy = load(changes, plugins if with_plugins else None).strategy
    assert Strategy.model_validate(json.loads(json.dumps(strategy.model_dump(mode="json")))) == strategy
    assert Strategy.model_validate_json(strategy.model_dump_json()) == strategy


def test_loading_twice_gives_equal_strategies(load):
    assert load().strategy == load().strategy


# --- older files


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"indicators": [{"name": "rsi", "period": 14}]}, "2:1: indicators: this is a version 2 file; `ktrdr migrate"),
        ({"training_data": ..., "data": {"symbols": ["A"]}}, "data: this is a version 1 file; `ktrdr migrate FILE`"),
    ],
)
def test_files_of_older_versions_are_recognised(errors_of, changes, said):
    (error,) = errors_of(changes)
    assert said.split(": ", 1)[-1] in error


# --- files


@pytest.fixture
def write(tmp_path):
    def run(content: bytes):
        path = tmp_path / "strategy.yaml"
        path.write_bytes(content)
        return path

    return run


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(BadInputError, match=r"there is no file `.*nosuch.yaml`; give the path of a strategy"):
        load_strategy(tmp_path / "nosuch.yaml")


def test_a_directory(tmp_path):
    with pytest.raises(BadInputError, match=r"is a directory; give the path of a strategy file in it$"):
        load_strategy(tmp_path)


def test_a_path_that_goes_through_a_file(write):
    with pytest.raises(BadInputError, match=r"cannot be read: Not a directory$"):
        load_strategy(write(b"x: 1") / "inner.yaml")


def test_a_path_with_a_null_character():
    with pytest.raises(BadInputError, match="cannot be read"):
        load_strategy("a\0b")


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n\x00\xff", b"name: a\nx: \xff\n"])
def test_a_binary_file(write, content):
    with pytest.raises(BadInputError, match=r"is not a text file: line \d contains a byte that is not UTF-8; save it"):
        load_strategy(write(content))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty; a strategy begins with `name: ...`"),
        (b"# nothing\n", "the file is empty"),
        (b"just text\n", "a strategy is a map that begins with `name: ...`, not `just text`"),
        (b"- a\n- b\n", "a strategy is a map that begins with `name: ...`, not a list"),
        (b"a: [1\n", "not valid YAML"),
        (b"\x00\x00", "not a text file: the character U+0000 is not allowed"),
    ],
)
def test_a_file_that_is_no_strategy(write, content, said):
    path = write(content)
    with pytest.raises(StrategyError) as caught:
        load_strategy(path)
    assert said in str(caught.value)
    assert str(caught.value).startswith(f"{path}:")


def test_a_file_without_end():
    if not os.path.exists("/dev/zero"):
        pytest.skip("there is no /dev/zero on this system")
    with pytest.raises(
        BadInputError, match="is larger than 524,288 bytes; a strategy file has at most 131,072 characters"
    ):
        load_strategy("/dev/zero")


def test_a_byte_order_mark_and_windows_line_ends(write, make_text):
    content = b"\xef\xbb\xbf" + make_text().replace("\n", "\r\n").encode()
    assert load_strategy(write(content)).strategy == load_strategy_text(make_text()).strategy


def test_line_numbers_are_those_of_an_editor_whatever_ends_a_line(write, make_text):
    path = write(make_text({"training.epochs": 0}).replace("\n", "\r\n").encode())
    with pytest.raises(StrategyError, match=r"strategy.yaml:46:3: training.epochs"):
        load_strategy(path)


def test_the_errors_of_a_file_of_the_largest_size_have_a_reasonable_length():
    text = "name: x\nindicators:\n" + "".join(f"  i{number}: {{type: x{number}}}\n" for number in range(900))
    text += "nn_inputs:\n" + "".join(f"  - {{raw_indicator: j{number}, timeframes: all}}\n" for number in range(900))
    with pytest.raises(StrategyError) as caught:
        load_strategy_text(text)
    assert len(caught.value.diagnostics) == 1804
    assert max(len(item.message) for item in caught.value.diagnostics) <= 400
