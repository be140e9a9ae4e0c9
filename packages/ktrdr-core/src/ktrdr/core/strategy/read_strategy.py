"""Reads a whole strategy section by section, and checks that the sections fit each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ktrdr.core.names import is_name
from ktrdr.core.plugins.rule_limit import too_many_rules
from ktrdr.core.strategy.document import Node, Path
from ktrdr.core.strategy.model import (
    Deployment,
    EnsembleSection,
    FuzzyInput,
    NnInput,
    Risk,
    Strategy,
    TrainingDataSection,
)
from ktrdr.core.strategy.older import older_version
from ktrdr.core.strategy.read_data import read_deployment, read_training_data
from ktrdr.core.strategy.read_definitions import Definitions, read_fuzzy_sets, read_indicators
from ktrdr.core.strategy.read_inputs import read_inputs
from ktrdr.core.strategy.read_model import DecisionsReading, ModelReading, read_decisions, read_model
from ktrdr.core.strategy.read_risk import read_risk
from ktrdr.core.strategy.read_training import adopt_older, read_training
from ktrdr.core.strategy.read_validation import ValidationReading, read_validation
from ktrdr.core.strategy.section import Report, Section, kind_of
from ktrdr.core.strategy.unused import warn_of_unused

if TYPE_CHECKING:
    from ktrdr.core.plugins.manager import PluginManager

__all__ = ["VERSION", "read_strategy"]

VERSION = "3.0"

_ADVICE = {
    "date_range": "dates belong under `training_data`",
    "symbols": "write it under `training_data`",
    "timeframes": "write it under `training_data`",
    "normalization": "write it in each raw input, under `nn_inputs`",
    "labels": "write it under `training`",
    "architecture": "write it under `model`",
    "walk_forward": "write `validation: {type: walk_forward, train: 26w, test: 4w}`",
    "data_split": "write it under `training`",
    "scope": "this is a key of version 2; version 3 has `training_data.symbols` and `deployment` instead",
    "data": "this is a key of version 1; version 3 has `training_data` instead",
}


def read_strategy(
    root: Node, report: Report, plugins: PluginManager | None = None, may_be_missing: bool = False
) -> Strategy | None:
    """Return the strategy in ``root``, or ``None`` if there are errors.

    Args:
        root: root of the file.
        report: receives every error and warning.
        plugins: see :func:`~ktrdr.core.strategy.read_model.read_model`.
        may_be_missing: see :func:`~ktrdr.core.strategy.read_model.read_model`.
    """
    if not isinstance(root.value, dict):
        report.add(root, (), f"a strategy is a map that begins with `name: ...`, not {kind_of(root)}")
        return None
    older = older_version(root)
    if older is not None:
        where, version = older
        report.add(
            root.value[where],
            (where,),
            f"this is a version {version} file; `ktrdr migrate FILE` turns it into version {VERSION}",
        )
        return None
    top = Section(report, root, root.value, ())
    named = _read_name(top)
    data = _read_data(top)
    definitions = Definitions({}, {})
    inputs = _read_features(top, definitions, data)
    model = _read_model(top, plugins, may_be_missing)
    part = top.section(
        "decisions", required="how outputs become orders, at least `decisions: {output_format: classification}`"
    )
    decisions = DecisionsReading(None, None) if part is None else read_decisions(part)
    part = top.section("training", required="at least `training: {labels: {source: zigzag}}`")
    dividing = top.section("validation", example="validation: {type: cpcv, groups: 6, test_groups: 2}")
    validation = ValidationReading(None if dividing is None else read_validation(dividing), top.has("validation"))
    training = None
    if part is not None:
        adopt_older(part, model)
        training = read_training(part, decisions, model, validation)
    part = top.section("risk")
    risk = read_risk(part) if part else Risk()
    part = top.section("deployment")
    deployment = read_deployment(part, data) if part else Deployment()
    top.finish(_ADVICE)
    if decisions.output is not None:
        _check_output(top, model, decisions.output)
    if inputs is not None:
        _check_crisp(top, model, [item for _, item in inputs], definitions)
        warn_of_unused(top, definitions, [item for _, item in inputs], data)
    if report.failed:
        return None
    # Every part with an error has been reported. Explicit None values make validation fail here, rather than fall back
    # to a default, if a report were ever forgotten.
    return Strategy.model_validate(
        {
            **named,
            "training_data": data,
            "indicators": definitions.indicators,
            "fuzzy_sets": definitions.fuzzy_sets,
            "nn_inputs": None if inputs is None else [item for _, item in inputs],
            "model": model.section,
            "decisions": decisions.section,
            "training": training,
            "validation": validation.section,
            "risk": risk,
            "deployment": deployment,
        }
    )


def _read_name(top: Section) -> dict[str, Any]:
    name = top.text("name", required="letters, digits, `_` and `-`; the model is stored under it")
    if name is not None and not is_name(name):
        top.error(
            "name",
            f"`{kind_of(top.entries['name'].node).strip('`')}` cannot be a name: use up to 64 letters, digits, `_` and "
            "`-`, starting with a letter or digit",
        )
    version = top.text("version")
    if version is not None and version != VERSION:
        top.error("version", f'there is no version `{version}`; write `version: "{VERSION}"`')
    return {"name": name, "description": top.text("description")}


def _read_data(top: Section) -> TrainingDataSection | None:
    part = top.section("training_data", required="the symbols, timeframes and dates to train on")
    return None if part is None else read_training_data(part)


def _read_features(
    top: Section, definitions: Definitions, data: TrainingDataSection | None
) -> list[tuple[Node, NnInput]] | None:
    part = top.section(
        "indicators", required="the indicators to compute, for example `rsi_14: {type: rsi, period: 14}`"
    )
    if part is not None:
        read_indicators(part, definitions.indicators)
    nodes = top.items(
        "nn_inputs", required="the inputs of the model, for example `- {fuzzy_set: rsi, timeframes: all}`"
    )
    fuzzy = any(isinstance(node.value, dict) and "fuzzy_set" in node.value for node in nodes or ())
    part = top.section("fuzzy_sets", required="define the fuzzy sets that `nn_inputs` reads" if fuzzy else "")
    if part is not None:
        read_fuzzy_sets(part, definitions)
    if nodes is None or (not top.has("indicators")) or (fuzzy and not top.has("fuzzy_sets")):
        return None
    return read_inputs(top.report, nodes, definitions, data)


def _read_model(top: Section, plugins: PluginManager | None, may_be_missing: bool) -> ModelReading:
    part = top.section("model", required="the model to train, for example `model: {type: mlp}`")
    return ModelReading(None, None) if part is None else read_model(part, plugins, may_be_missing=may_be_missing)


def _add_error(top: Section, path: Path, message: str) -> None:
    """Report an error at ``path``, whose first key exists, or at the last key on the way that does."""
    entry = top.entries[str(path[0])]
    for key in path[1:]:
        inner = entry.node.value
        if not isinstance(inner, dict) or key not in inner:
            break
        entry = inner[key]
    top.report.add(entry, path, message)


def _check_output(top: Section, model: ModelReading, output: str) -> None:
    if isinstance(model.section, EnsembleSection) and model.section.vote == "majority" and output == "regression":
        _add_error(
            top,
            ("model", "vote"),
            "`vote: majority` counts the classes that the members choose, and `decisions.output_format` is regression; "
            "write `vote: average`",
        )
    if model.model_type is None:
        return
    if output not in model.model_type.outputs:
        kinds = " and ".join(model.model_type.outputs)
        _add_error(
            top,
            (*model.place, "type"),
            f"model type `{model.model_type.name}` is for {kinds}, and `decisions.output_format` is {output}; "
            "change one of them",
        )
    elif output == "regression" and (activation := (model.architecture or {}).get("output_activation")) is not None:
        _add_error(
            top,
            (*model.place, "architecture", "output_activation"),
            f"`output_activation: {activation}` is for classification, and `decisions.output_format` is regression; "
            "remove it",
        )


def _check_crisp(top: Section, model: ModelReading, inputs: Sequence[NnInput], definitions: Definitions) -> None:
    if model.model_type is None or model.model_type.inputs != "crisp":
        return
    fuzzy = [item for item in inputs if isinstance(item, FuzzyInput)]
    if not fuzzy:
        top.error(
            "nn_inputs",
            f"model type `{model.model_type.name}` builds its rules from fuzzy sets; add an input with `fuzzy_set`",
        )
        return
    if model.architecture is None:
        return
    memberships = [
        len(fuzzy_set.memberships)
        for item in fuzzy
        if (fuzzy_set := definitions.fuzzy_sets[item.fuzzy_set]) is not None
        for _ in range(len(item.timeframes) * (1 + len(item.lags)))
    ]
    if problem := too_many_rules(model.model_type, model.architecture, memberships):
        top.error("model", problem)
