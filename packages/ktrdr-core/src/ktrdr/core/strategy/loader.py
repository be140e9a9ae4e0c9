"""From a strategy file to a :class:`~ktrdr.core.strategy.model.Strategy`, or to everything that is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ktrdr.core.errors import BadInputError
from ktrdr.core.indicators import registry
from ktrdr.core.strategy.diagnostics import Diagnostic, StrategyError
from ktrdr.core.strategy.document import MAX_CHARACTERS, Node, Path, read_document
from ktrdr.core.strategy.model import Deployment, FuzzyInput, NnInput, Risk, Strategy, TrainingDataSection
from ktrdr.core.strategy.names import is_name
from ktrdr.core.strategy.older import older_version
from ktrdr.core.strategy.read_data import read_deployment, read_training_data
from ktrdr.core.strategy.read_inputs import Definitions, read_fuzzy_sets, read_indicators, read_inputs
from ktrdr.core.strategy.read_model import DecisionsReading, ModelReading, read_decisions, read_model
from ktrdr.core.strategy.read_risk import read_risk
from ktrdr.core.strategy.read_training import adopt_older, read_training
from ktrdr.core.strategy.section import Report, Section, kind_of

if TYPE_CHECKING:
    from ktrdr.core.plugins.manager import PluginManager

__all__ = ["VERSION", "LoadedStrategy", "load_strategy", "load_strategy_text", "read_strategy_file"]

VERSION = "3.0"

_ADVICE = {
    "date_range": "dates belong under `training_data`",
    "symbols": "write it under `training_data`",
    "timeframes": "write it under `training_data`",
    "normalization": "it is chosen for each raw input, under `nn_inputs`",
    "labels": "write it under `training`",
    "architecture": "write it under `model`",
    "scope": "it belongs to version 2; `training_data.symbols` and `deployment` say it in version 3",
    "data": "it belongs to version 1; `training_data` says it in version 3",
}


@dataclass(frozen=True, slots=True)
class LoadedStrategy:
    """A strategy as it was read.

    Attributes:
        strategy: complete.
        text: the file as written.
        warnings: in the order of the file.
        places: line and column of every key and list item, from 1, by path (``("fuzzy_sets", "rsi")``).
    """

    strategy: Strategy
    text: str
    warnings: tuple[Diagnostic, ...]
    places: Mapping[Path, tuple[int, int]]


def load_strategy(path: str | os.PathLike[str], *, plugins: PluginManager | None = None) -> LoadedStrategy:
    """Read a strategy file; see :func:`load_strategy_text`.

    Raises:
        BadInputError: there is no such file, or it cannot be read as text.
        StrategyError: it is no strategy; the message has every error with its line and column.
    """
    return load_strategy_text(read_strategy_file(path), name=str(path), plugins=plugins)


def load_strategy_text(text: str, *, name: str = "strategy", plugins: PluginManager | None = None) -> LoadedStrategy:
    """Read a strategy from YAML text.

    Args:
        text: at most 131,072 characters.
        name: of the file, for messages.
        plugins: whose declarations ``model`` and ``training`` are checked against, and ``architecture`` is completed
            from; without, the architecture is taken as it is written.

    Raises:
        StrategyError: it is no strategy; the message has every error with its line and column.
    """
    document = read_document(text)
    report = Report()
    report.diagnostics += document.problems
    strategy = None if document.root is None else _read(document.root, report, plugins)
    found = tuple(sorted(report.diagnostics, key=lambda item: (item.line, item.column)))
    if strategy is None or report.failed or document.root is None:
        raise StrategyError(name, found)
    return LoadedStrategy(strategy, text, found, _places(document.root))


def read_strategy_file(path: str | os.PathLike[str]) -> str:
    """Return the text of a strategy file, which is not larger than a strategy can be.

    Raises:
        BadInputError: there is no such file, or it cannot be read as text.
    """
    limit = 4 * MAX_CHARACTERS
    try:
        with open(path, "rb") as file:
            content = file.read(limit + 1)
    except FileNotFoundError:
        raise BadInputError(
            f"there is no file `{path}`; give the path of a strategy, such as my_strategy.yaml"
        ) from None
    except IsADirectoryError:
        raise BadInputError(f"`{path}` is a directory; give the path of a strategy file in it") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise BadInputError(f"`{path}` cannot be read: {reason}") from None
    if len(content) > limit:
        raise BadInputError(f"`{path}` is larger than {limit:,} bytes, which no strategy is")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BadInputError(
            f"`{path}` is not a text file: line {line} holds a byte that is not UTF-8; save it as UTF-8"
        ) from None


def _read(root: Node, report: Report, plugins: PluginManager | None) -> Strategy | None:
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
    model = _read_model(top, plugins)
    part = top.section(
        "decisions", required="how outputs become orders, at least `decisions: {output_format: classification}`"
    )
    decisions = DecisionsReading(None, None) if part is None else read_decisions(part)
    part = top.section("training", required="at least `training: {labels: {source: zigzag}}`")
    training = None
    if part is not None:
        adopt_older(part, model)
        training = read_training(part, decisions, model)
    part = top.section("risk")
    risk = read_risk(part) if part else Risk()
    part = top.section("deployment")
    deployment = read_deployment(part, data) if part else Deployment()
    top.finish(_ADVICE)
    if model.model_type is not None and decisions.output is not None:
        _check_output(top, model, decisions.output)
    if inputs is not None:
        _check_crisp(top, model, [item for _, item in inputs])
        _warn(top, definitions, [item for _, item in inputs], data)
    if report.failed:
        return None
    return Strategy.model_validate(
        {
            **named,
            "training_data": data,
            "indicators": definitions.indicators,
            "fuzzy_sets": definitions.fuzzy_sets,
            "nn_inputs": [item for _, item in inputs or ()],
            "model": model.section,
            "decisions": decisions.section,
            "training": training,
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
    part = top.section("training_data", required="which symbols, timeframes and dates are used")
    return None if part is None else read_training_data(part)


def _read_features(
    top: Section, definitions: Definitions, data: TrainingDataSection | None
) -> list[tuple[Node, NnInput]] | None:
    part = top.section("indicators", required="what is computed, for example `rsi_14: {type: rsi, period: 14}`")
    if part is not None:
        read_indicators(part, definitions.indicators)
    nodes = top.items("nn_inputs", required="what the model sees, for example `- {fuzzy_set: rsi, timeframes: all}`")
    fuzzy = any(isinstance(node.value, dict) and "fuzzy_set" in node.value for node in nodes or ())
    part = top.section(
        "fuzzy_sets", required="`nn_inputs` reads fuzzy sets; only raw inputs do without them" if fuzzy else ""
    )
    if part is not None:
        read_fuzzy_sets(part, definitions)
    if nodes is None or (not top.has("indicators")) or (fuzzy and not top.has("fuzzy_sets")):
        return None
    return read_inputs(top.report, nodes, definitions, data)


def _read_model(top: Section, plugins: PluginManager | None) -> ModelReading:
    part = top.section("model", required="what is trained, for example `model: {type: mlp}`")
    return ModelReading(None, None, ()) if part is None else read_model(part, plugins)


def _check_output(top: Section, model: ModelReading, output: str) -> None:
    assert model.model_type is not None
    entry = top.entries["model"]
    if output not in model.model_type.outputs:
        kinds = " and ".join(model.model_type.outputs)
        top.report.add(
            entry,
            ("model", "type"),
            f"model type `{model.model_type.name}` is for {kinds}, and `decisions.output_format` is {output}",
        )
    elif output == "regression" and model.section and model.section.architecture.get("output_activation") is not None:
        activation = model.section.architecture["output_activation"]
        top.report.add(
            entry,
            ("model", "architecture", "output_activation"),
            f"`output_activation: {activation}` is for classification, and `decisions.output_format` is regression; "
            "remove it",
        )


def _check_crisp(top: Section, model: ModelReading, inputs: Sequence[NnInput]) -> None:
    if model.model_type is None or model.model_type.inputs != "crisp":
        return
    if not any(isinstance(item, FuzzyInput) for item in inputs):
        top.error("nn_inputs", f"model type `{model.model_type.name}` makes rules of fuzzy sets; add a fuzzy input")


def _warn(top: Section, definitions: Definitions, inputs: Sequence[NnInput], data: TrainingDataSection | None) -> None:
    """Warn of what has no effect although it is allowed to stand there."""
    sets = {item.fuzzy_set for item in inputs if isinstance(item, FuzzyInput)}
    read = {item.raw_indicator for item in inputs if not isinstance(item, FuzzyInput)}
    read |= {fuzzy_set.indicator for fuzzy_set in definitions.fuzzy_sets.values() if fuzzy_set is not None}
    read = {reference.partition(".")[0] for reference in read}
    for kind, names, used, remedy in (
        ("indicator", definitions.indicators, read, "no fuzzy set and no raw input reads it"),
        ("fuzzy set", definitions.fuzzy_sets, sets, "no item of `nn_inputs` names it"),
    ):
        section = "indicators" if kind == "indicator" else "fuzzy_sets"
        for name in names:
            if name not in used:
                node = top.entries[section].node.value
                assert isinstance(node, dict)
                top.report.add(node[name], (section, name), f"{kind} `{name}` is not used: {remedy}", "warning")
    if data is None:
        return
    timeframes = {timeframe for item in inputs for timeframe in item.timeframes}
    part = top.entries["training_data"].node.value
    assert isinstance(part, dict)
    for timeframe in data.timeframes:
        if timeframe not in timeframes and timeframe != data.base_timeframe:
            top.report.add(
                part["timeframes"],
                ("training_data", "timeframes"),
                f"timeframe `{timeframe}` is not used: no item of `nn_inputs` names it",
                "warning",
            )
    needed = _warmup(definitions)
    if data.history_required is not None and needed is not None and 0 < data.history_required < needed:
        top.report.add(
            part["history_required"],
            ("training_data", "history_required"),
            f"the indicators need {needed:,} bars of history; that many are used, not {data.history_required:,}",
            "warning",
        )


def _warmup(definitions: Definitions) -> int | None:
    found = [
        registry.get_indicator(definition.type).warmup(definition.parameters)
        for definition in definitions.indicators.values()
        if definition is not None
    ]
    return max(found, default=None)


def _places(root: Node) -> dict[Path, tuple[int, int]]:
    places: dict[Path, tuple[int, int]] = {(): (root.line, root.column)}
    pending: list[tuple[Path, Node]] = [((), root)]
    while pending:
        path, node = pending.pop()
        if isinstance(node.value, dict):
            for key, entry in node.value.items():
                places[*path, key] = (entry.line, entry.column)
                pending.append(((*path, key), entry.node))
        elif isinstance(node.value, list):
            for index, item in enumerate(node.value):
                places[*path, index] = (item.line, item.column)
                pending.append(((*path, index), item))
    return places
