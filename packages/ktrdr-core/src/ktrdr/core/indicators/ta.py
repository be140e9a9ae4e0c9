"""TA-Lib, imported by the first formula that runs.

Its Python package imports pandas if it can, which costs more than everything a strategy's validation does; the
registry's declarations must not pay for it. Use as ``from ktrdr.core.indicators import ta``, then ``ta.RSI(...)``.

TA-Lib has global state (unstable periods, compatibility): nothing here changes it.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    import talib

    return getattr(talib, name)
