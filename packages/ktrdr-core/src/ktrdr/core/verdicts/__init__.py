"""Verdicts: whether a strategy has an edge. Evidence, one documented rule, and the store of verdicts.

Public are the functions that list and load stored verdicts.
"""

from ktrdr.core.lazy_names import lazy_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ktrdr.core.face.stored_verdicts import list, load

__all__ = ["list", "load"]

_FACE = "ktrdr.core.face.stored_verdicts"
__getattr__, __dir__ = lazy_names(__name__, dict.fromkeys(__all__, _FACE))
