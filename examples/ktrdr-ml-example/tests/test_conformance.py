"""The plugin contract, as core's conformance kit states it."""

from __future__ import annotations

from ktrdr.core.testing import MLBackendConformance


class TestConformance(MLBackendConformance):
    plugin = "example"
    settings = {"softmax_regression": {"epochs": 20, "learning_rate": 0.2, "momentum": 0.5}}
