"""Lazy access to TA-Lib, which is loaded by the first formula that runs.

Loading takes longer than the validation of a strategy, and reading the declarations of indicators must stay fast. Use
it as ``from ktrdr.core.indicators import ta``, then ``ta.RSI(...)``.

TA-Lib has global state (unstable periods, compatibility): nothing here changes it.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    from ktrdr.core.indicators.compiled_talib import functions

    return getattr(functions, name)
