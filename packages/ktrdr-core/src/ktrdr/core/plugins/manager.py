"""Manager of plugins: loads backends on demand, checks that they fit, and chooses one for a strategy."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import pluggy

from ktrdr.core.errors import KtrdrError, MissingPluginError, PluginError, one_line
from ktrdr.core.names import ENSEMBLE
from ktrdr.core.parameters import did_you_mean
from ktrdr.core.plugins import specs
from ktrdr.core.plugins.contract import (
    CONTRACT_VERSION,
    Device,
    ModelLoader,
    ModelStorage,
    ModelTrainer,
    ModelType,
    PluginInfo,
)
from ktrdr.core.plugins.discovery import BACKEND_GROUP, PluginRecord, discover
from ktrdr.core.plugins.markers import PROJECT

__all__ = ["KNOWN_BACKENDS", "PluginManager", "default_manager", "known_backend"]

KNOWN_BACKENDS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "torch": ("ktrdr-ml-torch", ("mlp", "lstm", "gru", "anfis")),
    "sklearn": ("ktrdr-ml-sklearn", ("gradient_boosting", "random_forest", "logistic_regression")),
}
"""Distribution and model types of KTRDR's own backends by plugin name, so that a message can name a missing one.

Installed backends declare their model types; a test in `tests/contract` compares both.
"""


class PluginManager:
    """The ML backends installed here.

    A plugin is imported when it is requested by name or when a model type is looked up, and then only its ``hooks``
    module, which imports no framework. A requested plugin that cannot be used raises
    :class:`~ktrdr.core.errors.PluginError`; any other is left out and reported in :attr:`broken`.
    """

    def __init__(self, *, path: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> None:
        self._records = discover(BACKEND_GROUP, path=path, environ=environ)
        self._loaded: dict[str, tuple[pluggy.PluginManager, PluginInfo]] = {}
        self._broken: dict[str, str] = {}

    def records(self) -> tuple[PluginRecord, ...]:
        """Return all entry points, usable or not, without importing any."""
        return self._records

    @property
    def broken(self) -> Mapping[str, str]:
        """Reasons by name, of the plugins that could not be loaded."""
        return dict(self._broken)

    def record(self, name: str) -> PluginRecord:
        """Return the entry point of plugin ``name``, without importing it.

        Raises:
            PluginError: it is not installed, blocked, or provided by two distributions; the message has the remedy.
        """
        for record in self._records:
            if record.name != name:
                continue
            if record.state == "blocked":
                raise PluginError(f"plugin `{name}` ({record.origin}) is {record.message}; change that to use it")
            if record.state == "clash":
                raise PluginError(f"plugin name `{name}` is not unique: {record.message}")
            return record
        if name in KNOWN_BACKENDS:
            distribution = KNOWN_BACKENDS[name][0]
            raise MissingPluginError(f"plugin `{name}` is not installed; install it with `pip install {distribution}`")
        names = sorted({record.name for record in self._records})
        hint = did_you_mean(name, names) or f"; installed: {', '.join(names) or 'none'}"
        raise PluginError(f"no plugin `{name}` is installed{hint}")

    def info(self, name: str) -> PluginInfo:
        """Return the description of plugin ``name``, and load its hooks if necessary."""
        return self._load(name)[1]

    def infos(self) -> dict[str, PluginInfo]:
        """Return the descriptions of all usable plugins by name; the others are in :attr:`broken`."""
        found = {}
        for name in sorted({record.name for record in self._records if record.state != "blocked"}):
            try:
                found[name] = self.info(name)
            except PluginError as error:
                self._broken[name] = str(error)
        return found

    def backend_for(
        self, model_type: str, backend: str | None = None, *, of_member: bool = False
    ) -> tuple[PluginInfo, ModelType]:
        """Return the plugin that trains ``model_type``: ``backend`` if given, else the only one that offers the type.

        Args:
            model_type: the type to train.
            backend: name of a plugin.
            of_member: True for a member of an ensemble, so that no message suggests an ensemble.

        Raises:
            MissingPluginError: the plugin that offers it is not installed; the message has the command to install it.
            PluginError: no plugin offers it, several do, or ``backend`` cannot be used; the message has the remedy.
        """
        wanted = model_type.lower()
        if backend is not None:
            info = self.info(backend)
            for offered in info.model_types:
                if offered.name == wanted:
                    return info, offered
            names = [offered.name for offered in info.model_types]
            hint = did_you_mean(wanted, names) or f"; it offers {', '.join(names)}"
            raise PluginError(f"plugin `{backend}` has no model type `{model_type}`{hint}")

        offers = [
            (info, offered) for info in self.infos().values() for offered in info.model_types if offered.name == wanted
        ]
        if len(offers) == 1:
            return offers[0]
        if offers:
            names = [info.name for info, _ in offers]
            raise PluginError(
                f"model type `{model_type}` is offered by several plugins ({', '.join(names)}); "
                f"say which with `backend: {names[0]}` under `model`"
            )
        raise self._nobody_offers(model_type, of_member)

    def _nobody_offers(self, model_type: str, of_member: bool) -> PluginError:
        wanted = model_type.lower()
        for name, (distribution, types) in KNOWN_BACKENDS.items():
            if wanted not in types:
                continue
            if name in self._broken:
                return PluginError(f"model type `{model_type}` needs plugin `{name}`: {self._broken[name]}")
            # `record` raises the right message: the plugin is blocked, or not installed.
            try:
                self.record(name)
            except PluginError as error:
                return type(error)(f"model type `{model_type}` needs plugin `{name}`: {error}")
            return PluginError(
                f"the installed plugin `{name}` does not offer model type `{model_type}`; "
                f"update it with `pip install --upgrade {distribution}`"
            )
        known = {offered.name for info in self.infos().values() for offered in info.model_types}
        known.update(name for _, types in KNOWN_BACKENDS.values() for name in types)
        if not of_member:
            known.add(ENSEMBLE)
        hint = did_you_mean(wanted, sorted(known)) or f"; known: {', '.join(sorted(known))}"
        broken = "".join(f" ({reason})" for reason in self._broken.values())
        return PluginError(f"no installed plugin trains model type `{model_type}`{hint}{broken}")

    def validate(self, name: str) -> None:
        """Import the framework of plugin ``name``.

        Raises:
            PluginError: the framework is missing or broken; the message has the remedy.
        """
        manager, _ = self._load(name)
        self._ask(manager, name, "ktrdr_validate_environment")

    def devices(self, name: str) -> list[Device]:
        """Return the devices plugin ``name`` can use here, best first."""
        devices: list[Device] = self._required(name, "ktrdr_list_devices")
        return devices

    def trainer(self, name: str) -> ModelTrainer:
        """Return the trainer of plugin ``name``."""
        trainer: ModelTrainer = self._required(name, "ktrdr_model_trainer")
        return trainer

    def storage(self, name: str) -> ModelStorage:
        """Return the storage of plugin ``name``."""
        storage: ModelStorage = self._required(name, "ktrdr_model_storage")
        return storage

    def loader(self, name: str) -> ModelLoader:
        """Return the loader of plugin ``name``."""
        loader: ModelLoader = self._required(name, "ktrdr_model_loader")
        return loader

    def _required(self, name: str, hook: str) -> Any:
        manager, info = self._load(name)
        answer = self._ask(manager, name, hook)
        if answer is None:
            raise PluginError(
                f"plugin `{name}` {info.version} does not implement `{hook}`; "
                f"ask its author, or leave it out with KTRDR_BLOCK_PLUGINS={name}"
            )
        return answer

    def _ask(self, manager: pluggy.PluginManager, name: str, hook: str) -> Any:
        try:
            return getattr(manager.hook, hook)()
        except ImportError as error:
            origin = self.record(name).origin
            raise PluginError(
                f"plugin `{name}` ({origin}) cannot import what it needs: {one_line(error, named=True)}; "
                f"install it again with `pip install --force-reinstall {self.record(name).distribution}`"
            ) from error

    def _load(self, name: str) -> tuple[pluggy.PluginManager, PluginInfo]:
        if name in self._loaded:
            return self._loaded[name]
        record = self.record(name)
        # One pluggy manager per plugin: a hook call reaches only the requested plugin.
        manager = pluggy.PluginManager(PROJECT)
        info = _register(manager, record)
        self._loaded[name] = (manager, info)
        self._broken.pop(name, None)
        return manager, info


def _register(manager: pluggy.PluginManager, record: PluginRecord) -> PluginInfo:
    remedy = (
        f"install it again with `pip install --force-reinstall {record.distribution}`, "
        f"or leave it out with KTRDR_BLOCK_PLUGINS={record.name}"
    )
    try:
        manager.register(importlib.import_module(record.module), record.name)
        info = _ask_who_it_is(manager)
        if isinstance(info, PluginInfo):
            # Checked before the hook specs: hooks of another contract fail them with a less helpful message.
            _check_contract(info, record)
        manager.add_hookspecs(specs)
        manager.check_pending()
    except KtrdrError:
        raise
    except (Exception, SystemExit) as error:  # foreign code at import: it may raise anything at all
        raise PluginError(
            f"plugin `{record.name}` ({record.origin}) cannot be loaded: {one_line(error, named=True)}; {remedy}"
        ) from error
    if not isinstance(info, PluginInfo):
        raise PluginError(
            f"plugin `{record.name}` ({record.origin}) does not describe itself: "
            f"`ktrdr_plugin_info` returned {type(info).__name__}; {remedy}"
        )
    if info.name != record.name:
        raise PluginError(
            f"plugin `{record.name}` ({record.origin}) calls itself `{info.name}`: its entry point and its "
            f"`ktrdr_plugin_info` must agree; {remedy}"
        )
    if any(offered.name == ENSEMBLE for offered in info.model_types):
        raise PluginError(
            f"plugin `{record.name}` ({record.origin}) has a model type `{ENSEMBLE}`, which core makes of other model"
            f" types; {remedy}"
        )
    return info


def _ask_who_it_is(manager: pluggy.PluginManager) -> Any:
    """Return what the plugin's ``ktrdr_plugin_info`` returns, or ``None`` if it has none."""
    if not hasattr(manager.hook, "ktrdr_plugin_info"):
        return None
    # Without hook specs pluggy returns the answers of all plugins, here of one.
    return next(iter(manager.hook.ktrdr_plugin_info()), None)


def _check_contract(info: PluginInfo, record: PluginRecord) -> None:
    try:
        major, minor = (int(part) for part in info.contract.split("."))
    except ValueError:
        raise PluginError(
            f"plugin `{record.name}` ({record.origin}) has contract version {info.contract!r}, "
            f"which is not of the form major.minor such as {CONTRACT_VERSION}"
        ) from None
    own_major, own_minor = (int(part) for part in CONTRACT_VERSION.split("."))
    if major == own_major and minor <= own_minor:
        return
    if (major, minor) > (own_major, own_minor):
        remedy = "update core with `pip install --upgrade ktrdr-core`"
    else:
        remedy = f"update it with `pip install --upgrade {record.distribution}`"
    raise PluginError(
        f"plugin `{record.name}` ({record.origin}) was made for plugin contract {info.contract}, "
        f"this core has {CONTRACT_VERSION}; {remedy}"
    )


@cache
def default_manager() -> PluginManager:
    """Return the manager of this process, which is made on first use."""
    return PluginManager()


def known_backend(model_type: str) -> str | None:
    """Return the name of KTRDR's own plugin for ``model_type``, installed or not, or ``None``."""
    return next((name for name, (_, types) in KNOWN_BACKENDS.items() if model_type.lower() in types), None)
