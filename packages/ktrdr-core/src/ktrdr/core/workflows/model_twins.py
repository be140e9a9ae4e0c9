"""Workflows on the portable twin of a model: add one to an older model, and compare one with its backend."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ktrdr.core.backtesting.prediction import incomplete_windows
from ktrdr.core.backtesting.signals import decide
from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.errors import BadInputError
from ktrdr.core.features.inputs import stored_inputs
from ktrdr.core.features.pipeline import FeaturePipeline
from ktrdr.core.inference.comparison import compare
from ktrdr.core.inference.probes import probe_rows
from ktrdr.core.inference.twin_error import TwinError
from ktrdr.core.models.bundle import Bundle, BundleError
from ktrdr.core.models.ensemble_predictor import ensemble_predictor
from ktrdr.core.models.manifest import Manifest, TwinRecord
from ktrdr.core.models.model_store import ModelStore
from ktrdr.core.models.twins import add_twins, backend_errors
from ktrdr.core.plugins.contract import Predictor
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.strategy.model import EnsembleSection
from ktrdr.core.workflows.places import bars_in, models_in, plugins_or_all

__all__ = ["TwinComparison", "add_twin", "compare_twin"]


@dataclass(frozen=True, slots=True)
class TwinComparison:
    """What a twin predicts, beside its backend.

    Attributes:
        rows: number of predictions; of an ensemble, those of all members.
        difference: their largest difference.
        decisions: number of decisions of the whole model.
        differing: number of decisions that are not the same.
    """

    rows: int
    difference: float
    decisions: int
    differing: int


def add_twin(
    ref: str,
    *,
    bar_store: BarStore | None = None,
    model_store: ModelStore | None = None,
    plugins: PluginManager | None = None,
) -> Bundle:
    """Add a portable twin to a model that was stored without one, and return its bundle.

    The twin is compared with the backend on stored bars of the period that the model was trained on.

    Args:
        ref: ``name/version``, or ``name`` for the latest version.
        bar_store: store of the bars; by default ``$KTRDR_HOME/data``.
        model_store: store of the model; by default ``$KTRDR_HOME/models``.
        plugins: by default all installed backends.

    Raises:
        BadInputError: there is no such model, its bars are missing, it has a twin, or its backend offers none.
        BundleError: the model is broken, or its twin predicts something else.
        PluginError: the backend is not installed, or cannot be used.
        StoreError: the disk is full or not writable.
    """
    backends, bars = plugins_or_all(plugins), bars_in(bar_store)

    def make(copy: Bundle) -> TwinRecord:
        manifest = copy.manifest
        # Checks that the plugin fits the model.
        copy.load_members(backends, "cpu", "native")
        rows = _rows_of_training(copy, bars)
        record = add_twins(copy.directory, manifest.member_directories, backends.loader(manifest.plugin.name), rows)
        if record is None:
            plugin = manifest.plugin
            raise BadInputError(
                f"plugin `{plugin.name}` of {plugin.distribution} offers no portable twins, so model {manifest.ref}"
                " predicts by its framework; update the plugin"
            )
        if record.missing:
            raise BundleError(f"model {manifest.ref} gets no portable twin: {record.missing}")
        return record

    return models_in(model_store).add_twin(ref, make)


def compare_twin(bundle: Bundle, plugins: PluginManager) -> TwinComparison:
    """Compare the twin of a model with its backend again, on the rows that are stored in the bundle.

    Raises:
        BundleError: the model is broken, or its twin predicts something else.
        BadInputError: the model has no twin.
        UnfitPluginError: the installed backend is another one, or of another version.
        PluginError: the backend is not installed, or cannot be used.
    """
    rows, manifest = bundle.probes(), bundle.manifest
    natives = bundle.load_members(plugins, "cpu", "native")
    twins = bundle.load_members(plugins, "cpu", "portable")
    try:
        with backend_errors():
            found = [compare(native, twin, rows) for native, twin in zip(natives, twins, strict=True)]
            one, other = (_decisions(manifest, members, rows) for members in (natives, twins))
        number, recorded = sum(each.rows for each in found), 0 if manifest.twin is None else manifest.twin.rows
        if number != recorded:
            raise TwinError(f"it was compared in {recorded:,} predictions, and its rows give {number:,}")
    except TwinError as error:
        raise BundleError(
            f"model {bundle.ref}: its portable twin is not its model: {error}; predict with --inference native"
        ) from error
    return TwinComparison(
        rows=number,
        difference=max(each.difference for each in found),
        decisions=found[0].rows,
        differing=int((one != other).sum()),
    )


def _decisions(manifest: Manifest, members: list[Predictor], rows: np.ndarray) -> np.ndarray:
    """Return int8 ``(n,)``: what the model decides, where volume is never too low."""
    model = manifest.strategy.model
    predictor = ensemble_predictor(members, model.vote) if isinstance(model, EnsembleSection) else members[0]
    enough = np.full(len(rows), np.inf)
    return decide(predictor.predict(rows), manifest.strategy.decisions, enough).direction


def _rows_of_training(bundle: Bundle, store: BarStore) -> np.ndarray:
    """Return the rows to compare on, from the bars that the model was trained on."""
    manifest = bundle.manifest
    data, window = manifest.data, manifest.window
    pipeline = FeaturePipeline(manifest.strategy, crisp=manifest.crisp).with_normalizers(bundle.normalizers())
    features, samples, judged = [], [], []
    first = 0
    for symbol in data.symbols:
        start, end = (np.datetime64(time.replace(tzinfo=None), "ns") for time in (data.start, data.end))
        bars = stored_inputs(store, symbol, pipeline.timeframes, start, end)
        matrix = pipeline.transform(bars)
        complete = ~incomplete_windows(~matrix.warm, window)
        part = data.split[symbol].validation if symbol in data.split else None
        validation = np.zeros(len(complete), dtype=np.bool_)
        if part is not None:
            begin, stop = (np.datetime64(time.replace(tzinfo=None), "ns") for time in (part.start, part.end))
            validation = (matrix.time >= begin) & (matrix.time < stop)
        features.append(matrix.values)
        samples.append(first + np.flatnonzero(complete))
        judged.append(first + np.flatnonzero(complete & validation))
        first += len(complete)
    rows = np.concatenate(samples)
    if not len(rows):
        raise BadInputError(
            f"none of the stored bars of {', '.join(data.symbols)} from {data.days} gives all features of model"
            f" {bundle.ref}; import the bars that it was trained on"
        )
    return probe_rows(np.concatenate(features), rows, np.concatenate(judged), window)
