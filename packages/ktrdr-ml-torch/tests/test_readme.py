"""What the README says can be set is what can be set."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from ktrdr.ml.torch.declaration import INFO, MODEL_TYPES

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_architecture_keys_and_defaults():
    said = set()
    for types, key, default in re.findall(r"^\| ([^|]+) \| `(\w+)` \| ([^|]+) \| [^|]+\|$", README, re.MULTILINE):
        value = None if default == "none" else yaml.safe_load(default.strip("`"))
        names = MODEL_TYPES if types == "all" else re.findall(r"`(\w+)`", types)
        said |= {(name, key, str(value)) for name in names}
    declared = {
        (model_type.name, parameter.name, str(list(value) if isinstance(value, tuple) else value))
        for model_type in INFO.model_types
        for parameter in model_type.architecture
        for value in [parameter.default]
    }
    assert said == declared


def test_training_keys():
    (paragraph,) = re.findall(r"For every type: (.*?); and from core", README, re.DOTALL)
    said = set(re.findall(r"`(\w+)`", paragraph))
    assert all(said == model_type.training_keys for model_type in INFO.model_types)
