"""The result of a verdict: what is printed, stored, sent and reported.

Importing this module imports pydantic only: the API describes its answers with these classes.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from ktrdr.core.names import NAME_PATTERN, VERSION_PATTERN
from ktrdr.core.validation.evaluation_result import EvaluationFacts, Provenance, Seed

__all__ = [
    "EXIT_STATUS",
    "BreakEven",
    "Condition",
    "Deflation",
    "Delay",
    "LinearWorlds",
    "NullWorlds",
    "Overfitting",
    "PermutedEntries",
    "SuperiorAbility",
    "ValidityFinding",
    "VerdictFacts",
    "Word",
]

Word = Literal["EDGE", "NOT PROVEN", "NONE", "INVALID"]
"""The verdict in one word."""

EXIT_STATUS: dict[Word, int] = {"EDGE": 0, "NOT PROVEN": 3, "NONE": 4, "INVALID": 5}
"""Exit status of `ktrdr verdict`."""

Probability = Annotated[float, Field(ge=0, le=1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ValidityFinding(_Part):
    """The result of one check of the validity.

    Attributes:
        check: name of the check, such as ``look_ahead`` or ``missing_bars``.
        title: the same in words.
        clean: True if nothing was found.
        sentence: what was checked, or what was found and where, with a remedy.
    """

    check: str
    title: str
    clean: bool
    sentence: str


class Condition(_Part):
    """One condition of the rule.

    Attributes:
        name: such as ``null_sign_flips`` or ``deflated_sharpe``.
        title: the same in words.
        met: whether it is met; null where it cannot be told, which counts as not met.
        sentence: what was found, as a trader says it.
        change: what would change it; empty if it is met.
        found, needed: the same as figures, such as ``p = 6.9%`` and ``at most 5%``; empty where there is none.
    """

    name: str
    title: str
    met: bool | None
    sentence: str
    change: str = ""
    found: str = ""
    needed: str = ""


class NullWorlds(_Part):
    """The same training on copies of the bars in which no direction can be predicted.

    Attributes:
        family: kind of the worlds.
        observed: annual Sharpe ratio after costs on the real bars, by the same training: of several seeds the median.
        values: that of each world, in the order of their numbers. An account that never trades has 0; null where the
            training failed, which counts as at least as good.
        p: ``(1 + worlds at least as good) / (1 + worlds)``.
    """

    family: Literal["sign_flips", "garch"]
    observed: float
    values: tuple[float | None, ...]
    p: Probability


class LinearWorlds(_Part):
    """The same training on worlds that keep the autocorrelation: what an edge of a linear rule would give there.

    It is shown, and is no test: a mean reverter finds its edge in these worlds again.

    Attributes:
        kind: how the worlds are made.
        observed, values: as in :class:`NullWorlds`.
    """

    kind: Literal["random_phases", "block_bootstrap"]
    observed: float
    values: tuple[float | None, ...]


class Deflation(_Part):
    """The Sharpe ratio of the median account, and how much of it the number of trials explains.

    Attributes:
        sharpe: annual Sharpe ratio after costs.
        low, high: its 90 % interval.
        years: length of the tested bars.
        trials: number of trials that looked at them, this one included.
        other_trials: without this one.
        expected_best: annual Sharpe ratio of the best of as many trials without an edge.
        probability: that the true ratio is above ``expected_best``: the deflated Sharpe ratio.
        needed_years: length of data with which this ratio would reach 95 %; null if no length would.
    """

    sharpe: float
    low: float
    high: float
    years: float
    trials: int
    other_trials: int
    expected_best: float
    probability: Probability
    needed_years: float | None


class SuperiorAbility(_Part):
    """Hansen's test of superior predictive ability over the trials at hand, against holding cash.

    Attributes:
        trials: number of trials with daily returns.
        days: number of their common days.
        lower, consistent, upper: the three p-values.
    """

    trials: int
    days: int
    lower: Probability
    consistent: Probability
    upper: Probability


class Overfitting(_Part):
    """Probability of backtest overfitting over the trials at hand, by CSCV.

    Attributes:
        trials: number of trials with daily returns.
        days: number of their common days.
        blocks: number of blocks of days.
        splits: number of splits into two halves of the blocks.
        probability: share of the splits in which the best trial of one half is not above the median in the other.
    """

    trials: int
    days: int
    blocks: int
    splits: int
    probability: Probability


class PermutedEntries(_Part):
    """The trades of the median account at other times: the same lengths and directions in random order.

    Attributes:
        observed: annual Sharpe ratio of the trades at their times.
        permutations: number of random orders.
        p: ``(1 + orders at least as good) / (1 + orders)``.
        quantiles: 101 quantiles of the ratios of the random orders, from 0 % to 100 %.
    """

    observed: float
    permutations: int
    p: Probability
    quantiles: tuple[float, ...]


class BreakEven(_Part):
    """The cost at which nothing is left.

    Attributes:
        paid: commission and slippage together, as a share of the traded value per side.
        cost: the same at which the median account ends without profit; null if it has none even without costs, 0 never.
        costs: costs of the curve, ascending.
        sharpe: annual Sharpe ratio of the median account at each of them; null where it is not defined.
    """

    paid: float
    cost: float | None
    costs: tuple[float, ...]
    sharpe: tuple[float | None, ...]


class Delay(_Part):
    """The median account with every signal one bar later.

    Attributes:
        observed, later: annual Sharpe ratio; null where it is not defined.
    """

    observed: float | None
    later: float | None


class VerdictFacts(_Part):
    """A verdict without its curves.

    Attributes:
        verdict: ``name/3`` in the store; empty until it is stored.
        word: the verdict.
        sentence: the verdict as one sentence.
        made: when it was made, UTC.
        hash: sha256 of what it was asked: strategy, bars, seeds, costs, versions and number of other trials.
        evidence_hash: sha256 of what was found.
        strategy: name of the strategy.
        choice: hash of the strategy without its name, description and seed.
        seeds: of the trainings on the real bars, those that failed among them.
        quick: True for the quick form.
        worlds: number of null worlds of each family.
        symbols, timeframe: the data.
        world: name of the synthetic market; empty for imported bars.
        data_fingerprint: sha256 of the content of the bars before the reserve.
        reserve_fingerprint: the same of the bars of the opened reserve; empty if it is closed.
        account: capital, commission and slippage.
        validity: the checks of validity.
        conditions: the conditions of an edge; empty if the verdict is INVALID.
        reasons: why the verdict is not EDGE, with what would change it; empty for EDGE.
        questions: what only a person can answer.
        evaluation: the evaluation out of sample; null if the verdict is INVALID. Its ``evaluation`` is where it is
            stored.
        nulls: null worlds by family.
        linear: worlds that keep the autocorrelation; none in the quick form.
        deflation, superior_ability, overfitting, permuted_entries, break_even, delay: further evidence; null where it
            cannot be told.
        notes: why evidence is missing, one sentence each.
        warnings: reasons to doubt the figures.
        seconds: time of the steps, by name.
        provenance: versions of KTRDR and packages, and the state of the Git checkout.
        operation: id of the operation that made the verdict; null without one.
    """

    schema_version: Literal[1] = 1
    verdict: Annotated[str, Field(pattern=f"^({NAME_PATTERN}/{VERSION_PATTERN})?$")] = ""
    word: Word
    sentence: str
    made: AwareDatetime
    hash: str
    evidence_hash: str
    strategy: str
    choice: str
    seeds: tuple[Seed, ...]
    quick: bool
    worlds: int
    symbols: tuple[str, ...]
    timeframe: str
    world: str = ""
    data_fingerprint: str
    reserve_fingerprint: str = ""
    account: dict[str, float]
    validity: tuple[ValidityFinding, ...]
    conditions: tuple[Condition, ...] = ()
    reasons: tuple[Condition, ...] = ()
    questions: tuple[str, ...] = ()
    evaluation: EvaluationFacts | None = None
    nulls: tuple[NullWorlds, ...] = ()
    linear: tuple[LinearWorlds, ...] = ()
    deflation: Deflation | None = None
    superior_ability: SuperiorAbility | None = None
    overfitting: Overfitting | None = None
    permuted_entries: PermutedEntries | None = None
    break_even: BreakEven | None = None
    delay: Delay | None = None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    seconds: dict[str, float] = {}
    provenance: Provenance = Provenance()
    operation: str | None = None
