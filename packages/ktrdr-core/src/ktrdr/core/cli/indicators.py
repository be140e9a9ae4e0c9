"""`ktrdr indicators`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ktrdr.core.indicators.types import IndicatorType
    from ktrdr.core.parameters import Parameter

__all__ = ["indicators"]

_WIDEST = 110
_MEMORY = {
    "window": "a value depends on the bars of its window alone",
    "recursive": "a value depends on all bars before it, on older ones less and less",
    "cumulative": "a value depends on where the data begins, for ever; use its changes rather than its level",
}


@click.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def indicators(name: str | None, as_json: bool) -> None:
    """List indicators with their parameters, or show all about one.

    NAME may be an alias, in any case. Indicators of installed distributions (entry-point group `ktrdr.indicators`) are
    listed with KTRDR's own.
    """
    from ktrdr.core.cli.output import print_json
    from ktrdr.core.indicators.description import describe
    from ktrdr.core.indicators.registry import default_registry

    registry = default_registry()
    if name is not None:
        indicator = registry.get(name)
        origin = registry.origin(indicator.name)
        if as_json:
            print_json(describe(indicator, origin))
        else:
            _print_one(indicator, origin)
        return
    found, problems = _all()
    if as_json:
        described = [describe(indicator, registry.origin(indicator.name)) for indicator in found]
        print_json({"indicators": described, "unusable": problems})
    else:
        _print_all(found, problems)


def _all() -> tuple[list[IndicatorType], dict[str, str]]:
    """Return every type that can be used, and why each other one cannot."""
    from ktrdr.core.errors import PluginError
    from ktrdr.core.indicators.registry import default_registry

    registry = default_registry()
    problems = dict(registry.problems())
    found: list[IndicatorType] = []
    for name in registry.names():
        try:
            found.append(registry.get(name))
        except PluginError as error:
            problems.setdefault(name, str(error))
    return found, problems


def _print_all(found: list[IndicatorType], problems: dict[str, str]) -> None:
    import shutil

    from ktrdr.core.indicators.registry import default_registry

    registry = default_registry()
    columns = max(len(indicator.name) for indicator in found) + 2
    width = max(min(shutil.get_terminal_size().columns, _WIDEST), columns + 30)
    for indicator in found:
        # The sentence of a description goes on with what the detailed view shows.
        text = re.split(r"[:;,.]", indicator.description)[0]
        if indicator.parameters:
            text += f" ({', '.join(_with_default(parameter) for parameter in indicator.parameters)})"
        if len(indicator.outputs) > 1:
            text += f" -> {', '.join(indicator.outputs)}"
        if registry.is_foreign(indicator.name):
            text += f", from {registry.origin(indicator.name)}"
        click.echo(
            click.formatting.wrap_text(
                text, width, f"{indicator.name:<{columns}}", " " * columns, preserve_paragraphs=False
            )
        )
    for name, problem in problems.items():
        click.echo(f"{name} cannot be used: {problem}")
    click.echo("\n`ktrdr indicators NAME` shows what is allowed, what it gives and where the formula is from.")


def _print_one(indicator: IndicatorType, origin: str) -> None:
    from ktrdr.core.cli.output import print_table

    click.echo(f"{indicator.name} ({origin})")
    click.echo(indicator.description)
    if indicator.parameters:
        rows = [[p.name, _default(p), _range(p), p.description] for p in indicator.parameters]
        print_table(["parameter", "default", "allowed", "what it is"], rows, right=["default"])
    else:
        click.echo()
    parameters, problems = indicator.validate({})
    outputs = ", ".join(indicator.outputs)
    if len(indicator.outputs) > 1:
        outputs += f"; the id alone means {indicator.outputs[0]}"
    facts: list[tuple[str, str]] = [
        ("outputs", outputs),
        ("reads", ", ".join([*indicator.inputs, *(["its source"] if indicator.has_source else [])])),
    ]
    if not problems:
        facts.append(("warm-up", f"{indicator.warmup(parameters):,} bars at the defaults"))
    facts += [("memory", _MEMORY[indicator.memory]), ("formula", indicator.reference)]
    if indicator.aliases:
        facts.append(("aliases", ", ".join(indicator.aliases)))
    if indicator.output_aliases:
        facts.append(("older names", ", ".join(f"{old} for {new}" for old, new in indicator.output_aliases.items())))
    width = max(len(label) for label, _ in facts)
    for label, text in facts:
        click.echo(f"{label:<{width}}  {text}")
    click.echo(f"\nIn a strategy:\n  indicators:\n    {indicator.name}_1: {{{_example(indicator)}}}")


def _example(indicator: IndicatorType) -> str:
    given = ", ".join(f"{p.name}: {'...' if p.required else _text(p.default)}" for p in indicator.parameters)
    return f"type: {indicator.name}" + (f", {given}" if given else "")


def _with_default(parameter: Parameter) -> str:
    return f"{parameter.name} {_default(parameter)}".rstrip()


def _default(parameter: Parameter) -> str:
    return "required" if parameter.required else _text(parameter.default)


def _range(parameter: Parameter) -> str:
    if parameter.choices:
        return ", ".join(parameter.choices)
    kind = {"int": "whole number", "float": "number", "bool": "true or false", "int_list": "list of whole numbers"}
    parts = [kind.get(parameter.kind, "text")]
    if parameter.minimum is not None:
        parts.append(f"{'above' if parameter.exclusive_minimum else 'from'} {parameter.minimum:g}")
    if parameter.maximum is not None:
        parts.append(f"{'below' if parameter.exclusive_maximum else 'to'} {parameter.maximum:g}")
    return " ".join(parts)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)
