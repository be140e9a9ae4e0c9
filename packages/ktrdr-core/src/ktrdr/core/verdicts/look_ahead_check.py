"""Check of validity: do features or labels depend on bars that were still to come?

The first symbol is checked on some thousands of its most recent bars, every other one on a short part of its own:
look-ahead is a fault of an indicator or a label, which all symbols share.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.times import format_time
from ktrdr.core.features.causality import CheckReport, Finding, LabelValues, check_pipeline
from ktrdr.core.features.pipeline import FeaturePipeline
from ktrdr.core.labels.make import make_labels
from ktrdr.core.strategy.model import Labels
from ktrdr.core.verdicts.findings import finding_of, named
from ktrdr.core.verdicts.verdict_result import ValidityFinding
from ktrdr.core.work.cancellation import Cancellation

__all__ = ["check_look_ahead"]

_CUTS = 40
_CUTS_OF_OTHERS = 3
_BARS = 5_000
_BARS_OF_OTHERS = 500
_SEED = 0


def check_look_ahead(
    pipeline: FeaturePipeline,
    labels: Labels,
    bars: Mapping[str, Mapping[str, Bars]],
    derived: Mapping[str, tuple[str, ...]],
    cancellation: Cancellation,
) -> tuple[ValidityFinding, ValidityFinding]:
    """Compute features and labels again without later bars, and with other ones.

    Args:
        pipeline: pipeline of the strategy.
        labels: section ``training.labels`` of the strategy.
        bars: bars by symbol and timeframe, the base timeframe first.
        derived: timeframes that are resampled from the base bars, by symbol.
        cancellation: stops the check between two cuts.

    Returns:
        The finding on the features, and that on the labels.

    Raises:
        BadInputError: a symbol has no features.
    """
    reports = [
        _report(pipeline, labels, own, derived[symbol], number, cancellation)
        for number, (symbol, own) in enumerate(bars.items())
    ]
    found = [(report, each) for report in reports for each in report.features if each.leaks]
    cuts = sum(report.cuts for report in reports)
    where = f"at {cuts:,} bars of {named(tuple(bars))}"
    features = finding_of(
        "look_ahead",
        "look-ahead in features",
        _by_input(found),
        remedy="correct the indicator so that a value uses only bars up to its own, and test it with `ktrdr check`",
        clean=f"no feature changes when later bars are left out or get other prices, {where}",
    )
    of_labels = [(report, report.labels) for report in reports if report.labels is not None and report.labels.leaks]
    declared = make_labels(labels, next(iter(next(iter(bars.values())).values()))[:0]).look_ahead
    later = finding_of(
        "label_look_ahead",
        "look-ahead in labels",
        [
            f"the labels `{labels.source}` of {report.symbol} depend on {_ahead(each)} than they declare,"
            f" as at {_time(each)}"
            for report, each in of_labels
        ],
        remedy="correct the look-ahead that the label source declares, since training and test parts are kept that far"
        " apart",
        clean=f"no label depends on bars after the {declared:,} that it declares, {where}",
    )
    return features, later


def _report(
    pipeline: FeaturePipeline,
    labels: Labels,
    bars: Mapping[str, Bars],
    derived: tuple[str, ...],
    number: int,
    cancellation: Cancellation,
) -> CheckReport:
    base = next(iter(bars.values()))
    first = number == 0
    length = pipeline.warmup + (_BARS if first else _BARS_OF_OTHERS)
    part = _part(pipeline, bars, length, None if first else number)

    def label(own: Bars) -> LabelValues:
        made = make_labels(labels, own)
        return LabelValues(made.values, made.span_end)

    return check_pipeline(
        pipeline,
        part,
        labels=label,
        look_ahead=make_labels(labels, base[:0]).look_ahead,
        derived=derived,
        cuts=_CUTS if first else _CUTS_OF_OTHERS,
        starts=0,
        seed=_SEED + number,
        cancellation=cancellation,
    )


def _part(pipeline: FeaturePipeline, bars: Mapping[str, Bars], length: int, seed: int | None) -> Mapping[str, Bars]:
    """Return about ``length`` base bars with those of the other timeframes: the last, or at random.

    Without features in that part, such as after a year without volume, it is all bars.
    """
    base = next(iter(bars.values()))
    if len(base) <= length:
        return bars
    latest = len(base) - length
    begin = latest if seed is None else int(np.random.default_rng(seed).integers(latest + 1))
    start, end = base.time[begin], base.close_time[begin + length - 1]
    part = {name: own.between(start, end) for name, own in bars.items()}
    return part if pipeline.compute(part).warm[:-1].any() else bars


def _by_input(found: list[tuple[CheckReport, Finding]]) -> list[str]:
    """Return a clause for each leaking feature, with the symbols that show it."""
    features: dict[str, list[tuple[CheckReport, Finding]]] = {}
    for report, each in found:
        features.setdefault(each.id, []).append((report, each))
    return [
        f"input `{name}` uses bars that are still to come: at {_time(own[0][1])} of {own[0][0].symbol} it depends on"
        f" {_ahead(max((each for _, each in own), key=lambda one: one.bars_ahead))}"
        + (f", also of {named([report.symbol for report, _ in own[1:]])}" if len(own) > 1 else "")
        for name, own in features.items()
    ]


def _time(finding: Finding) -> str:
    assert finding.example is not None  # a finding with leaks has one
    return format_time(finding.example[0])


def _ahead(finding: Finding) -> str:
    return "1 later bar" if finding.bars_ahead == 1 else f"up to {finding.bars_ahead:,} later bars"
