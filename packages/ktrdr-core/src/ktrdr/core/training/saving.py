"""Saving of a trained model and its metadata as a bundle."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.calendar_choice import calendar_name
from ktrdr.core.data.worlds import common_world
from ktrdr.core.inference.probes import probe_rows
from ktrdr.core.models.bundle import Bundle, BundleError
from ktrdr.core.models.manifest import (
    DataReference,
    EvaluationRecord,
    ManifestFields,
    MemberRecord,
    PluginReference,
    SplitBoundaries,
    member_directory,
)
from ktrdr.core.models.model_store import ModelStore
from ktrdr.core.models.out_of_sample import OutOfSample, write_out_of_sample
from ktrdr.core.models.twins import add_twins
from ktrdr.core.plugins.contract import ModelStorage, PluginInfo, TrainedModel, TrainingData, TrainingTask
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.strategy.model import Strategy
from ktrdr.core.training.provenance import describe_environment, git_state
from ktrdr.core.training.stored_members import StoredMember
from ktrdr.core.training.trained_ensemble import TrainedEnsemble, trainings_of

__all__ = ["data_reference", "save_model"]


def data_reference(
    strategy: Strategy,
    fingerprint: str,
    base_bars: Mapping[str, Bars],
    split: Mapping[str, SplitBoundaries],
) -> DataReference:
    """Return the description of the training data for the manifest.

    Args:
        strategy: the strategy with every override of the run.
        fingerprint: fingerprint of all bars.
        base_bars: bars of the base timeframe by symbol; not empty.
        split: periods of the parts by symbol.

    Raises:
        BadInputError: the bars are of different markets.
    """
    return DataReference(
        fingerprint=fingerprint,
        symbols=tuple(base_bars),
        timeframes=strategy.training_data.timeframes,
        base_timeframe=strategy.training_data.base_timeframe,
        start=_utc(min(bars.time[0] for bars in base_bars.values())),
        end=_utc(max(bars.close_time[-1] for bars in base_bars.values())),
        rows={symbol: len(bars) for symbol, bars in base_bars.items()},
        split=dict(split),
        calendars={symbol: calendar_name(bars) for symbol, bars in base_bars.items()},
        world=common_world(base_bars.values()),
    )


def save_model(
    store: ModelStore,
    plugins: PluginManager,
    plugin: PluginInfo,
    model: TrainedModel,
    *,
    task: TrainingTask,
    window: int,
    crisp: bool,
    strategy: Strategy,
    text: str,
    normalizers: Mapping[str, Any],
    data: DataReference,
    metrics: Mapping[str, Any],
    baselines: Mapping[str, Any],
    importance: Any,
    samples: TrainingData,
    operation: str | None = None,
    warnings: Sequence[str] = (),
    members: Sequence[MemberRecord] = (),
    evaluation: EvaluationRecord | None = None,
    predictions: Mapping[str, OutOfSample] | None = None,
) -> Bundle:
    """Store the model and return its bundle. The bundle becomes visible only when it is complete.

    Args:
        store: store that the bundle is added to, as the next version of the strategy's name.
        plugins: the installed backends.
        plugin: the plugin that trained the model.
        model: the model to save.
        task: the task that it was trained for.
        window: number of rows of a sample.
        crisp: whether the features are crisp values.
        strategy: the strategy with every override of the run, for the manifest.
        text: text of the strategy file, unchanged.
        normalizers: normalizers of the feature pipeline.
        data: description of the training data.
        metrics: metrics by part.
        baselines: metrics of the baselines by name and part.
        importance: permutation importance; ``None`` without evaluated samples.
        samples: the samples of the training; the portable twin is compared with the backend on some of them.
        operation: id of the operation that trained the model. If the store already has a bundle of that operation, it
            is returned.
        warnings: warnings about the data and the result.
        members: the members of an ensemble, or the trainings with several seeds that the model is one of.
        evaluation: figures of the evaluation that the model was trained from, if any.
        predictions: out-of-sample predictions of that evaluation, by symbol.
    """
    with store.create(strategy.name) as writer:
        writer.write_strategy(text)
        writer.write_normalizers(normalizers)
        if predictions is not None:
            write_out_of_sample(writer.directory, predictions)
        trainings = trainings_of(model)
        several = isinstance(model, TrainedEnsemble)
        places = [member_directory(number) if several else "" for number, _ in enumerate(trainings, 1)]
        facts = []
        for place, training in zip(places, trainings, strict=True):
            writer.write_history(training.history, place=place, histories=len(trainings))
            facts.append(_save(plugins.storage(plugin.name), training, writer.directory / place))
        probes = probe_rows(samples.features, samples.train.rows, samples.validation.rows, window)
        twin = add_twins(writer.directory, places if several else (), plugins.loader(plugin.name), probes)
        if several:
            members = [member.model_copy(update={"facts": own}) for member, own in zip(members, facts, strict=True)]
        record = plugins.record(plugin.name)
        fields = ManifestFields(
            plugin=PluginReference(
                name=plugin.name,
                version=plugin.version,
                contract=plugin.contract,
                distribution=record.distribution,
            ),
            model_type=task.model_type,
            architecture=dict(task.architecture),
            input_size=len(task.feature_ids),
            feature_ids=task.feature_ids,
            window=window,
            crisp=crisp,
            output=task.output,
            classes=task.classes,
            strategy=strategy,
            data=data,
            seed=task.seed,
            environment=describe_environment((record.distribution, *plugin.requires)),
            git=git_state(),
            metrics=dict(metrics),
            baselines=dict(baselines),
            importance=importance,
            facts={} if several else facts[0],
            operation=operation,
            warnings=tuple(warnings),
            members=tuple(members),
            twin=twin,
            evaluation=evaluation,
        )
        try:
            return writer.commit(fields)
        except BundleError as error:
            if not several:
                raise
            raise BundleError(
                f"{error}; the {len(trainings)} members of an ensemble share the limits of one model: use fewer"
                " members, or smaller ones"
            ) from error


def _save(storage: ModelStorage, model: TrainedModel, directory: Path) -> dict[str, Any]:
    """Write the files of one training, and return the facts."""
    return model.copy_to(directory) if isinstance(model, StoredMember) else storage.save(model, directory)


def _utc(time: np.datetime64) -> dt.datetime:
    return time.astype("datetime64[us]").item().replace(tzinfo=dt.UTC)
