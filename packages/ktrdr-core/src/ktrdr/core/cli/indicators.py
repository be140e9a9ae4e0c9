"""`ktrdr indicators`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ktrdr.core.indicators.types import IndicatorType

__all__ = ["indicators"]

_WIDEST = 110


@click.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def indicators(name: str | None, as_json: bool) -> None:
    """List indicators with their parameters, or describe one.

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
    """Return every usable type, and by name the reason why each other one cannot be used."""
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

    from ktrdr.core.indicators.description import default_text
    from ktrdr.core.indicators.registry import default_registry

    registry = default_registry()
    columns = max(len(indicator.name) for indicator in found) + 2
    width = max(min(shutil.get_terminal_size().columns, _WIDEST), columns + 30)
    for indicator in found:
        # Only the first clause: the rest of a description is for the detailed view.
        text = re.split(r"[:;,.]", indicator.description)[0]
        if indicator.parameters:
            given = (f"{parameter.name} {default_text(parameter)}".rstrip() for parameter in indicator.parameters)
            text += f" ({', '.join(given)})"
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
    click.echo("\n`ktrdr indicators NAME` shows parameters, outputs, warm-up and the source of the formula.")


def _print_one(indicator: IndicatorType, origin: str) -> None:
    from ktrdr.core.cli.output import print_table
    from ktrdr.core.indicators.description import allowed, default_text, example, memory_text

    click.echo(f"{indicator.name} ({origin})")
    click.echo(indicator.description)
    if indicator.parameters:
        rows = [[p.name, default_text(p), allowed(p), p.description] for p in indicator.parameters]
        print_table(["parameter", "default", "allowed", "description"], rows, right=["default"])
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
    facts += [("memory", memory_text(indicator)), ("formula", indicator.reference)]
    if indicator.aliases:
        facts.append(("aliases", ", ".join(indicator.aliases)))
    if indicator.output_aliases:
        facts.append(("older names", ", ".join(f"{old} for {new}" for old, new in indicator.output_aliases.items())))
    width = max(len(label) for label, _ in facts)
    for label, text in facts:
        click.echo(f"{label:<{width}}  {text}")
    click.echo(f"\nIn a strategy:\n  indicators:\n    {example(indicator)}")
