"""The compiled functions of TA-Lib, loaded without pandas.

``import talib`` imports pandas and polars if they are installed, and wraps every function to take their series. The
formulas pass arrays, for which the wrappers call the compiled functions unchanged; importing pandas for them would take
a third of the time of a backtest of a year of hours. Therefore the compiled module is loaded here without running
``talib/__init__.py``, and while it looks for pandas and polars itself, it is told that they are not installed, a case
that it provides for.

It is the module ``talib._ta_lib`` itself: a program that imports TA-Lib later uses the same functions and the same
state, with wrappers. Only ``talib.abstract`` and ``talib.stream`` take neither frames nor series of pandas in a program
that imported neither pandas nor TA-Lib before the first formula ran.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from types import ModuleType

__all__ = ["functions"]

_PACKAGE, _MODULE = "talib", "talib._ta_lib"
_NOT_NEEDED = ("pandas", "polars")


class _NotInstalled(MetaPathFinder):
    """A finder by which the thread that made it does not find the libraries in ``_NOT_NEEDED``; other threads do."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()

    def find_spec(self, name: str, path: object = None, target: ModuleType | None = None) -> None:
        """Raise ModuleNotFoundError for the libraries, and leave other names to other finders."""
        if name in _NOT_NEEDED and threading.get_ident() == self._thread:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


@contextmanager
def _not_installed() -> Iterator[None]:
    """Hide the libraries from imports of this thread, except those that are imported already."""
    finder = _NotInstalled()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


def _load() -> ModuleType:
    """Return the compiled module, initialized.

    Raises:
        ModuleNotFoundError: TA-Lib is not installed.
    """
    if _PACKAGE in sys.modules:
        # Initialized already: doing so again would reset settings that the program may have changed.
        return importlib.import_module(_MODULE)
    package = find_spec(_PACKAGE)
    spec = None if package is None else PathFinder.find_spec(_MODULE, package.submodule_search_locations)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"No module named {_MODULE!r}", name=_MODULE)
    module = module_from_spec(spec)
    with _not_installed():
        spec.loader.exec_module(module)
    module._ta_initialize()
    return module


# At import, whose lock keeps threads from loading it twice.
functions = _load()
"""The compiled module. Its functions take float64 arrays ``(n,)`` and return arrays of the same length."""
