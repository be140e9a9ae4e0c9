"""The plugin contract, as core's conformance kit states it."""

from __future__ import annotations

from ktrdr.core.testing import MLBackendConformance


class TestConformance(MLBackendConformance):
    plugin = "torch"
    # The default learning of rules solves for them.
    seedless = frozenset({"anfis"})
    architectures = {
        "lstm": {"sequence_length": 5, "hidden_size": 16},
        "gru": {"sequence_length": 5, "hidden_size": 16},
    }


class TestRulesByGradient(MLBackendConformance):
    """The optimizer learns rules and memberships together."""

    plugin = "torch"
    model_types = ("anfis",)
    architectures = {"anfis": {"learning": "gradient", "learn_memberships": True}}
    populations = 40


class TestRulesByAlternation(MLBackendConformance):
    """Least squares for the rules and the optimizer for memberships, in turns."""

    plugin = "torch"
    model_types = ("anfis",)
    seedless = frozenset({"anfis"})
    architectures = {"anfis": {"learn_memberships": True}}
    populations = 40
