"""skops, imported without what it does not need here."""

from __future__ import annotations

import importlib
import sys
import threading
from typing import Any

__all__ = ["skops_io"]

_LOCK = threading.Lock()


def skops_io() -> Any:
    """Return the module ``skops.io``.

    While it is imported, skops asks scikit-learn for every estimator there is, to have a list of what to trust by
    default. That imports all of scikit-learn, and through it torch where it is installed: twenty times the cost of
    skops itself. We say what is trusted, type by type (:mod:`ktrdr.ml.sklearn.trusted`), so the list may as well be
    empty.
    """
    with _LOCK:
        if "skops.io" not in sys.modules:
            utils: Any = importlib.import_module("sklearn.utils")
            all_estimators = utils.all_estimators
            utils.all_estimators = lambda *_, **__: []
            try:
                importlib.import_module("skops.io")
            finally:
                utils.all_estimators = all_estimators
        return sys.modules["skops.io"]
