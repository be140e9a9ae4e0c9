"""Names of a package that are imported on first access, so that importing the package costs nothing."""

from __future__ import annotations

import importlib

# As in `typing`, whose import would cost more than that of a package with lazy names.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

__all__ = ["lazy_names"]


def lazy_names(package: str, places: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the ``__getattr__`` and ``__dir__`` of a package whose public names stand in its modules.

    See `PEP 562 <https://peps.python.org/pep-0562/>`_.

    Args:
        package: ``__name__`` of the package.
        places: maps each public name to the module that defines it. The name of a subpackage maps to that subpackage.

    Returns:
        The two functions, to be assigned in the package's ``__init__``.
    """

    def get(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = importlib.import_module(places[name])
        return module if places[name] == f"{package}.{name}" else getattr(module, name)

    def names() -> list[str]:
        return sorted(places)

    return get, names
