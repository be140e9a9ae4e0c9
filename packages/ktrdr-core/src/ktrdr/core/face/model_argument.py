"""The argument ``model`` of the functions that use a trained model."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeAlias

from ktrdr.core.data.python_words import python_messages
from ktrdr.core.errors import BadInputError
from ktrdr.core.face.strategy_face import Strategy
from ktrdr.core.face.training_face import Training
from ktrdr.core.models.bundle import Bundle
from ktrdr.core.models.model_store import default_model_store

if TYPE_CHECKING:
    from ktrdr.core.plugins.manager import PluginManager

__all__ = ["ModelLike", "find_bundle", "model_server", "remote_name"]

ModelLike: TypeAlias = Training | Bundle | str | os.PathLike[str]
"""A training, a bundle, ``name``, ``name/3``, or the path of a strategy file."""


def model_server(model: ModelLike) -> str | None:
    """Return the address of the server that has the model; ``None`` for this machine."""
    return model.server if isinstance(model, Training) else None


def remote_name(model: ModelLike) -> str:
    """Return what a server calls the model.

    Raises:
        BadInputError: it is none.
    """
    if isinstance(model, Training):
        return model.model
    return model.ref if isinstance(model, Bundle) else _text(model)


def find_bundle(model: ModelLike, plugins: PluginManager) -> Bundle:
    """Return the stored model.

    Raises:
        NotFoundError: there is none of that name or version.
        BadInputError: it is no model, or is stored on a server.
    """
    from ktrdr.core.workflows.find_model import find_model

    if isinstance(model, Bundle):
        return model
    if isinstance(model, Training):
        if model.server is not None:
            raise BadInputError(
                f"the model {model.model} is on the server {model.server}, and this needs a model on this machine;"
                " export it there with `ktrdr models export`, and import the file here with kt.models.import_file"
            )
        return model.bundle
    with python_messages():
        return find_model(_text(model), default_model_store(), plugins)


def _text(model: object) -> str:
    if isinstance(model, str | os.PathLike):
        return os.fspath(model)
    if isinstance(model, Strategy):
        raise BadInputError(
            f"{model.name} is a strategy, and a trained model is needed: train it first, as in"
            " kt.backtest(kt.train(strategy))"
        )
    raise BadInputError(
        f"a model is needed: what kt.train returned, `name`, `name/3`, or the path of a strategy file; not a"
        f" {type(model).__name__}"
    )
