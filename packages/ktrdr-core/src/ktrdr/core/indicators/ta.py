"""Lazy access to TA-Lib, which is imported by the first formula that runs.

The Python package of TA-Lib imports pandas if it is installed, which takes longer than the validation of a strategy;
reading the declarations of indicators must stay fast. Use it as ``from ktrdr.core.indicators import ta``, then
``ta.RSI(...)``.

TA-Lib has global state (unstable periods, compatibility): nothing here changes it.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    import talib

    return getattr(talib, name)
