"""Market data: import, stored bars, checks.

Bars are OHLCV rows of one symbol and timeframe, labelled with their open, UTC, and kept below ``$KTRDR_HOME/data``.

Example:
    >>> import ktrdr.core as kt
    >>> _ = kt.data.import_sample()
    >>> kt.data.load("EURUSD", "1h").columns.tolist()
    ['open', 'high', 'low', 'close', 'volume']
"""

from typing import TYPE_CHECKING

from ktrdr.core.lazy_names import lazy_names

if TYPE_CHECKING:
    from ktrdr.core.data.bars import Bars as Bars
    from ktrdr.core.data.data_check import DataCheck as DataCheck
    from ktrdr.core.data.data_sets import check as check
    from ktrdr.core.data.data_sets import delete as delete
    from ktrdr.core.data.data_sets import list as list
    from ktrdr.core.data.frames import from_frame as from_frame
    from ktrdr.core.data.frames import load as load
    from ktrdr.core.data.import_result import ImportResult as ImportResult
    from ktrdr.core.data.importing import import_files as import_files
    from ktrdr.core.data.importing import import_sample as import_sample
    from ktrdr.core.data.timeframe import TIMEFRAMES as TIMEFRAMES
    from ktrdr.core.data.timeframe import Timeframe as Timeframe
    from ktrdr.core.synthetic.storing import synthesize as synthesize

__all__ = [
    "TIMEFRAMES",
    "Bars",
    "DataCheck",
    "ImportResult",
    "Timeframe",
    "check",
    "delete",
    "from_frame",
    "import_files",
    "import_sample",
    "list",
    "load",
    "synthesize",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "TIMEFRAMES": "ktrdr.core.data.timeframe",
        "Bars": "ktrdr.core.data.bars",
        "DataCheck": "ktrdr.core.data.data_check",
        "ImportResult": "ktrdr.core.data.import_result",
        "Timeframe": "ktrdr.core.data.timeframe",
        "check": "ktrdr.core.data.data_sets",
        "delete": "ktrdr.core.data.data_sets",
        "from_frame": "ktrdr.core.data.frames",
        "import_files": "ktrdr.core.data.importing",
        "import_sample": "ktrdr.core.data.importing",
        "list": "ktrdr.core.data.data_sets",
        "load": "ktrdr.core.data.frames",
        "synthesize": "ktrdr.core.synthetic.storing",
    },
)
