from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.bars import Bars
from ktrdr.core.data.timeframe import Timeframe


def _bars_at(times: np.ndarray, timeframe: str = "1h", *, symbol: str = "EURUSD", seed: int = 0) -> Bars:
    generator = np.random.default_rng(seed)
    n = len(times)
    open_ = 100 + generator.normal(0, 1, n)
    close = 100 + generator.normal(0, 1, n)
    high = np.maximum(open_, close) + generator.random(n)
    low = np.minimum(open_, close) - generator.random(n)
    volume = generator.integers(1, 1000, n).astype(np.float64)
    return Bars(symbol, Timeframe(timeframe), times.astype("datetime64[ns]"), open_, high, low, close, volume)


@pytest.fixture(scope="session")
def bars_at() -> Callable[..., Bars]:
    """Make plausible random bars at the given opens."""
    return _bars_at


@pytest.fixture(scope="session")
def make_bars() -> Callable[..., Bars]:
    """Make ``n`` plausible random bars without gaps."""

    def make(
        n: int, start: str = "2017-01-01", timeframe: str = "1h", *, symbol: str = "EURUSD", seed: int = 0
    ) -> Bars:
        step = np.timedelta64(Timeframe(timeframe).seconds, "s")
        return _bars_at(np.datetime64(start, "s") + np.arange(n) * step, timeframe, symbol=symbol, seed=seed)

    return make


@pytest.fixture(scope="session")
def same_bars() -> Callable[[Bars, Bars], bool]:
    """Tell whether two bars objects are equal, NaN to NaN."""

    def same(a: Bars, b: Bars) -> bool:
        return (
            (a.symbol, a.timeframe) == (b.symbol, b.timeframe)
            and np.array_equal(a.time, b.time)
            and all(
                np.array_equal(getattr(a, name), getattr(b, name), equal_nan=True)
                for name in ("open", "high", "low", "close", "volume")
            )
        )

    return same


@pytest.fixture
def store(tmp_path: Path) -> BarStore:
    return BarStore(tmp_path / "home" / "data")


@pytest.fixture
def tree() -> Callable[[Path], dict[str, bytes]]:
    """Return the content of every file below a directory, except the lock."""

    def read(root: Path) -> dict[str, bytes]:
        return {
            str(path.relative_to(root)): path.read_bytes()
            for path in sorted(root.rglob("*"))
            if path.is_file() and path.name != ".lock"
        }

    return read


@pytest.fixture(scope="session")
def vendor_shapes() -> ModuleType:
    """The module that writes vendors' files; tests are no package from which it could be imported."""
    spec = importlib.util.spec_from_file_location("vendor_shapes", Path(__file__).with_name("vendor_shapes.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its data classes look there for their annotations
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def stocks_file() -> Path:
    return Path(__file__).parent / "files" / "US_stocks_1d_2000_2013.csv.gz"
