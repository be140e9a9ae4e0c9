"""Stored models: list, load, verify, export, import and delete them.

A model is a bundle: a directory below ``$KTRDR_HOME/models`` with a manifest, the strategy, the weights and the history
of the training. It is named ``name/version``; ``name`` alone is its latest version.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktrdr.core.lazy_names import lazy_names

if TYPE_CHECKING:
    from ktrdr.core.models.bundle import Bundle, BundleError
    from ktrdr.core.models.manifest import Manifest, ManifestFields
    from ktrdr.core.models.model_store import ModelStore
    from ktrdr.core.models.stored_models import delete, export, import_file, list, load, verify

__all__ = [
    "Bundle",
    "BundleError",
    "Manifest",
    "ManifestFields",
    "ModelStore",
    "delete",
    "export",
    "import_file",
    "list",
    "load",
    "verify",
]

_ELSEWHERE = {
    "Bundle": "bundle",
    "BundleError": "contents",
    "Manifest": "manifest",
    "ManifestFields": "manifest",
    "ModelStore": "model_store",
}
__getattr__, __dir__ = lazy_names(
    __name__, {name: f"{__name__}.{_ELSEWHERE.get(name, 'stored_models')}" for name in __all__}
)  # fmt: skip
