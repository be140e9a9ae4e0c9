"""The plugin contract, as core's conformance kit states it."""

from __future__ import annotations

from ktrdr.core.testing import MLBackendConformance


class TestConformance(MLBackendConformance):
    plugin = "sklearn"
    architectures = {"random_forest": {"n_estimators": 12}}
    population_architectures = {"random_forest": [{"n_estimators": count} for count in (1, 3, 8)]}
    seedless = frozenset({"logistic_regression"})
    restarted = frozenset({"gradient_boosting", "random_forest", "logistic_regression"})
