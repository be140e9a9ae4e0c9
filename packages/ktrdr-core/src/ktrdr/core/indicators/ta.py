"""Lazy access to TA-Lib, which is loaded by the first formula that runs.

Loading takes longer than the validation of a strategy, and reading the declarations of indicators must stay fast. Use
it as ``from ktrdr.core.indicators import ta``, then ``ta.RSI(...)``.

It has the compiled functions, and they take float64 arrays only. Frames and series of pandas or polars,
``talib.abstract``, ``talib.stream``, lists of the functions and settings are those of the package: ``import talib``,
which shares the functions and their state with this module, at any time and in any thread.

TA-Lib has global state (unstable periods, compatibility): nothing here changes it.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    # What looks at modules, such as `inspect`, asks for such names.
    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ktrdr.core.indicators.compiled_talib import functions

    return getattr(functions, name)
