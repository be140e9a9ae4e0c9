from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.loading import bars_digest, fingerprint, load_bars
from ktrdr.core.data.resample import resample
from ktrdr.core.data.sample import install_sample, sample_bars
from ktrdr.core.errors import BadInputError


@pytest.fixture(scope="module")
def sample_store(tmp_path_factory) -> BarStore:
    store = BarStore(tmp_path_factory.mktemp("sample"))
    install_sample(store)
    return store


def test_stored_bars_come_as_they_are(sample_store, same_bars):
    assert same_bars(load_bars(sample_store, "EURUSD", "1h"), sample_bars())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    timeframe=st.sampled_from(["2h", "4h", "1d", "1w"]),
    start=st.none() | st.integers(-50, 9000),
    end=st.none() | st.integers(-50, 9000),
)
def test_a_range_is_a_slice_of_the_whole(sample_store, same_bars, timeframe, start, end):
    def time(hours):
        return None if hours is None else np.datetime64("2017-01-01T00:30", "ns") + np.timedelta64(hours, "h")

    whole = resample(sample_bars(), timeframe)
    part = load_bars(sample_store, "EURUSD", timeframe, time(start), time(end))
    assert same_bars(part, whole.between(time(start), time(end)))


def test_made_of_the_coarsest_that_fits(store, make_bars):
    store.write(make_bars(480, timeframe="30m", seed=1))
    store.write(make_bars(240, timeframe="1h", seed=2))
    store.write(make_bars(20, timeframe="1d", seed=3))
    assert load_bars(store, "EURUSD", "4h").open[0] == store.read("EURUSD", "1h").open[0]
    assert load_bars(store, "EURUSD", "1w").open[0] == store.read("EURUSD", "1d").open[0]
    store.write(make_bars(10, timeframe="4h", seed=4))
    assert load_bars(store, "EURUSD", "4h").open[0] == store.read("EURUSD", "4h").open[0]


def test_a_timeframe_off_the_grid_is_passed_over(store, make_bars):
    store.write(make_bars(48, start="2017-01-02T14:30", timeframe="1h"))
    with pytest.raises(BadInputError, match="4h bars are not stored and cannot be made of the stored ones .1h."):
        load_bars(store, "EURUSD", "4h")
    fine = make_bars(96, start="2017-01-02T14:30", timeframe="30m")
    store.write(fine)
    assert load_bars(store, "EURUSD", "4h").open[0] == fine.open[0]


def test_nothing_that_fits(store, make_bars):
    with pytest.raises(BadInputError, match="no 1h bars of EURUSD .*none are stored.*ktrdr data import"):
        load_bars(store, "EURUSD", "1h")
    store.write(make_bars(10, timeframe="1d"))
    with pytest.raises(BadInputError, match=r"1h bars are not stored and cannot be made of the stored ones \(1d\)"):
        load_bars(store, "EURUSD", "1h")


def test_sample(sample_store):
    bars = sample_bars()
    assert len(bars) == 6225
    assert str(bars.time[0]) == "2017-01-01T22:00:00.000000000"
    assert str(bars.time[-1]) == "2017-12-29T21:00:00.000000000"
    assert (bars.open[0], bars.close[-1], bars.volume[0]) == (1.05236, 1.20075, 143539993.3)
    assert install_sample(sample_store).time[0] == bars.time[0]
    assert sample_store.info("EURUSD", "1h").rows == 6225


def test_fingerprint_is_of_the_content(make_bars):
    one, two = make_bars(50), make_bars(50, timeframe="4h", seed=1)
    digest = fingerprint(map(bars_digest, [one, two]))
    assert len(digest) == 64
    assert fingerprint(map(bars_digest, [two, one])) == digest
    assert fingerprint(map(bars_digest, [make_bars(50), make_bars(50, timeframe="4h", seed=1)])) == digest
    others = [replace(one, symbol="GBPUSD"), one[:49], one[1:], replace(one, volume=one.volume + 1), two]
    for name in ("open", "high", "low", "close"):
        changed = getattr(one, name).copy()
        changed[-1] = np.nextafter(changed[-1], 2e9)
        others.append(replace(one, **{name: changed}))
    assert len({fingerprint(map(bars_digest, [other, two])) for other in others} | {digest}) == len(others) + 1


def test_fingerprint_does_not_depend_on_the_kind_of_nan(make_bars):
    bars = make_bars(5)
    first, second = bars.volume.copy(), bars.volume.copy()
    first[2] = np.nan
    second[2] = -np.nan
    assert first.tobytes() != second.tobytes()
    assert fingerprint(map(bars_digest, [replace(bars, volume=first)])) == fingerprint(
        map(bars_digest, [replace(bars, volume=second)])
    )
    assert np.signbit(second[2])


def test_fingerprint_of_the_sample():
    # What bundles record. It changes only when the sample or the way to count does.
    assert (
        fingerprint(map(bars_digest, [sample_bars()]))
        == "b7a81a1de9db23655486d7c39057557d309c663d14e1d296cb051642bfcb1e71"
    )
