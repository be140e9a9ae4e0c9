"""Start of a training: from the call to the first report of the step `training`, with and without the cache of features.

    python benchmarks/second_start.py

Every start is measured in a new process that has imported all modules a training needs, except TA-Lib and pandas: a start
from the cache does without them. For the million bars TA-Lib is imported beforehand, too, so that the figures do not
depend on it.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from importlib.resources import files as resources
from pathlib import Path

from harness import reported

__all__ = ["beside_first", "seconds_of_demo"]

LARGE = """
name: large
training_data:
  symbols: {mode: single, symbol: EURUSD}
  timeframes: {mode: multi_timeframe, list: [1m, 15m, 1h], base_timeframe: 1m}
indicators:
  rsi_14: {type: rsi, period: 14}
  macd_x: {type: macd}
  cci_20: {type: cci, period: 20}
  atr_14: {type: atr, period: 14}
  roc_10: {type: roc, period: 10}
fuzzy_sets:
  rsi: {indicator: rsi_14, low: [0, 25, 45], middle: [30, 50, 70], high: [55, 75, 100]}
  cci: {indicator: cci_20, low: [-300, -150, 0], middle: [-100, 0, 100], high: [0, 150, 300]}
nn_inputs:
  - {fuzzy_set: rsi, timeframes: all, lags: [1, 2]}
  - {fuzzy_set: cci, timeframes: all}
  - {raw_indicator: macd_x.histogram, timeframes: all, normalization: robust}
  - {raw_indicator: atr_14, timeframes: all}
  - {raw_indicator: roc_10, timeframes: all, lags: [1]}
model: {type: mlp}
decisions: {output_format: classification}
training: {labels: {source: direction, horizon: 15, threshold: 0.0005}, epochs: 1}
"""


def measure(home: str, strategy: str, limit: str, talib: bool) -> tuple[float, float]:
    """Return CPU and wall seconds of a start; the training is cancelled then."""
    os.environ |= {"KTRDR_HOME": home, "KTRDR_CACHE_LIMIT": limit}
    import duckdb  # noqa: F401
    import torch  # noqa: F401

    import ktrdr.ml.torch.torch_trainer  # noqa: F401
    from ktrdr.core.errors import CancelledError
    from ktrdr.core.work.cancellation import Cancellation
    from ktrdr.core.work.progress import ProgressEvent
    from ktrdr.core.workflows.run_training import train

    if talib:
        import talib  # noqa: F401
    torch.set_num_threads(1)
    cancellation, taken = Cancellation(), (0.0, 0.0)
    wall, cpu = time.perf_counter(), time.process_time()

    def progress(event: ProgressEvent) -> None:
        nonlocal taken
        if event.step == "training" and not cancellation.requested:
            taken = time.process_time() - cpu, time.perf_counter() - wall
            cancellation.cancel()

    try:
        train(strategy, progress=progress, cancellation=cancellation)
    except CancelledError:
        return taken
    raise SystemExit("the training was not cancelled")


def starts(strategy: str, home: Path, *, talib: bool) -> dict[str, tuple[float, float]]:
    """Return CPU and wall seconds of a start without cache, of the first with it, and of the second."""

    def start(limit: str) -> tuple[float, float]:
        cpu, wall = reported(__file__, f"measure({str(home)!r}, {strategy!r}, {limit!r}, {talib})")
        return cpu, wall

    return {
        "without cache": min(start("0") for _ in range(3)),
        "first": start("8GiB"),
        "second": min(start("8GiB") for _ in range(3)),
    }


def demo() -> dict[str, tuple[float, float]]:
    """Return the starts of the demo's training."""
    from ktrdr.core.data.bar_store import BarStore
    from ktrdr.core.data.sample import install_sample

    with tempfile.TemporaryDirectory() as folder:
        install_sample(BarStore(Path(folder) / "data"))
        return starts(str(resources("ktrdr.core.samples").joinpath("neuro_mean_reversion.yaml")), Path(folder), talib=False)


def large(bars: int) -> dict[str, tuple[float, float]]:
    """Return the starts of a training on minute bars, with 30 features of three timeframes."""
    from made_up import random_walk

    from ktrdr.core.data.bar_store import BarStore

    with tempfile.TemporaryDirectory() as folder:
        BarStore(Path(folder) / "data").write(random_walk(bars))
        strategy = Path(folder) / "large.yaml"
        strategy.write_text(LARGE, encoding="utf-8")
        return starts(str(strategy), Path(folder), talib=True)


def seconds_of_demo() -> float:
    """Return the CPU seconds of the start of the demo's second training."""
    return demo()["second"][0]


def beside_first(bars: int) -> float:
    """Return the CPU time of a second start over that of one without cache."""
    found = large(bars)
    return found["second"][0] / found["without cache"][0]


if __name__ == "__main__":
    for name, found in (("demo", demo()), ("1,000,000 minute bars", large(1_000_000))):
        for kind, (cpu, wall) in found.items():
            print(f"{name}, {kind}: {cpu:.3f} s of CPU, {wall:.3f} s", file=sys.stdout, flush=True)
