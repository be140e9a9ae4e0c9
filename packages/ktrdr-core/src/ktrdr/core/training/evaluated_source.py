"""The evaluation that a model is trained from: which bars, how many epochs, and what its bundle says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.loading import bars_digest, fingerprint
from ktrdr.core.errors import BadInputError
from ktrdr.core.models.manifest import EvaluationRecord, SplitBoundaries
from ktrdr.core.models.out_of_sample import OutOfSample, path_digest
from ktrdr.core.plugins.contract import ModelType, TrainingTask
from ktrdr.core.strategy.model import DataSplit, Strategy
from ktrdr.core.training.reserve import before_reserve

__all__ = ["EvaluatedSource"]

SymbolBars = Mapping[str, Mapping[str, Bars]]
"""Bars by symbol and timeframe, the base timeframe first."""

_ALL = DataSplit(train=1.0, validation=0.0, test=0.0)


@dataclass(frozen=True, slots=True, eq=False)
class EvaluatedSource:
    """The evaluation that a model is trained from.

    The training uses every bar before the reserve, as there is nothing left to choose: the number of epochs is the
    median of the best epochs of the evaluation's trainings, and the last weights are kept.

    Attributes:
        record: figures for the manifest, without the digests of the bars.
        until: ``datetime64[ns]``: bars from this open on were not evaluated; the reserve begins there, if there is one.
        fingerprint: of the evaluated bars.
        predictions: those of the median path, by symbol.
    """

    record: EvaluationRecord
    until: np.datetime64
    fingerprint: str
    predictions: Mapping[str, OutOfSample]

    def cut(self, bars: SymbolBars) -> dict[str, dict[str, Bars]]:
        """Return the evaluated bars by symbol and timeframe: those before the reserve, and before later imports."""
        cut = {symbol: before_reserve(own, self.until) for symbol, own in bars.items()}
        if self.record.reserve is not None:
            return cut
        # Without later bars nothing is cut: the last bar of a longer timeframe may close after the last base bar.
        if not any(next(iter(own.values())).time[-1] >= self.until for own in bars.values()):
            return {symbol: dict(own) for symbol, own in bars.items()}
        return self._with_open_ends(bars, cut)

    def _with_open_ends(self, bars: SymbolBars, cut: dict[str, dict[str, Bars]]) -> dict[str, dict[str, Bars]]:
        """Return the bars with the fingerprint of the evaluation; ``cut`` if there are none.

        The last bar of a longer timeframe was evaluated although it closes after the last base bar, if it was stored,
        and was not if it is made of the base bars. Later imports make both look the same, so the fingerprint decides.
        """
        opened = {
            symbol: {name: part[: int(np.searchsorted(part.time, self.until))] for name, part in own.items()}
            for symbol, own in bars.items()
        }
        different = [
            name
            for name in next(iter(bars.values()))
            if any(len(opened[symbol][name]) != len(own[name]) for symbol, own in cut.items())
        ]
        for whole in product((False, True), repeat=len(different)):
            names = {name for name, as_opened in zip(different, whole, strict=True) if as_opened}
            found = {
                symbol: {name: (opened[symbol] if name in names else own)[name] for name in own}
                for symbol, own in cut.items()
            }
            if fingerprint(bars_digest(part) for own in found.values() for part in own.values()) == self.fingerprint:
                return found
        return cut

    def check(self, fingerprint: str) -> None:
        """Check that the bars are those that were evaluated.

        Raises:
            BadInputError: they are not.
        """
        if fingerprint != self.fingerprint:
            name = self.record.reference
            raise BadInputError(
                f"the stored bars are not those of evaluation {name} (their fingerprint is {fingerprint[:12]}, that of"
                f" the evaluation {self.fingerprint[:12]}); import the evaluated bars again, or evaluate the strategy"
                " again with `ktrdr evaluate` and train from the new evaluation"
            )

    def fitted(self, strategy: Strategy, model_type: ModelType) -> Strategy:
        """Return the strategy that is fitted: one training part, the median of the best epochs, no early stopping."""
        training = strategy.training
        changes: dict[str, Any] = {
            "data_split": _ALL,
            "early_stopping": None,
            "given": tuple(key for key in training.given if key != "early_stopping"),
        }
        if "epochs" in model_type.training_keys:
            changes["epochs"] = max(self.record.best_epoch, 1)
        return strategy.model_copy(update={"training": training.model_copy(update=changes)})

    def task(self, task: TrainingTask, strategy: Strategy) -> TrainingTask:
        """Return the task that keeps the last weights, with learning rates planned for the epochs of the strategy.

        So ``step``, ``exponential`` and ``cosine`` have the rates of the evaluation's trainings in each epoch. Those of
        ``reduce_on_plateau`` differ: it follows the training loss here, as there are no validation samples.
        """
        more = {"keep_last": True, "schedule_epochs": strategy.training.epochs}
        return replace(task, settings={**task.settings, **more})

    def boundaries(self, split: Mapping[str, SplitBoundaries]) -> dict[str, SplitBoundaries]:
        """Return the parts of each symbol with the reserve."""
        return {symbol: own.model_copy(update={"reserve": self.record.reserve}) for symbol, own in split.items()}

    def recorded(self, base: Mapping[str, Bars]) -> EvaluationRecord:
        """Return the figures for the manifest, with the digests of the bars of the path.

        Args:
            base: base bars by symbol.
        """
        bars = {symbol: path_digest(base[symbol], own.time) for symbol, own in self.predictions.items()}
        return self.record.model_copy(update={"bars": bars})
