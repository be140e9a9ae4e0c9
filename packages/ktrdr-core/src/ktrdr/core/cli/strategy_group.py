"""`ktrdr strategy`: commands on one strategy file."""

from __future__ import annotations

import click

from ktrdr.core.cli.command_groups import LazyGroup

__all__ = ["strategy"]


@click.group(
    cls=LazyGroup,
    table={
        "features": ("ktrdr.core.cli.strategy:features", "List the features of a strategy in model input order."),
        "schema": ("ktrdr.core.cli.strategy:schema", "Write the JSON Schema of strategy files, for editors."),
        "plot": ("ktrdr.core.cli.plot:plot", "Draw membership functions over the values they read."),
    },
)
def strategy() -> None:
    """Show features, schema and plots of a strategy."""
