"""Stored backtests: listed, loaded and compared."""

from ktrdr.core.lazy_names import lazy_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ktrdr.core.face.stored_runs import compare, list, load

__all__ = ["compare", "list", "load"]

_FACE = "ktrdr.core.face.stored_runs"
__getattr__, __dir__ = lazy_names(__name__, dict.fromkeys(__all__, _FACE))
