"""What tests of KTRDR and of its plugins share. The only part of core that needs pytest.

A backend's author writes::

    from ktrdr.core.testing import MLBackendConformance


    class TestConformance(MLBackendConformance):
        plugin = "mine"
"""

import pytest

# The kit's assertions explain themselves only if pytest rewrites them, which it must know before the import.
pytest.register_assert_rewrite("ktrdr.core.testing.conformance")

from ktrdr.core.testing.conformance import MLBackendConformance  # noqa: E402

__all__ = ["MLBackendConformance"]
