"""Explanation of one decision of a model: its inputs at a bar, the contribution of each, and its outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ktrdr.core.backtesting.period import history_start
from ktrdr.core.backtesting.prediction import predict
from ktrdr.core.backtesting.signals import decide, volume_ratio
from ktrdr.core.cache.array_cache import NO_CACHE, ArrayCache
from ktrdr.core.comparisons import highest_equal, lowest_equal
from ktrdr.core.data.alignment import visible_index
from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.bars import Bars
from ktrdr.core.data.times import format_time
from ktrdr.core.errors import BadInputError
from ktrdr.core.features.columns import FeatureColumn, FeatureMatrix, feature_columns
from ktrdr.core.features.inputs import stored_inputs
from ktrdr.core.features.pipeline import FeaturePipeline
from ktrdr.core.features.sources import Source
from ktrdr.core.features.symbol_cache import SymbolCache
from ktrdr.core.fuzzy.membership import membership
from ktrdr.core.jobs.job_settings import Inference
from ktrdr.core.models.bundle import Bundle
from ktrdr.core.models.ensemble_predictor import EnsemblePredictor
from ktrdr.core.names import named_market
from ktrdr.core.plugins.contract import Explainable, Predictor, Rule, RuleBased
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.short_texts import object_repr

__all__ = ["Explanation", "InputShare", "explain"]

_ACTIONS = {1: "BUY", -1: "SELL", 0: "HOLD"}


@dataclass(frozen=True, slots=True)
class InputShare:
    """One input of the model at the bar.

    Attributes:
        id: id of the feature.
        indicator: the indicator that the feature reads, as ``<id>`` or ``<id>.<output>``.
        value: value of the indicator, in its own units, on the bar that was visible (``lag`` bars before).
        seen: value that the model received: degree of membership, normalized or plain value. ``None`` for a membership
            that is shown only as an explanation: models with their own membership functions receive plain values.
        degree: degree of membership by the strategy's own function; ``None`` for inputs without a membership.
        contributions: per output, how much the input added to it, compared with the output for the average training
            sample; ``None`` if the model gives no contributions, or does not receive this input.
    """

    id: str
    indicator: str
    value: float
    seen: float | None
    degree: float | None
    contributions: Mapping[str, float] | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """One decision of a model.

    Attributes:
        model: ``name/version``.
        symbol, timeframe: symbol and timeframe of the base bars.
        time, known_at: open of the bar, and its close, when the decision is made; ``datetime64[ns]``, UTC.
        outputs: class -> probability, or ``value`` -> predicted value.
        decision: ``BUY``, ``SELL`` or ``HOLD``, before the rules that depend on the position.
        reason: one sentence on how the outputs led to the decision.
        inputs: inputs of the model, in the order of the features.
        rules: rules of a rule-based model, the largest weight first; empty for other models.
        hidden_by_vote: True if the inputs have no contributions only because the members of an ensemble vote.
        world: name of the synthetic market that the bars are from; empty for imported bars.
    """

    model: str
    symbol: str
    timeframe: str
    time: np.datetime64
    known_at: np.datetime64
    outputs: Mapping[str, float]
    decision: str
    reason: str
    inputs: tuple[InputShare, ...]
    rules: tuple[Rule, ...]
    hidden_by_vote: bool = False
    world: str = ""

    def __repr__(self) -> str:
        outputs = " ".join(f"{name} {value:.3g}" for name, value in self.outputs.items())
        market = f"{named_market(self.symbol, self.world)} {self.timeframe}"
        return object_repr(self, self.model, market, format_time(self.time), self.decision, f"outputs {outputs}")

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready map."""
        return {
            "model": self.model,
            "symbol": self.symbol,
            "timeframe": self.timeframe,
            "world": self.world,
            "time": format_time(self.time),
            "known_at": format_time(self.known_at),
            "outputs": dict(self.outputs),
            "decision": self.decision,
            "reason": self.reason,
            "inputs": [asdict(share) for share in self.inputs],
            "rules": [
                {
                    "text": rule.text,
                    "weight": rule.weight,
                    "conditions": [list(condition) for condition in rule.conditions],
                    "outputs": dict(rule.outputs),
                }
                for rule in self.rules
            ],
        }


def explain(
    bundle: Bundle,
    *,
    bar_store: BarStore,
    plugins: PluginManager,
    symbol: str | None = None,
    at: np.datetime64 | None = None,
    inference: Inference = "auto",
    cache: ArrayCache = NO_CACHE,
) -> Explanation:
    """Explain one decision of a model on stored bars.

    Args:
        bundle: the model.
        bar_store: the stored bars.
        plugins: the installed backends.
        symbol: symbol of the bars; by default the first one the model was trained on.
        at: a time within the bar, ``datetime64[ns]``, UTC; by default the latest bar on which the model buys or sells,
            or the last bar if it never does.
        inference: what predicts, see :func:`~ktrdr.core.models.inference_choice.choose_inference`.
        cache: cache of indicator values; by default none.

    Raises:
        BadInputError: there is no such bar, some of its features are missing, or the model has no portable twin.
    """
    manifest = bundle.manifest
    strategy = manifest.strategy
    pipeline = FeaturePipeline(strategy, crisp=manifest.crisp)
    # Read from the start of the training data, as a backtest does: an indicator may depend on every earlier bar.
    start = history_start(manifest)
    if at is not None and start is not None and at < start:
        start = None
    bars = stored_inputs(bar_store, symbol or manifest.data.symbols[0], pipeline.timeframes, start)
    base = bars[pipeline.timeframes[0]]
    if not len(base):
        raise BadInputError(f"there are no bars of {base.symbol} {base.timeframe} since {start}; import some")
    row = None if at is None else _row_at(base, at)
    # Bars are read before the model is loaded: missing bars are reported without importing an ML framework.
    predictor = bundle.load_predictor(plugins, inference=inference)
    pipeline = pipeline.with_normalizers(bundle.normalizers())
    values = pipeline.indicator_values(bars, SymbolCache(cache, bars))
    matrix = pipeline.normalize(pipeline.assemble(bars, values))
    pipeline.require_rows(matrix, bars=bars)
    if row is not None:
        known = matrix.warm[max(row - predictor.window + 1, 0) : row + 1]
        if len(known) < predictor.window or not known.all():
            raise BadInputError(
                f"model {bundle.ref} makes no decision at {format_time(base.time[row])}, because some features are"
                " missing there; the first bar with all features is"
                f" {format_time(base.time[np.flatnonzero(matrix.warm)[0]])}"
            )
    outputs, complete = predict(predictor, matrix, 0, bundle.ref)
    direction = decide(outputs, strategy.decisions, volume_ratio(base.volume), base.symbol).direction
    if row is None:
        acting = np.flatnonzero(direction)
        row = int(acting[-1] if len(acting) else np.flatnonzero(complete)[-1])
    named = _named(outputs[row], manifest.classes)
    return Explanation(
        model=bundle.ref,
        symbol=base.symbol,
        timeframe=base.timeframe.name,
        time=base.time[row],
        known_at=base.close_time[row],
        outputs=named,
        decision=_ACTIONS[int(direction[row])],
        reason=_reason(bundle, named, int(direction[row])),
        inputs=_inputs(bundle, predictor, bars, matrix, values, row),
        rules=tuple(predictor.rules()) if isinstance(predictor, RuleBased) else (),
        hidden_by_vote=isinstance(predictor, EnsemblePredictor) and predictor.vote_hides_contributions,
        world=base.world,
    )


def _row_at(base: Bars, at: np.datetime64) -> int:
    row = int(np.searchsorted(base.time, at, side="right")) - 1
    if row >= 0 and at < base.close_time[row]:
        return row
    near = [format_time(base.time[place]) for place in (row, row + 1) if 0 <= place < len(base)]
    raise BadInputError(
        f"there is no {base.timeframe} bar of {base.symbol} at {format_time(at)};"
        f" the nearest open at {' and '.join(near)}"
    )


def _named(outputs: np.ndarray, classes: Sequence[str]) -> dict[str, float]:
    if not classes:
        return {"value": float(outputs)}
    return dict(zip(classes, outputs.tolist(), strict=True))


def _reason(bundle: Bundle, outputs: Mapping[str, float], direction: int) -> str:
    decisions = bundle.strategy.decisions
    if decisions.output_format == "regression":
        edge = decisions.cost_model.round_trip_cost * decisions.cost_model.min_edge_multiplier
        relation = "beyond" if abs(outputs["value"]) > highest_equal(edge) else "within"
        sentence = (
            f"the predicted value {outputs['value']:+.5g} is {relation} the edge of {edge:g} that decisions.cost_model"
            " requires"
        )
        acted = relation == "beyond"
    else:
        best = max(outputs, key=lambda name: outputs[name])
        level = decisions.confidence_threshold
        relation = "above" if outputs[best] > highest_equal(level) else "not above"
        acted = best != "HOLD" and relation == "above"
        sentence = f"{best} is the most probable class ({outputs[best]:.3f})"
        if best != "HOLD":
            sentence += f", {relation} the confidence_threshold of {level:g}"
    if acted and direction == 0:
        tied = (
            decisions.output_format == "classification"
            and sum(value >= lowest_equal(max(outputs.values())) for value in outputs.values()) > 1
        )
        sentence += (
            ", but another class is equally probable" if tied else ", but volume is below the volume_filter or missing"
        )
    return sentence


def _inputs(
    bundle: Bundle,
    predictor: Predictor,
    bars: Mapping[str, Bars],
    matrix: FeatureMatrix,
    values: Mapping[Source, np.ndarray],
    row: int,
) -> tuple[InputShare, ...]:
    shares: np.ndarray | None = None
    if isinstance(predictor, Explainable):
        window = matrix.values[row - predictor.window + 1 : row + 1]
        shares = predictor.contributions(np.ascontiguousarray(window))[-1]
    names = bundle.manifest.classes or ("value",)
    found = []
    for position, column in enumerate(matrix.columns):
        value = _value(column, bars, values, row)
        own = None if shares is None else dict(zip(names, shares[position].tolist(), strict=True))
        found.append(
            InputShare(
                column.id, column.indicator, value, float(matrix.values[row, position]), _degree(column, value), own
            )
        )
        if column.kind == "crisp":
            # The model receives the plain value; the strategy's memberships of it are added for the reader.
            for read in _memberships_of(bundle, column):
                found.append(InputShare(read.id, read.indicator, value, None, _degree(read, value), None))
    return tuple(found)


def _memberships_of(bundle: Bundle, crisp: FeatureColumn) -> list[FeatureColumn]:
    place = (crisp.timeframe, crisp.fuzzy_set, crisp.lag)
    columns = feature_columns(bundle.strategy)
    return [column for column in columns if (column.timeframe, column.fuzzy_set, column.lag) == place]


def _degree(column: FeatureColumn, value: float) -> float | None:
    return None if column.function is None else float(membership(column.function, np.array([value]))[0])


def _value(column: FeatureColumn, bars: Mapping[str, Bars], values: Mapping[Source, np.ndarray], row: int) -> float:
    """Return the indicator's value on the bar that was visible ``column.lag`` bars before ``row``."""
    base = next(iter(bars.values()))
    place = row - column.lag
    other = bars[column.timeframe]
    visible = place if other is base else int(visible_index(base[place : place + 1], other)[0])
    return float(values[(column.timeframe, column.indicator)][visible])
