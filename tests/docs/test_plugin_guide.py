"""Every hook specification has a heading in the plugin guide with its exact signature, and a test."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from ktrdr.core.inference import Node
from ktrdr.core.inference.comparison import compare
from ktrdr.core.inference.portable_predictor import portable_predictor
from ktrdr.core.inference.twin_files import read_twin, write_twin
from ktrdr.core.plugins import Explainable, Portable, specs
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


def twins_section(docs):
    return (docs / "plugins.md").read_text(encoding="utf-8").split("### Portable twins")[1].split("\n## ")[0]


def test_the_table_of_layers_has_all_of_them_with_their_arrays(docs):
    rows = re.findall(r"^\| `([a-z]+)` \| `([A-Za-z]+)` \|(.*?)\| .+ \|$", twins_section(docs), re.MULTILINE)
    arrays = {(kind, name): tuple(re.findall(r"`([a-z_]+)`", told)) for kind, name, told in rows}
    nodes = {(node.model_fields["kind"].default, node.__name__): node.arrays for node in get_args(Node)}
    assert {key: set(names) for key, names in arrays.items()} == {key: set(names) for key, names in nodes.items()}
    assert len(rows) == len(nodes)


def test_the_predictor_of_the_guide_has_a_twin_that_predicts_the_same(docs, tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", twins_section(docs), re.DOTALL)
    names = {"__name__": "guide"}
    exec(compile(code, "plugins.md", "exec", dont_inherit=True), names)
    random = np.random.default_rng(5)
    weights, average = random.normal(size=(2, 3)).astype(np.float32)
    predictor = names["LinearPredictor"](weights, 0.25, average, label_mean=0.001, label_deviation=0.02)
    assert isinstance(predictor, Portable)
    assert isinstance(predictor, Explainable)
    write_twin(tmp_path, predictor.twin())
    portable = portable_predictor(*read_twin(tmp_path))
    rows = random.normal(size=(50, 3)).astype(np.float32)
    assert compare(predictor, portable, rows).rows == 50
    np.testing.assert_allclose(portable.contributions(rows), predictor.contributions(rows), atol=1e-7)
