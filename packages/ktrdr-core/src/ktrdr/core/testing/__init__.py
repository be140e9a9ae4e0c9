"""Helpers for the tests of KTRDR and of its plugins. Only this part of core needs pytest.

The author of a backend writes::

    from ktrdr.core.testing import MLBackendConformance


    class TestConformance(MLBackendConformance):
        plugin = "mine"
"""

import pytest

# pytest rewrites the kit's assertions to explain failures; they must be registered before the import.
for _part in ("backend_under_test", "conformance", "population_conformance", "twin_conformance"):
    pytest.register_assert_rewrite(f"ktrdr.core.testing.{_part}")

from ktrdr.core.testing.conformance import MLBackendConformance  # noqa: E402

__all__ = ["MLBackendConformance"]
