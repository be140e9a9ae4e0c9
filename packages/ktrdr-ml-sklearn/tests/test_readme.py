"""What the README says can be set is what can be set."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from ktrdr.ml.sklearn.declaration import INFO

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_architecture_keys_and_defaults():
    said = set()
    for types, key, default in re.findall(r"^\| ([^|]+) \| `(\w+)` \| ([^|]+) \| [^|]+\|$", README, re.MULTILINE):
        value = None if default == "none" else yaml.safe_load(default.strip("`"))
        said.add((types.strip("`"), key, str(value)))
    declared = {
        (model_type.name, parameter.name, str(list(value) if isinstance(value, tuple) else value))
        for model_type in INFO.model_types
        for parameter in model_type.architecture
        for value in [parameter.default]
    }
    assert said == declared


def test_outputs_and_training_keys():
    rows = re.findall(r"^\| `(\w+)` \| [^|`]+ \| ([^|`]+) \| (`[^|]+`) \|$", README, re.MULTILINE)
    said = {(name, tuple(outputs.split(", ")), frozenset(re.findall(r"`(\w+)`", keys))) for name, outputs, keys in rows}
    assert said == {(offered.name, offered.outputs, offered.training_keys) for offered in INFO.model_types}
