"""Strategies as objects: loaded from a file, text or map, changed by path, and saved."""

from __future__ import annotations

import html
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ktrdr.core.errors import BadInputError
from ktrdr.core.files.durable import write_atomically
from ktrdr.core.short_texts import first_words
from ktrdr.core.strategy.document import Node, plain, read_document, write_document
from ktrdr.core.strategy.editing import node_of, parse_path, with_value
from ktrdr.core.strategy.loader import LoadedStrategy, load_strategy_text, read_strategy_file
from ktrdr.core.workflows.places import plugins_or_all

if TYPE_CHECKING:
    from ktrdr.core.strategy.model import Strategy as StrategyModel

__all__ = ["Strategy", "example_strategy", "load_strategy"]

_EXAMPLE = "neuro_mean_reversion.yaml"


class Strategy:
    """A checked strategy. It never changes: :meth:`replace` returns another one.

    :func:`ktrdr.core.load_strategy` makes it.

    Example:
        >>> import ktrdr.core as kt
        >>> strategy = kt.example_strategy()
        >>> strategy
        <Strategy neuro_mean_reversion: mlp on EURUSD 1h, 18 features>
        >>> strategy["model.architecture.hidden_layers"]
        [32]
    """

    def __init__(self, loaded: LoadedStrategy) -> None:
        self._loaded = loaded

    @property
    def loaded(self) -> LoadedStrategy:
        """The strategy as the loader returned it, with the place of every key."""
        return self._loaded

    @property
    def name(self) -> str:
        """Name of the strategy, and of the models trained from it."""
        return self._loaded.strategy.name

    @property
    def text(self) -> str:
        """YAML of the strategy. Comments are there in a strategy as loaded, and not in a changed one."""
        return self._loaded.text

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is allowed and probably not meant, one sentence each, in the order of the file."""
        return tuple(f"{item.path}: {item.message}" if item.path else item.message for item in self._loaded.warnings)

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the model's inputs, in their order."""
        from ktrdr.core.features.columns import feature_columns

        return tuple(column.id for column in feature_columns(self._loaded.strategy))

    @property
    def model(self) -> StrategyModel:
        """The strategy with every default filled in: a frozen pydantic model."""
        return self._loaded.strategy

    def to_dict(self) -> dict[str, Any]:
        """Return the strategy as it is written, as nested dicts, lists and scalars.

        Returns:
            A new dict with the keys of the file; defaults that the file leaves out are not in it.

        Example:
            >>> import ktrdr.core as kt
            >>> kt.example_strategy().to_dict()["model"]["architecture"]
            {'hidden_layers': [32], 'activation': 'tanh', 'dropout': 0.1}
        """
        return dict(plain(self._root()))

    def __getitem__(self, path: str) -> Any:
        """Return the value at a path as it is written, such as ``strategy["training.epochs"]``.

        Raises:
            KeyError: nothing is written there.
        """
        found: Any = self.to_dict()
        for step in parse_path(path):
            try:
                found = found[step]
            except (KeyError, IndexError, TypeError):
                raise KeyError(f"nothing is written at {path} in {self.name}") from None
        return found

    def replace(self, changes: Mapping[str, Any]) -> Strategy:
        """Return a strategy in which some values are others, checked like a file.

        Args:
            changes: maps paths to values. A path has dots between keys and positions in brackets, such as
                ``"training.epochs"`` or ``"nn_inputs[0].lags"``. A value is plain Python data: text, a number, a
                boolean, a date, a list or a dict. ``None`` removes the key, so that its default holds. Keys that do
                not exist are added.

        Returns:
            A new strategy; this one stays as it is.

        Raises:
            StrategyError: the result is no valid strategy; the message has every error.
            BadInputError: a path or a value cannot be written in a strategy.

        Example:
            >>> import ktrdr.core as kt
            >>> strategy = kt.example_strategy()
            >>> shorter = strategy.replace({"training.epochs": 5, "risk.stop_loss": None})
            >>> shorter["training.epochs"]
            5
        """
        root = self._root()
        for path, value in changes.items():
            root = with_value(root, parse_path(path), None if value is None else node_of(value))
        changed = Strategy(_checked(write_document(root), f"{self.name}, changed"))
        for warning in changed.warnings:
            if warning not in self.warnings:
                warnings.warn(warning, UserWarning, stacklevel=2)
        return changed

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the strategy to a YAML file, whole or not at all. A file that is there is replaced.

        Args:
            path: of the file; the command line expects the ending ``.yaml`` or ``.yml``.

        Returns:
            The path.

        Raises:
            BadInputError: ``path`` is a directory, or its directory does not exist.
            StoreError: the disk is full, or the place is not writable.

        Example:
            >>> import ktrdr.core as kt
            >>> kt.example_strategy().save("my_strategy.yaml").name
            'my_strategy.yaml'
        """
        path = Path(path)
        if path.is_dir() or not path.parent.is_dir():
            raise BadInputError(f"the strategy cannot be written to {path}; give a file in a directory that exists")
        write_atomically(path, self.text.encode("utf-8"))
        return path

    def _root(self) -> Node:
        root = read_document(self._loaded.text).root
        assert root is not None, "a checked strategy can be read"
        return root

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Strategy) and self._loaded.strategy == other._loaded.strategy

    def __hash__(self) -> int:
        # Equal strategies may be written in different ways, so the text does not tell them apart.
        return hash(self.name)

    def __repr__(self) -> str:
        strategy = self._loaded.strategy
        data = strategy.training_data
        count = len(self.warnings)
        more = f", {count} warning{'' if count == 1 else 's'}" if count else ""
        return (
            f"<Strategy {self.name}: {strategy.model.words} on {first_words(data.symbols)}"
            f" {first_words(data.timeframes)}, {len(self.features)} features{more}>"
        )

    def _repr_html_(self) -> str:
        shown = "".join(f"<li>{html.escape(warning)}</li>" for warning in self.warnings)
        return (
            f"<p>{html.escape(repr(self)[1:-1])}</p>"
            + (f"<ul>{shown}</ul>" if shown else "")
            + f'<pre style="padding: 0.6em 0.8em; overflow-x: auto">{html.escape(self.text)}</pre>'
        )


def load_strategy(source: str | os.PathLike[str] | Mapping[str, Any]) -> Strategy:
    """Load and check a strategy.

    What is allowed but probably not meant is told as a Python warning, and stands in ``warnings`` of the result.

    Args:
        source: the path of a YAML file; YAML text (a ``str`` of more than one line); or the same content as a dict.

    Returns:
        The strategy, checked against the plugins that are installed.

    Raises:
        StrategyError: it is no valid strategy; the message has every error with its line, column and remedy.
        BadInputError: the file does not exist or is no text file.

    Example:
        >>> import ktrdr.core as kt
        >>> strategy = kt.load_strategy({
        ...     "name": "rsi_only",
        ...     "training_data": {
        ...         "symbols": {"mode": "single", "symbol": "EURUSD"},
        ...         "timeframes": {"mode": "single", "timeframe": "1h"},
        ...     },
        ...     "indicators": {"rsi_14": {"type": "rsi", "period": 14}},
        ...     "fuzzy_sets": {"rsi": {"indicator": "rsi_14", "low": [0, 0, 50], "high": [50, 100, 100]}},
        ...     "nn_inputs": [{"fuzzy_set": "rsi", "timeframes": "all"}],
        ...     "model": {"type": "mlp", "architecture": {"hidden_layers": [8]}},
        ...     "decisions": {"confidence_threshold": 0.4},
        ...     "training": {"labels": {"source": "direction"}},
        ... })
        >>> strategy.features
        ('1h_rsi_low', '1h_rsi_high')
    """
    if isinstance(source, Mapping):
        loaded = _checked(write_document(node_of(source)), "strategy")
    elif isinstance(source, str) and "\n" in source:
        loaded = _checked(source, "strategy")
    elif isinstance(source, str | os.PathLike):
        loaded = _checked(read_strategy_file(source), str(source))
    else:
        raise BadInputError(
            f"a strategy cannot be loaded from a {type(source).__name__}; give the path of a YAML file, YAML text, or a"
            " dict"
        )
    strategy = Strategy(loaded)
    for warning in strategy.warnings:
        warnings.warn(warning, UserWarning, stacklevel=2)
    return strategy


def example_strategy() -> Strategy:
    """Load the strategy that comes with KTRDR, for the data of :func:`ktrdr.core.data.import_sample`.

    Returns:
        ``neuro_mean_reversion``: a small network on EURUSD 1h that reads RSI and MACD through fuzzy sets, trained on
        January to September 2017.

    Example:
        >>> import ktrdr.core as kt
        >>> kt.example_strategy().name
        'neuro_mean_reversion'
    """
    from importlib.resources import files

    text = files("ktrdr.core.samples").joinpath(_EXAMPLE).read_text(encoding="utf-8")
    return Strategy(_checked(text, _EXAMPLE))


def _checked(text: str, name: str) -> LoadedStrategy:
    # Whether a plugin is there is asked where it is needed: on a server it may be another machine's.
    return load_strategy_text(text, name=name, plugins=plugins_or_all(None), plugin_may_be_missing=True)
