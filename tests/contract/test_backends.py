"""The conformance kit against every backend that is installed here."""

from __future__ import annotations

from typing import Any

from ktrdr.core.plugins.manager import KNOWN_BACKENDS, PluginManager
from ktrdr.core.testing import MLBackendConformance

_SMALL_RECURRENT = {"sequence_length": 6, "hidden_size": 8, "num_layers": 1}

# What a backend of ours is entitled to, and what makes its tests fast. Its own tests draw all populations.
_CLAIMS: dict[str, dict[str, Any]] = {
    "torch": {
        "architectures": {"mlp": {"hidden_layers": [16]}, "lstm": _SMALL_RECURRENT, "gru": _SMALL_RECURRENT},
        "seedless": frozenset({"anfis"}),
    },
    "sklearn": {
        "architectures": {"random_forest": {"n_estimators": 12}},
        "seedless": frozenset({"logistic_regression"}),
        "restarted": frozenset({"gradient_boosting", "random_forest", "logistic_regression"}),
    },
}

for _record in PluginManager().records():
    _name = f"Test{_record.name.capitalize()}"
    _body = {"plugin": _record.name, "populations": 6, "__module__": __name__, **_CLAIMS.get(_record.name, {})}
    globals()[_name] = type(_name, (MLBackendConformance,), _body)


def test_both_of_our_backends_are_under_test():
    """Installed and usable, so that the classes above exist."""
    assert {"torch", "sklearn"} <= set(PluginManager().infos())
    assert {"TestTorch", "TestSklearn"} <= set(globals())


def test_what_core_says_of_a_backend_that_is_missing_is_what_the_backend_says_of_itself():
    """Distribution and model types, in both directions: the remedy must not name what does not help."""
    manager = PluginManager(environ={})
    declared = {
        name: (manager.record(name).distribution, tuple(model_type.name for model_type in info.model_types))
        for name, info in manager.infos().items()
        if manager.record(name).distribution.startswith("ktrdr-ml-")
    }
    assert declared == KNOWN_BACKENDS
