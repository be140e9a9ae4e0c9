"""The compiled functions of TA-Lib, loaded without pandas.

``import talib`` imports pandas and polars if they are installed, and wraps every function to take their series. The
formulas pass arrays, for which the wrappers call the compiled functions unchanged; importing pandas for them would take
a third of the time of a backtest of a year of hours. Therefore the compiled module is loaded here without running
``talib/__init__.py``, and while it looks for pandas and polars itself, it is told that they are not installed, a case
that it provides for.

It is the module ``talib._ta_lib`` itself: a program that imports TA-Lib later uses the same functions and the same
state, with wrappers. Three things make that later import as good as a first one, in every thread and at any time:

- Loading holds the import lock of ``talib``, so another thread imports it before or after, never meanwhile.
- Initializing what is initialized does nothing. TA-Lib refuses it while a function runs in another thread, so the
  import would fail.
- The types of pandas and polars that ``talib.abstract`` and ``talib.stream`` compare with are replaced by stand-ins for
  those of the library that may be imported later.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import module_from_spec
from types import ModuleType
from typing import Any

__all__ = ["functions"]

_PACKAGE, _MODULE = "talib", "talib._ta_lib"
_NOT_NEEDED = ("pandas", "polars")


class _LoadedError(Exception):
    """The compiled module is loaded, and its package is not to be."""

    def __init__(self, module: ModuleType) -> None:
        self.module = module


class _CompiledAlone(Loader):
    """A loader of the package that loads the compiled module instead, and ends the import of the package."""

    def __init__(self, package: ModuleSpec) -> None:
        self._package = package

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Raise _LoadedError with the module.

        At this moment the import lock of the package is held, and the package is not in ``sys.modules`` yet, where
        another thread would find it incomplete.
        """
        raise _LoadedError(_compiled(self._package))

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing; it is not called."""


class _WithoutPackage(MetaPathFinder):
    """A finder for the thread that made it: the package is loaded as above, what is not needed is not installed."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        self._hidden = set(_NOT_NEEDED)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of the package the first time, and raise ModuleNotFoundError for what is not needed."""
        if threading.get_ident() != self._thread:
            return None
        if name in self._hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        if name != _PACKAGE:
            return None
        # The compiled module looks for what it imports within its package first.
        self._hidden.add(name)
        package = PathFinder.find_spec(name)
        return None if package is None else ModuleSpec(name, _CompiledAlone(package))


@contextmanager
def _first_finder(finder: MetaPathFinder) -> Iterator[None]:
    """Ask ``finder`` before the others."""
    # The list is replaced: another thread that walks along it would leave out a finder if one before it were removed.
    sys.meta_path = [finder, *sys.meta_path]
    try:
        yield
    finally:
        sys.meta_path = [other for other in sys.meta_path if other is not finder]


def _compiled(package: ModuleSpec) -> ModuleType:
    """Return the compiled module of ``package``, initialized."""
    spec = PathFinder.find_spec(_MODULE, package.submodule_search_locations)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"No module named {_MODULE!r}", name=_MODULE)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    module._ta_initialize()
    module._ta_initialize = _unless_initialized(module)  # type: ignore[attr-defined]
    for library in _NOT_NEEDED:
        _accept_later(module, library)
    return module


def _unless_initialized(module: ModuleType) -> Callable[[], None]:
    """Return ``_ta_initialize`` of the compiled module without effect while TA-Lib is initialized."""
    initialize, any_setting = module._ta_initialize, module._ta_get_unstable_period

    def _ta_initialize() -> None:
        try:
            any_setting("RSI")
        except RuntimeError:  # TA-Lib is not initialized
            initialize()

    return _ta_initialize


class _LateType(type):
    """The type of a stand-in for a type of a library that may be imported later."""

    library: str

    def _real(cls) -> Any:
        return getattr(sys.modules.get(cls.library), cls.__name__, None)

    def __instancecheck__(cls, instance: object) -> bool:
        """Return True for an instance of the type, if the library is imported."""
        real = cls._real()
        return real is not None and isinstance(instance, real)

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        """Return a new instance of the type."""
        return cls._real()(*args, **kwargs)


def _accept_later(module: ModuleType, library: str) -> None:
    """Let the compiled module accept frames and series of ``library``, if it did not find it when it was loaded."""
    for kind, accepted in (("DataFrame", "_INPUT_ARRAYS_TYPES"), ("Series", "_ARRAY_TYPES")):
        name = f"_{library}_{kind}".upper()
        # A library that another thread imports already is found; another version of TA-Lib may have other names.
        if getattr(module, name, module) is None:
            stand_in = _LateType(kind, (), {"library": library})
            setattr(module, name, stand_in)
            setattr(module, accepted, (*getattr(module, accepted), stand_in))


def _load() -> ModuleType:
    """Return the compiled module, initialized.

    Raises:
        ModuleNotFoundError: TA-Lib is not installed.
    """
    try:
        with _first_finder(_WithoutPackage()):
            importlib.import_module(_PACKAGE)
    except _LoadedError as loaded:
        return loaded.module
    # It was imported already, or meanwhile by another thread.
    return importlib.import_module(_MODULE)


# At import, whose lock keeps threads from loading it twice.
functions = _load()
"""The compiled module. Its functions take float64 arrays ``(n,)`` and return arrays of the same length."""
