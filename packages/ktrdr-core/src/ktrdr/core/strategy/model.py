"""Pydantic models of a complete, validated strategy, with defaults filled in.

:mod:`ktrdr.core.strategy.loader` makes them from YAML. The models are frozen, refuse unknown keys, and dump to
JSON-ready maps that load to an equal strategy. A bundle stores such a dump as its snapshot of the strategy.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from ktrdr.core.fuzzy.definition import FuzzySet
from ktrdr.core.limits import MOST_ENSEMBLE_MEMBERS
from ktrdr.core.names import ENSEMBLE

__all__ = [
    "CLASSES",
    "CostModel",
    "CpcvValidation",
    "DataSplit",
    "DateRange",
    "Decisions",
    "Deployment",
    "EarlyStopping",
    "EnsembleSection",
    "Filters",
    "FuzzyInput",
    "HoldoutValidation",
    "IndicatorDefinition",
    "Labels",
    "LrScheduler",
    "Members",
    "ModelSection",
    "NnInput",
    "Normalization",
    "PriceDistance",
    "RawInput",
    "Risk",
    "Sizing",
    "Strategy",
    "Training",
    "TrainingDataSection",
    "ValidationSection",
    "WalkForwardValidation",
]

CLASSES: tuple[str, str, str] = ("BUY", "HOLD", "SELL")
"""Classes of a signal model, in label order."""

Normalization = Literal["zscore", "minmax", "robust", "none"]
"""How raw values are scaled; see :class:`~ktrdr.core.features.normalizers.Normalizer`."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


class DateRange(_Section):
    """First and last day in UTC, both inclusive; ``None`` leaves that side open."""

    start: dt.date | None = None
    end: dt.date | None = None


class TrainingDataSection(_Section):
    """Data that a strategy is trained on. ``timeframes`` includes ``base_timeframe``."""

    symbols: tuple[str, ...]
    timeframes: tuple[str, ...]
    base_timeframe: str
    date_range: DateRange = DateRange()
    history_required: int | None = None


class IndicatorDefinition(_Section):
    """An indicator.

    Attributes:
        type: canonical name in the registry, with aliases resolved.
        parameters: every parameter, ``source`` included, with defaults filled in.
    """

    type: str
    parameters: dict[str, Any]


class FuzzyInput(_Section):
    """Memberships of one fuzzy set on each of ``timeframes`` (``all`` resolved), without lag first, then by lag."""

    kind: Literal["fuzzy_set"] = "fuzzy_set"
    fuzzy_set: str
    timeframes: tuple[str, ...]
    lags: tuple[int, ...] = ()


class RawInput(_Section):
    """Normalized values of one indicator on each of ``timeframes``."""

    kind: Literal["raw_indicator"] = "raw_indicator"
    raw_indicator: str
    timeframes: tuple[str, ...]
    normalization: Normalization = "zscore"
    lags: tuple[int, ...] = ()


NnInput = Annotated[FuzzyInput | RawInput, Field(discriminator="kind")]
"""One item of ``nn_inputs``."""


class ModelSection(_Section):
    """The model to train.

    Attributes:
        type: model type, in lower case.
        backend: plugin that trains it; ``None`` for the only one that offers the type.
        architecture: keys of the model type, with defaults filled in if the plugin is installed, else as written.
    """

    type: str
    backend: str | None = None
    architecture: dict[str, Any] = {}

    @property
    def learner(self) -> ModelSection:
        """The model that a backend trains: this one, or that of each member of an ensemble."""
        return self

    @property
    def words(self) -> str:
        """The model type, as a person reads it."""
        return self.type


class Members(_Section):
    """Members of an ensemble: ``seeds`` trainings that differ in the seed."""

    seeds: Annotated[int, Field(ge=2, le=MOST_ENSEMBLE_MEMBERS)]


class EnsembleSection(_Section):
    """Several models of one kind, which predict together.

    Attributes:
        type: always ``ensemble``.
        of: the model that each member is.
        vote: ``average`` for the mean of the members' outputs, ``majority`` for the share of members that find a class
            the most probable.
        members: what the members differ in.
    """

    type: Literal["ensemble"] = "ensemble"
    of: ModelSection
    vote: Literal["average", "majority"] = "average"
    members: Members

    @property
    def learner(self) -> ModelSection:
        """The model that a backend trains: that of each member."""
        return self.of

    @property
    def words(self) -> str:
        """Number and model type of the members, as a person reads them: ``ensemble of 5 mlp``."""
        return f"{ENSEMBLE} of {self.members.seeds} {self.of.type}"


def _kind_of(section: Any) -> str:
    """Return the tag of a value of ``model``, a map or a section."""
    kind = section.get("type") if isinstance(section, dict) else getattr(section, "type", None)
    return ENSEMBLE if kind == ENSEMBLE else "learner"


class Filters(_Section):
    """Filters that drop signals.

    Attributes:
        min_signal_separation: minimum number of bars from one executed signal to the next.
        volume_filter: minimum ratio of a bar's volume to its 20-bar mean; ``None`` for no filter (``true`` is 1.0).
    """

    min_signal_separation: int = 4
    volume_filter: float | None = None


class CostModel(_Section):
    """A regression gives a signal where the size of its prediction is above the product of the two values.

    Attributes:
        round_trip_cost: cost of opening and closing a position, as a fraction of the price.
        min_edge_multiplier: multiple of the cost.
    """

    round_trip_cost: float = 0.003
    min_edge_multiplier: float = 1.5


class Decisions(_Section):
    """Rules that turn a model's outputs into signals; see :func:`ktrdr.core.backtesting.signals.decide`."""

    output_format: Literal["classification", "regression"] = "classification"
    confidence_threshold: float = 0.5
    position_awareness: bool = True
    allow_short_from_flat: bool = False
    filters: Filters = Filters()
    cost_model: CostModel = CostModel()


class Labels(_Section):
    """Source of the labels and all of its parameters, with defaults filled in."""

    source: Literal["zigzag", "turning_points", "forward_return", "triple_barrier", "direction"]
    parameters: dict[str, Any]


class DataSplit(_Section):
    """Fractions of each symbol's data in time order; they sum to 1."""

    train: float = 0.7
    validation: float = 0.15
    test: float = 0.15


class HoldoutValidation(_Section):
    """One split of the data in time order. The three fractions sum to 1, and are those of the data before the reserve.

    Attributes:
        reserve: fraction of the data at its end that no training, search or evaluation uses.
    """

    type: Literal["holdout"] = "holdout"
    train: float = 0.7
    validation: float = 0.15
    test: float = 0.15
    reserve: float = 0.0


class WalkForwardValidation(_Section):
    """Trainings that move forward in time, each tested on the bars after it.

    Attributes:
        train: length of a training part: a number of bars, or a duration such as ``26w``.
        test: length of a test part, likewise.
        step: distance from one test part to the next, likewise, at most ``test``; ``None`` is ``test``.
        anchored: True if every training part begins with the first bar.
        reserve: fraction of the data at its end that no training, search or evaluation uses.
    """

    type: Literal["walk_forward"] = "walk_forward"
    train: int | str
    test: int | str
    step: int | str | None = None
    anchored: bool = False
    reserve: float = 0.0


class CpcvValidation(_Section):
    """Combinatorial purged cross-validation with a training for every combination of test groups.

    M. Lopez de Prado, Advances in Financial Machine Learning (2018), section 12.4.

    Attributes:
        groups: number of groups of consecutive bars.
        test_groups: number of groups that each training is tested on.
        reserve: fraction of the data at its end that no training, search or evaluation uses.
    """

    type: Literal["cpcv"] = "cpcv"
    groups: int = 6
    test_groups: int = 2
    reserve: float = 0.0


ValidationSection = Annotated[HoldoutValidation | WalkForwardValidation | CpcvValidation, Field(discriminator="type")]
"""The section ``validation`` of a strategy."""


class LrScheduler(_Section):
    """Type of the learning-rate scheduler and all of its parameters, with defaults filled in."""

    type: Literal["step", "exponential", "cosine", "reduce_on_plateau"]
    parameters: dict[str, Any]


class EarlyStopping(_Section):
    """Training stops after ``patience`` epochs in which ``monitor`` did not improve by more than ``min_delta``."""

    patience: int = 10
    min_delta: float = 0.0
    monitor: Literal["val_loss", "val_accuracy", "train_loss"] = "val_loss"


class Training(_Section):
    """How a model is trained.

    ``given`` are the keys that the file sets itself; a key in it that has no effect on the model type is refused.
    """

    labels: Labels
    data_split: DataSplit = DataSplit()
    embargo: float = 0.01
    epochs: int = 100
    batch_size: int = 32
    learning_rate: float = 0.001
    optimizer: Literal["adam", "adamw", "sgd", "rmsprop"] = "adam"
    weight_decay: float = 0.0
    momentum: float = 0.0
    gradient_clip: float | None = None
    lr_scheduler: LrScheduler | None = None
    early_stopping: EarlyStopping | None = None
    loss: Literal["cross_entropy", "focal", "huber", "mse"] = "cross_entropy"
    focal_gamma: float = 2.0
    huber_delta: float = 1.0
    class_weights: Literal["balanced", "none"] = "none"
    sample_weights: Literal["uniqueness", "none"] = "none"
    seed: int = 0
    given: tuple[str, ...] = ()


class Sizing(_Section):
    """Rule for the number of units of an order.

    Attributes:
        type: the rule.
        value: the fraction of the equity (``fixed_fraction``, ``risk_per_trade``), the units (``fixed_units``), the
            cash (``fixed_cash``) or the target annual volatility (``volatility_target``).
        window: number of bars that volatility is measured over.
    """

    type: Literal["fixed_fraction", "fixed_units", "fixed_cash", "volatility_target", "risk_per_trade"] = (
        "fixed_fraction"
    )
    value: float = 0.25
    window: int = 20


class PriceDistance(_Section):
    """A distance from a price: in percent of it, or in multiples of the 14-bar ATR at the decision bar."""

    kind: Literal["percent", "atr"]
    value: float


class Risk(_Section):
    """Size of positions, and exits other than a signal; ``max_holding_period`` is in bars."""

    sizing: Sizing = Sizing()
    lot_size: float = 0.0
    stop_loss: PriceDistance | None = None
    take_profit: PriceDistance | None = None
    trailing_stop: PriceDistance | None = None
    max_holding_period: int | None = None


class Deployment(_Section):
    """Data that a trained model may be used on; ``None`` means no restriction. The backtest refuses other data."""

    target_symbols: tuple[str, ...] | None = None
    target_timeframes: tuple[str, ...] | None = None


class Strategy(_Section):
    """A complete strategy. Maps keep the order of keys in the file."""

    name: str
    description: str | None = None
    version: Literal["3.0"] = "3.0"
    training_data: TrainingDataSection
    indicators: dict[str, IndicatorDefinition]
    fuzzy_sets: dict[str, FuzzySet] = {}
    nn_inputs: Annotated[tuple[NnInput, ...], Field(min_length=1)]
    model: Annotated[
        Annotated[ModelSection, Tag("learner")] | Annotated[EnsembleSection, Tag("ensemble")], Discriminator(_kind_of)
    ]
    decisions: Decisions
    training: Training
    validation: ValidationSection | None = None
    risk: Risk = Risk()
    deployment: Deployment = Deployment()
