"""Writing of evaluations to their store, and reading, which refuses what is damaged or hostile."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel, TypeAdapter, ValidationError

from ktrdr.core.errors import BadInputError
from ktrdr.core.evaluations.evaluation_store import (
    EVALUATION_FILE,
    add_evaluation,
    evaluation_directory,
    stored_evaluations,
)
from ktrdr.core.files.durable import write_atomically
from ktrdr.core.files.reading import FileError, parse_json, read_plain
from ktrdr.core.files.safetensors import read_safetensors, write_safetensors
from ktrdr.core.limits import LARGEST_BUNDLE_FILE, LARGEST_JSON, LONGEST_STRATEGY
from ktrdr.core.models.out_of_sample import are_predictions, ascends_within, predictions_in_words
from ktrdr.core.short_texts import quoted
from ktrdr.core.strategy.model import CLASSES, Strategy
from ktrdr.core.trials.trial_count import TrialCount
from ktrdr.core.validation.evaluation_parts import Curves, Evaluation, OutOfSample
from ktrdr.core.validation.evaluation_result import EvaluationFacts
from ktrdr.core.validation.evaluation_sentences import HEADLINES, SCORES

__all__ = [
    "EvaluationEntry",
    "evaluation_directory",
    "list_evaluations",
    "load_evaluation",
    "load_facts",
    "read_evaluation",
    "read_facts",
    "recount_evaluation",
    "recounted",
    "store_evaluation",
    "write_evaluation",
]

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

_TEXT_FILE = "strategy.yaml"
_STRATEGY_FILE = "strategy.json"
_CURVES_FILE = "curves.safetensors"
_ACCOUNT = ("capital", "commission", "slippage")
_COUNT = TypeAdapter(TrialCount)
# Larger values cannot be drawn: the differences of float64 numbers near the largest are infinite.
_LARGEST_VALUE = 1e100
# Printed unchanged: no control characters, which could move the cursor of a terminal.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class EvaluationEntry:
    """An entry of the list of evaluations: its ``facts``, or the ``problem`` why it is refused.

    Attributes:
        name: ``name/3``.
        facts: the facts; ``None`` if they cannot be read.
        problem: why; empty if they can.
    """

    name: str
    facts: EvaluationFacts | None
    problem: str = ""


def store_evaluation(evaluation: Evaluation, *, root: Path | None = None, operation: str | None = None) -> Evaluation:
    """Store an evaluation as the next one of its strategy, and return it with its reference.

    Args:
        evaluation: to store.
        root: directory of the store; by default ``$KTRDR_HOME/evaluations``.
        operation: id of the operation that made it, if any. An operation stores one evaluation: if the store already
            has it, that one is returned.

    Raises:
        StoreError: the disk is full, or the directory is not writable; nothing is stored.
    """
    written: list[Evaluation] = []

    def write(directory: Path, ref: str) -> None:
        facts = evaluation.facts.model_copy(update={"evaluation": ref, "operation": operation})
        written.append(dataclasses.replace(evaluation, facts=facts))
        write_evaluation(written[0], directory)

    directory = add_evaluation(
        evaluation.facts.strategy,
        write,
        root=root,
        left_by=None if operation is None else lambda place: _left_by(place, operation),
    )
    if written:
        return written[0]
    return _told(directory, lambda: _evaluation(directory, _name(directory)))


def write_evaluation(evaluation: Evaluation, directory: Path) -> None:
    """Write the files of an evaluation to a directory."""
    (directory / _TEXT_FILE).write_text(evaluation.text, encoding="utf-8")
    (directory / _STRATEGY_FILE).write_text(_json(evaluation.strategy), encoding="utf-8")
    write_safetensors(directory / _CURVES_FILE, _arrays(evaluation))
    (directory / EVALUATION_FILE).write_text(_json(evaluation.facts), encoding="utf-8")


def load_evaluation(ref: str, root: Path | None = None) -> Evaluation:
    """Return a stored evaluation.

    Args:
        ref: ``name/3``, or ``name`` for the latest evaluation of a strategy.
        root: directory of the store; by default ``$KTRDR_HOME/evaluations``.

    Raises:
        NotFoundError: there is no such evaluation; the message names what is stored.
        BadInputError: ``ref`` is not a reference, or the files are damaged.
    """
    directory = evaluation_directory(ref, root)
    return _told(directory, lambda: _evaluation(directory, _name(directory)))


def load_facts(ref: str, root: Path | None = None) -> EvaluationFacts:
    """Return the facts of a stored evaluation without its curves.

    Args:
        ref: ``name/3``, or ``name`` for the latest evaluation of a strategy.
        root: directory of the store; by default ``$KTRDR_HOME/evaluations``.

    Raises:
        NotFoundError: there is no such evaluation; the message names what is stored.
        BadInputError: ``ref`` is not a reference, or the file is damaged.
    """
    return _stored_facts(evaluation_directory(ref, root))


def list_evaluations(root: Path | None = None) -> tuple[EvaluationEntry, ...]:
    """Return all stored evaluations, by name and number; a damaged one has a ``problem``.

    Args:
        root: directory of the store; by default ``$KTRDR_HOME/evaluations``.
    """
    entries = []
    for directory in stored_evaluations(root):
        name = _name(directory)
        try:
            entries.append(EvaluationEntry(name, _stored_facts(directory)))
        except BadInputError as error:
            entries.append(EvaluationEntry(name, None, str(error)))
    return tuple(entries)


def read_facts(directory: Path) -> EvaluationFacts:
    """Return the facts of an evaluation in any directory, without its curves.

    Raises:
        BadInputError: the file is missing, damaged or hostile.
    """
    return _told(directory, lambda: _facts(directory))


def read_evaluation(directory: Path) -> Evaluation:
    """Return the evaluation in a directory outside the store, which may have any name.

    Raises:
        BadInputError: a file is missing, damaged or hostile, or the files do not belong together.
    """
    return _told(directory, lambda: _evaluation(directory))


def recounted(result: Mapping[str, Any], count: TrialCount, opened: TrialCount | None = None) -> dict[str, Any]:
    """Return the facts of an evaluation as a JSON-ready map with the counts of another ledger.

    Args:
        result: the facts.
        count: of the trials on the tested bars; those made elsewhere are taken from ``result``.
        opened: of the trials on the reserve; ``None`` if it was not opened.
    """
    settings, reserve = result.get("trial_count"), result.get("reserve")
    elsewhere = settings.get("elsewhere", 0) if isinstance(settings, Mapping) else 0
    own = {**result, "trial_count": count.with_elsewhere(elsewhere).to_json()}
    if opened is not None and isinstance(reserve, Mapping):
        own["reserve"] = {**reserve, "opened": opened.known}
    return own


def recount_evaluation(directory: Path, result: Mapping[str, Any]) -> None:
    """Write the counts of trials of ``result`` into the files of an evaluation, if they are there and have others.

    Raises:
        BadInputError: the file is damaged.
        StoreError: the file cannot be written.
    """
    if not (directory / EVALUATION_FILE).is_file():
        return
    before = read_facts(directory)
    changes: dict[str, Any] = {"trial_count": result["trial_count"]}
    if before.reserve is not None and result.get("reserve") is not None:
        changes["reserve"] = before.reserve.model_copy(update={"opened": result["reserve"]["opened"]})
    facts = before.model_copy(update=changes)
    if facts != before:
        write_atomically(directory / EVALUATION_FILE, _json(facts).encode())


def _left_by(directory: Path, operation: str) -> bool:
    try:
        return _stored_facts(directory).operation == operation
    except BadInputError:
        return False


def _name(directory: Path) -> str:
    """Return the name that an evaluation has in the store, by its directory."""
    return f"{directory.parent.name}/{directory.name}"


def _stored_facts(directory: Path) -> EvaluationFacts:
    return _told(directory, lambda: _facts(directory, _name(directory)))


def _told(directory: Path, read: Callable[[], T]) -> T:
    """Return the result of ``read``; a damaged file is told with the name of the evaluation and a remedy."""
    try:
        return read()
    except (FileError, UnicodeDecodeError) as error:
        raise BadInputError(
            f"evaluation {_name(directory)} is damaged: {error}; evaluate the strategy again, or remove {directory}"
        ) from None


def _model(path: Path, kind: type[M]) -> M:
    """Read a JSON file as a model."""
    value = parse_json(read_plain(path, LARGEST_JSON), path.name)
    if found := _control_character(value):
        raise FileError(f"{path.name} has a control character in {found}")
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise FileError(f"{path.name}: {quoted(place)}: {quoted(first['msg'])}") from None


def _control_character(value: Any) -> str:
    """Return a text in JSON that could move the cursor of a terminal, quoted; empty if there is none."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            # Descriptions have lines.
            if _CONTROL.search(item.replace("\n", " ")):
                return quoted(item)
        elif isinstance(item, dict):
            pending += [*item.keys(), *item.values()]
        elif isinstance(item, list):
            pending += item
    return ""


def _evaluation(directory: Path, name: str = "") -> Evaluation:
    """Read all files; ``name`` as in :func:`_facts`."""
    facts = _facts(directory, name)
    strategy = _model(directory / _STRATEGY_FILE, Strategy)
    if strategy.name != facts.strategy or strategy.training_data.symbols != facts.symbols:
        raise FileError(f"{_STRATEGY_FILE} is of another strategy than {EVALUATION_FILE}")
    text = read_plain(directory / _TEXT_FILE, 4 * LONGEST_STRATEGY).decode("utf-8")
    arrays = read_safetensors(directory / _CURVES_FILE, LARGEST_BUNDLE_FILE)
    return Evaluation(facts, strategy, text, _curves(arrays, facts), _out_of_sample(arrays, facts))


def _facts(directory: Path, name: str = "") -> EvaluationFacts:
    """Read the facts, and check what readers of them rely on.

    Args:
        directory: of the files.
        name: the name that they must have, because others find the directory by it; empty if any will do.
    """
    facts = _model(directory / EVALUATION_FILE, EvaluationFacts)
    if name and facts.evaluation != name:
        # A copied or renamed directory: what is written for this name would land in the other one.
        raise FileError(f"{EVALUATION_FILE} belongs to {facts.evaluation or 'no stored evaluation'}")
    accounts = [(own.path, own.seed) for own in facts.paths]
    if facts.median_path not in accounts or len(set(accounts)) < len(accounts):
        raise FileError(f"{EVALUATION_FILE} names a median path that is none of its accounts, or an account twice")
    if {seed for _, seed in accounts} != set(facts.seeds) or not facts.folds or not facts.symbols:
        raise FileError(f"{EVALUATION_FILE} has no folds, no symbols, or accounts of other seeds than its own")
    if any(tuple(own.seed for own in fold.seeds) != facts.seeds for fold in facts.folds):
        raise FileError(f"{EVALUATION_FILE} has a fold with other seeds than its own")
    _check_results(facts)
    if facts.trial_count is not None:
        _check_count(facts.trial_count)
    return facts


def _check_results(facts: EvaluationFacts) -> None:
    """Check that whatever is shown without asking is there, and that metrics have names that can be shown."""
    for number, fold in enumerate(facts.folds, 1):
        if not fold.test or not all(fold.samples.get(part, -1) >= 0 for part in ("train", "validation", "test")):
            raise FileError(f"{EVALUATION_FILE} lacks the test part of fold {number}, or the samples of a part")
    reserve = {} if facts.reserve is None else facts.reserve.metrics
    for metrics in (facts.metrics, *(fold.metrics for fold in facts.folds)):
        if missing := [name for name in HEADLINES[facts.output] if name not in metrics]:
            raise FileError(f"{EVALUATION_FILE} lacks the metric `{missing[0]}` of a fold, or of all folds")
    for name in (*facts.metrics, *(name for fold in facts.folds for name in fold.metrics), *reserve):
        if name not in SCORES:
            raise FileError(f"{EVALUATION_FILE} has a metric {quoted(name)}, which no prediction has")
    if facts.account.keys() != set(_ACCOUNT):
        raise FileError(f"{EVALUATION_FILE}: `account` must have {', '.join(_ACCOUNT)}, and nothing else")


def _check_count(content: Mapping[str, Any]) -> None:
    try:
        # Readers call from_json, which checks the keys but no types.
        count = TrialCount.from_json(dict(content)).to_json()
        _COUNT.validate_json(json.dumps(count, allow_nan=False), strict=True)
    except (TypeError, ValueError):
        raise FileError(f"{EVALUATION_FILE}: `trial_count` is no count of trials") from None


def _json(model: BaseModel) -> str:
    return json.dumps(model.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _arrays(evaluation: Evaluation) -> dict[str, np.ndarray]:
    """Return the arrays of an evaluation, by name."""
    curves = evaluation.curves
    arrays = {
        "time": _halves(curves.time),
        "equity": curves.equity,
        "buy_and_hold": curves.buy_and_hold,
        "close": curves.close,
    }
    for symbol, own in evaluation.out_of_sample.items():
        arrays[f"time/{symbol}"] = _halves(own.time)
        arrays[f"outputs/{symbol}"] = own.outputs
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def _halves(time: np.ndarray) -> np.ndarray:
    """Return times as int32 ``(n, 2)``: the two halves of each, as the format has no longer integers."""
    halves: np.ndarray = np.ascontiguousarray(time.astype("<M8[ns]")).view("<i4").reshape(-1, 2)
    return halves


def _times(arrays: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    halves = arrays.get(name)
    if halves is None or halves.dtype != np.dtype("<i4") or halves.ndim != 2 or halves.shape[1] != 2:
        raise FileError(f"{_CURVES_FILE} has no times {quoted(name)}")
    number = np.ascontiguousarray(halves).view("<i8").reshape(-1)
    if len(number) and (number[0] < 0 or (np.diff(number) <= 0).any()):
        raise FileError(f"{_CURVES_FILE}: the times {quoted(name)} are not ascending")
    time: np.ndarray = number.view("<M8[ns]")
    return time


def _values(arrays: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return float64 values of a shape."""
    found = arrays.get(name)
    if found is None or found.dtype != np.float64 or found.shape != shape:
        raise FileError(f"{_CURVES_FILE} has no array {quoted(name)} of shape {shape}")
    return found


def _curve(arrays: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return float64 values of a shape that can be drawn."""
    found = _values(arrays, name, shape)
    if not np.isfinite(found).all():
        raise FileError(f"{_CURVES_FILE}: {quoted(name)} has values that are not numbers")
    if (np.abs(found) > _LARGEST_VALUE).any():
        raise FileError(f"{_CURVES_FILE}: {quoted(name)} has values above {_LARGEST_VALUE:g}")
    return found


def _curves(arrays: Mapping[str, np.ndarray], facts: EvaluationFacts) -> Curves:
    time = _times(arrays, "time")
    bars = len(time)
    if not bars:
        raise FileError(f"{_CURVES_FILE} has no bars")
    return Curves(
        time,
        _curve(arrays, "equity", (len(facts.paths), bars)),
        _curve(arrays, "buy_and_hold", (bars,)),
        _curve(arrays, "close", (bars,)),
    )


def _out_of_sample(arrays: Mapping[str, np.ndarray], facts: EvaluationFacts) -> dict[str, OutOfSample]:
    expected = {"time", "equity", "buy_and_hold", "close"}
    found = {}
    for symbol in facts.symbols:
        time = _times(arrays, f"time/{symbol}")
        classes = len(CLASSES) if facts.output == "classification" else 0
        shape = (len(time), classes) if classes else (len(time),)
        outputs = _values(arrays, f"outputs/{symbol}", shape)
        # The checks of a bundle: a model that is trained from the evaluation has these predictions in its own.
        if not ascends_within(time.astype(np.int64) / 1e9, facts.tested.start, facts.tested.end):
            raise FileError(f"{_CURVES_FILE}: the times of {symbol} do not ascend within `tested` of {EVALUATION_FILE}")
        if not are_predictions(outputs, classes):
            raise FileError(
                f"{_CURVES_FILE}: the outputs of {symbol} are not {predictions_in_words(classes)}, or missing"
            )
        found[symbol] = OutOfSample(time, outputs)
        expected |= {f"time/{symbol}", f"outputs/{symbol}"}
    if unknown := sorted(arrays.keys() - expected):
        raise FileError(f"{_CURVES_FILE} has an array {quoted(unknown[0])} of no symbol of the evaluation")
    return found
