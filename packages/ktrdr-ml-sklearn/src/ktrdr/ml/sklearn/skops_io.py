"""Fast import of skops, without all of scikit-learn."""

from __future__ import annotations

import importlib
import sys
import threading
from typing import Any

__all__ = ["skops_io"]

_LOCK = threading.Lock()


def skops_io() -> Any:
    """Return the module ``skops.io``.

    During its import, skops lists all estimators of scikit-learn, as types to trust by default. That imports all of
    scikit-learn, and through it torch if it is installed: twenty times the cost of skops itself. This backend names
    the trusted types itself (:mod:`ktrdr.ml.sklearn.trusted`), so the list may be empty.
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
