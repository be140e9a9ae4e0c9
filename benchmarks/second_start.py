"""Start of a training, from the call to the step `training`, with and without the cache of features.

    python benchmarks/second_start.py

The whole start includes reading the bars; its preparation begins with the step `indicators`.

Every start is measured in a new process that has imported the large libraries of a training, except TA-Lib: a start
from the cache does without it. For the minute bars TA-Lib is imported beforehand, too, so that the figures do not
depend on it.
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Start:
    """CPU seconds of a start, and of its preparation alone; wall seconds of the start."""

    cpu: float
    preparation: float
    wall: float


def measure(home: str, strategy: str, limit: str, talib: bool) -> tuple[float, float, float]:
    """Return the fields of a :class:`Start`; the training is cancelled then."""
    os.environ |= {"KTRDR_HOME": home, "KTRDR_CACHE_LIMIT": limit}
    import duckdb  # noqa: F401
    import torch

    import ktrdr.ml.torch.torch_trainer  # noqa: F401
    from ktrdr.core.errors import CancelledError
    from ktrdr.core.work.cancellation import Cancellation
    from ktrdr.core.work.progress import ProgressEvent
    from ktrdr.core.workflows.run_training import train

    if talib:
        import talib
    torch.set_num_threads(1)
    cancellation, steps = Cancellation(), {}
    wall, cpu = time.perf_counter(), time.process_time()

    def progress(event: ProgressEvent) -> None:
        steps.setdefault(event.step, (time.process_time(), time.perf_counter()))
        if event.step == "training":
            cancellation.cancel()

    try:
        train(strategy, progress=progress, cancellation=cancellation)
    except CancelledError:
        end = steps["training"]
        return end[0] - cpu, end[0] - steps["indicators"][0], end[1] - wall
    raise SystemExit("the training was not cancelled")


def start(home: Path, strategy: str, limit: str, *, talib: bool) -> Start:
    """Return a start in a new process, the best of three in CPU time."""
    call = f"measure({str(home)!r}, {strategy!r}, {limit!r}, {talib})"
    return min((Start(*reported(__file__, call)) for _ in range(3)), key=lambda found: found.cpu)


def starts(strategy: str, home: Path, *, talib: bool) -> dict[str, Start]:
    """Return a start without cache, the first with it, and the second."""
    without = start(home, strategy, "0", talib=talib)
    first = Start(*reported(__file__, f"measure({str(home)!r}, {strategy!r}, '8GiB', {talib})"))
    return {"without cache": without, "first": first, "second": start(home, strategy, "8GiB", talib=talib)}


def demo() -> dict[str, Start]:
    """Return the starts of the demo's training."""
    from ktrdr.core.data.bar_store import BarStore
    from ktrdr.core.data.sample import install_sample

    with tempfile.TemporaryDirectory() as folder:
        install_sample(BarStore(Path(folder) / "data"))
        strategy = resources("ktrdr.core.samples").joinpath("neuro_mean_reversion.yaml")
        return starts(str(strategy), Path(folder), talib=False)


def large(bars: int) -> dict[str, Start]:
    """Return the starts of a training on minute bars, with 48 features of three timeframes."""
    from made_up import random_walk

    from ktrdr.core.data.bar_store import BarStore

    with tempfile.TemporaryDirectory() as folder:
        BarStore(Path(folder) / "data").write(random_walk(bars))
        strategy = Path(folder) / "large.yaml"
        strategy.write_text(LARGE, encoding="utf-8")
        return starts(str(strategy), Path(folder), talib=True)


def seconds_of_demo() -> float:
    """Return the CPU seconds of the start of the demo's second training."""
    return demo()["second"].cpu


def beside_first(bars: int) -> float:
    """Return the CPU time of the preparation of a second training over that of one without cache."""
    found = large(bars)
    return found["second"].preparation / found["without cache"].preparation


if __name__ == "__main__":
    for name, found in (("demo", demo()), ("1,000,000 minute bars", large(1_000_000))):
        for kind, own in found.items():
            print(
                f"{name}, {kind}: {own.cpu:.3f} s of CPU, {own.preparation:.3f} of them preparation; {own.wall:.3f} s",
                flush=True,
            )
