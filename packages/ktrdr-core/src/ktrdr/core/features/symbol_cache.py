"""Cache of what is computed from the bars of one symbol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ktrdr.core.cache.array_cache import ArrayCache, content_key
from ktrdr.core.cache.array_file import Layout
from ktrdr.core.data.bars import Bars
from ktrdr.core.data.loading import bars_digest
from ktrdr.core.features.computation_version import computation_version
from ktrdr.core.indicators import computation
from ktrdr.core.indicators.registry import default_registry, get_indicator

__all__ = ["SymbolCache"]


class SymbolCache:
    """Cache of indicator values and features of one symbol, addressed by the content of its bars.

    Values of a user indicator are never kept: its code may change without a change of its version.

    Args:
        arrays: the cache.
        bars: bars by timeframe.
        digests: results of :func:`~ktrdr.core.data.loading.bars_digest` by timeframe, if they are known.
    """

    def __init__(
        self, arrays: ArrayCache, bars: Mapping[str, Bars], *, digests: Mapping[str, bytes] | None = None
    ) -> None:
        self._arrays = arrays
        if digests is None:
            digests = {timeframe: bars_digest(own) for timeframe, own in bars.items()} if arrays.on else {}
        self._digests = digests

    def key(self, kind: str, timeframes: tuple[str, ...], *parts: Any) -> str:
        """Return the key of arrays.

        Args:
            kind: name of the computation.
            timeframes: timeframes of the bars that it reads.
            parts: JSON-ready values: everything else that its result depends on.
        """
        digests = {timeframe: self._digests[timeframe].hex() for timeframe in timeframes}
        return content_key(kind, computation_version(), digests, *parts)

    def keeps(self, type_names: set[str]) -> bool:
        """Return True if the cache is on and values of these types of indicators may be kept."""
        return self._arrays.on and not any(default_registry().is_foreign(name) for name in type_names)

    def read(self, key: str, layout: Layout, *, mapped: bool = False) -> dict[str, np.ndarray] | None:
        """See :meth:`~ktrdr.core.cache.array_cache.ArrayCache.read`."""
        return self._arrays.read(key, layout, mapped=mapped)

    def write(self, key: str, arrays: Mapping[str, np.ndarray]) -> None:
        """See :meth:`~ktrdr.core.cache.array_cache.ArrayCache.write`."""
        self._arrays.write(key, arrays)

    def compute_indicator(self, type_name: str, parameters: Mapping[str, Any], bars: Bars) -> dict[str, np.ndarray]:
        """Return the result of :func:`~ktrdr.core.indicators.computation.compute_indicator`, perhaps from the cache.

        Args:
            type_name: canonical name of the type.
            parameters: complete parameters.
            bars: the bars of one of the timeframes.
        """
        if not self.keeps({type_name}):
            return computation.compute_indicator(type_name, parameters, bars)
        key = self.key("indicator", (bars.timeframe.name,), type_name, parameters)
        outputs = self.read(key, {name: ("<f8", (len(bars),)) for name in get_indicator(type_name).outputs})
        if outputs is None:
            outputs = computation.compute_indicator(type_name, parameters, bars)
            self.write(key, outputs)
        return outputs
