"""Stored evaluations of strategies: listed and loaded."""

from ktrdr.core.lazy_names import lazy_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ktrdr.core.face.stored_evaluations import list, load

__all__ = ["list", "load"]

_FACE = "ktrdr.core.face.stored_evaluations"
__getattr__, __dir__ = lazy_names(__name__, dict.fromkeys(__all__, _FACE))
