"""`ktrdr cache`: shows and clears the cache of features."""

from __future__ import annotations

import click

from ktrdr.core.cli.command_groups import CommandGroup

__all__ = ["cache"]

_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(cls=CommandGroup)
def cache() -> None:
    """Show and clear the cache of features.

    Trainings and backtests keep indicator values and features in $KTRDR_HOME/cache, so that the next one with the same
    bars and inputs starts sooner. KTRDR_CACHE_LIMIT is its maximum size (2GiB by default), and 0 turns it off.
    """


@cache.command()
@_JSON
def show(as_json: bool) -> None:
    """Show the place, the number of entries, their size and the limit."""
    from ktrdr.core.cache.default_cache import LIMIT_VARIABLE, default_cache
    from ktrdr.core.cli.output import print_json

    usage = default_cache().usage()
    if as_json:
        print_json({"place": usage.place, "entries": usage.entries, "bytes": usage.bytes, "limit": usage.limit})
        return
    limit = f"{usage.limit:,} bytes" if usage.limit else f"0: the cache is off ({LIMIT_VARIABLE})"
    for label, text in (
        ("place", str(usage.place)),
        ("entries", f"{usage.entries:,}"),
        ("size", f"{usage.bytes:,} bytes"),
        ("limit", limit),
    ):
        click.echo(f"{label:<8} {text}")


@cache.command()
@_JSON
def clear(as_json: bool) -> None:
    """Remove all entries. Trainings and backtests that are running are not affected."""
    from ktrdr.core.cache.default_cache import default_cache
    from ktrdr.core.cli.output import print_json

    removed = default_cache().clear()
    if as_json:
        print_json({"place": removed.place, "entries": removed.entries, "bytes": removed.bytes})
    else:
        noun = "entry" if removed.entries == 1 else "entries"
        click.echo(f"Removed {removed.entries:,} {noun} ({removed.bytes:,} bytes) from {removed.place}.")
