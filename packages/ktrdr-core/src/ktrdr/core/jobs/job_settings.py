"""Settings of a training, a backtest, a sweep and an evaluation: each field with its bounds, default and description.

Jobs and the requests of the API are subclasses, and the options of the command line are made from the fields. The
description of a field is the help of its option and its description in the OpenAPI document.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, BeforeValidator, ConfigDict, FailFast, Field, Strict, StrictBool, model_validator
from pydantic_core import PydanticCustomError

from ktrdr.core.dates import parse_day
from ktrdr.core.jobs.refusals import validator
from ktrdr.core.jobs.request_bounds import FewKeys, few
from ktrdr.core.limits import (
    FEWEST_VERDICT_SEEDS,
    LARGEST_SEED,
    MOST_EPOCHS,
    MOST_SEEDS,
    NULL_WORLDS,
    QUICK_WORLDS,
)
from ktrdr.core.names import DEVICE_PATTERN, REFERENCE_PATTERN, SYMBOL_PATTERN, check_symbol

__all__ = [
    "MOST_TRIALS",
    "AccountSettings",
    "BacktestSettings",
    "Day",
    "EvaluationReference",
    "EvaluationSettings",
    "Inference",
    "JudgedSettings",
    "Seed",
    "Settings",
    "SweepSettings",
    "Symbol",
    "TradingSettings",
    "TrainingSettings",
    "Value",
    "VerdictSettings",
]

S = TypeVar("S", bound="Settings")

MOST_TRIALS = 10_000
"""Largest number of combinations of a sweep."""

_MOST = 1_000_000_000

Value = bool | int | float | str | None
"""A value of a strategy key in a sweep."""


_MOST_SYMBOLS = 100
_MOST_SWEPT = 20


def _each_once(symbols: tuple[str, ...]) -> tuple[str, ...]:
    twice = next((symbol for number, symbol in enumerate(symbols) if symbol in symbols[:number]), None)
    if twice is not None:
        raise ValueError(f"`{twice}` is given twice; name each symbol once")
    return symbols


# The pattern is for the JSON schema only: `check_symbol` gives the better message.
Symbol = Annotated[
    str,
    AfterValidator(validator(check_symbol)),
    Field(json_schema_extra={"pattern": f"^{SYMBOL_PATTERN}$", "examples": ["EURUSD"]}),
]
"""A symbol, the name of a data set."""

Symbols = Annotated[
    tuple[Symbol, ...],
    AfterValidator(_each_once),
    Field(min_length=1, max_length=_MOST_SYMBOLS, json_schema_extra={"uniqueItems": True}),
    few(_MOST_SYMBOLS),
]

Day = Annotated[dt.date, Strict(), BeforeValidator(validator(parse_day))]
"""A day, ``YYYY-MM-DD``."""

Device = Annotated[str, Field(max_length=32, pattern=f"^{DEVICE_PATTERN}$", examples=["auto", "cpu", "cuda:1"])]

Inference = Literal["auto", "portable", "native"]
"""What predicts: the portable twin of a model, or the ML framework that trained it."""

EvaluationReference = Annotated[str, Field(max_length=90, pattern=f"^{REFERENCE_PATTERN}$")]
"""A stored evaluation: ``name/number``, or ``name`` for the latest of a strategy."""

Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]
"""Seed of a random number generator."""


class Settings(FewKeys):
    """Settings that trainings, backtests, sweeps and evaluations share.

    ``None`` stands for the value of the strategy. Days are UTC and included. Unknown keys, infinite numbers and an end
    before the start are refused. Instances are frozen.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    symbols: Symbols | None = Field(default=None, description="Symbols, instead of the strategy's.")
    start: Day | None = Field(default=None, description="First day (UTC).")
    end: Day | None = Field(default=None, description="Last day (UTC).")
    device: Device = Field(default="auto", description="Where the model runs: auto, cpu, cuda, cuda:1, mps.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.start is not None and self.end is not None and self.end < self.start:
            raise ValueError(f"the end ({self.end}) is before the start ({self.start}); both days are included")
        return self

    def to(self, kind: type[S], **more: Any) -> S:
        """Return settings of class ``kind`` with the shared fields of these and the values of ``more``."""
        shared = {name: getattr(self, name) for name in kind.model_fields if name in type(self).model_fields}
        return kind(**{**shared, **more})


class TrainingSettings(Settings):
    """Settings of a training; ``None`` stands for the value of the strategy."""

    symbols: Symbols | None = Field(default=None, description="Symbols to train on, instead of the strategy's.")
    start: Day | None = Field(default=None, description="First day (UTC) of the data, instead of the strategy's.")
    end: Day | None = Field(default=None, description="Last day (UTC) of the data, instead of the strategy's.")
    seed: Seed | None = Field(default=None, description="Seed of every random choice, instead of the strategy's.")
    epochs: int | None = Field(
        default=None,
        ge=1,
        le=MOST_EPOCHS,
        description="Passes over the training part, at most, instead of the strategy's.",
    )
    seeds: int | None = Field(
        default=None,
        ge=2,
        le=MOST_SEEDS,
        description="Train with this many seeds, from the seed on, and keep the model with the median validation.",
    )
    ensemble: bool = Field(
        default=False, description="Keep the models of all seeds, as an ensemble that averages their predictions."
    )
    evaluation: EvaluationReference | None = Field(
        default=None,
        description="Train from this evaluation, in place of a strategy: on all bars before its reserve, for the median"
        " of its best epochs.",
        examples=["rsi_reversion/1"],
    )

    @model_validator(mode="after")
    def _of_the_evaluation(self) -> Self:
        decided = ("symbols", "start", "end", "seed", "epochs", "seeds", "ensemble")
        given = [name for name in decided if getattr(self, name) != type(self).model_fields[name].default]
        if self.evaluation is not None and given:
            raise PydanticCustomError(
                "superfluous",
                "a training from an evaluation takes strategy, data, seed and epochs from it; leave out `{field}`",
                {"field": given[0]},
            )
        return self


class AccountSettings(Settings):
    """Settings of whatever trades an account."""

    capital: float = Field(default=10_000.0, gt=0, le=1e15, description="Cash at the start, in the prices' currency.")
    commission: float = Field(
        default=0.0, ge=0, lt=1, description="Share of the traded value, per side; write two basis points as 0.0002."
    )
    slippage: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of the price by which every fill is worse; write two basis points as 0.0002.",
    )
    trials: int | None = Field(
        default=None,
        ge=1,
        le=_MOST,
        description="Trials made elsewhere, which count beside those that the ledger of trials knows.",
    )


class TradingSettings(AccountSettings):
    """Settings that backtests and sweeps share."""

    symbols: Symbols | None = Field(
        default=None, description="Symbols to trade, instead of the strategy's; they share the capital."
    )
    start: Day | None = Field(
        default=None, description="First day (UTC). Without days: the bars that the model has not seen."
    )
    inference: Inference = Field(
        default="auto",
        description="What predicts: the model's portable twin (portable), its ML framework (native), or the twin where"
        " there is one and no GPU is asked for (auto).",
    )


class BacktestSettings(TradingSettings):
    """Settings of a backtest."""

    explain: int = Field(
        default=100,
        ge=0,
        le=_MOST,
        description="Trades, those with the largest results, whose decisions are split among the features.",
    )
    seed: Seed = Field(
        default=0, description="Seed of the resampling that the interval of the Sharpe ratio comes from."
    )
    reserve: StrictBool = Field(
        default=False,
        description="Open the reserve of the model's data: trade it, or days inside it. Each different look counts.",
    )


class JudgedSettings(AccountSettings):
    """Settings that evaluations and verdicts share; ``None`` stands for the value of the strategy."""

    symbols: Symbols | None = Field(default=None, description="Symbols to evaluate on, instead of the strategy's.")
    start: Day | None = Field(default=None, description="First day (UTC) of the data, instead of the strategy's.")
    end: Day | None = Field(default=None, description="Last day (UTC) of the data, instead of the strategy's.")
    seed: Seed | None = Field(default=None, description="First seed, instead of the strategy's.")
    epochs: int | None = Field(
        default=None,
        ge=1,
        le=MOST_EPOCHS,
        description="Passes over the training part of a fold, at most, instead of the strategy's.",
    )
    reserve: StrictBool = Field(
        default=False,
        description="Open the reserve: trade it with models trained on all data before it. Each different look counts.",
    )


class EvaluationSettings(JudgedSettings):
    """Settings of an evaluation; ``None`` stands for the value of the strategy."""

    seeds: int = Field(
        default=5, ge=1, le=MOST_SEEDS, description="Trainings of each fold, with as many seeds from the seed on."
    )


class VerdictSettings(JudgedSettings):
    """Settings of a verdict; ``None`` stands for the value of the strategy, or of the form of the verdict."""

    # Jobs and requests carry every field, so a number that was given differs from the default by not being None.
    seeds: int | None = Field(
        default=None,
        ge=FEWEST_VERDICT_SEEDS,
        le=MOST_SEEDS,
        description="Trainings of each fold, with as many seeds from the seed on; left out:"
        f" {FEWEST_VERDICT_SEEDS}, or 1 with quick.",
    )
    quick: StrictBool = Field(
        default=False,
        description=f"A quick form: one seed, and {QUICK_WORLDS} null worlds of each family in place of {NULL_WORLDS}.",
    )

    @model_validator(mode="after")
    def _quick_alone(self) -> Self:
        if self.quick and self.seeds is not None:
            raise PydanticCustomError(
                "superfluous", "the quick form has one seed; leave out `{field}`", {"field": "seeds"}
            )
        return self

    @property
    def worlds_used(self) -> int:
        """Number of null worlds of each family."""
        return QUICK_WORLDS if self.quick else NULL_WORLDS

    def evaluation(self) -> EvaluationSettings:
        """Return the settings of the evaluation that the verdict rests on."""
        return self.to(EvaluationSettings, seeds=1 if self.quick else self.seeds or FEWEST_VERDICT_SEEDS)


class SweepSettings(TradingSettings):
    """Settings of a sweep. Every combination of the values in ``settings`` is a trial."""

    settings: Annotated[
        dict[
            Annotated[str, Field(max_length=100)],
            Annotated[tuple[Value, ...], FailFast(), Field(min_length=1, max_length=MOST_TRIALS)],
        ],
        few(_MOST_SWEPT),
    ] = Field(
        min_length=1,
        max_length=_MOST_SWEPT,
        description="Values to try for each key below decisions or risk; every combination is tried.",
    )
    metric: str = Field(default="sharpe", max_length=40, description="What the rows are ordered by, the best first.")
    top: int = Field(
        default=20,
        ge=1,
        le=MOST_TRIALS,
        description="Rows to show: the interval of the Sharpe ratio is resampled for these alone.",
    )

    def backtest(self) -> BacktestSettings:
        """Return the settings of the backtest of one combination."""
        return self.to(BacktestSettings)
