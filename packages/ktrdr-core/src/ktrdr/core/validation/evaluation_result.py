"""The result of an evaluation: what is printed, stored, sent and reported.

Importing this module imports pydantic only: the API describes its answers with these classes.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, model_validator

from ktrdr.core.files.json_values import plain_json
from ktrdr.core.limits import LARGEST_SEED, MOST_EPOCHS
from ktrdr.core.names import NAME_PATTERN, VERSION_PATTERN
from ktrdr.core.strategy.model import ValidationSection

__all__ = [
    "Checkout",
    "EvaluationFacts",
    "FoldResult",
    "Interval",
    "Machine",
    "PartTimes",
    "PathResult",
    "Provenance",
    "RegimeRow",
    "ReserveResult",
    "Seed",
    "SeedResult",
    "Spread",
]

Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]
"""Seed of a training."""
Epoch = Annotated[int, Field(ge=0, le=MOST_EPOCHS)]
# NaN and infinity become null, numpy numbers plain ones.
Metrics = Annotated[dict[str, int | float | None], BeforeValidator(plain_json)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Interval(_Part):
    """A metric with the interval that holds its true value with a probability of 90 %, by resampling blocks.

    Attributes:
        value: the metric; of several seeds the mean.
        low, high: bounds of the interval; null where it is not known.
    """

    value: float | None
    low: float | None = None
    high: float | None = None


class PartTimes(_Part):
    """A half-open period, UTC: open of the first bar to close of the last."""

    start: AwareDatetime
    end: AwareDatetime

    @model_validator(mode="after")
    def _ordered(self) -> PartTimes:
        if self.end < self.start:
            raise ValueError(f"the period ends ({self.end.isoformat()}) before it starts ({self.start.isoformat()})")
        return self


class SeedResult(_Part):
    """One training of a fold: seed, the epoch that was kept, and its metrics on the test samples of the fold."""

    seed: Seed
    best_epoch: Epoch
    metrics: Metrics


class FoldResult(_Part):
    """One fold.

    Attributes:
        fold: number, from 1.
        train, validation, test: periods of the parts.
        samples: number of samples of each part, all symbols together.
        metrics: metrics on the test samples by name, mean over seeds, with intervals.
        seeds: each training.
        baselines: metrics of the baselines on the same test samples, by name.
    """

    fold: int
    train: tuple[PartTimes, ...]
    validation: tuple[PartTimes, ...]
    test: tuple[PartTimes, ...]
    samples: dict[str, int]
    metrics: dict[str, Interval]
    seeds: tuple[SeedResult, ...]
    baselines: dict[str, Metrics]


class PathResult(_Part):
    """One account: the predictions of one path with one seed, traded with costs.

    Attributes:
        path: number, from 1.
        seed: of its trainings.
        metrics: metrics of the account, by the names of a backtest.
    """

    path: Annotated[int, Field(ge=1)]
    seed: Seed
    metrics: Metrics


class Spread(_Part):
    """The distribution of a metric over paths and seeds; ``low`` and ``high`` are the quartiles."""

    number: int
    mean: float
    sd: float
    min: float
    low: float
    median: float
    high: float
    max: float


class RegimeRow(_Part):
    """Results in one kind of market, over all paths and seeds.

    Attributes:
        regime: in words, such as ``high volatility, falling``.
        bars: number of tested bars of this kind.
        share: their share of all tested bars.
        accuracy: share of right predictions of a classification, or information coefficient of a regression.
        majority: the same of the majority class; null for a regression.
        annual_return: mean annualized return of the accounts in these bars.
        sharpe: median over the accounts of the annualized Sharpe ratio in these bars.
        buy_and_hold: annualized return of buy and hold in these bars.
    """

    regime: str
    bars: int
    share: float
    accuracy: float | None
    majority: float | None
    annual_return: float | None
    sharpe: float | None
    buy_and_hold: float | None


class ReserveResult(_Part):
    """The reserve of the data: bars that no training, search or evaluation of the strategy uses.

    Attributes:
        period: open of its first bar to close of its last, UTC.
        bars: number of its bars, all symbols together.
        opened: number of trials that have looked at these bars, this one included; 0 if it is closed.
        seeds: accounts of the trainings on all data before it, one for each seed; empty if it is closed.
        metrics: metrics on its samples with intervals; empty if it is closed.
        buy_and_hold: metrics of buy and hold; empty if it is closed.
    """

    period: PartTimes
    bars: int
    opened: int = 0
    seeds: tuple[PathResult, ...] = ()
    metrics: dict[str, Interval] = {}
    buy_and_hold: Metrics = {}


class Machine(_Part):
    """Python, platform and packages of an evaluation: ``packages`` maps distribution to version."""

    python: str = ""
    platform: str = ""
    packages: dict[str, str] = {}


class Checkout(_Part):
    """The Git commit of an evaluation. ``dirty``: there were uncommitted changes."""

    commit: str
    dirty: bool = False


class Provenance(_Part):
    """Version of core, the machine, and the Git checkout; ``git`` is null outside of one."""

    core_version: str = ""
    environment: Machine = Machine()
    git: Checkout | None = None


class EvaluationFacts(_Part):
    """An evaluation without its curves.

    Attributes:
        evaluation: ``name/3`` in the store; empty until it is stored.
        strategy: name of the strategy.
        model: number and type of the model, in words.
        plugin: backend that trained, with its version.
        device: that it trained on.
        output: kind of the predictions.
        validation: kind and settings of the folds.
        default_validation: True if the strategy has no section ``validation``.
        look_ahead: bars purged on both sides of a test part.
        embargo: further bars left out on both sides.
        symbols, timeframe: the data.
        world: name of the synthetic market; empty for imported bars.
        period: the evaluated bars, without the reserve.
        tested: bars that the paths trade.
        bars: number of base bars before the reserve, by symbol.
        data_fingerprint: sha256 of the content of the bars before the reserve.
        seeds: of the trainings.
        account: capital, commission and slippage.
        folds: results by fold.
        metrics: metrics over the test samples of all folds together, each bar once per path, with intervals.
        baselines: the same of the baselines.
        paths: accounts, by path and seed.
        spread: distribution over paths and seeds, by metric of an account.
        median_path: number and seed of the account with the lower median of the Sharpe ratios.
        buy_and_hold: metrics of buy and hold on the tested bars.
        majority: metrics of trading the majority class by the same rules; null where it cannot be told.
        regimes: results by kind of market.
        best_epoch: median of the best epochs of all trainings, rounded down.
        reserve: the reserve; null without one.
        trial_count: count of the trials on these bars.
        warnings: sentences on data and results.
        seconds: time of the steps, by name.
        provenance: versions of KTRDR and packages, and the state of the Git checkout.
        operation: id of the operation that made the evaluation; null without one.
    """

    schema_version: Literal[1] = 1
    evaluation: Annotated[str, Field(pattern=f"^({NAME_PATTERN}/{VERSION_PATTERN})?$")] = ""
    strategy: str
    model: str
    plugin: str
    device: str
    output: Literal["classification", "regression"]
    validation: ValidationSection
    default_validation: bool
    look_ahead: int
    embargo: int
    symbols: tuple[str, ...]
    timeframe: str
    world: str = ""
    period: PartTimes
    tested: PartTimes
    bars: dict[str, int]
    data_fingerprint: str
    seeds: tuple[Seed, ...]
    account: dict[str, float]
    folds: tuple[FoldResult, ...]
    metrics: dict[str, Interval]
    baselines: dict[str, Metrics]
    paths: tuple[PathResult, ...]
    spread: dict[str, Spread]
    median_path: tuple[int, int]
    buy_and_hold: Metrics
    majority: Metrics | None = None
    regimes: tuple[RegimeRow, ...] = ()
    best_epoch: Epoch
    reserve: ReserveResult | None = None
    trial_count: dict[str, JsonValue] | None = None
    warnings: tuple[str, ...] = ()
    seconds: dict[str, float] = {}
    provenance: Provenance = Provenance()
    operation: str | None = None
