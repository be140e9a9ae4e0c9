"""The rows of the grammar, first half: names, training data, indicators, fuzzy sets, inputs, deployment."""

from __future__ import annotations

import datetime as dt

import pytest

from ktrdr.core.fuzzy.definition import MembershipFunction
from ktrdr.core.indicators import registry
from ktrdr.core.strategy.model import FuzzyInput, RawInput

# --- top level


def test_defaults_of_the_top_level(load):
    strategy = load().strategy
    assert (strategy.version, strategy.description) == ("3.0", None)
    assert strategy.risk.sizing.type == "fixed_fraction"
    assert strategy.deployment.target_symbols is None


@pytest.mark.parametrize("name", ["a", "9", "neuro_mean-reversion", "A" * 64])
def test_a_name(load, name):
    assert load({"name": name}).strategy.name == name


def test_a_name_may_look_like_a_number_or_a_bool(load):
    """Unquoted `2024` and `NO` are text where text is asked for."""
    strategy = load({"name": 2024, "training_data.symbols.symbol": "NO", "description": 3.10}).strategy
    assert (strategy.name, strategy.training_data.symbols, strategy.description) == ("2024", ("NO",), "3.1")


@pytest.mark.parametrize("name", ["", "_a", "-a", "a b", "a/b", "../x", "a.b", "é", "A" * 65, "x\n"])
def test_an_invalid_name_is_refused(errors_of, name):
    (error,) = errors_of({"name": name})
    assert error.startswith("name: ")
    assert "cannot be a name" in error


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": ...}, ": `name` is required"),
        ({"name": None}, "name: `name` is required"),
        ({"name": ["a"]}, "name: `name` must be text, not a list"),
        ({"description": {"a": 1}}, "description: `description` must be text, not a map"),
        ({"training_data": ...}, ": `training_data` is required: the symbols, timeframes and dates to train on"),
        ({"indicators": ...}, ": `indicators` is required: the indicators to compute"),
        ({"indicators": {}}, "fuzzy_sets.rsi.indicator: there is no indicator `rsi_14`; none is defined"),
        ({"fuzzy_sets": ...}, ": `fuzzy_sets` is required: define the fuzzy sets that `nn_inputs` reads"),
        ({"nn_inputs": ...}, ": `nn_inputs` is required: the inputs of the model"),
        ({"nn_inputs": []}, "nn_inputs: `nn_inputs` is an empty list; give at least one item"),
        ({"nn_inputs": "rsi"}, "nn_inputs: `nn_inputs` must be a list, not `rsi`"),
        ({"model": ...}, ": `model` is required: the model to train"),
        ({"decisions": ...}, ": `decisions` is required: how outputs become orders"),
        ({"training": ...}, ": `training` is required: at least `training: {labels: {source: zigzag}}`"),
        ({"version": "3.1"}, 'version: there is no version `3.1`; write `version: "3.0"`'),
        ({"version": "2.0"}, 'version: there is no version `2.0`; write `version: "3.0"`'),
        ({"risk": [1]}, "risk: `risk` must be a map, not a list"),
        ({"deployement": {}}, "deployement: unknown key `deployement`, did you mean `deployment`?"),
        ({"date_range": {}}, "date_range: unknown key `date_range`: dates belong under `training_data`"),
        ({"normalization": "zscore"}, "normalization: unknown key `normalization`: write it in each raw input"),
        ({"labels": {}}, "labels: unknown key `labels`: write it under `training`"),
        ({"scope": "universal"}, "scope: unknown key `scope`: this is a key of version 2"),
        ({"zzz": 1}, "zzz: unknown key `zzz`; the known keys are name, "),
    ],
)
def test_what_is_wrong_at_the_top_level(errors_of, changes, said):
    assert any(error.startswith(said) for error in errors_of(changes)), errors_of(changes)


@pytest.mark.parametrize("section", ["risk", "deployment", "description", "version"])
def test_an_empty_optional_key_counts_as_absent(load, section):
    assert load({section: None}).strategy == load().strategy


def test_fuzzy_sets_may_be_missing_with_raw_inputs_only(load):
    changes = {
        "fuzzy_sets": ...,
        "indicators.rsi_14": ...,
        "nn_inputs": [{"raw_indicator": "macd", "timeframes": "all"}],
    }
    assert load(changes).strategy.fuzzy_sets == {}


# --- training_data


@pytest.mark.parametrize(
    ("symbols", "expected"),
    [
        ({"mode": "single", "symbol": "EURUSD"}, ("EURUSD",)),
        ({"mode": "single", "list": ["EURUSD"]}, ("EURUSD",)),
        ({"mode": "SINGLE", "symbol": "^GSPC", "list": None}, ("^GSPC",)),
        ({"mode": "multi_symbol", "list": ["EURUSD", "GBPUSD"]}, ("EURUSD", "GBPUSD")),
        ({"mode": "multi_symbol", "list": ["EURUSD"]}, ("EURUSD",)),
    ],
)
def test_symbols(load, symbols, expected):
    assert load({"training_data.symbols": symbols}).strategy.training_data.symbols == expected


@pytest.mark.parametrize(
    ("timeframes", "expected"),
    [
        ({"mode": "single", "timeframe": "1h"}, (("1h",), "1h")),
        ({"mode": "single", "list": ["1h"]}, (("1h",), "1h")),
        ({"mode": "single", "timeframe": "1h", "base_timeframe": "1h"}, (("1h",), "1h")),
        ({"mode": "multi_timeframe", "list": ["5m", "1h", "1d"], "base_timeframe": "1h"}, (("5m", "1h", "1d"), "1h")),
        ({"mode": "multi_timeframe", "list": ["1h", "1d"]}, (("1h", "1d"), "1h")),
        ({"mode": "multi_timeframe", "list": ["1d", "1h"]}, (("1d", "1h"), "1d")),
        (
            {"mode": "multi_timeframe", "list": ["1m", "5m", "15m", "30m", "1h", "2h", "4h", "1d", "1w"]},
            (("1m", "5m", "15m", "30m", "1h", "2h", "4h", "1d", "1w"), "1m"),
        ),
    ],
)
def test_timeframes(load, timeframes, expected):
    data = load({"training_data.timeframes": timeframes}).strategy.training_data
    assert (data.timeframes, data.base_timeframe) == expected


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"symbols": ...}, "training_data: `symbols` is required: for example `symbols: {mode: single"),
        ({"symbols": "EURUSD"}, "training_data.symbols: `symbols` must be a map, such as"),
        ({"symbols": {"symbol": "A"}}, "training_data.symbols: `mode` is required: `single` or `multi_symbol`"),
        ({"symbols": {"mode": "singel", "symbol": "A"}}, "unknown mode `singel`, did you mean `single`?"),
        ({"symbols": {"mode": "single"}}, "`mode: single` needs `symbol: ...`"),
        ({"symbols": {"mode": "single", "symbol": "A", "list": ["A"]}}, "`symbol` or a `list` of one, not both"),
        (
            {"symbols": {"mode": "single", "list": ["A", "B"]}},
            "training_data.symbols.list: `mode: single` takes one symbol, not 2; write `mode: multi_symbol` for",
        ),
        ({"symbols": {"mode": "multi_symbol"}}, "`mode: multi_symbol` needs `list: [...]`"),
        ({"symbols": {"mode": "multi_symbol", "symbol": "A"}}, "`mode: multi_symbol` takes `list`, not `symbol`"),
        ({"symbols": {"mode": "multi_symbol", "list": []}}, "training_data.symbols.list: `list` is an empty list"),
        (
            {"symbols": {"mode": "multi_symbol", "list": ["A", "A"]}},
            "training_data.symbols.list[1]: `A` is listed twice",
        ),
        ({"symbols": {"mode": "multi_symbol", "list": [["A"]]}}, "an item of `list` must be text, not a list"),
        ({"symbols": {"mode": "single", "symbol": "../x"}}, "training_data.symbols.symbol: '../x' cannot be a symbol"),
        ({"symbols": {"mode": "single", "symbol": "A", "sector": 1}}, "unknown key `sector`"),
        ({"timeframes": "1h"}, "training_data.timeframes: `timeframes` must be a map, such as `{mode: single"),
        ({"timeframes": {"mode": "single", "timeframe": "3h"}}, "unknown timeframe `3h`; use one of 1m, 5m, 15m"),
        ({"timeframes": {"mode": "single", "timeframe": "90m"}}, "each is a whole multiple of the shorter ones"),
        ({"timeframes": {"mode": "single", "timeframe": "1H"}}, "unknown timeframe `1H`, did you mean `1h`?"),
        ({"timeframes": {"mode": "multi_timeframe", "list": ["1h", "7m"]}}, "unknown timeframe `7m`"),
        (
            {"timeframes": {"mode": "multi_timeframe", "list": ["1h", "1d"], "base_timeframe": "5m"}},
            "training_data.timeframes.base_timeframe: `base_timeframe: 5m` is not one of the timeframes 1h, 1d;",
        ),
        ({"history_required": -1}, "training_data.history_required: `history_required` must be at least 0, not -1"),
        ({"history_required": "many"}, "`history_required` must be a whole number"),
        ({"symbol": "EURUSD"}, "training_data.symbol: unknown key `symbol`: write `symbols: {mode: single"),
        ({"date_rnge": {}}, "unknown key `date_rnge`, did you mean `date_range`?"),
        ({"date_range": "2017"}, "training_data.date_range: `date_range` must be a map"),
        ({"date_range": {"start": 2017}}, "`start`: '2017' is not a date: write it as 2017-01-31"),
        (
            {"date_range": {"start": "2017-02-30"}},
            "training_data.date_range.start: `start`: '2017-02-30' is not a date",
        ),
        ({"date_range": {"start": "01/02/2017"}}, "is not a date: write it as 2017-01-31"),
        (
            {"date_range": {"start": "2018-01-02", "end": "2018-01-01"}},
            "`start: 2018-01-02` is after `end: 2018-01-01`",
        ),
        ({"date_range": {"from": "2018-01-02"}}, "training_data.date_range.from: unknown key `from`"),
        ({"date_range": {}, "start_date": "2017-01-01"}, "dates are given twice: as `start_date` and as `date_range`"),
    ],
)
def test_what_is_wrong_with_training_data(errors_of, changes, said):
    errors = errors_of({f"training_data.{key}": value for key, value in changes.items()})
    assert any(said in error for error in errors), errors


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"date_range": {"start": "2015-01-01", "end": "2020-12-31"}}, (dt.date(2015, 1, 1), dt.date(2020, 12, 31))),
        ({"date_range": {"start": "2015-01-01"}}, (dt.date(2015, 1, 1), None)),
        ({"date_range": {"start": "2015-01-01", "end": "2015-01-01"}}, (dt.date(2015, 1, 1), dt.date(2015, 1, 1))),
        ({"start_date": "2015-01-01", "end_date": "2020-12-31"}, (dt.date(2015, 1, 1), dt.date(2020, 12, 31))),
        ({"end_date": "2020-12-31"}, (None, dt.date(2020, 12, 31))),
        ({}, (None, None)),
    ],
)
def test_dates_are_inclusive_days(load, changes, expected):
    dates = load({f"training_data.{key}": value for key, value in changes.items()}).strategy.training_data.date_range
    assert (dates.start, dates.end) == expected


def test_history_that_is_shorter_than_the_indicators_need_is_warned_of(load):
    loaded = load({"training_data.history_required": 5})
    assert loaded.strategy.training_data.history_required == 5
    (warning,) = loaded.warnings
    assert warning.message == "the indicators need 33 bars of history, so 33 are used; remove this key or raise it"
    assert load({"training_data.history_required": 33}).warnings == ()


# --- indicators


@pytest.mark.parametrize("name", registry.indicator_names())
def test_every_type_of_the_registry_loads_in_any_case_with_its_defaults(load, name):
    indicator = registry.get_indicator(name)
    for spelling in (name, name.upper(), *indicator.aliases):
        definition = load({"indicators.extra": {"type": spelling}}).strategy.indicators["extra"]
        assert definition.type == name
        assert list(definition.parameters) == [parameter.name for parameter in indicator.parameters]


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("williamsr", "williams_r"),
        ("fishertransform", "fisher"),
        ("bollingerbands", "bbands"),
        ("bollingerbandwidth", "bbands_width"),
        ("keltnerchannels", "keltner"),
        ("donchianchannels", "donchian"),
        ("simplemovingaverage", "sma"),
        ("exponentialmovingaverage", "ema"),
        ("weightedmovingaverage", "wma"),
        ("parabolicsar", "parabolic_sar"),
        ("adline", "ad_line"),
        ("volumeratio", "volume_ratio"),
        ("distancefromma", "distance_from_ma"),
        ("squeezeintensity", "squeeze"),
        ("BollingerBands", "bbands"),
        ("WilliamsR", "williams_r"),
    ],
)
def test_aliases_of_the_predecessor(load, alias, name):
    assert load({"indicators.extra": {"type": alias}}).strategy.indicators["extra"].type == name


@pytest.mark.parametrize(
    ("definition", "said"),
    [
        ({"type": "rsii"}, "indicators.extra.type: unknown indicator type `rsii`, did you mean `rsi`?"),
        ({"type": "qqq"}, "unknown indicator type `qqq`; `ktrdr indicators` lists those there are"),
        (
            {"type": "zigzag"},
            "`zigzag` looks into the future, so it cannot be an indicator; it exists as a label source",
        ),
        ({"type": "ZigZag", "threshold": 0.05}, "`zigzag` looks into the future"),
        ({}, "indicators.extra: `type` is required: the indicator to compute"),
        ({"type": ["rsi"]}, "indicators.extra.type: `type` must be text, not a list"),
        ({"type": "macd", "fast": 12}, "indicators.extra.fast: unknown key `fast`, did you mean `fast_period`?"),
        ({"type": "rsi", "perod": 14}, "indicators.extra.perod: unknown key `perod`, did you mean `period`?"),
        (
            {"type": "rsi", "length": 14},
            "indicators.extra.length: unknown key `length`; the known keys are type, period, source",
        ),
        ({"type": "rsi", "period": "14"}, "indicators.extra.period: `period` must be a whole number, not '14'"),
        ({"type": "rsi", "period": 14.5}, "`period` must be a whole number, not 14.5"),
        ({"type": "rsi", "period": True}, "`period` must be a whole number, not True"),
        ({"type": "rsi", "period": 0}, "indicators.extra.period: `period` must be at least"),
        ({"type": "rsi", "period": 10_000_000}, "indicators.extra.period: `period` must be at most"),
        ({"type": "rsi", "period": [14]}, "`period` must be a whole number, not [14]"),
        ({"type": "rsi", "period": None}, "`period` has no value; give one or leave the key out"),
        ({"type": "bbands", "multiplier": 0}, "indicators.extra.multiplier: `multiplier` must be above 0"),
        ({"type": "rsi", "source": "clos"}, "`source` must be one of open, high, low, close, volume, hl2"),
        (
            {"type": "atr", "source": "close"},
            "indicators.extra.source: unknown key `source`: `atr` does not read a single price series",
        ),
        (
            {"type": "rsi", "timeframe": "1h"},
            "unknown key `timeframe`: an indicator has no timeframe; choose it in `nn_inputs`",
        ),
        ({"type": "rsi", "params": {"period": 3}}, "unknown key `params`: write the parameters beside `type`"),
        ({"type": "macd", "fast_period": 30, "slow_period": 20}, "indicators.extra: "),
        ("rsi", "indicators.extra: `extra` must be a map, not `rsi`"),
        (None, "indicators.extra: `extra` must be a map, not nothing"),
    ],
)
def test_what_is_wrong_with_an_indicator(errors_of, definition, said):
    errors = errors_of({"indicators.extra": definition})
    assert any(said in error for error in errors), errors


@pytest.mark.parametrize("source", ["open", "high", "low", "close", "volume", "hl2", "hlc3", "ohlc4", "HL2"])
def test_sources(load, source):
    definition = load({"indicators.extra": {"type": "sma", "source": source}}).strategy.indicators["extra"]
    assert definition.parameters["source"] == source.lower()


def test_an_invalid_identifier_is_refused(errors_of):
    errors = errors_of({"indicators/a.b": {"type": "rsi"}, "fuzzy_sets/x y": {"indicator": "rsi_14", "low": [0, 1, 2]}})
    assert "cannot be the name of an indicator" in errors[0]
    assert "cannot be the name of a fuzzy set" in errors[1]


# --- fuzzy_sets


@pytest.mark.parametrize(
    ("written", "kind", "parameters"),
    [
        ([0, 20, 40], "triangular", (0, 20, 40)),
        ([0, 0, 40], "triangular", (0, 0, 40)),
        ([5, 5, 5.5], "triangular", (5, 5, 5.5)),
        ([0, 20, 40, 60], "trapezoidal", (0, 20, 40, 60)),
        ({"type": "triangular", "parameters": [0, 20, 40]}, "triangular", (0, 20, 40)),
        ({"type": "Trapezoidal", "parameters": [0, 20, 20, 60]}, "trapezoidal", (0, 20, 20, 60)),
        ({"type": "gaussian", "parameters": [50, 0.1]}, "gaussian", (50, 0.1)),
        ({"type": "sigmoid", "parameters": [50, -2]}, "sigmoid", (50, -2)),
        ({"type": "bell", "parameters": [10, 2, 50]}, "bell", (10, 2, 50)),
    ],
)
def test_membership_functions(load, written, kind, parameters):
    fuzzy_set = load({"fuzzy_sets.rsi.low": written}).strategy.fuzzy_sets["rsi"]
    assert fuzzy_set.memberships["low"] == MembershipFunction(type=kind, parameters=parameters)
    assert list(fuzzy_set.memberships) == ["low", "mid", "high"]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ([0, 20], "fuzzy_sets.rsi.low: `low` lists 2 numbers: 3 make a triangular membership, 4 a trapezoidal one"),
        ([0, 1, 2, 3, 4], "`low` lists 5 numbers"),
        ([], "`low` lists 0 numbers"),
        ([40, 20, 0], "`triangular` needs a <= b <= c, but a = 40 is above b = 20"),
        ([0, 40, 20], "but b = 40 is above c = 20"),
        ([0, 20, 60, 40], "`trapezoidal` needs a <= b <= c <= d, but c = 60 is above d = 40"),
        ([0, "x", 40], "`triangular` takes numbers, not `x`"),
        ([0, True, 40], "`triangular` takes numbers, not `true`"),
        ([0, None, 40], "`triangular` takes numbers, not nothing"),
        ([-1.7e308, 0, 1.7e308], "the numbers of `triangular` are too far apart"),
        (5, "`low` must be a list, such as `[0, 20, 40]`, or `{type, parameters}`, not `5`"),
        ({"type": "triangle", "parameters": [0, 1, 2]}, "unknown type `triangle`, did you mean `triangular`?"),
        ({"parameters": [0, 1, 2]}, "`type` is required: one of triangular, trapezoidal, gaussian, sigmoid, bell"),
        ({"type": "gaussian"}, "`parameters` is required: the numbers [mean, sigma]"),
        ({"type": "gaussian", "parameters": [50]}, "`gaussian` takes 2 numbers [mean, sigma], not 1"),
        ({"type": "gaussian", "parameters": [50, 0]}, "`gaussian` needs a sigma above 0, not 0"),
        ({"type": "gaussian", "parameters": [50, -1]}, "`gaussian` needs a sigma above 0, not -1"),
        ({"type": "sigmoid", "parameters": [50, 0]}, "`sigmoid` needs a slope other than 0"),
        ({"type": "bell", "parameters": [0, 2, 50]}, "`bell` needs a width above 0, not 0"),
        ({"type": "bell", "parameters": [1, 0, 50]}, "`bell` needs a slope above 0, not 0"),
        (
            {"type": "triangular", "parameters": [0, 1, 2], "weight": 2},
            "fuzzy_sets.rsi.low.weight: unknown key `weight`",
        ),
        ({"type": "triangular", "a": 0, "b": 1, "c": 2}, "unknown key `a`: write `parameters: [a, b, c]`"),
    ],
)
def test_what_is_wrong_with_a_membership(errors_of, written, said):
    errors = errors_of({"fuzzy_sets.rsi.low": written})
    assert any(said in error for error in errors), errors


@pytest.mark.parametrize(
    ("fuzzy_set", "said"),
    [
        ({"low": [0, 1, 2]}, "fuzzy_sets.rsi: `indicator` is required: the indicator this set reads"),
        ({"indicator": "rsi_14"}, "fuzzy_sets.rsi: a fuzzy set needs at least one membership"),
        ({"indicator": "rsi14", "low": [0, 1, 2]}, "there is no indicator `rsi14`, did you mean `rsi_14`?"),
        ({"indicator": "zzz", "low": [0, 1, 2]}, "there is no indicator `zzz`; defined: rsi_14, macd"),
        ({"indicator": "macd.histo", "low": [0, 1, 2]}, "`macd` (macd) has no output `histo`; it has `macd.macd`"),
        ({"indicator": "rsi_14", "so so": [0, 1, 2]}, "`so so` cannot be the name of a membership"),
        ([1], "fuzzy_sets.rsi: `rsi` must be a map, not a list"),
    ],
)
def test_what_is_wrong_with_a_fuzzy_set(errors_of, fuzzy_set, said):
    errors = errors_of({"fuzzy_sets.rsi": fuzzy_set})
    assert any(said in error for error in errors), errors


def test_outputs_of_an_indicator(load):
    changes = {"fuzzy_sets.turn": {"indicator": "macd.histogram", "up": [0, 1, 2]}}
    changes["nn_inputs.1"] = {"fuzzy_set": "turn", "timeframes": ["1h"]}
    assert load(changes).strategy.fuzzy_sets["turn"].indicator == "macd.histogram"


def test_a_membership_that_is_always_one_is_warned_of(load):
    (warning,) = load({"fuzzy_sets.rsi.low": [30, 30, 30]}).warnings
    assert "is 1 for every value" in warning.message


# --- nn_inputs


def test_inputs_keep_their_order_and_all_means_every_timeframe(load):
    first, second = load().strategy.nn_inputs
    assert first == FuzzyInput(fuzzy_set="rsi", timeframes=("1h", "1d"))
    assert second == RawInput(raw_indicator="macd", timeframes=("1h",), normalization="zscore")


@pytest.mark.parametrize("normalization", ["zscore", "minmax", "robust", "none"])
def test_normalizations(load, normalization):
    assert load({"nn_inputs.1.normalization": normalization}).strategy.nn_inputs[1].normalization == normalization


def test_lags_and_timeframes(load):
    changes = {"nn_inputs.0": {"fuzzy_set": "rsi", "timeframes": ["1d", "1h"], "lags": [1, 2, 10]}}
    item = load(changes).strategy.nn_inputs[0]
    assert (item.timeframes, item.lags) == (("1d", "1h"), (1, 2, 10))


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (
            {"fuzzy_set": "rsi", "timeframes": "1h"},
            "timeframes: `timeframes` is `all` or a list; write `timeframes: [1h]`",
        ),
        ({"fuzzy_set": "rsi", "timeframes": "All"}, "`timeframes` is `all` or a list"),
        ({"fuzzy_set": "rsi"}, "nn_inputs[0]: `timeframes` is required: `all`, or a list such as `[1h]`"),
        ({"fuzzy_set": "rsi", "timeframes": []}, "`timeframes` is an empty list"),
        ({"fuzzy_set": "rsi", "timeframes": ["4h"]}, "`4h` is not among the timeframes of `training_data`: 1h, 1d"),
        ({"fuzzy_set": "rsi", "timeframes": ["3h"]}, "unknown timeframe `3h`"),
        ({"fuzzy_set": "rsi", "timeframes": ["1h", "1h"]}, "nn_inputs[0].timeframes[1]: `1h` is listed twice"),
        ({"fuzzy_set": "rsi", "timeframes": {"a": 1}}, "`timeframes` must be a list, not a map"),
        ({"fuzzy_set": None, "timeframes": "all"}, "nn_inputs[0]: an input is either `fuzzy_set: <id>` or"),
        (
            {"raw_indicator": None, "timeframes": "all", "lags": [1]},
            "nn_inputs[0]: an input is either `fuzzy_set: <id>`",
        ),
        ({"normalization": "zscore", "timeframes": "all"}, "nn_inputs[0]: an input is either `fuzzy_set: <id>`"),
        ({"timeframes": "all"}, "nn_inputs[0]: an input is either `fuzzy_set: <id>` or `raw_indicator: <id>`"),
        ({"fuzzy_set": "rsi", "raw_indicator": "macd", "timeframes": "all"}, "or `raw_indicator: <id>`, not both"),
        ({"fuzzy_set": "rsj", "timeframes": "all"}, "there is no fuzzy set `rsj`, did you mean `rsi`?"),
        ({"raw_indicator": "rsi", "timeframes": "all"}, "there is no indicator `rsi`, did you mean `rsi_14`?"),
        ({"raw_indicator": "macd.x", "timeframes": "all"}, "`macd` (macd) has no output `x`"),
        ({"fuzy_set": "rsi", "timeframes": "all"}, "unknown key `fuzy_set`, did you mean `fuzzy_set`?"),
        ({"fuzzy_set": "rsi", "timeframes": "all", "normalization": "zscore"}, "only raw inputs have this key"),
        ({"raw_indicator": "rsi_14", "timeframes": "all", "normalization": "z"}, "unknown normalization `z`"),
        ({"fuzzy_set": "rsi", "timeframes": "all", "lags": 1}, "`lags` must be a list of whole numbers, not 1"),
        ({"fuzzy_set": "rsi", "timeframes": "all", "lags": [0]}, "`lags` must be at least 1, not 0"),
        ({"fuzzy_set": "rsi", "timeframes": "all", "lags": [-1]}, "`lags` must be at least 1, not -1"),
        ({"fuzzy_set": "rsi", "timeframes": "all", "lags": [1, 1]}, "`lags` has a number twice; remove one"),
        (
            {"raw_indicator": "macd", "timeframes": ["1h"]},
            "feature `1h_macd_raw` is already made by `nn_inputs[0]`",
        ),
        ("rsi", "nn_inputs[0]: this item must be a map, such as `{fuzzy_set: rsi, timeframes: all}`, not `rsi`"),
    ],
)
def test_what_is_wrong_with_an_input(errors_of, item, said):
    errors = errors_of({"nn_inputs.0": item})
    assert any(said in error for error in errors), errors


def test_inputs_that_give_the_same_feature_id_are_refused(errors_of):
    """`a_b` + `c` and `a` + `b_c` would be the same feature."""
    changes = {
        "fuzzy_sets": {
            "a_b": {"indicator": "rsi_14", "c": [0, 1, 2]},
            "a": {"indicator": "rsi_14", "b_c": [0, 1, 2]},
        },
        "nn_inputs": [{"fuzzy_set": "a_b", "timeframes": ["1h"]}, {"fuzzy_set": "a", "timeframes": ["1h"]}],
    }
    (error,) = errors_of(changes)
    assert error.startswith("nn_inputs[1]: feature `1h_a_b_c` is already made by `nn_inputs[0]`")


def test_too_many_features_are_refused_rather_than_made(errors_of):
    (error,) = errors_of({"nn_inputs.0.lags": list(range(1, 2001))})
    assert error.startswith(
        "nn_inputs[0]: the model would have 12,007 features, and the limit is 10,000; remove lags or inputs"
    )


# --- deployment


@pytest.mark.parametrize(
    ("deployment", "symbols", "timeframes"),
    [
        ({"target_symbols": ["EURUSD"], "target_timeframes": ["1h"]}, ("EURUSD",), ("1h",)),
        ({"target_symbols": {"mode": "universal"}}, None, None),
        ({"target_symbols": {"mode": "training_only"}}, ("EURUSD",), None),
        ({"target_symbols": {"mode": "multi", "list": ["A", "B"]}}, ("A", "B"), None),
        ({"target_timeframes": {"mode": "single", "supported": ["1h"]}}, None, ("1h",)),
        ({"target_timeframes": {"mode": "training_only"}}, None, ("1h", "1d")),
        ({}, None, None),
    ],
)
def test_deployment(load, deployment, symbols, timeframes):
    found = load({"deployment": deployment}).strategy.deployment
    assert (found.target_symbols, found.target_timeframes) == (symbols, timeframes)


def test_a_deployment_that_allows_nothing_is_warned_of(load):
    (warning,) = load({"deployment": {"target_timeframes": ["1d"]}}).warnings
    assert (warning.path, warning.message) == (
        "deployment.target_timeframes",
        "the base timeframe `1h` is missing here, so every backtest will be refused; add it",
    )


@pytest.mark.parametrize(
    ("deployment", "said"),
    [
        ({"target_symbol": ["A"]}, "unknown key `target_symbol`, did you mean `target_symbols`?"),
        ({"target_symbols": "A"}, "`target_symbols` must be a list, such as `[EURUSD]`, not `A`"),
        ({"target_symbols": ["../A"]}, "cannot be a symbol"),
        ({"target_timeframes": ["3h"]}, "unknown timeframe `3h`"),
        ({"target_symbols": {"mode": "universal", "list": ["A"]}}, "`mode: universal` takes no list"),
        ({"target_symbols": {"mode": "x"}}, "`target_symbols` has no list; write one, such as"),
        ({"target_symbols": {"list": ["A"], "supported": ["A"]}}, "`list` and `supported` mean the same; keep one"),
        ({"target_symbols": {"mode": "group", "groups": ["A"]}}, "groups of symbols are not supported"),
    ],
)
def test_what_is_wrong_with_deployment(errors_of, deployment, said):
    errors = errors_of({"deployment": deployment})
    assert any(said in error for error in errors), errors
