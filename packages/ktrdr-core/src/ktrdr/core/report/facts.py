"""Blocks of names and values below the figures: settings, trials, signals and orders, model, provenance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ktrdr.core.backtesting.results import BacktestResult
from ktrdr.core.backtesting.signals import passed_in_words
from ktrdr.core.data.times import last_day
from ktrdr.core.models.evaluation_figures import evaluation_facts
from ktrdr.core.models.inference_choice import IN_WORDS
from ktrdr.core.models.member_spread import spread_columns
from ktrdr.core.models.model_facts import kept_in_words, member_facts
from ktrdr.core.models.model_warnings import warnings_of
from ktrdr.core.names import named_market
from ktrdr.core.report.page import Block
from ktrdr.core.strategy.model import PriceDistance, Risk

__all__ = ["blocks"]


def blocks(result: BacktestResult) -> list[Block]:
    """Return the blocks below the figures."""
    return [
        Block("Settings", entries=_settings(result)),
        Block("Trials", entries=_trials(result)),
        Block("From bars to trades", entries=_way(result)),
        Block("Model", entries=_model(result)),
        Block("Provenance", entries=_provenance(result)),
    ]


def _settings(result: BacktestResult) -> list[tuple[str, str]]:
    settings, strategy = result.settings, result.manifest.strategy
    decisions, risk = strategy.decisions, strategy.risk
    entries = [
        ("capital", f"{settings.capital:,.2f}"),
        ("commission", f"{settings.commission:.4%} of the traded value, per side"),
        ("slippage", f"{settings.slippage:.4%} of the price, against every fill"),
        ("fills", "decided at the close of a bar, filled at the open of the next; stops and targets fill inside bars"),
    ]
    if decisions.output_format == "classification":
        entries.append(("signals above", f"a probability of {decisions.confidence_threshold:g}"))
    else:
        edge = decisions.cost_model.round_trip_cost * decisions.cost_model.min_edge_multiplier
        entries.append(("signals above", f"a predicted move of {edge:.3%}"))
    entries += [
        ("shorts from flat", "yes" if decisions.allow_short_from_flat else "no"),
        ("signal separation", f"{decisions.filters.min_signal_separation} bars"),
        ("sizing", _sizing(risk)),
    ]
    for name in ("stop_loss", "take_profit", "trailing_stop"):
        distance: PriceDistance | None = getattr(risk, name)
        if distance is not None:
            unit = "% of the price" if distance.kind == "percent" else " ATR"
            entries.append((name.replace("_", " "), f"{distance.value:g}{unit}"))
    if risk.max_holding_period is not None:
        entries.append(("longest holding", f"{risk.max_holding_period} bars"))
    calendars = [f"{symbol.symbol} {symbol.calendar}" for symbol in result.symbols if symbol.calendar is not None]
    if calendars:
        entries.append(("calendar", ", ".join(calendars)))
    return entries


def _trials(result: BacktestResult) -> list[tuple[str, str]]:
    count = result.trial_count
    if count is None:
        return [("counted", "not recorded: this run is older than the ledger of trials")]
    return [
        ("counted", count.statement),
        ("ledger", count.ledger),
        *count.facts.items(),
    ]


def _sizing(risk: Risk) -> str:
    value = risk.sizing.value
    text = {
        "fixed_fraction": f"{value:.2%} of the equity",
        "fixed_units": f"{value:,g} units",
        "fixed_cash": f"{value:,.2f} in cash",
        "volatility_target": f"an annual volatility of {value:.2%}, measured over {risk.sizing.window} bars",
        "risk_per_trade": f"{value:.2%} of the equity at risk if the stop is hit",
    }[risk.sizing.type]
    return text + (f", in lots of {risk.lot_size:g}" if risk.lot_size else "")


def _way(result: BacktestResult) -> list[tuple[str, str]]:
    entries = [(symbol.symbol, passed_in_words(symbol.passed)) for symbol in result.symbols]
    words = {
        "entries": "filled",
        "reduced": "of these with fewer units than the sizing rule requires, because cash was short",
        "refused_no_cash": "refused: no cash was free",
        "refused_lot": "refused: less than one lot",
        "refused_unknown": "refused: ATR or volatility not known yet",
    }
    orders = [f"{result.orders[name]:,} {text}" for name, text in words.items() if result.orders.get(name)]
    entries.append(("entry orders", "; ".join(orders) or "none"))
    return entries


def _model(result: BacktestResult) -> list[tuple[str, str]]:
    manifest = result.manifest
    data, labels = manifest.data, manifest.strategy.training.labels
    entries = [
        ("model", manifest.ref),
        ("type", f"{manifest.strategy.model.words} of plugin {manifest.plugin.name} {manifest.plugin.version}"),
        ("inputs", f"{manifest.input_size}" + (f", windows of {manifest.window} bars" if manifest.window > 1 else "")),
        ("labels", f"{labels.source} {_map(labels.parameters)}"),
        ("architecture", _map(manifest.architecture)),
        (
            "trained on",
            f"{named_market(', '.join(data.symbols), data.world)}, {data.start:%Y-%m-%d} to {last_day(data.end)}",
        ),
        *(("training warning", warning) for warning in warnings_of(manifest)),
        *evaluation_facts(manifest),
        *member_facts(manifest),
    ]
    for part in ("validation", "test"):
        judged = manifest.metrics.get(part)
        if isinstance(judged, Mapping) and judged:
            entries.append((f"{part} scores", _scores(judged)))
            entries += [
                (f"{part}, {column} of {len(manifest.members):,} seeds", _scores(values))
                for column, values in spread_columns(manifest.members, part).items()
            ]
        for name, baseline in manifest.baselines.items():
            other = baseline.get(part) if isinstance(baseline, Mapping) else None
            if isinstance(other, Mapping) and other:
                entries.append((f"{name.replace('_', ' ')}, {part}", _scores(other)))
    return entries


_SCORES = {
    "samples": "{:,} samples",
    "accuracy": "accuracy {:.1%}",
    "balanced_accuracy": "balanced {:.1%}",
    "macro_f1": "F1 {:.3f}",
    "mcc": "MCC {:.3f}",
    "log_loss": "log loss {:.4f}",
    "rmse": "RMSE {:.3g}",
    "r2": "R² {:.4f}",
    "directional_accuracy": "direction {:.1%}",
    "information_coefficient": "IC {:.3f}",
}


def _scores(judged: Mapping[str, Any]) -> str:
    known = {name: judged[name] for name in _SCORES if isinstance(judged.get(name), (int, float))}
    return ", ".join(_SCORES[name].format(value) for name, value in known.items()) or _map(judged)


def _provenance(result: BacktestResult) -> list[tuple[str, str]]:
    manifest, given = result.manifest, result.provenance
    git = manifest.git
    entries = [
        ("bars traded, sha256", str(given.get("data_fingerprint", ""))),
        ("bars trained on, sha256", manifest.data.fingerprint),
        ("weights, sha256", manifest.weights_hash),
        ("seed", kept_in_words(manifest) or str(manifest.seed)),
        ("seed of the bootstrap", str(result.settings.seed)),
        ("ktrdr-core", str(given.get("core_version", ""))),
        ("numpy", str(given.get("numpy_version", ""))),
        (manifest.plugin.distribution, manifest.plugin.version),
        ("predictions of", str(given.get("evaluation", ""))),
        ("predicted by", IN_WORDS.get(given.get("inference", "native"), "")),
        ("trained", f"{manifest.created:%Y-%m-%d %H:%M} UTC"),
        ("trained with", f"Python {manifest.environment.python}, {_map(manifest.environment.packages)}"),
        ("trained on machine", manifest.environment.platform),
        ("git", "not a checkout" if git is None else git.commit + (", with uncommitted changes" if git.dirty else "")),
    ]
    return [(name, value) for name, value in entries if value]


def _map(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items() if value is not None)
