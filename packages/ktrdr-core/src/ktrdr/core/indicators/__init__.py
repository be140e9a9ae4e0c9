"""Technical indicators: the types that exist, and their values on bars.

A distribution adds a type with an :class:`IndicatorType`, declared by an entry point in the group ``ktrdr.indicators``.
The built-in ones are in :mod:`.momentum`, :mod:`.trend`, :mod:`.volatility`, :mod:`.volume` and :mod:`.statistics`.

Example:
    >>> import ktrdr.core as kt
    >>> _ = kt.data.import_sample()
    >>> bars = kt.data.load("EURUSD", "1h")
    >>> kt.indicators.compute("rsi", bars).tail(1).round(2).tolist()
    [65.21]
"""

from typing import TYPE_CHECKING

from ktrdr.core.lazy_names import lazy_names

if TYPE_CHECKING:
    from ktrdr.core.indicators.indicator_frames import compute as compute
    from ktrdr.core.indicators.indicator_frames import list as list
    from ktrdr.core.indicators.types import IndicatorType as IndicatorType
    from ktrdr.core.indicators.types import multiplier as multiplier
    from ktrdr.core.indicators.types import period as period
    from ktrdr.core.indicators.types import source as source
    from ktrdr.core.parameters import REQUIRED as REQUIRED
    from ktrdr.core.parameters import Parameter as Parameter

__all__ = [
    "REQUIRED",
    "IndicatorType",
    "Parameter",
    "compute",
    "list",
    "multiplier",
    "period",
    "source",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "REQUIRED": "ktrdr.core.parameters",
        "IndicatorType": "ktrdr.core.indicators.types",
        "Parameter": "ktrdr.core.parameters",
        "compute": "ktrdr.core.indicators.indicator_frames",
        "list": "ktrdr.core.indicators.indicator_frames",
        "multiplier": "ktrdr.core.indicators.types",
        "period": "ktrdr.core.indicators.types",
        "source": "ktrdr.core.indicators.types",
    },
)
