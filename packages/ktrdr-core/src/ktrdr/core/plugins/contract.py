"""Types that cross the line between core and an ML backend: plain data, numpy arrays and protocols.

No type of any framework stands here, or in a signature that uses these: pydantic and FastAPI may inspect annotations at
run time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from ktrdr.core.parameters import Parameter
from ktrdr.core.work.cancellation import Cancellation
from ktrdr.core.work.progress import Progress

__all__ = [
    "CONTRACT_VERSION",
    "CheckpointWriter",
    "CrispInput",
    "Device",
    "EpochRecord",
    "Explainable",
    "IdleKeys",
    "ModelLoader",
    "ModelStorage",
    "ModelTrainer",
    "ModelType",
    "OutputKind",
    "PluginInfo",
    "Predictor",
    "Rule",
    "RuleBased",
    "Split",
    "TrainedModel",
    "TrainingData",
    "TrainingTask",
]

CONTRACT_VERSION = "2.0"
"""Version of the plugin contract: ``major.minor``. A plugin fits if its major is the same and its minor not newer.

The major is raised when what every plugin must have changes; the minor when core learns to ask for one more ability
that a plugin may have, as :class:`Explainable` is. Stored models do not follow it: their format has its own version.
"""

OutputKind = Literal["classification", "regression"]
"""What a model gives: probabilities of classes, or a value."""


@dataclass(frozen=True, slots=True)
class Device:
    """A device a framework can compute on.

    ``name`` is what a user writes (``cuda:0``, ``mps``, ``cpu``); ``memory`` in bytes, ``None`` if not known.
    """

    name: str
    kind: Literal["cuda", "mps", "cpu"]
    description: str = ""
    memory: int | None = None


@dataclass(frozen=True, slots=True)
class IdleKeys:
    """Keys under ``training`` that have no effect where parameters of the architecture have certain values.

    Attributes:
        keys: names of them.
        when: ``(parameter, value)``, all of which must hold.
        remedy: what to change for them to have an effect, as the end of a sentence.
    """

    keys: frozenset[str]
    when: tuple[tuple[str, Any], ...]
    remedy: str

    def apply_to(self, architecture: Mapping[str, Any]) -> bool:
        """Return True if the keys have no effect with this architecture."""
        return all(name in architecture and architecture[name] == value for name, value in self.when)


@dataclass(frozen=True, slots=True)
class ModelType:
    """A value of ``model.type`` that a plugin trains.

    Attributes:
        name: what the strategy says, in lower case.
        description: one line.
        outputs: the kinds of output it can be trained for.
        architecture: declared keys of ``model.architecture``.
        training_keys: names of the optional keys under ``training`` that have an effect on this type (``epochs``,
            ``optimizer``, ...). Any other such key in a strategy is refused rather than ignored.
        window_parameter: name of the architecture parameter that says how many consecutive rows one sample has;
            ``None`` for a model that sees one row.
        inputs: ``"features"``: the columns of the feature pipeline. ``"crisp"``: one column of indicator values per
            fuzzy input, and the membership functions in :attr:`TrainingTask.crisp_inputs`, for models that own their
            memberships.
        rules_parameter: name of the architecture parameter that says how many fuzzy rules there may be at most, for
            a type that makes one for each combination of its inputs' memberships; ``None`` for any other. Core refuses
            a strategy with more.
        idle_keys: which :attr:`training_keys` have no effect with certain values of the architecture.
    """

    name: str
    description: str
    outputs: tuple[OutputKind, ...] = ("classification", "regression")
    architecture: tuple[Parameter, ...] = ()
    training_keys: frozenset[str] = frozenset()
    window_parameter: str | None = None
    inputs: Literal["features", "crisp"] = "features"
    rules_parameter: str | None = None
    idle_keys: tuple[IdleKeys, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginInfo:
    """What a plugin says about itself.

    Attributes:
        name: equals the name of its entry point.
        version: of its distribution.
        contract: the contract version it was written for, as a literal such as ``"2.0"``. Never
            :data:`CONTRACT_VERSION` itself: that is the version of the core it happens to run on.
        model_types: what it trains.
        requires: distributions its framework comes from, named in messages.
    """

    name: str
    version: str
    contract: str
    model_types: tuple[ModelType, ...]
    requires: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CrispInput:
    """Membership functions over one crisp column: ``functions`` maps name to ``(type, parameters)`` as in the grammar.

    ``column`` is the position of the indicator's value in the feature matrix.
    """

    name: str
    column: int
    functions: Mapping[str, tuple[str, tuple[float, ...]]]


@dataclass(frozen=True, slots=True)
class TrainingTask:
    """What to train. Plain data.

    Attributes:
        model_type: a name from :attr:`PluginInfo.model_types`.
        architecture: validated against the declared parameters, complete with defaults.
        output: classification or regression.
        classes: class names in label order; empty for regression.
        feature_ids: names of the columns of the feature matrix, in order.
        settings: the optimisation keys of ``training`` (``epochs``, ``batch_size``, ``learning_rate``, ``optimizer``,
            ``weight_decay``, ``momentum``, ``gradient_clip``, ``lr_scheduler``, ``early_stopping``, ``loss``,
            ``focal_gamma``, ``huber_delta``, ``class_weights``), complete with defaults, plain values and maps.
        seed: of every random choice.
        device: ``"auto"`` or a name from :class:`Device`; a device that is absent is an error.
        crisp_inputs: for model types with ``inputs="crisp"``.
    """

    model_type: str
    architecture: Mapping[str, Any]
    output: OutputKind
    classes: tuple[str, ...]
    feature_ids: tuple[str, ...]
    settings: Mapping[str, Any]
    seed: int = 0
    device: str = "auto"
    crisp_inputs: tuple[CrispInput, ...] = ()


@dataclass(frozen=True, slots=True)
class Split:
    """Samples of one part of the data, by row of the shared feature matrix.

    Attributes:
        rows: int64 ``(m,)``; the sample's row, or the last row of its window.
        labels: int64 ``(m,)`` class numbers, or float32 ``(m,)`` values.
        weights: float32 ``(m,)``.
    """

    rows: np.ndarray
    labels: np.ndarray
    weights: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, slots=True)
class TrainingData:
    """float32 C-contiguous ``(n, features)`` of all symbols one after another, and the samples that point into it.

    A sample of a model with a window of ``w`` rows is ``features[row - w + 1 : row + 1]``. Core has checked that no
    window crosses a symbol's start and that every row a sample refers to is finite.
    """

    features: np.ndarray
    train: Split
    validation: Split


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """Numbers of one epoch. ``metrics`` holds at least ``train_loss``; ``val_loss`` and, for classification,
    ``train_accuracy`` and ``val_accuracy`` where there are such samples; and ``learning_rate`` where there is one."""

    epoch: int
    metrics: Mapping[str, float]


@runtime_checkable
class Predictor(Protocol):
    """A model ready to predict."""

    @property
    def input_size(self) -> int:
        """Number of feature columns expected."""
        ...

    @property
    def window(self) -> int:
        """Rows one prediction looks at, itself included; 1 for models without memory."""
        ...

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Predict for every row of float32 ``(n, features)``, consecutive bars of one symbol.

        Returns float64 ``(n, classes)`` probabilities that sum to 1, or float64 ``(n,)`` values. A row whose window is
        incomplete or holds a NaN gives NaN. Deterministic; a row's result does not depend on how many rows come with
        its window (to 1e-6).
        """
        ...


@runtime_checkable
class Explainable(Protocol):
    """What a :class:`Predictor` may offer besides: what each feature did to a prediction."""

    def contributions(self, features: np.ndarray) -> np.ndarray:
        """Split every prediction into shares of the features.

        Takes what :meth:`Predictor.predict` takes. Returns float64 ``(n, features, outputs)``, outputs being the
        classes, or 1 for a value. Summed over the features, a row's shares are the prediction less the one for the
        average training sample (to a few percent of the largest difference); a window's rows are added up. NaN where
        the prediction is.
        """
        ...


@dataclass(frozen=True, slots=True)
class Rule:
    """One fuzzy rule of a model.

    Attributes:
        conditions: ``(fuzzy input, membership)``, all of which must hold.
        weight: share of the training samples this rule decided, 0 to 1; over all rules they sum to 1.
        outputs: class name, or ``"value"`` -> what the rule alone predicts at the mean of the training samples weighted
            by how strongly it fires on each: a probability, or a value in units of the labels.
        text: the rule in words.
    """

    conditions: tuple[tuple[str, str], ...]
    weight: float
    outputs: Mapping[str, float]
    text: str


@runtime_checkable
class RuleBased(Protocol):
    """What a :class:`Predictor` may offer besides: its rules."""

    def rules(self) -> Sequence[Rule]:
        """Return every rule, the one with the largest weight first."""
        ...


@runtime_checkable
class TrainedModel(Protocol):
    """Opaque handle of a trained model; core hands it back to the plugin's own storage."""

    @property
    def history(self) -> Sequence[EpochRecord]:
        """Every epoch that was run, in order."""
        ...

    @property
    def best_epoch(self) -> int:
        """Number (from 1) of the epoch whose weights these are."""
        ...

    def predictor(self) -> Predictor:
        """Return a predictor over the trained weights."""
        ...


@runtime_checkable
class CheckpointWriter(Protocol):
    """Where training may put, and find again, its state. Written atomically by core; the newest one counts."""

    def due(self, epoch: int) -> bool:
        """Return True if a checkpoint should be written now (asked for after every epoch, and during long ones)."""
        ...

    def save(self, epoch: int, write: Callable[[Path], None]) -> None:
        """Call ``write`` with an empty directory, then make that directory the newest checkpoint."""
        ...

    def latest(self) -> Path | None:
        """Return the directory of the newest whole checkpoint, or ``None``."""
        ...


class ModelTrainer(Protocol):
    """Trains models."""

    def train(
        self,
        task: TrainingTask,
        data: TrainingData,
        *,
        progress: Progress,
        cancellation: Cancellation,
        checkpoint: CheckpointWriter | None,
    ) -> TrainedModel:
        """Train and return the best epoch's model.

        Resumes from ``checkpoint.latest()`` if there is one, and then ends with the same weights as an uninterrupted
        run. Looks at ``cancellation`` at least once per batch; when asked to stop it saves a checkpoint and raises
        :class:`~ktrdr.core.errors.CancelledError`. Reports at most 10 times a second.
        """
        ...


class ModelStorage(Protocol):
    """Writes models. Never a pickle."""

    def save(self, model: TrainedModel, directory: Path) -> dict[str, Any]:
        """Write everything the loader needs into ``directory`` and return JSON-ready facts for the manifest.

        The same model gives the same bytes. At least one file is named ``weights.*``.
        """
        ...


class ModelLoader(Protocol):
    """Reads models. Cannot execute code from the files it reads."""

    def load(self, directory: Path, device: str = "auto") -> Predictor:
        """Read what :meth:`ModelStorage.save` wrote.

        Raises :class:`~ktrdr.core.errors.BadInputError` if the files are not what that method writes.
        """
        ...
