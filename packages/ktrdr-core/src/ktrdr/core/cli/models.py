"""`ktrdr models`: commands on the model store, which need no ML framework."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ktrdr.core.cli.command_groups import CommandGroup

if TYPE_CHECKING:
    from ktrdr.core.models.bundle import Bundle
    from ktrdr.core.models.model_store import ModelEntry

__all__ = ["models"]

_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(cls=CommandGroup)
def models() -> None:
    """List, verify, move and delete trained models.

    MODEL is `name` for the latest version of a model, or `name/3` for one.
    """


@models.command("list")
@click.argument("name", required=False)
@_JSON
def list_models(name: str | None, as_json: bool) -> None:
    """List models; a model that cannot be read is shown as broken, with the reason."""
    from ktrdr.core.cli.output import print_json, print_table
    from ktrdr.core.models.model_store import default_model_store

    store = default_model_store()
    entries = store.list(name)
    if as_json:
        print_json([_listed(entry) for entry in entries])
        return
    if not entries:
        of = f" of `{name}`" if name else ""
        click.echo(f"There are no models{of} in {store.root}; `ktrdr train STRATEGY` makes one.")
        return
    headings = ["model", "created", "type", "backend", "symbols", "features", "state"]
    rows = [_row(entry) for entry in entries]
    origins = [entry.manifest.origin if entry.manifest is not None else None for entry in entries]
    if any(origins):
        headings.append("origin")
        rows = [[*row, origin or ""] for row, origin in zip(rows, origins, strict=True)]
    print_table(headings, rows, right=["features"])
    for entry in entries:
        if entry.problem:
            click.echo(entry.problem)


def _listed(entry: ModelEntry) -> dict[str, Any]:
    manifest = entry.manifest
    if manifest is None:
        return {"model": entry.ref, "state": "broken", "problem": entry.problem}
    return {
        "model": entry.ref,
        "state": "ok",
        "origin": manifest.origin,
        "created": manifest.created.isoformat(),
        "model_type": manifest.model_type,
        "members": len(manifest.member_directories),
        "plugin": manifest.plugin.name,
        "output": manifest.output,
        "symbols": manifest.data.symbols,
        "world": manifest.data.world,
        "input_size": manifest.input_size,
        "weights_hash": manifest.weights_hash,
    }


def _row(entry: ModelEntry) -> list[Any]:
    manifest = entry.manifest
    if manifest is None:
        return [entry.ref, "", "", "", "", "", "broken"]
    members = len(manifest.member_directories)
    return [
        entry.ref,
        manifest.created.strftime("%Y-%m-%d %H:%M"),
        # In short, so that the references do not fold.
        f"{members} x {manifest.model_type}" if members else manifest.model_type,
        manifest.plugin.name,
        " ".join(manifest.data.symbols) + (f" ({manifest.data.world})" if manifest.data.world else ""),
        manifest.input_size,
        "ok",
    ]


@models.command()
@click.argument("model")
@_JSON
def show(model: str, as_json: bool) -> None:
    """Show a model: its type, training data and metrics."""
    from ktrdr.core.cli.output import print_json
    from ktrdr.core.models.model_store import default_model_store
    from ktrdr.core.strategy.choice import choice_hash
    from ktrdr.core.workflows.places import trials_in

    bundle = default_model_store().get(model)
    among = trials_in(None).chosen_among(choice_hash(bundle.manifest.strategy))
    if as_json:
        print_json(
            bundle.manifest.model_dump(mode="json")
            | {"directory": bundle.directory, "weights_hash": bundle.manifest.weights_hash, "chosen_among": among}
        )
    else:
        _print_bundle(bundle, among)


def _print_bundle(bundle: Bundle, among: int | None) -> None:
    from ktrdr.core.models.model_facts import model_facts, score_facts

    manifest = bundle.manifest
    facts = [
        *model_facts(manifest),
        ("chosen among", "" if among is None else f"{among:,} settings of a sweep"),
        ("window", f"{manifest.window} bars" if manifest.window > 1 else ""),
        ("features", f"{manifest.input_size}: {', '.join(manifest.feature_ids)}"),
        *score_facts(manifest),
        ("weights hash", manifest.weights_hash),
        ("directory", str(bundle.directory)),
    ]
    for label, text in facts:
        if text:
            click.echo(f"{label:<21} {text}")


@models.command()
@click.argument("model", required=False)
@click.option("--all", "everything", is_flag=True, help="Verify every model in the store.")
@_JSON
def verify(model: str | None, everything: bool, as_json: bool) -> None:
    """Check every file of a model, and compare its portable twin with its ML framework where that is installed.

    Checked are hashes, kinds, feature list and schema of the files. The twin is compared on the rows that are stored in
    the model. Exit status 2 means that a model is broken, or that its twin predicts something else.
    """
    from ktrdr.core.cli.output import print_json
    from ktrdr.core.models.bundle import BundleError
    from ktrdr.core.models.model_store import default_model_store

    if (model is None) != everything:
        raise click.UsageError("give a model, or --all")
    store = default_model_store()
    if model is not None and not as_json:
        bundle = store.verify(model)
        click.echo(f"{bundle.ref}: ok{_compared_in_words(_compared(bundle))}")
        return
    results: list[dict[str, Any]] = []
    for ref in [entry.ref for entry in store.list()] if model is None else [model]:
        try:
            bundle = store.verify(ref)
            results.append({"model": bundle.ref, "state": "ok", "problem": "", "twin": _compared(bundle)})
        except BundleError as error:
            results.append({"model": ref, "state": "broken", "problem": str(error), "twin": None})
    if as_json:
        print_json(results)
    else:
        for result in results:
            click.echo(f"{result['model']}: {result['problem'] or 'ok' + _compared_in_words(result['twin'])}")
    if any(result["problem"] for result in results):
        click.get_current_context().exit(2)


def _compared(bundle: Bundle) -> dict[str, Any] | None:
    """Compare the twin of a model with its backend, if it has one; say why if that is not possible here."""
    if not bundle.manifest.portable:
        return None
    from dataclasses import asdict

    from ktrdr.core.errors import PluginError
    from ktrdr.core.models.bundle import UnfitPluginError
    from ktrdr.core.plugins.manager import default_manager
    from ktrdr.core.workflows.model_twins import compare_twin

    try:
        return asdict(compare_twin(bundle, default_manager()))
    except (PluginError, UnfitPluginError) as error:
        return {"not_compared": str(error)}


def _compared_in_words(compared: dict[str, Any] | None) -> str:
    if compared is None:
        return ""
    if "not_compared" in compared:
        return f"; the twin was not compared: {compared['not_compared']}"
    return (
        f"; the twin differs by at most {compared['difference']:.1g} from the backend in {compared['rows']:,}"
        f" predictions, and in {compared['differing']:,} of {compared['decisions']:,} decisions"
    )


@models.command()
@click.argument("model")
@_JSON
def twin(model: str, as_json: bool) -> None:
    """Add a portable twin to a model, so that it predicts without its ML framework.

    Models get one when they are trained; this is for older ones. The framework must be installed, and the bars that the
    model was trained on must be stored: the twin is compared with the framework on them. The model keeps its version.
    """
    from ktrdr.core.cli.output import print_json
    from ktrdr.core.models.model_facts import twin_in_words
    from ktrdr.core.workflows.model_twins import add_twin

    bundle = add_twin(model)
    if as_json:
        print_json({"model": bundle.ref, "twin": bundle.manifest.model_dump(mode="json")["twin"]})
    else:
        click.echo(f"{bundle.ref} has a portable twin: {twin_in_words(bundle.manifest)}.")


@models.command()
@click.argument("model")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_JSON
def delete(model: str, yes: bool, as_json: bool) -> None:
    """Delete one version of a model."""
    from ktrdr.core.cli.output import print_json
    from ktrdr.core.models.model_store import default_model_store

    store = default_model_store()
    if not yes and not as_json:
        click.confirm(f"Delete model {model} from {store.root}?", abort=True)
    deleted = store.delete(model)
    if as_json:
        print_json({"deleted": deleted})
    else:
        click.echo(f"Deleted {deleted}.")


@models.command()
@click.argument("model")
@click.argument("path", type=click.Path(path_type=str))
@click.option("--force", is_flag=True, help="Overwrite the file if it exists.")
@_JSON
def export(model: str, path: str, force: bool, as_json: bool) -> None:
    """Write a model as one zip file to PATH, a file or an existing directory."""
    from pathlib import Path

    from ktrdr.core.cli.output import print_json
    from ktrdr.core.models.archive import export_bundle
    from ktrdr.core.models.model_store import default_model_store

    written = export_bundle(default_model_store(), model, Path(path), overwrite=force)
    if as_json:
        print_json({"path": written, "bytes": written.stat().st_size})
    else:
        click.echo(f"Wrote {written} ({written.stat().st_size:,} bytes).")


@models.command("import")
@click.argument("path", type=click.Path(path_type=str))
@_JSON
def import_model(path: str, as_json: bool) -> None:
    """Add a model from an exported zip file, after verifying it.

    The model gets the next version of its name. Its name in the store that trained it is shown as its origin. A model
    that is stored already is not added again.
    """
    from pathlib import Path

    from ktrdr.core.cli.output import print_json
    from ktrdr.core.models.archive import import_bundle
    from ktrdr.core.models.model_store import default_model_store

    imported = import_bundle(default_model_store(), Path(path))
    bundle = imported.bundle
    if as_json:
        shown = {"model": bundle.ref, "added": imported.added, "origin": bundle.manifest.origin}
        print_json(shown | {"directory": bundle.directory})
    elif imported.added:
        click.echo(f"Imported {bundle.ref}; its name in the store that trained it is {bundle.manifest.origin}.")
    else:
        click.echo(f"{path} is already stored as {bundle.ref}; nothing was added.")
