"""Tests of the plugin contract, by core's conformance kit."""

from __future__ import annotations

from ktrdr.core.testing import MLBackendConformance


class TestConformance(MLBackendConformance):
    """The kit's tests, for this plugin."""

    plugin = "example"
    settings = {"softmax_regression": {"epochs": 20, "learning_rate": 0.2, "momentum": 0.5}}
