"""`ktrdr validate`, `ktrdr strategy features`, `ktrdr strategy schema` and `ktrdr migrate`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ktrdr.core.features.columns import FeatureColumn
    from ktrdr.core.strategy.loader import LoadedStrategy
    from ktrdr.core.strategy.model import Strategy

__all__ = ["features", "migrate", "schema", "validate"]

_FILE = click.Path(path_type=Path)
_OUTPUT = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=_FILE)
@click.option("--sample", is_flag=True, help="Measure dead zones on the shipped EURUSD sample instead of stored data.")
@click.option("--symbol", help="Measure dead zones on this symbol.  [default: the first stored one of the strategy]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def validate(files: tuple[Path, ...], sample: bool, symbol: str | None, as_json: bool) -> None:
    """Check strategy files and report every error in them.

    Every error and warning has its line and column. If bars are stored (or with --sample), fuzzy sets are checked on
    them: bars on which all memberships of a set are 0 are a dead zone, and give a warning. Exit status 2 means that a
    file has errors.
    """
    from ktrdr.core.cli.output import print_json
    from ktrdr.core.plugins.manager import default_manager

    _check_choice(sample, symbol)
    plugins = default_manager()
    results = [_validate(path, plugins, sample=sample, symbol=symbol) for path in files]
    if as_json:
        print_json({"valid": all(result["valid"] for result in results), "files": results})
    else:
        for result in results:
            _print_result(result)
        invalid = sum(not result["valid"] for result in results)
        if len(results) > 1:
            click.echo(f"{len(results) - invalid} of {len(results)} files are valid.")
    if not all(result["valid"] for result in results):
        sys.exit(2)


def _check_choice(sample: bool, symbol: str | None) -> None:
    """Raise an error for bars that are not available, before anything is printed."""
    from ktrdr.core.data.bar_store import default_store
    from ktrdr.core.data.sample import SAMPLE_SYMBOL
    from ktrdr.core.errors import BadInputError

    if symbol is None:
        return
    if sample and symbol != SAMPLE_SYMBOL:
        raise BadInputError(f"the sample holds {SAMPLE_SYMBOL}, not `{symbol}`; leave out --symbol or --sample")
    if not sample and symbol not in {info.symbol for info in default_store().datasets()}:
        raise BadInputError(f"no bars of `{symbol}` are stored; `ktrdr data list` shows the stored symbols")


def _validate(path: Path, plugins: Any, *, sample: bool, symbol: str | None) -> dict[str, Any]:
    """Return errors, warnings and dead zones of one file, JSON-ready."""
    from ktrdr.core.errors import BadInputError
    from ktrdr.core.features.dead_zones import dead_zone_warnings
    from ktrdr.core.strategy.diagnostics import StrategyError
    from ktrdr.core.strategy.loader import load_strategy

    result: dict[str, Any] = {"file": str(path), "valid": False, "name": None, "features": None}
    result |= {"errors": [], "warnings": [], "dead_zones": [], "note": None}
    try:
        loaded = load_strategy(path, plugins=plugins, plugin_may_be_missing=True)
    except StrategyError as error:
        for item in error.diagnostics:
            result["errors" if item.severity == "error" else "warnings"].append(item.to_json())
        return result
    except BadInputError as error:
        result["errors"].append({"line": None, "column": None, "path": "", "message": str(error), "severity": "error"})
        return result
    zones, note = _dead_zones(loaded, sample=sample, symbol=symbol)
    warnings = [*loaded.warnings, *dead_zone_warnings(loaded, zones)]
    warnings.sort(key=lambda item: (item.line, item.column))
    return result | {
        "valid": True,
        "name": loaded.strategy.name,
        "features": len(_columns(loaded.strategy)),
        "warnings": [item.to_json() for item in warnings],
        "dead_zones": [zone.to_json() for zone in zones],
        "note": note,
    }


def _dead_zones(loaded: LoadedStrategy, *, sample: bool, symbol: str | None) -> tuple[list[Any], str | None]:
    """Return the dead zones, or why they could not be measured."""
    from ktrdr.core.data.bar_store import default_store
    from ktrdr.core.errors import KtrdrError
    from ktrdr.core.features.dead_zones import measure_dead_zones
    from ktrdr.core.features.inputs import inputs_for
    from ktrdr.core.features.pipeline import FeaturePipeline

    strategy = loaded.strategy
    if not strategy.fuzzy_sets:
        return [], None
    try:
        if not sample and symbol is None:
            stored = {info.symbol for info in default_store().datasets()}
            symbol = next((name for name in strategy.training_data.symbols if name in stored), None)
            if symbol is None:
                names = ", ".join(strategy.training_data.symbols)
                return [], f"dead zones were not measured: no bars of {names} are stored; --sample uses the sample"
        bars = inputs_for(
            strategy, FeaturePipeline(strategy).timeframes, symbol=symbol, sample=sample, store=default_store()
        )
        return measure_dead_zones(strategy, bars), None
    except KtrdrError as error:  # an error of the bars does not make the file invalid
        return [], f"dead zones were not measured: {error}"


def _print_result(result: dict[str, Any]) -> None:
    name = result["file"]
    items = [*result["errors"], *result["warnings"]]
    if any(item["line"] is None for item in items):
        click.echo(f"Error: {items[0]['message']}", err=True)
        return
    for item in sorted(items, key=lambda item: (item["line"], item["column"])):
        where = f"{item['path']}: " if item["path"] else ""
        line = f"{name}:{item['line']}:{item['column']}: {item['severity']}: {where}{item['message']}"
        click.echo(line, err=item["severity"] == "error")
    errors, warnings = len(result["errors"]), len(result["warnings"])
    ending = f", {_count(warnings, 'warning')}" if warnings else ""
    if result["valid"]:
        click.echo(f"{name}: valid; `{result['name']}` has {_count(result['features'], 'feature')}{ending}.")
    else:
        click.echo(f"{name}: not valid, {_count(errors, 'error')}{ending}.", err=True)
    if result["note"]:
        click.echo(f"{name}: {result['note']}.")


def _columns(strategy: Strategy) -> tuple[FeatureColumn, ...]:
    """Return the inputs of the model; if its plugin is not installed, those of most model types."""
    from ktrdr.core.errors import PluginError
    from ktrdr.core.features.columns import crisp_columns, feature_columns
    from ktrdr.core.plugins.manager import default_manager

    try:
        _, model_type = default_manager().backend_for(strategy.model.learner.type, strategy.model.learner.backend)
    except PluginError:
        return feature_columns(strategy)
    return crisp_columns(strategy) if model_type.inputs == "crisp" else feature_columns(strategy)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


@click.command()
@click.argument("strategy_file", metavar="FILE", type=_FILE)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def features(strategy_file: Path, as_json: bool) -> None:
    """List the features of a strategy in model input order.

    For a model type with its own membership functions (`anfis`), these are the values that the fuzzy sets read.
    """
    from ktrdr.core.cli.output import print_json
    from ktrdr.core.strategy.loader import load_strategy

    strategy = load_strategy(strategy_file).strategy
    columns = _columns(strategy)
    if as_json:
        print_json(
            {
                "strategy": strategy.name,
                "features": [
                    {
                        "id": column.id,
                        "kind": column.kind,
                        "timeframe": column.timeframe,
                        "indicator": column.indicator,
                        "fuzzy_set": column.fuzzy_set,
                        "membership": column.membership,
                        "normalization": column.normalization,
                        "lag": column.lag,
                    }
                    for column in columns
                ],
            }
        )
        return
    widest = max(len(column.id) for column in columns)
    for number, column in enumerate(columns, 1):
        # Lines, not a table, so that ids are not folded and can be copied.
        what = f"{column.indicator} on {column.timeframe}"
        what += f", {_count(column.lag, 'base bar')} back" if column.lag else ""
        what += f", unchanged, for fuzzy set {column.fuzzy_set}" if column.kind == "crisp" else ""
        what += f", normalization {column.normalization}" if column.normalization else ""
        click.echo(f"{number:>{len(str(len(columns)))}}  {column.id:<{widest}}  {what}")


@click.command()
@click.option("-o", "--output", type=_OUTPUT, help="File to write.  [default: print]")
def schema(output: Path | None) -> None:
    """Write the JSON Schema of strategy files, for editors.

    The schema contains the model types of the installed plugins.
    """
    from ktrdr.core.cli.output import to_json
    from ktrdr.core.plugins.manager import default_manager
    from ktrdr.core.strategy.schema import strategy_schema

    text = to_json(strategy_schema(default_manager()))
    if output is None:
        click.echo(text)
        return
    _write(output, text + "\n", replace=True)
    click.echo(f"Wrote {output}")


@click.command()
@click.argument("old", metavar="OLD", type=_FILE)
@click.option("-o", "--output", type=_OUTPUT, help="File to write, which must not exist.  [default: print]")
def migrate(old: Path, output: Path | None) -> None:
    """Convert a version 1 or 2 strategy to version 3.

    Reports what could not be carried over from the old file, with its line.
    """
    from ktrdr.core.strategy.loader import read_strategy_file
    from ktrdr.core.strategy.migration import migrate_text

    migration = migrate_text(read_strategy_file(old), name=str(old))
    for item in migration.lost:
        click.echo(item.located(str(old)), err=True)
    if output is None:
        click.echo(migration.text, nl=False)
    else:
        _write(output, migration.text, replace=False)
    target = "" if output is None else f", written to {output}"
    found = f"; {_count(len(migration.lost), 'thing')} could not be carried over, see above" if migration.lost else ""
    click.echo(f"{old}: version {migration.version} converted to version 3{target}{found}.", err=True)
    for item in migration.warnings:
        click.echo(f"Warning: {item.path}: {item.message}", err=True)


def _write(path: Path, text: str, *, replace: bool) -> None:
    """Write a file completely or not at all."""
    from ktrdr.core.errors import BadInputError
    from ktrdr.core.files.durable import write_atomically

    if path.exists() and not replace:
        raise BadInputError(f"`{path}` exists already; give another name, or remove it")
    if not path.parent.is_dir():
        raise BadInputError(f"cannot write `{path}`: there is no directory {path.parent}; create it first")
    write_atomically(path, text.encode())
