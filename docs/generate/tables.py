"""Generated Markdown of the reference pages, from the schema, the registry and the plugins."""

from __future__ import annotations

import functools
import importlib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import yaml
from schema_keys import ANY_ID, ANY_ITEM, Key, below, find, keys_of, kind_of

from ktrdr.core.data.sample import sample_bars
from ktrdr.core.fuzzy.membership import MEMBERSHIP_TYPES
from ktrdr.core.indicators.description import default_text, example, memory_text
from ktrdr.core.indicators.registry import indicator_names
from ktrdr.core.indicators.types import IndicatorType
from ktrdr.core.labels.make import MAKERS, make_labels
from ktrdr.core.parameters import Parameter
from ktrdr.core.plugins.contract import ModelType
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.strategy import schema_parts
from ktrdr.core.strategy.label_parameters import LABEL_SOURCES
from ktrdr.core.strategy.model import Labels
from ktrdr.core.strategy.schema import strategy_schema
from ktrdr.core.strategy.training_parameters import CORE_KEYS, TRAINING_KEYS
from ktrdr.core.synthetic.processes import PROCESSES

__all__ = ["BACKENDS", "GENERATORS", "INDICATOR_GROUPS", "Generator"]

Generator = Callable[[str, Set[str]], str]
"""``(argument, arguments of all generated parts of the page) -> Markdown``."""

BACKENDS = ("torch", "sklearn")
INDICATOR_GROUPS = ("momentum", "trend", "volatility", "volume", "statistics")
"""Modules of ``ktrdr.core.indicators``, each of which has a page."""

_SAMPLE = Path(inspect.getfile(sample_bars)).parents[1] / "samples" / "neuro_mean_reversion.yaml"

# Texts for keys that another page describes.
_KINDS: Mapping[tuple[str, ...], str] = {
    ("indicators", ANY_ID, "type"): "a type or an alias of it, in any case: [all indicators](indicators/index.md)",
    ("model", "architecture"): "map: [keys of each model type](models.md)",
    ("model", "of", "architecture"): "map: [keys of each model type](models.md)",
}
_DEFAULTS: Mapping[tuple[str, ...], str] = {
    ("model", "architecture"): "of the type",
    ("model", "of", "architecture"): "of the type",
    ("model", "training"): "none",
    ("model", "features"): "none",
}


@functools.cache
def _manager() -> PluginManager:
    return PluginManager(environ={"KTRDR_LOAD_PLUGINS": ",".join(BACKENDS)})


@functools.cache
def _schema() -> Mapping[str, Any]:
    return strategy_schema(_manager())


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _named(identifier: str, text: str) -> str:
    """Return ``text`` as code with an anchor, in HTML that every Markdown viewer shows."""
    return f'<a class="key" id="{identifier}" href="#{identifier}">`{text}`</a>'


def _sentence(text: str) -> str:
    """Return ``text`` with a capital first letter, unless it begins with code."""
    return text[:1].upper() + text[1:]


# --- strategy ---------------------------------------------------------------------------------------------------------


def _keys(argument: str, others: Set[str]) -> str:
    """Return a table of the keys of the map at ``argument``, and a table for each word that allows more keys.

    Keys of inner maps are included, unless these maps have a table of their own.
    """
    path = tuple(argument.split(".")) if argument != "(top)" else ()
    tables: dict[tuple[str, ...], list[Key]] = {_ALWAYS: []}
    apart = {tuple(other.split(".")) for other in others} if path else None
    _collect(find(_schema(), path), path, apart, tables)
    parts = [_key_table(tables.pop(_ALWAYS), len(path))]
    for case, keys in tables.items():
        key, word = case[-2:]
        parts.append(f"With `{key}: {word}`:")
        parts += [_key_table(keys, len(path)), _variant_example(case, keys)]
    return "\n\n".join(parts)


# Values of examples for keys without a default, and other keys that an example needs.
_VALUES: Mapping[str, Any] = {
    "units": 1000, "cash": 5000, "volatility": 0.1, "fraction": 0.01, "train": "26w", "test": "4w", "step": "4w",
}  # fmt: skip
_BESIDE: Mapping[str, Mapping[str, Any]] = {
    "risk_per_trade": {"risk": {"stop_loss": {"percent": 2}}},
    "forward_return": {"decisions": {"output_format": "regression"}},
}


def _variant_example(case: tuple[str, ...], keys: Sequence[Key]) -> str:
    section, *names, by, word = case
    values = {by: word}
    for key in keys:
        (schema,) = key.schemas
        values[key.path[-1]] = schema["default"] if "default" in schema else _VALUES[key.path[-1]]
    beside = _BESIDE.get(word, {})
    lines = [f"{section}:", *(f"  {name}: {_flow(values)}" for name in names)]
    if not names:  # the section itself
        lines = [f"{section}: {_flow(values)}"]
    lines += [f"  {other}: {_flow(value)}" for other, value in beside.get(section, {}).items()]
    for further, inner in beside.items():
        if further != section:
            lines.append(f"{further}: {_flow(inner)}")
    return "\n".join(["```yaml", *lines, "```"])


def _flow(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=1000, sort_keys=False).strip()


def _collect(
    schema: Mapping[str, Any],
    path: tuple[str, ...],
    apart: Set[tuple[str, ...]] | None,
    tables: dict[tuple[str, ...], list[Key]],
) -> None:
    if path in (("model",), ("indicators", ANY_ID)):
        cases = []  # on pages of their own
    else:
        cases = [(*path, *key.variant) for key in keys_of(schema, path) if key.variant]
    for case in dict.fromkeys(cases):
        tables.setdefault(case, [])
    for key in keys_of(schema, path):
        if key.variant:
            if (*path, *key.variant) in tables:
                tables[(*path, *key.variant)].append(key)
            continue
        tables[_ALWAYS].append(key)
        inner = below(key)
        if inner and apart is not None and key.path not in apart and key.path not in _ELSEWHERE:
            _collect(inner, key.path, apart, tables)


_ALWAYS: tuple[str, ...] = ()
"""Key of the table of the keys that are always allowed."""

_ELSEWHERE = {
    ("model", "architecture"),
    ("model", "of", "architecture"),
    ("model", "training"),
    ("model", "features"),
}


def _key_table(keys: Sequence[Key], depth: int) -> str:
    rows = []
    for key in keys:
        name = ".".join(part for part in key.path[depth:] if part != ANY_ITEM)
        kind = _KINDS.get(key.path, key.kind)
        rows.append((_named(key.anchor, name), kind, _DEFAULTS.get(key.path, key.default), _sentence(key.description)))
    return _table(("key", "what may be written", "default", "what it is"), rows)


def _sample(argument: str, others: Set[str]) -> str:
    return f"```yaml\n{_SAMPLE.read_text(encoding='utf-8').strip()}\n```"


# --- parameters -------------------------------------------------------------------------------------------------------


def _parameter_table(prefix: str, parameters: Sequence[Parameter]) -> str:
    rows = []
    for each in parameters:
        schema = schema_parts.parameter_schema(each)
        default = default_text(each)
        rows.append(
            (
                _named(f"{prefix}.{each.name}", each.name),
                kind_of(schema),
                default if each.required else f"`{default}`" if default else "none",
                _sentence(each.description.rstrip(".")),
            )
        )
    return _table(("parameter", "what may be written", "default", "what it is"), rows)


# --- indicators -------------------------------------------------------------------------------------------------------


def _group(name: str) -> tuple[IndicatorType, ...]:
    return importlib.import_module(f"ktrdr.core.indicators.{name}").INDICATORS


def _indicator_table(argument: str, others: Set[str]) -> str:
    groups = {group: _group(group) for group in INDICATOR_GROUPS}
    missing = set(indicator_names()) - {each.name for group in groups.values() for each in group}
    if missing:
        raise ValueError(f"indicators on no page: {', '.join(sorted(missing))}; add their group to INDICATOR_GROUPS")
    parts = []
    for name, group in groups.items():
        rows = []
        for each in group:
            # The rest of the description is in the section of the indicator.
            text = re.split(r"[:;,.]", each.description)[0]
            rows.append((f"[`{each.name}`]({name}.md#{each.name})", text, ", ".join(_code(each.outputs))))
        parts += [f"## {name.capitalize()}", _table(("type", "what it is", "outputs"), rows)]
    return "\n\n".join(parts)


def _indicators(argument: str, others: Set[str]) -> str:
    return "\n\n".join(_indicator(each) for each in _group(argument))


def _indicator(indicator: IndicatorType) -> str:
    values, problems = indicator.validate({})
    reads = [*_code(indicator.inputs), *(["the series `source` names"] if indicator.has_source else [])]
    facts = [
        ("Outputs", ", ".join(_code(indicator.outputs)) + _bare(indicator)),
        ("Reads", ", ".join(reads)),
        ("Warm-up", "depends on the parameters" if problems else _warmup(indicator.warmup(values))),
        ("Memory", memory_text(indicator)),
        ("Formula", indicator.reference),
    ]
    if indicator.aliases:
        facts.append(("Also called", ", ".join(_code(indicator.aliases))))
    if indicator.output_aliases:
        older = (f"`{old}` for `{new}`" for old, new in indicator.output_aliases.items())
        facts.append(("Older names of outputs", ", ".join(older)))
    parts = [
        f"## {indicator.name}",
        indicator.description,
        _picture(f"indicator:{indicator.name}"),
    ]
    if indicator.parameters:
        parts.append(_parameter_table(indicator.name, indicator.parameters))
    parts.append("\n".join(f"- **{name}**: {text}" for name, text in facts))
    parts.append(f"```yaml\nindicators:\n  {example(indicator)}\n```")
    return "\n\n".join(parts)


def _bare(indicator: IndicatorType) -> str:
    return f"; the id alone means `{indicator.outputs[0]}`" if len(indicator.outputs) > 1 else ""


def _warmup(count: int) -> str:
    return f"{_bars(count)} before the first value, at the defaults"


def _bars(count: int) -> str:
    return f"{count:,} bar{'' if count == 1 else 's'}"


def _code(words: Iterable[str]) -> list[str]:
    return [f"`{word}`" for word in words]


def _picture(what: str) -> str:
    """Return a placeholder for a plot, inserted after the build so that the search does not index its texts."""
    return f'<div class="plot" data-plot="{what}"></div>'


# --- memberships and labels -------------------------------------------------------------------------------------------

_FORMULAS: Mapping[str, tuple[str, str]] = {
    "triangular": (
        "0 outside `a` to `c`, 1 at `b`, straight between",
        "`a <= b <= c`. Where `a = b` or `b = c` that side is a shoulder: 1 however far the value goes",
    ),
    "trapezoidal": (
        "0 outside `a` to `d`, 1 from `b` to `c`, straight between",
        "`a <= b <= c <= d`. Where `a = b` or `c = d` that side is a shoulder: 1 however far the value goes",
    ),
    "gaussian": ("`exp(-((x - mean) / sigma)^2 / 2)`", "`sigma` above 0"),
    "sigmoid": ("`1 / (1 + exp(-slope * (x - center)))`", "a negative slope falls"),
    "bell": ("`1 / (1 + |(x - center) / width|^(2 * slope))`", "`width` and `slope` above 0"),
}


def _memberships(argument: str, others: Set[str]) -> str:
    parts = []
    for kind, names in MEMBERSHIP_TYPES.items():
        formula, rule = _FORMULAS[kind]
        facts = [("Parameters", f"`[{', '.join(names)}]`; {rule}"), ("Degree", formula)]
        parts += [
            f"## {kind}",
            _picture(f"membership:{kind}"),
            "\n".join(f"- **{name}**: {text}" for name, text in facts),
        ]
    return "\n\n".join(parts)


def _labels(argument: str, others: Set[str]) -> str:
    rows, parts = [], []
    for name, source in LABEL_SOURCES.items():
        values = {parameter.name: parameter.default for parameter in source.parameters}
        ahead = make_labels(Labels(source=name, parameters=values), sample_bars()).look_ahead
        kind = "classes" if source.output == "classification" else "values"
        rows.append((f"[`{name}`](#{name})", kind, _bars(ahead), _sentence(source.description)))
        parts += [
            f"## {name}",
            _prose(inspect.getdoc(MAKERS[name]) or ""),
            _picture(f"label:{name}"),
            _parameter_table(name, source.parameters),
            _label_example(name, values),
        ]
    heads = ("source", "gives", "looks ahead, at the defaults", "what it is")
    return "\n\n".join([_table(heads, rows), *parts])


def _label_example(source: str, values: Mapping[str, Any]) -> str:
    lines = ["training:", f"  labels: {_flow({'source': source, **values})}"]
    lines += [f"{section}: {_flow(inner)}" for section, inner in _BESIDE.get(source, {}).items()]
    return "\n".join(["```yaml", *lines, "```"])


def _prose(docstring: str) -> str:
    """Return a docstring as Markdown, which accepts code in two backticks too."""
    return re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"`\1`", docstring)


# --- synthetic markets ------------------------------------------------------------------------------------------------


def _processes(argument: str, others: Set[str]) -> str:
    """Return formula and parameters of the process ``argument``, of all of them if it is empty."""
    parts = []
    for process in PROCESSES.values():
        if argument not in ("", process.name):
            continue
        heading = [] if argument else [f"**`{process.name}`**: {process.description}."]
        formula = "\n".join(["```text", *process.formula.split("; "), "```"])
        parts += [*heading, formula, _parameter_table(process.name, process.parameters)]
    return "\n\n".join(parts)


# --- model types ------------------------------------------------------------------------------------------------------


def _models(argument: str, others: Set[str]) -> str:
    info = _manager().info(argument)
    return "\n\n".join(_model(each) for each in info.model_types)


def _model(model: ModelType) -> str:
    keys = [key for key in TRAINING_KEYS if key in model.training_keys]
    linked = ", ".join(f"[`{key}`](strategy.md#training.{key})" for key in keys) or "none of the optional ones"
    facts = [
        ("Gives", " or ".join(model.outputs)),
        (
            "Sees",
            "one bar at a time" if model.window_parameter is None else f"the last `{model.window_parameter}` bars",
        ),
        ("Keys of `training` that have an effect", f"{linked}; any other is refused, but for those core acts on"),
    ]
    for idle in model.idle_keys:
        values = " and ".join(f"`{name}: {_flow(value).removesuffix('...').strip()}`" for name, value in idle.when)
        which = ", ".join(f"`{key}`" for key in TRAINING_KEYS if key in idle.keys)
        facts.append(
            (f"With {values}", f"{which} {'has' if len(idle.keys) == 1 else 'have'} no effect; it is warned of")
        )
    if model.inputs == "crisp":
        facts.insert(2, ("Inputs", "the indicators' values; the membership functions are part of the model"))
    parts = [f"### {model.name}", model.description]
    if model.architecture:
        parts += [_parameter_table(model.name, model.architecture)]
    parts.append("\n".join(f"- **{name}**: {text}" for name, text in facts))
    values = {each.name: _some_value(each) for each in model.architecture}
    lines = ["model:", f"  type: {model.name}", "  architecture:"]
    lines += [f"    {name}: {_flow(value).removesuffix('...').strip()}" for name, value in values.items()]
    return "\n\n".join([*parts, "\n".join(["```yaml", *lines, "```"])])


def _some_value(parameter: Parameter) -> Any:
    """Return the default; without one the first choice or the minimum."""
    default = parameter.default
    if parameter.required or default is None:
        return parameter.choices[0] if parameter.choices else parameter.minimum
    return list(default) if isinstance(default, tuple) else default


def _core_keys(argument: str, others: Set[str]) -> str:
    keys = (key for key in TRAINING_KEYS if key in CORE_KEYS)
    return ", ".join(f"[`{key}`](strategy.md#training.{key})" for key in keys) + "."


GENERATORS: Mapping[str, Generator] = {
    "keys": _keys,
    "sample": _sample,
    "indicator-table": _indicator_table,
    "indicators": _indicators,
    "memberships": _memberships,
    "labels": _labels,
    "models": _models,
    "processes": _processes,
    "core-keys": _core_keys,
}
"""Generators by their names in the pages."""
