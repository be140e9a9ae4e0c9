"""`ktrdr plugins`."""

from __future__ import annotations

import sys
from typing import Any

import click

__all__ = ["plugins"]


@click.command()
@click.option("--check", is_flag=True, help="Load each plugin, import its framework, and list its devices.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plugins(check: bool, as_json: bool) -> None:
    """List the installed ML backends.

    Without --check no plugin is imported. With --check, exit status 2 means that at least one does not work.
    """
    from ktrdr.core.cli.output import print_json, print_table
    from ktrdr.core.plugins.manager import default_manager

    manager = default_manager()
    rows: list[dict[str, Any]] = []
    for record in manager.records():
        row: dict[str, Any] = {
            "name": record.name,
            "distribution": record.distribution,
            "version": record.version,
            "state": record.state,
            "message": record.message,
        }
        if check and record.state == "available":
            row |= _checked(record.name)
        rows.append(row)

    if as_json:
        print_json(rows)
    elif not rows:
        click.echo(
            "No ML backend is installed; `pip install ktrdr-ml-torch` or `pip install ktrdr-ml-sklearn` adds one."
        )
    else:
        columns = ["name", "distribution", "version", "state"]
        if check:
            columns += ["contract"]
        print_table(columns, [[row.get(column, "") for column in columns] for row in rows])
        # Sentences, not columns, so that names of model types are not folded.
        for row in rows:
            if row["message"]:
                click.echo(f"{row['name']}: {row['message']}")
            elif check:
                click.echo(f"{row['name']} trains {', '.join(row['model types'])} on {', '.join(row['devices'])}.")
    if check and any(row["state"] in ("broken", "clash") for row in rows):
        sys.exit(2)


def _checked(name: str) -> dict[str, Any]:
    from ktrdr.core.errors import PluginError
    from ktrdr.core.plugins.manager import default_manager

    manager = default_manager()
    try:
        info = manager.info(name)
        manager.validate(name)
        devices = [device.name for device in manager.devices(name)]
    except PluginError as error:
        return {"state": "broken", "message": str(error)}
    return {
        "state": "works",
        "contract": info.contract,
        "model types": [offered.name for offered in info.model_types],
        "devices": devices,
    }
