"""Every hook specification has a heading in the plugin guide with its exact signature, and a test."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from ktrdr.core.plugins import specs
from ktrdr.core.testing import MLBackendConformance

ROOT = Path(__file__).parents[2]
HOOKS = [name for name in specs.__all__ if name.startswith("ktrdr_")]


def headings(text):
    return re.findall(r"^### `(.+)`$", text, re.MULTILINE)


def signature(name):
    """The signature as the source has it: annotations are text there."""
    found = inspect.signature(getattr(specs, name))
    parameters = ", ".join(f"{each.name}: {each.annotation}" for each in found.parameters.values())
    return f"{name}({parameters}) -> {found.return_annotation}"


def test_there_are_hooks():
    assert len(HOOKS) == 6


def test_the_guide_has_a_heading_with_the_exact_signature_of_every_hook(docs):
    assert headings((docs / "plugins.md").read_text(encoding="utf-8")) == [
        signature(name)
        for name in (
            "ktrdr_plugin_info",
            "ktrdr_validate_environment",
            "ktrdr_list_devices",
            "ktrdr_model_trainer",
            "ktrdr_model_storage",
            "ktrdr_model_loader",
        )
    ]


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_is_called_by_the_conformance_kit(name):
    """Through the manager's method that asks it."""
    kit = MLBackendConformance.__mro__[:-1]
    source = "".join(inspect.getsource(inspect.getmodule(part)) for part in kit)
    asked_by = {
        "ktrdr_plugin_info": ".info(",
        "ktrdr_validate_environment": ".validate(",
        "ktrdr_list_devices": ".devices(",
        "ktrdr_model_trainer": ".trainer(",
        "ktrdr_model_storage": ".storage(",
        "ktrdr_model_loader": ".loader(",
    }
    assert asked_by[name] in source


def test_the_example_implements_every_hook():
    source = (ROOT / "examples/ktrdr-ml-example/src/ktrdr_ml_example/hooks.py").read_text(encoding="utf-8")
    assert re.findall(r"^def (ktrdr_\w+)", source, re.MULTILINE) == [
        "ktrdr_plugin_info",
        "ktrdr_validate_environment",
        "ktrdr_list_devices",
        "ktrdr_model_trainer",
        "ktrdr_model_storage",
        "ktrdr_model_loader",
    ]
