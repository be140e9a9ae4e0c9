"""The five guarantees of the pipeline, and what it says when it is misused."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.resample import resample
from ktrdr.core.data.sample import sample_bars
from ktrdr.core.errors import BadInputError
from ktrdr.core.features import sources
from ktrdr.core.features.pipeline import FeaturePipeline, content_hash
from ktrdr.core.indicators import computation
from ktrdr.core.strategy.model import Strategy

StrategyMaker = Callable[..., Strategy]
BarsMaker = Callable[..., dict[str, Bars]]


@pytest.fixture(scope="module")
def sample() -> dict[str, Bars]:
    bars = sample_bars()
    return {"1h": bars, "4h": resample(bars, "4h"), "1d": resample(bars, "1d")}


@pytest.fixture(scope="module")
def sample_strategy(make_strategy: StrategyMaker) -> Strategy:
    return make_strategy(
        {
            "rsi_14": ("rsi", {"period": 14}),
            "macd_f": ("macd", {}),
            "atr_14": ("atr", {"period": 14}),
            "ema_50": ("ema", {"period": 50}),
        },
        {
            "rsi": ("rsi_14", {"low": ("trapezoidal", (0, 0, 25, 42)), "high": ("bell", (20, 3, 80))}),
            "turn": ("macd_f.histogram", {"flat": ("gaussian", (0, 0.0003)), "up": ("sigmoid", (0.0002, 7000))}),
        },
        [
            {"fuzzy_set": "rsi", "timeframes": ("1h", "4h", "1d"), "lags": (1,)},
            {"fuzzy_set": "turn", "timeframes": ("1h",)},
            {"raw_indicator": "atr_14", "timeframes": ("4h",), "normalization": "robust"},
            {"raw_indicator": "ema_50", "timeframes": ("1h",), "lags": (5,)},
        ],
        timeframes=("1h", "4h", "1d"),
    )


def until(bars: Mapping[str, Bars], row: int) -> dict[str, Bars]:
    """What was known at the close of base bar ``row``, the base being the first timeframe."""
    now = next(iter(bars.values())).close_time[row]
    return {name: part[: int((part.close_time <= now).sum())] for name, part in bars.items()}


def same(one: np.ndarray, other: np.ndarray) -> bool:
    return one.tobytes() == other.tobytes()


class TestCausal:
    @pytest.mark.parametrize("timeframes", [("1h",), ("1h", "4h", "1d")])
    @pytest.mark.parametrize("crisp", [False, True])
    def test_real_bars_cut_at_random_bars(
        self,
        sample: dict[str, Bars],
        sample_strategy: Strategy,
        timeframes: tuple[str, ...],
        crisp: bool,
    ):
        inputs = [
            item.model_copy(update={"timeframes": kept})
            for item in sample_strategy.nn_inputs
            if (kept := tuple(name for name in item.timeframes if name in timeframes))
        ]
        pipeline = FeaturePipeline(sample_strategy.model_copy(update={"nn_inputs": tuple(inputs)}), crisp=crisp)
        whole = pipeline.compute(sample).values
        assert np.isfinite(whole).all(axis=1).sum() > 5000
        for row in np.random.default_rng(7).integers(0, len(whole), 40):
            assert same(pipeline.compute(until(sample, row)).values, whole[: row + 1])

    @given(n=st.integers(1, 150), seed=st.integers(0, 2**16), missing=st.sampled_from((0.0, 0.3)), data=st.data())
    def test_random_bars_with_holes_cut_anywhere(
        self, rich_strategy: Strategy, rich_bars: BarsMaker, n: int, seed: int, missing: float, data: st.DataObject
    ):
        bars = rich_bars(n, seed=seed, missing=missing)
        pipeline = FeaturePipeline(rich_strategy)
        row = data.draw(st.integers(0, n - 1))
        assert same(pipeline.compute(until(bars, row)).values, pipeline.compute(bars).values[: row + 1])

    def test_resampling_anew_from_the_cut_base_bars_changes_nothing(
        self, sample: dict[str, Bars], sample_strategy: Strategy
    ):
        """As in live use: the day's bar is made of the hours so far, and must not be visible before the day ends."""
        pipeline = FeaturePipeline(sample_strategy)
        whole = pipeline.compute(sample).values
        for row in np.random.default_rng(8).integers(0, len(whole), 25):
            base = sample["1h"][: row + 1]
            live = {"1h": base, "4h": resample(base, "4h"), "1d": resample(base, "1d")}
            assert same(pipeline.compute(live).values, whole[: row + 1])

    def test_a_longer_bar_is_invisible_until_it_has_closed(self, make_strategy: StrategyMaker, make_bars: BarsMaker):
        strategy = make_strategy(
            {"close": ("sma", {"period": 2})},
            {},
            [{"raw_indicator": "close", "timeframes": ("4h",), "normalization": "none"}],
            timeframes=("1h", "4h"),
        )
        hours = make_bars(16)
        fours = resample(hours, "4h")
        values = FeaturePipeline(strategy).compute({"1h": hours, "4h": fours}).values[:, 0]
        two_means = (fours.close[:-1] + fours.close[1:]) / 2
        assert np.isnan(values[:7]).all()
        np.testing.assert_allclose(values[7:], [*np.repeat(two_means[:2], 4), two_means[2]], rtol=1e-6)


class TestSameInTrainingAndBacktest:
    def test_saved_normalizers_give_identical_bytes(self, sample: dict[str, Bars], sample_strategy: Strategy):
        training = FeaturePipeline(sample_strategy)
        computed = training.compute(sample)
        training.fit({"EURUSD": computed}, {"EURUSD": np.arange(3000)})
        seen_in_training = training.normalize(computed)

        saved = json.loads(json.dumps(training.normalizers()))
        backtest = FeaturePipeline(sample_strategy).with_normalizers(saved)
        seen_in_backtest = backtest.transform(sample)
        assert same(seen_in_backtest.values, seen_in_training.values)
        assert content_hash(seen_in_backtest) == content_hash(seen_in_training)

    def test_transform_is_normalize_of_compute_and_leaves_its_input_alone(
        self, rich_strategy: Strategy, rich_bars: BarsMaker
    ):
        pipeline, bars = FeaturePipeline(rich_strategy), rich_bars()
        computed = pipeline.compute(bars)
        before = computed.values.tobytes()
        pipeline.fit({"EURUSD": computed}, {"EURUSD": np.arange(80)})
        assert same(pipeline.normalize(computed).values, pipeline.transform(bars).values)
        assert computed.values.tobytes() == before
        assert not same(pipeline.transform(bars).values, computed.values)

    def test_a_backtest_that_begins_later_sees_the_same_once_settled(
        self, sample: dict[str, Bars], sample_strategy: Strategy
    ):
        pipeline = FeaturePipeline(sample_strategy)
        whole = pipeline.compute(sample).values
        begin = sample["1h"].time[2000]
        later = pipeline.compute({name: bars.between(begin, None) for name, bars in sample.items()}).values
        np.testing.assert_allclose(later[3000:], whole[5000:], rtol=1e-5, atol=1e-5)


class TestWarmUp:
    @pytest.mark.parametrize("lags", [(), (1, 4)])
    def test_first_complete_row_is_the_declared_warm_up(
        self, make_strategy: StrategyMaker, make_bars: BarsMaker, lags: tuple[int, ...]
    ):
        strategy = make_strategy(
            {"rsi_14": ("rsi", {"period": 14}), "slow": ("sma", {"period": 30}), "macd_f": ("macd", {})},
            {"rsi": ("rsi_14", {"low": ("triangular", (0, 20, 40))})},
            [
                {"fuzzy_set": "rsi", "lags": lags},
                {"raw_indicator": "slow", "normalization": "none"},
                {"raw_indicator": "macd_f.signal", "normalization": "none", "lags": lags},
            ],
        )
        pipeline = FeaturePipeline(strategy)
        matrix = pipeline.compute({"1h": make_bars(100)})
        assert 29 <= pipeline.warmup == int(matrix.warm.argmax())
        assert np.isnan(matrix.values[: pipeline.warmup]).all()
        assert matrix.warm[pipeline.warmup :].all()

    @pytest.mark.parametrize("start", ["2020-01-06T00:00", "2020-01-06T01:00", "2020-01-06T03:00"])
    @pytest.mark.parametrize("whole_bars_only", [False, True])
    def test_is_an_upper_bound_with_several_timeframes(
        self, rich_strategy: Strategy, make_bars: BarsMaker, start: str, whole_bars_only: bool
    ):
        fine = make_bars(400, timeframe="30m", start=start)
        hours = resample(fine, "1h")
        fours = resample(hours, "4h")
        if whole_bars_only:
            fours = fours.between(fine.time[0], None)
        bars = {"30m": fine, "1h": hours, "4h": fours}
        pipeline = FeaturePipeline(rich_strategy)
        first = int(pipeline.compute(bars).warm.argmax())
        assert 0 < first <= pipeline.warmup <= first + 8
        if whole_bars_only and start.endswith("T01:00"):
            assert first == pipeline.warmup

    def test_history_required_withholds_rows(self, make_strategy: StrategyMaker, make_bars: BarsMaker):
        def pipeline(history: int | None) -> FeaturePipeline:
            return FeaturePipeline(
                make_strategy(
                    {"fast": ("sma", {"period": 3})},
                    {},
                    [{"raw_indicator": "fast", "normalization": "none"}],
                    history_required=history,
                )
            )

        bars = {"1h": make_bars(50)}
        assert (pipeline(None).warmup, pipeline(1).warmup, pipeline(20).warmup) == (2, 2, 20)
        np.testing.assert_array_equal(pipeline(20).compute(bars).warm, np.arange(50) >= 20)
        np.testing.assert_array_equal(pipeline(1).compute(bars).warm, np.arange(50) >= 2)

    def test_a_value_missing_in_the_middle_empties_its_row_and_its_lags_rows(
        self, make_strategy: StrategyMaker, make_bars: BarsMaker, monkeypatch: pytest.MonkeyPatch
    ):
        def with_holes(type_name: str, parameters: object, bars: Bars) -> dict[str, np.ndarray]:
            values = {name: column.copy() for name, column in real(type_name, parameters, bars).items()}
            if type_name == "rsi":
                values["rsi"][[20, 30]] = np.nan, np.inf
            return values

        real = computation.compute_indicator
        monkeypatch.setattr(computation, "compute_indicator", with_holes)
        strategy = make_strategy(
            {"rsi_5": ("rsi", {"period": 5}), "sma_4": ("sma", {"period": 4})},
            {"rsi": ("rsi_5", {"high": ("sigmoid", (50, 0.1))})},
            [{"fuzzy_set": "rsi", "lags": (3,)}, {"raw_indicator": "sma_4", "normalization": "none"}],
        )
        pipeline, bars = FeaturePipeline(strategy), {"1h": make_bars(60)}
        matrix = pipeline.compute(bars)
        empty = np.isnan(matrix.values)
        np.testing.assert_array_equal(empty.all(axis=1), empty.any(axis=1))
        np.testing.assert_array_equal(np.flatnonzero(empty[8:].any(axis=1)) + 8, [20, 23, 30, 33])
        known = pipeline.compute(bars, complete_rows=False).values
        np.testing.assert_array_equal(np.isnan(known[20]), [True, False, False])
        np.testing.assert_array_equal(np.isnan(known[23]), [False, True, False])


class TestSymbolsApart:
    @pytest.fixture
    def matrices(self, rich_strategy: Strategy, rich_bars: BarsMaker):
        pipeline = FeaturePipeline(rich_strategy)
        return pipeline, {
            symbol: pipeline.compute(rich_bars(seed=seed, symbol=symbol))
            for seed, symbol in enumerate(("EURUSD", "GBPUSD", "USDJPY"), start=10)
        }

    def test_each_is_computed_and_normalized_as_if_it_were_alone(self, rich_strategy: Strategy, matrices):
        pipeline, computed = matrices
        rows = {symbol: np.arange(70) for symbol in computed}
        pipeline.fit(computed, rows)
        for symbol, matrix in computed.items():
            alone = FeaturePipeline(rich_strategy).fit({symbol: matrix}, {symbol: rows[symbol]})
            assert alone.normalizers()[symbol] == pipeline.normalizers()[symbol]
            assert content_hash(alone.normalize(matrix)) == content_hash(pipeline.normalize(matrix))
        assert len({json.dumps(entries) for entries in pipeline.normalizers().values()}) == 3

    def test_rows_keep_symbol_and_time(self, rich_bars: BarsMaker, matrices):
        """Joined on symbol and time, whatever order symbols come in and wherever their bars begin."""
        pipeline, computed = matrices
        later = {name: bars[30:] for name, bars in rich_bars(seed=10, symbol="EURUSD").items()}
        later = {name: bars.between(later["1h"].time[0], None) for name, bars in later.items()}
        for matrix, bars in [(computed["EURUSD"], rich_bars(seed=10)["1h"]), (pipeline.compute(later), later["1h"])]:
            assert matrix.symbol == "EURUSD"
            np.testing.assert_array_equal(matrix.time, bars.time)
            assert len(matrix.values) == len(bars)

    def test_bars_of_two_symbols_are_refused(self, rich_strategy: Strategy, rich_bars: BarsMaker):
        bars = rich_bars() | {"4h": rich_bars(symbol="GBPUSD")["4h"]}
        with pytest.raises(BadInputError, match="one symbol at a time; pass the bars of one of EURUSD, GBPUSD"):
            FeaturePipeline(rich_strategy).compute(bars)

    def test_a_symbol_that_was_not_fitted_is_refused(self, matrices):
        pipeline, computed = matrices
        pipeline.fit({"EURUSD": computed["EURUSD"]}, {"EURUSD": np.arange(70)})
        with pytest.raises(BadInputError, match=r"no normalizers were fitted for `GBPUSD` \(fitted: EURUSD\)"):
            pipeline.normalize(computed["GBPUSD"])

    def test_memberships_alone_need_no_fit(self, make_strategy: StrategyMaker, make_bars: BarsMaker):
        strategy = make_strategy(
            {"rsi_5": ("rsi", {"period": 5})},
            {"rsi": ("rsi_5", {"low": ("triangular", (0, 20, 40))})},
            [{"fuzzy_set": "rsi"}],
        )
        bars = {"1h": make_bars(30, symbol="ANY")}
        pipeline = FeaturePipeline(strategy)
        assert same(pipeline.transform(bars).values, pipeline.compute(bars).values)


class TestFit:
    @pytest.fixture
    def fitted(self, rich_strategy: Strategy, rich_bars: BarsMaker):
        pipeline = FeaturePipeline(rich_strategy)
        computed = pipeline.compute(rich_bars(400, missing=0.0))
        rows = np.arange(len(computed.time)) < 250
        pipeline.fit({"EURUSD": computed}, {"EURUSD": rows})
        return pipeline, computed, rows

    def test_training_rows_have_the_promised_shape(self, fitted):
        pipeline, computed, rows = fitted
        seen = pipeline.normalize(computed)
        train = {name: seen.values[rows & seen.warm, at].astype(float) for at, name in enumerate(seen.ids)}
        zscore, robust, minmax = (train[n] for n in ("1h_sma_4_raw", "4h_roc_2_raw", "30m_macd_f.signal_raw"))
        np.testing.assert_allclose([zscore.mean(), zscore.std()], [0, 1], atol=1e-5)
        lower, median, upper = np.quantile(robust, (0.25, 0.5, 0.75))
        np.testing.assert_allclose([median, upper - lower], [0, 1], atol=1e-5)
        np.testing.assert_allclose([minmax.min(), minmax.max()], [0, 1], atol=1e-6)
        plain = list(seen.ids).index("1h_rsi_5_raw")
        np.testing.assert_array_equal(seen.values[:, plain], computed.values[:, plain])

    def test_rows_after_training_do_not_matter(self, fitted, rich_strategy: Strategy):
        pipeline, computed, rows = fitted
        changed = computed.values.copy()
        changed[~rows] *= 1000
        other = FeaturePipeline(rich_strategy).fit(
            {"EURUSD": type(computed)("EURUSD", computed.time, changed, computed.columns)}, {"EURUSD": rows}
        )
        assert other.normalizers() == pipeline.normalizers()

    def test_mask_and_positions_mean_the_same(self, fitted, rich_strategy: Strategy):
        pipeline, computed, rows = fitted
        other = FeaturePipeline(rich_strategy).fit({"EURUSD": computed}, {"EURUSD": np.flatnonzero(rows)})
        assert other.normalizers() == pipeline.normalizers()

    def test_a_value_is_the_same_number_at_each_lag(self, fitted):
        pipeline, computed, _ = fitted
        ids, values = list(computed.ids), pipeline.normalize(computed).values
        now, late = values[:, ids.index("1h_sma_4_raw")], values[:, ids.index("1h_sma_4_raw_lag2")]
        np.testing.assert_array_equal(late[60:], now[58:-2])

    def test_a_constant_column_has_scale_one(self, make_strategy: StrategyMaker, make_bars: BarsMaker):
        inputs = [{"raw_indicator": f"sma_{n}", "normalization": n} for n in ("zscore", "minmax", "robust")]
        strategy = make_strategy(
            {f"sma_{n}": ("sma", {"period": 3}) for n in ("zscore", "minmax", "robust")}, {}, inputs
        )
        moving = make_bars(40)
        flat = np.full(40, 1.1)
        bars = {"1h": Bars("EURUSD", moving.timeframe, moving.time, flat, flat, flat, flat, moving.volume)}
        pipeline = FeaturePipeline(strategy)
        matrix = pipeline.compute(bars)
        pipeline.fit({"EURUSD": matrix}, {"EURUSD": np.arange(40)})
        assert {entry["scale"] for entry in pipeline.normalizers()["EURUSD"].values()} == {1.0}
        np.testing.assert_allclose(pipeline.normalize(matrix).values[2:], 0, atol=1e-6)

    def test_no_complete_training_row_is_refused_with_the_reason(
        self, make_strategy: StrategyMaker, make_bars: BarsMaker
    ):
        strategy = make_strategy(
            {"slow": ("sma", {"period": 200})}, {}, [{"raw_indicator": "slow", "normalization": "zscore"}]
        )
        pipeline = FeaturePipeline(strategy)
        matrix = pipeline.compute({"1h": make_bars(120)})
        reason = r"no bar of EURUSD 1h .* 100 rows .* 120 bars, and `1h_slow_raw` needs 199"
        with pytest.raises(BadInputError, match=reason):
            pipeline.fit({"EURUSD": matrix}, {"EURUSD": np.arange(100)})
        assert pipeline.normalizers() == {}


class TestSavedNormalizers:
    @pytest.fixture
    def saved(self, rich_strategy: Strategy, rich_bars: BarsMaker):
        pipeline = FeaturePipeline(rich_strategy)
        computed = pipeline.compute(rich_bars())
        return pipeline.fit({"EURUSD": computed}, {"EURUSD": np.arange(80)}).normalizers()

    def test_read_back_equal_and_leave_the_pipeline_alone(self, rich_strategy: Strategy, saved):
        fresh = FeaturePipeline(rich_strategy)
        assert fresh.with_normalizers(json.loads(json.dumps(saved))).normalizers() == saved
        assert fresh.normalizers() == {}

    def test_of_other_features_are_refused(self, rich_strategy: Strategy, saved):
        del saved["EURUSD"]["1h_sma_4_raw"]
        with pytest.raises(BadInputError, match="not those of this strategy"):
            FeaturePipeline(rich_strategy).with_normalizers(saved)

    @pytest.mark.parametrize(
        "damage",
        [{"scale": 0.0}, {"scale": -1.0}, {"offset": float("nan")}, {"offset": None}, {"method": "minmax"}, {"x": 1}],
        ids=str,
    )
    def test_damaged_are_refused(self, rich_strategy: Strategy, saved, damage: dict[str, object]):
        saved["EURUSD"]["1h_sma_4_raw"] |= damage
        with pytest.raises(BadInputError, match="`1h_sma_4_raw` for `EURUSD` is damaged"):
            FeaturePipeline(rich_strategy).with_normalizers(saved)


class TestContract:
    def test_matrix_is_float32_c_contiguous_and_named(self, rich_strategy: Strategy, rich_bars: BarsMaker):
        pipeline = FeaturePipeline(rich_strategy)
        matrix = pipeline.compute(rich_bars())
        assert matrix.values.dtype == np.float32
        assert matrix.values.flags.c_contiguous
        assert matrix.values.shape == (120, len(pipeline.columns))
        assert matrix.ids[:6] == (
            "1h_rsi_low",
            "1h_rsi_mid",
            "1h_rsi_high",
            "1h_rsi_low_lag1",
            "1h_rsi_mid_lag1",
            "1h_rsi_high_lag1",
        )
        assert pipeline.timeframes == ("1h", "4h", "30m")

    def test_crisp_has_plain_values_in_place_of_memberships(self, rich_strategy: Strategy, rich_bars: BarsMaker):
        pipeline, bars = FeaturePipeline(rich_strategy, crisp=True), rich_bars()
        matrix = pipeline.compute(bars)
        assert matrix.ids[:3] == ("1h_rsi_value", "1h_rsi_value_lag1", "1h_rsi_value_lag3")
        rsi = computation.compute_indicator("rsi", rich_strategy.indicators["rsi_5"].parameters, bars["1h"])["rsi"]
        np.testing.assert_array_equal(matrix.values[matrix.warm, 0], rsi[matrix.warm].astype(np.float32))

    def test_each_indicator_is_computed_once_per_timeframe(self, rich_strategy: Strategy, rich_bars: BarsMaker):
        calls = []

        def counted(type_name: str, parameters: object, bars: Bars) -> dict[str, np.ndarray]:
            calls.append((type_name, bars.timeframe.name))
            return compute_indicator(type_name, parameters, bars)

        compute_indicator = computation.compute_indicator
        with patch.object(sources.computation, "compute_indicator", counted):
            FeaturePipeline(rich_strategy).compute(rich_bars())
        assert sorted(calls) == [("macd", "30m"), ("roc", "4h"), ("rsi", "1h"), ("rsi", "4h"), ("sma", "1h")]

    def test_a_missing_timeframe_is_refused(self, rich_strategy: Strategy, rich_bars: BarsMaker):
        bars = rich_bars()
        del bars["4h"]
        with pytest.raises(BadInputError, match="needs bars of 1h, 4h, 30m; 4h is missing"):
            FeaturePipeline(rich_strategy).compute(bars)

    def test_bars_of_another_timeframe_are_refused(self, rich_strategy: Strategy, rich_bars: BarsMaker):
        bars = rich_bars()
        with pytest.raises(BadInputError, match="given as 4h are 1h bars"):
            FeaturePipeline(rich_strategy).compute(bars | {"4h": bars["1h"]})

    def test_a_matrix_of_another_strategy_is_refused(self, rich_strategy: Strategy, rich_bars: BarsMaker):
        matrix = FeaturePipeline(rich_strategy, crisp=True).compute(rich_bars())
        with pytest.raises(BadInputError, match="computed for another strategy"):
            FeaturePipeline(rich_strategy).normalize(matrix)

    def test_hash_is_of_symbol_time_names_and_values(self, rich_strategy: Strategy, rich_bars: BarsMaker):
        matrix = FeaturePipeline(rich_strategy).compute(rich_bars())
        kind = type(matrix)
        values = matrix.values.copy()
        assert content_hash(kind("EURUSD", matrix.time.copy(), values.copy(), matrix.columns)) == content_hash(matrix)
        last = values.copy()
        last[-1, -1] = np.nextafter(last[-1, -1], np.float32(np.inf))
        others = [
            kind("GBPUSD", matrix.time, values, matrix.columns),
            kind("EURUSD", matrix.time + np.timedelta64(1, "ns"), values, matrix.columns),
            kind("EURUSD", matrix.time, values, matrix.columns[::-1]),
            kind("EURUSD", matrix.time, last, matrix.columns),
        ]
        assert len({content_hash(each) for each in [matrix, *others]}) == 5
