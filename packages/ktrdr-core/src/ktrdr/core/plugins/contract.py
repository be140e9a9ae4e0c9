"""Types of the interface between core and an ML backend: plain data, numpy arrays and protocols.

No type of a framework is named here, or in a signature with these types: pydantic and FastAPI may inspect annotations
at run time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from ktrdr.core.errors import BadInputError, CancelledError
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
    "Member",
    "MemberOutcome",
    "ModelLoader",
    "ModelStorage",
    "ModelTrainer",
    "ModelType",
    "OutputKind",
    "PluginInfo",
    "PopulationTrainer",
    "Portable",
    "Predictor",
    "Resources",
    "Rule",
    "RuleBased",
    "Split",
    "TrainedModel",
    "TrainingData",
    "TrainingTask",
    "Twin",
]

CONTRACT_VERSION = "2.2"
"""Version of the plugin contract: ``major.minor``. A plugin fits if its major is the same and its minor not newer.

The major is raised when a requirement of every plugin changes; the minor when an optional ability is added, such as
:class:`PopulationTrainer` or :class:`Portable`. The format of stored models has a version of its own.
"""

OutputKind = Literal["classification", "regression"]
"""Output of a model: probabilities of classes, or a value."""


@dataclass(frozen=True, slots=True)
class Device:
    """A device that a framework can compute on.

    Attributes:
        name: as a user writes it: ``cuda:0``, ``mps``, ``cpu``.
        kind: ``cuda``, ``mps`` or ``cpu``.
        description: name of the hardware, for a person.
        memory: in bytes; ``None`` if it is not known.
    """

    name: str
    kind: Literal["cuda", "mps", "cpu"]
    description: str = ""
    memory: int | None = None


@dataclass(frozen=True, slots=True)
class IdleKeys:
    """Keys under ``training`` that have no effect with certain values of architecture parameters.

    Attributes:
        keys: names of the keys.
        when: pairs ``(parameter, value)``; the keys have no effect if the architecture has all these values.
        remedy: how to give the keys an effect, as the end of a sentence.
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
        name: value of ``model.type`` in a strategy, in lower case.
        description: one line.
        outputs: kinds of output that the type can be trained for.
        architecture: declared keys of ``model.architecture``.
        training_keys: names of the optional keys under ``training`` that have an effect on this type (``epochs``,
            ``optimizer``, ...). Core refuses a strategy with any other such key.
        window_parameter: name of the architecture parameter with the number of consecutive rows of a sample;
            ``None`` for a model that uses one row.
        inputs: ``"features"``: the columns of the feature pipeline. ``"crisp"``: one column of indicator values per
            fuzzy input, and the membership functions in :attr:`TrainingTask.crisp_inputs`, for models that train
            their membership functions.
        rules_parameter: name of the architecture parameter with the largest number of fuzzy rules, for a type that
            makes one rule for each combination of memberships; ``None`` for any other type. Core refuses a strategy
            with more rules.
        idle_keys: :attr:`training_keys` that have no effect with certain values of the architecture.
        member_parameters: names of the architecture parameters in which the members of one population may differ, such
            as a dropout; all other parameters must be equal.
        writes_checkpoints: False for a type whose interrupted training starts again, because it takes seconds. Core
            then trains a population in smaller parts, and stores each part when it is finished.
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
    member_parameters: frozenset[str] = frozenset()
    writes_checkpoints: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginInfo:
    """Description of a plugin.

    Attributes:
        name: the name of its entry point.
        version: version of its distribution.
        contract: contract version that the plugin was written for, as a literal such as ``"2.2"``; not
            :data:`CONTRACT_VERSION`, which is the version of the installed core.
        model_types: model types that the plugin trains.
        requires: distributions of its framework, for messages.
    """

    name: str
    version: str
    contract: str
    model_types: tuple[ModelType, ...]
    requires: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CrispInput:
    """Membership functions over one column of indicator values.

    Attributes:
        name: name of the fuzzy input.
        column: position of the indicator values in the feature matrix.
        functions: membership functions by name, as ``(type, parameters)`` of the strategy grammar.
    """

    name: str
    column: int
    functions: Mapping[str, tuple[str, tuple[float, ...]]]


@dataclass(frozen=True, slots=True)
class TrainingTask:
    """Description of a model to train, as plain data.

    Attributes:
        model_type: a name from :attr:`PluginInfo.model_types`.
        architecture: validated against the declared parameters, complete with defaults.
        output: classification or regression.
        classes: class names in label order; empty for regression.
        feature_ids: names of the columns of the feature matrix, in order.
        settings: the optimisation keys of ``training`` (``epochs``, ``batch_size``, ``learning_rate``, ``optimizer``,
            ``weight_decay``, ``momentum``, ``gradient_clip``, ``lr_scheduler``, ``early_stopping``, ``loss``,
            ``focal_gamma``, ``huber_delta``, ``class_weights``), complete with defaults, plain values and maps. A
            training from an evaluation has no validation samples, and two more keys: ``keep_last``, True to keep the
            weights of the last epoch instead of those of the best one, and ``schedule_epochs``, the number of epochs
            that learning rates are planned for. A backend without epochs may ignore them.
        seed: seed of every random choice.
        device: ``"auto"`` or the name of a :class:`Device`; a missing device is an error.
        crisp_inputs: membership functions for model types with ``inputs="crisp"``.
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
    """Samples of one part of the data, as rows of the shared feature matrix.

    Attributes:
        rows: int64 ``(m,)``; row of each sample, or last row of its window.
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
    """Feature matrix of all symbols, and the samples of its training and validation part.

    A sample of a model with a window of ``w`` rows is ``features[row - w + 1 : row + 1]``. Core has checked that no
    window starts before the first row of its symbol and that all rows of a sample are finite.

    Attributes:
        features: float32 ``(n, features)``, C-contiguous, the rows of one symbol after those of another.
        train: samples to train with.
        validation: samples to choose the best epoch with.
    """

    features: np.ndarray
    train: Split
    validation: Split


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """Metrics of one epoch.

    Attributes:
        epoch: number of the epoch, from 1.
        metrics: at least ``train_loss``; ``val_loss`` if there are validation samples; for classification also
            ``train_accuracy`` and ``val_accuracy``; ``learning_rate`` if the trainer has one.
    """

    epoch: int
    metrics: Mapping[str, float]


@runtime_checkable
class Predictor(Protocol):
    """A model that is loaded for prediction."""

    @property
    def input_size(self) -> int:
        """Number of feature columns that :meth:`predict` takes."""
        ...

    @property
    def window(self) -> int:
        """Number of rows that one prediction uses, including its own; 1 for models without memory."""
        ...

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Predict for every row of float32 ``(n, features)``, consecutive bars of one symbol.

        Returns float64 ``(n, classes)`` probabilities that sum to 1, or float64 ``(n,)`` values, in a new array for
        each call. A row whose window is incomplete or has a NaN gives NaN. The result is deterministic, and that of a
        row does not depend on rows outside its window (to 1e-6).
        """
        ...


@runtime_checkable
class Explainable(Protocol):
    """Optional ability of a :class:`Predictor`: the contribution of each feature to a prediction."""

    def contributions(self, features: np.ndarray) -> np.ndarray:
        """Split every prediction into contributions of the features.

        Takes the same features as :meth:`Predictor.predict`. Returns float64 ``(n, features, outputs)``; ``outputs`` is
        the number of classes, or 1 for a value. The contributions of a row sum to its prediction minus the prediction
        for the average training sample (to a few percent of the largest difference); those of the rows of a window are
        added up. NaN where the prediction is NaN.
        """
        ...


@dataclass(frozen=True, slots=True)
class Rule:
    """One fuzzy rule of a model.

    Attributes:
        conditions: pairs ``(fuzzy input, membership)``, joined by "and".
        weight: share of the training samples that this rule decided, 0 to 1; the weights of all rules sum to 1.
        outputs: prediction of the rule alone, by class name, or for ``"value"``: a probability, or a value in units of
            the labels. It is taken at the mean of the training samples, weighted by the firing strength of the rule.
        text: the rule in words.
    """

    conditions: tuple[tuple[str, str], ...]
    weight: float
    outputs: Mapping[str, float]
    text: str


@runtime_checkable
class RuleBased(Protocol):
    """Optional ability of a :class:`Predictor`: its fuzzy rules."""

    def rules(self) -> Sequence[Rule]:
        """Return all rules, sorted by weight, the largest first."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Twin:
    """A model as data, which core predicts from without the framework that trained it.

    Attributes:
        graph: JSON-ready map in the vocabulary of :mod:`ktrdr.core.inference`, as
            :meth:`~ktrdr.core.inference.TwinGraph.to_json` returns it.
        arrays: float32, float64 and int32 arrays by the names that the graph uses.
    """

    graph: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]


@runtime_checkable
class Portable(Protocol):
    """Optional ability of a :class:`Predictor`: it describes itself in core's vocabulary.

    Core stores the twin in the bundle if its predictions are those of the predictor.
    """

    def twin(self) -> Twin:
        """Return the model as data; equal models give equal twins.

        Raises:
            BadInputError: the vocabulary does not have what this model computes.
        """
        ...


@runtime_checkable
class TrainedModel(Protocol):
    """A trained model, which core passes to the storage of the same plugin."""

    @property
    def history(self) -> Sequence[EpochRecord]:
        """Metrics of every epoch that was run, in order."""
        ...

    @property
    def best_epoch(self) -> int:
        """Number (from 1) of the epoch whose weights were kept."""
        ...

    def predictor(self) -> Predictor:
        """Return a predictor over the trained weights."""
        ...


@runtime_checkable
class CheckpointWriter(Protocol):
    """Checkpoints of a training. Core writes them atomically, and the newest one is used."""

    def due(self, epoch: int) -> bool:
        """Return True if a checkpoint should be written now. Called after every epoch, and during long epochs."""
        ...

    def save(self, epoch: int, write: Callable[[Path], None]) -> None:
        """Call ``write`` with an empty directory, then make that directory the newest checkpoint."""
        ...

    def latest(self) -> Path | None:
        """Return the directory of the newest complete checkpoint, or ``None``."""
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

        Resumes from ``checkpoint.latest()`` if there is one, and then gives the same weights as an uninterrupted run.
        Checks ``cancellation`` at least once per batch; if it is requested, saves a checkpoint and raises
        :class:`~ktrdr.core.errors.CancelledError`. Reports progress at most 10 times a second.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """One training of a population.

    Attributes:
        task: as for :meth:`ModelTrainer.train`.
        data: as for :meth:`ModelTrainer.train`. Members share the memory of their features if they have the same array.
        cancellation: ends this member alone; ``None`` if only the whole population can be cancelled.
    """

    task: TrainingTask
    data: TrainingData
    cancellation: Cancellation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What a population may use of this machine.

    Attributes:
        memory: bytes for weights, batches and copies of the data, beyond the features of the members.
        cores: number of CPU cores.
    """

    memory: int
    cores: int


MemberOutcome = TrainedModel | BadInputError | CancelledError
"""The trained model of a member, or the error with which its training ended."""


@runtime_checkable
class PopulationTrainer(ModelTrainer, Protocol):
    """Optional ability of a :class:`ModelTrainer`: trains many models of one architecture faster than one by one."""

    def train_many(
        self,
        members: Sequence[Member],
        *,
        progress: Progress,
        cancellation: Cancellation,
        checkpoint: CheckpointWriter | None,
        resources: Resources,
    ) -> Sequence[MemberOutcome]:
        """Train all members and return their outcomes, in the same order.

        Weights, history and best epoch of a member are, byte for byte, those that :meth:`ModelTrainer.train` gives for
        its task and data alone, whatever the other members, their order, the resources, and interruptions. Core has
        checked with :func:`~ktrdr.core.plugins.population_rules.check_members` that the tasks fit together. An error
        of one member, such as a loss that is not finite, or its cancellation, is its outcome, and the other members go
        on.

        Resumes from ``checkpoint.latest()`` if there is one, and gives the same models as an uninterrupted run. If
        ``cancellation`` is requested, saves a checkpoint and raises. Reports the number of finished members of all
        members, at most 10 times a second.

        Raises:
            CancelledError: the population was cancelled.
            BadInputError: ``resources`` do not suffice for one member; the device does not exist; the checkpoint is of
                another run.
        """
        ...


class ModelStorage(Protocol):
    """Writes models, without pickle."""

    def save(self, model: TrainedModel, directory: Path) -> dict[str, Any]:
        """Write everything the loader needs into ``directory`` and return JSON-ready facts for the manifest.

        The same model gives the same bytes. At least one file is named ``weights.*``.
        """
        ...


class ModelLoader(Protocol):
    """Reads models. It must not be able to execute code from the files."""

    def load(self, directory: Path, device: str = "auto") -> Predictor:
        """Return a predictor from files that :meth:`ModelStorage.save` wrote.

        Raises :class:`~ktrdr.core.errors.BadInputError` if the files are malformed.
        """
        ...
