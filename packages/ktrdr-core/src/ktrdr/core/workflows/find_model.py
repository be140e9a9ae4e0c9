"""The model that a name, a reference or a strategy file stands for."""

from __future__ import annotations

from pathlib import Path

from ktrdr.core.errors import BadInputError
from ktrdr.core.models.bundle import Bundle
from ktrdr.core.models.model_store import ModelStore
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.strategy.loader import load_strategy, load_strategy_text

__all__ = ["find_model"]


def find_model(model: str, store: ModelStore, plugins: PluginManager) -> Bundle:
    """Return the bundle that ``model`` names, or the latest one trained from the strategy file that it names.

    Args:
        model: ``name`` for the latest version, ``name/3`` for one, or the path of a strategy file.
        store: holds the models.
        plugins: check the strategy file.

    Raises:
        NotFoundError: there is no such model.
        BadInputError: no model was trained from the strategy file, or the file has changed since.
    """
    path = Path(model)
    if path.suffix.lower() not in (".yaml", ".yml") and not path.is_file():
        return store.get(model)
    loaded = load_strategy(path, plugins=plugins)
    name = loaded.strategy.name
    if not store.versions(name):
        raise BadInputError(f"no model was trained from {path} yet; run `ktrdr train {path}` first")
    bundle = store.get(name)
    if bundle.strategy_text != loaded.text:
        then = load_strategy_text(bundle.strategy_text, name=name, plugins=plugins).strategy
        changed = [part for part in type(then).model_fields if getattr(then, part) != getattr(loaded.strategy, part)]
        if changed:
            raise BadInputError(
                f"{path} is not what model {bundle.ref} was trained from: {', '.join(changed)} differ; run `ktrdr train"
                f" {path}` again, or `ktrdr backtest {bundle.ref}` to trade the model as it is"
            )
    return bundle
