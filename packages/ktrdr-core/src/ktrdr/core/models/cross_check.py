"""Checks that the files of a bundle agree with each other, so that the model trades the strategy that is shown.

Hashes prove that the files are those of the manifest. They do not prove that strategy text and manifest, or normalizers
and features, belong together. Every finding is a sentence that names the file and the key.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice, pairwise
from typing import Any

from pydantic import ValidationError

from ktrdr.core.features.columns import FeatureColumn, crisp_columns, feature_columns, feature_number
from ktrdr.core.jobs.job_settings import TrainingSettings
from ktrdr.core.jobs.refusals import message_of
from ktrdr.core.models.file_checks import check_history, check_model, check_normalizers
from ktrdr.core.models.manifest import MANIFEST_FILE, Manifest, file_of
from ktrdr.core.plugins.manager import KNOWN_BACKENDS
from ktrdr.core.strategy.diagnostics import StrategyError
from ktrdr.core.strategy.loader import load_strategy_text
from ktrdr.core.strategy.member_seeds import member_seeds
from ktrdr.core.strategy.model import CLASSES, EnsembleSection, Strategy
from ktrdr.core.strategy.read_inputs import MAX_FEATURES

__all__ = [
    "HISTORY_FILE",
    "MODEL_FILE",
    "NORMALIZERS_FILE",
    "STRATEGY_FILE",
    "cross_check",
    "read_files",
    "same_distribution",
]

STRATEGY_FILE = "strategy.yaml"
"""Name of the strategy file."""

NORMALIZERS_FILE = "normalizers.json"
"""Name of the file with the normalizers of each symbol."""

HISTORY_FILE = "history.json"
"""Name of the file with the metrics of every epoch."""

MODEL_FILE = "model.json"
"""Name of the file that a backend may store beside its weights. It must agree with the manifest."""

_OF_TRAINING = frozenset({HISTORY_FILE, MODEL_FILE})
_LONGEST_VALUE = 60
_MOST_FINDINGS = 100
# Keys that a run may override: `ktrdr.core.training.overrides`.
_OVERRIDES = (
    ("training_data", "symbols"),
    ("training_data", "date_range"),
    ("training", "epochs"),
    ("training", "seed"),
    ("training", "given"),
    ("model", "members"),
)
_ARCHITECTURES = (("model", "architecture"), ("model", "of", "architecture"))
_LABELS = ("training", "labels", "parameters")


def read_files(manifest: Manifest) -> frozenset[str]:
    """Return the names of the JSON files that :func:`cross_check` parses."""
    return frozenset(name for name in manifest.files if name == NORMALIZERS_FILE or file_of(name) in _OF_TRAINING)


def cross_check(manifest: Manifest, read: Callable[[str], bytes]) -> tuple[str, ...]:
    """Return the contradictions between the files of a bundle, one sentence each; empty if there is none.

    Args:
        manifest: manifest of the bundle.
        read: returns the content of a file that the manifest names.

    Raises:
        FileError: a file cannot be parsed.
    """
    return tuple(islice(_findings(manifest, read), _MOST_FINDINGS))


def _findings(manifest: Manifest, read: Callable[[str], bytes]) -> Iterator[str]:
    yield from _strategy_text(manifest, read(STRATEGY_FILE))
    features = [*_features(manifest)]
    yield from features
    yield from _manifest(manifest)
    yield from _members(manifest)
    yield from _evaluation(manifest)
    yield from _figures(manifest)
    if features:
        return  # the other files cannot be checked without the list of features
    columns = _columns(manifest)
    yield from check_normalizers(read(NORMALIZERS_FILE), NORMALIZERS_FILE, manifest.data.symbols, columns)
    for number, place in enumerate(manifest.member_directories or ("",)):
        model, history = (f"{place}/{name}" if place else name for name in (MODEL_FILE, HISTORY_FILE))
        if model in manifest.files:
            yield from check_model(read(model), model, manifest, columns)
        facts = manifest.members[number].facts if place else manifest.facts
        yield from check_history(read(history), history, manifest.strategy.training.epochs, facts)


def same_distribution(one: str, other: str) -> bool:
    """Return True if both are the same distribution: case, ``-``, ``_`` and ``.`` do not matter."""
    return _normalized(one) == _normalized(other)


def _normalized(distribution: str) -> str:
    return distribution.lower().replace("_", "-").replace(".", "-")


def _strategy_text(manifest: Manifest, content: bytes) -> Iterator[str]:
    """Compare the strategy file, which is shown, with the strategy in the manifest, which trades."""
    try:
        loaded = load_strategy_text(content.decode("utf-8"), name=STRATEGY_FILE)
    except StrategyError as error:
        first = next(item for item in error.diagnostics if item.severity == "error")
        yield first.located(STRATEGY_FILE)
        return
    written, traded = loaded.strategy, manifest.strategy
    if isinstance(traded.model, EnsembleSection) and not isinstance(written.model, EnsembleSection):
        # A run with `ensemble` has made an ensemble of it.
        ensemble = EnsembleSection(of=written.model, members=traded.model.members)
        written = written.model_copy(update={"model": ensemble})
    for path, shown, used in _differences(written.model_dump(mode="json"), traded.model_dump(mode="json")):
        if any(path[: len(own)] == own for own in _OVERRIDES):
            continue
        # The plugin adds defaults to the architecture, and label sources have got parameters since.
        in_architecture = any(path[: len(own)] == own for own in _ARCHITECTURES)
        if in_architecture and (shown is None or _same_word(shown, used)):
            continue
        if path[:3] == _LABELS and used is None and ("training", "labels", path[3]) not in loaded.places:
            continue
        where = ".".join(map(str, path))
        yield f"{STRATEGY_FILE} says {_short(shown)} for `{where}`, {MANIFEST_FILE} has {_short(used)}"
    yield from _overrides(written, traded)


def _overrides(written: Strategy, traded: Strategy) -> Iterator[str]:
    """Check the values that a run has overridden: the check of the file did not see them."""
    data, training = traded.training_data, traded.training
    given = {"symbols": data.symbols, "epochs": training.epochs, "seed": training.seed}
    try:
        TrainingSettings.model_validate({**given, "start": data.date_range.start, "end": data.date_range.end})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "date_range"
        yield f"{MANIFEST_FILE}: `strategy` is wrong in `{where}`: {message_of(first)}"
    for key in sorted(set(training.given) ^ set(written.training.given)):
        if key != "epochs":
            yield f"{MANIFEST_FILE} is wrong about `{key}` in `strategy.training.given`: see {STRATEGY_FILE}"


def _differences(one: Any, other: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[Any, Any, Any]]:
    """Yield path and both values wherever two JSON trees differ; ``None`` for a missing value."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in dict.fromkeys((*one, *other)):
            yield from _differences(one.get(key), other.get(key), (*path, key))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, (mine, theirs) in enumerate(zip(one, other, strict=True)):
            yield from _differences(mine, theirs, (*path, index))
    elif one != other:
        yield path, one, other


def _same_word(one: Any, other: Any) -> bool:
    return isinstance(one, str) and isinstance(other, str) and one.lower() == other.lower()


def _features(manifest: Manifest) -> Iterator[str]:
    try:
        number = feature_number(manifest.strategy, crisp=manifest.crisp)
        if number > MAX_FEATURES:
            yield f"{MANIFEST_FILE}: its strategy gives {number:,} features, and {MAX_FEATURES:,} is the limit"
            return
        expected = tuple(column.id for column in _columns(manifest))
    except KeyError as error:
        yield f"{MANIFEST_FILE}: its strategy refers to {error}, which it does not define"
        return
    if expected == manifest.feature_ids:
        return
    where = f"{MANIFEST_FILE}: its feature list `feature_ids` does not fit its strategy"
    for position, (wanted, given) in enumerate(zip(expected, manifest.feature_ids, strict=False)):
        if wanted != given:
            yield f"{where}: feature {position + 1} is `{given}`, the strategy gives `{wanted}`"
            return
    yield f"{where}: {len(manifest.feature_ids)} features, the strategy gives {len(expected)}"


def _columns(manifest: Manifest) -> tuple[FeatureColumn, ...]:
    return (crisp_columns if manifest.crisp else feature_columns)(manifest.strategy)


def _manifest(manifest: Manifest) -> Iterator[str]:
    """Compare the fields of the manifest with the strategy in it."""
    strategy, data = manifest.strategy, manifest.data
    section, learner = strategy.training_data, strategy.model.learner
    classes = CLASSES if manifest.output == "classification" else ()
    for key, given, expected in (
        ("name", manifest.name, strategy.name),
        ("model_type", manifest.model_type, learner.type),
        ("plugin.name", manifest.plugin.name, learner.backend or manifest.plugin.name),
        ("classes", manifest.classes, classes),
        ("seed", manifest.seed, strategy.training.seed),
        ("data.symbols", data.symbols, section.symbols),
        ("data.timeframes", data.timeframes, section.timeframes),
        ("data.base_timeframe", data.base_timeframe, section.base_timeframe),
        ("data.rows", sorted(data.rows), sorted(section.symbols)),
        ("data.split", sorted(data.split), sorted(section.symbols) if data.split else []),
        ("data.calendars", sorted(data.calendars), sorted(section.symbols) if data.calendars else []),
    ):
        if given != expected:
            yield f"{MANIFEST_FILE} says {_short(given)} for `{key}`, its strategy {_short(expected)}"
    for path, written, used in _differences(dict(learner.architecture), dict(manifest.architecture)):
        if written is not None and not _same_word(written, used):
            where = ".".join(map(str, path))
            yield f"{MANIFEST_FILE} says {_short(used)} for `architecture.{where}`, its strategy {_short(written)}"
    yield from _plugin(manifest)
    yield from _period(manifest)
    if manifest.window != 1 and manifest.window not in manifest.architecture.values():
        yield f"{MANIFEST_FILE} says {manifest.window:,} for `window`, which is nowhere in its `architecture`"
    if data.rows and manifest.window > min(data.rows.values()):
        yield f"{MANIFEST_FILE} says {manifest.window:,} for `window`, and there were fewer bars to train on"


def _members(manifest: Manifest) -> Iterator[str]:
    """Compare the list of trainings that differ in the seed with the strategy."""
    given, wanted = tuple(member.seed for member in manifest.members), manifest.strategy.training.seed
    if places := manifest.member_directories:
        if given != (expected := member_seeds(wanted, len(places))):
            yield f"{MANIFEST_FILE} says {_short(given)} for the seeds of `members`, its strategy {_short(expected)}"
    elif given and wanted not in given:
        yield f"{MANIFEST_FILE} says {_short(given)} for the seeds of `members`, and {wanted} for `seed`"
    most = manifest.strategy.training.epochs
    for number, member in enumerate(manifest.members, 1):
        if member.best_epoch > most:
            yield (
                f"{MANIFEST_FILE} says {member.best_epoch:,} for the best epoch of member {number}, and its strategy"
                f" has at most {most:,}"
            )


def _evaluation(manifest: Manifest) -> Iterator[str]:
    """Compare the record of the evaluation that the model was trained from with its data and its strategy."""
    record, data = manifest.evaluation, manifest.data
    if record is None:
        return
    if sorted(record.bars) != sorted(data.symbols):
        given, wanted = _short(sorted(record.bars)), _short(data.symbols)
        yield f"{MANIFEST_FILE} says {given} for `evaluation.bars`, its data {wanted}"
    if record.tested.start < data.start or record.tested.end > data.end:
        yield f"{MANIFEST_FILE}: `evaluation.tested` lies outside of the training data"
    if record.best_epoch > (most := manifest.strategy.training.epochs):
        yield f"{MANIFEST_FILE} says {record.best_epoch:,} for `evaluation.best_epoch`, its strategy at most {most:,}"
    if missing := {"capital", "commission", "slippage"} - set(record.account):
        yield f"{MANIFEST_FILE} has no `{min(missing)}` in `evaluation.account`"
    for symbol, split in data.split.items():
        if split.validation is not None or split.test is not None:
            yield f"{MANIFEST_FILE} has more than a training part in `data.split.{symbol}`, and an `evaluation`"
        if split.reserve != record.reserve:
            yield f"{MANIFEST_FILE}: the reserve of `data.split.{symbol}` is not that of `evaluation`"


def _plugin(manifest: Manifest) -> Iterator[str]:
    plugin = manifest.plugin
    known = {name: distribution for name, (distribution, _) in KNOWN_BACKENDS.items()}
    if plugin.name in sys.stdlib_module_names:
        yield f"{MANIFEST_FILE} says `{plugin.name}` for `plugin.name`, which is a Python module, not a backend"
    for name, distribution in known.items():
        if (plugin.name == name) != same_distribution(plugin.distribution, distribution):
            yield (
                f"{MANIFEST_FILE} says `{plugin.name}` of {plugin.distribution} for `plugin`; "
                f"`{name}` is of {distribution}"
            )


def _period(manifest: Manifest) -> Iterator[str]:
    data = manifest.data
    if data.end < data.start:
        yield f"{MANIFEST_FILE}: `data` ends before it starts"
    for symbol, split in data.split.items():
        parts = [part for part in (split.train, split.validation, split.test) if part is not None]
        ordered = all(one.end <= two.start for one, two in pairwise(parts))
        if not ordered or parts[0].start < data.start or parts[-1].end > data.end:
            yield f"{MANIFEST_FILE}: the parts of `data.split.{symbol}` overlap, or lie outside of its data"
        if split.reserve is not None and split.reserve.start < parts[-1].end:
            yield f"{MANIFEST_FILE}: the reserve of `data.split.{symbol}` begins before the end of its parts"
    if wrong := [symbol for symbol, rows in data.rows.items() if rows < 1]:
        yield f"{MANIFEST_FILE}: `data.rows.{wrong[0]}` is less than one bar"


def _figures(manifest: Manifest) -> Iterator[str]:
    """Check that metrics, baselines and importance belong to the parts, classes and features of this model."""
    named = {
        "metrics": manifest.metrics,
        **{f"baselines.{name}": parts for name, parts in manifest.baselines.items()},
        **{f"members.{number}.metrics": member.metrics for number, member in enumerate(manifest.members, 1)},
    }
    for where, parts in named.items():
        if not isinstance(parts, Mapping) or set(parts) - {"validation", "test"}:
            yield f"{MANIFEST_FILE}: `{where}` has other parts than validation and test"
            continue
        for part, values in parts.items():
            yield from _part(f"{where}.{part}", values, manifest.classes)
    if isinstance(manifest.importance, Mapping):
        listed = manifest.importance.get("features")
        given = listed if isinstance(listed, list) else []
        ids = [str(item.get("id")) for item in given if isinstance(item, Mapping)]
        if sorted(ids) != sorted(manifest.feature_ids):
            yield f"{MANIFEST_FILE}: `importance.features` has other features than `feature_ids`"


def _part(where: str, values: Any, classes: Sequence[str]) -> Iterator[str]:
    if not isinstance(values, Mapping):
        yield f"{MANIFEST_FILE}: `{where}` is not a map of metrics"
        return
    per_class, matrix, calibration = (values.get(key) for key in ("per_class", "confusion_matrix", "calibration"))
    if per_class is not None and (not isinstance(per_class, Mapping) or set(per_class) != set(classes)):
        yield f"{MANIFEST_FILE}: `{where}.per_class` has other classes than `classes`"
    if matrix is not None and not _square(matrix, len(classes)):
        yield f"{MANIFEST_FILE}: `{where}.confusion_matrix` does not have {len(classes)} classes"
    if calibration is not None and _bin_samples(calibration) != values.get("samples"):
        yield f"{MANIFEST_FILE}: `{where}.calibration` has other samples than `{where}.samples`"


def _square(matrix: Any, size: int) -> bool:
    return isinstance(matrix, list) and [len(row) if isinstance(row, list) else -1 for row in matrix] == [size] * size


def _bin_samples(calibration: Any) -> Any:
    try:
        return sum(each["samples"] for each in calibration["bins"])
    except (TypeError, KeyError):
        return "unknown"


def _short(value: Any) -> str:
    """Return a value of any length on one short line."""
    text = "nothing" if value is None else f"{value}" if isinstance(value, bool | int | float) else f"{value!r}"
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 3] + "..."
