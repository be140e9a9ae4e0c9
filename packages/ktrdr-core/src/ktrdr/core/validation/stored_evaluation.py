"""Writing of evaluations to their store, and reading, which refuses what is damaged or hostile."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ktrdr.core.errors import BadInputError
from ktrdr.core.evaluations.evaluation_store import EVALUATIONS
from ktrdr.core.files.checked_curves import curve_in, halves_of_times, times_in, values_in
from ktrdr.core.files.checked_models import model_text, read_model
from ktrdr.core.files.durable import write_atomically
from ktrdr.core.files.reading import FileError, read_plain
from ktrdr.core.files.safetensors import read_safetensors, write_safetensors
from ktrdr.core.limits import LARGEST_BUNDLE_FILE, LONGEST_STRATEGY
from ktrdr.core.models.out_of_sample import are_predictions, ascends_within, predictions_in_words
from ktrdr.core.short_texts import quoted
from ktrdr.core.strategy.model import CLASSES, Strategy
from ktrdr.core.trials.trial_count import TrialCount
from ktrdr.core.validation.evaluation_parts import Curves, Evaluation, OutOfSample
from ktrdr.core.validation.evaluation_result import EvaluationFacts
from ktrdr.core.validation.facts_check import check_facts

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

_FACTS_FILE = EVALUATIONS.file
_TEXT_FILE = "strategy.yaml"
_STRATEGY_FILE = "strategy.json"
_CURVES_FILE = "curves.safetensors"


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

    directory = EVALUATIONS.add(
        evaluation.facts.strategy,
        write,
        root=root,
        left_by=None if operation is None else lambda place: _left_by(place, operation),
    )
    if written:
        return written[0]
    return EVALUATIONS.told(directory, lambda: _evaluation(directory, EVALUATIONS.name_of(directory)))


def write_evaluation(evaluation: Evaluation, directory: Path) -> None:
    """Write the files of an evaluation to a directory."""
    (directory / _TEXT_FILE).write_text(evaluation.text, encoding="utf-8")
    (directory / _STRATEGY_FILE).write_text(model_text(evaluation.strategy), encoding="utf-8")
    write_safetensors(directory / _CURVES_FILE, _arrays(evaluation))
    (directory / _FACTS_FILE).write_text(model_text(evaluation.facts), encoding="utf-8")


def evaluation_directory(ref: str, root: Path | None = None) -> Path:
    """Return the directory of a stored evaluation.

    Args:
        ref: ``name/3``, or ``name`` for the latest evaluation of a strategy.
        root: directory of the store; by default ``$KTRDR_HOME/evaluations``.

    Raises:
        NotFoundError: there is no such evaluation; the message names what is stored.
        BadInputError: ``ref`` is not a reference to an evaluation.
    """
    return EVALUATIONS.directory(ref, root)


def load_evaluation(ref: str, root: Path | None = None) -> Evaluation:
    """Return a stored evaluation.

    Args:
        ref: ``name/3``, or ``name`` for the latest evaluation of a strategy.
        root: directory of the store; by default ``$KTRDR_HOME/evaluations``.

    Raises:
        NotFoundError: there is no such evaluation; the message names what is stored.
        BadInputError: ``ref`` is not a reference, or the files are damaged.
    """
    directory = EVALUATIONS.directory(ref, root)
    return EVALUATIONS.told(directory, lambda: _evaluation(directory, EVALUATIONS.name_of(directory)))


def load_facts(ref: str, root: Path | None = None) -> EvaluationFacts:
    """Return the facts of a stored evaluation without its curves.

    Args:
        ref: ``name/3``, or ``name`` for the latest evaluation of a strategy.
        root: directory of the store; by default ``$KTRDR_HOME/evaluations``.

    Raises:
        NotFoundError: there is no such evaluation; the message names what is stored.
        BadInputError: ``ref`` is not a reference, or the file is damaged.
    """
    return _stored_facts(EVALUATIONS.directory(ref, root))


def list_evaluations(root: Path | None = None) -> tuple[EvaluationEntry, ...]:
    """Return all stored evaluations, by name and number; a damaged one has a ``problem``.

    Args:
        root: directory of the store; by default ``$KTRDR_HOME/evaluations``.
    """
    entries = []
    for directory in EVALUATIONS.stored(root):
        name = EVALUATIONS.name_of(directory)
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
    return EVALUATIONS.told(directory, lambda: _facts(directory))


def read_evaluation(directory: Path) -> Evaluation:
    """Return the evaluation in a directory outside the store, which may have any name.

    Raises:
        BadInputError: a file is missing, damaged or hostile, or the files do not belong together.
    """
    return EVALUATIONS.told(directory, lambda: _evaluation(directory))


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
    if not (directory / _FACTS_FILE).is_file():
        return
    before = read_facts(directory)
    changes: dict[str, Any] = {"trial_count": result["trial_count"]}
    if before.reserve is not None and result.get("reserve") is not None:
        changes["reserve"] = before.reserve.model_copy(update={"opened": result["reserve"]["opened"]})
    facts = before.model_copy(update=changes)
    if facts != before:
        write_atomically(directory / _FACTS_FILE, model_text(facts).encode())


def _left_by(directory: Path, operation: str) -> bool:
    try:
        return _stored_facts(directory).operation == operation
    except BadInputError:
        return False


def _stored_facts(directory: Path) -> EvaluationFacts:
    return EVALUATIONS.told(directory, lambda: _facts(directory, EVALUATIONS.name_of(directory)))


def _evaluation(directory: Path, name: str = "") -> Evaluation:
    """Read all files; ``name`` as in :func:`_facts`."""
    facts = _facts(directory, name)
    strategy = read_model(directory / _STRATEGY_FILE, Strategy)
    if strategy.name != facts.strategy or strategy.training_data.symbols != facts.symbols:
        raise FileError(f"{_STRATEGY_FILE} is of another strategy than {_FACTS_FILE}")
    text = read_plain(directory / _TEXT_FILE, 4 * LONGEST_STRATEGY).decode("utf-8")
    arrays = read_safetensors(directory / _CURVES_FILE, LARGEST_BUNDLE_FILE)
    return Evaluation(facts, strategy, text, _curves(arrays, facts), _out_of_sample(arrays, facts))


def _facts(directory: Path, name: str = "") -> EvaluationFacts:
    """Read the facts, and check what readers of them rely on.

    Args:
        directory: of the files.
        name: the name that they must have, because others find the directory by it; empty if any will do.
    """
    facts = read_model(directory / _FACTS_FILE, EvaluationFacts)
    if name and facts.evaluation != name:
        # A copied or renamed directory: what is written for this name would land in the other one.
        raise FileError(f"{_FACTS_FILE} belongs to {facts.evaluation or 'no stored evaluation'}")
    check_facts(facts, _FACTS_FILE)
    return facts


def _arrays(evaluation: Evaluation) -> dict[str, np.ndarray]:
    """Return the arrays of an evaluation, by name."""
    curves = evaluation.curves
    arrays = {
        "time": halves_of_times(curves.time),
        "equity": curves.equity,
        "buy_and_hold": curves.buy_and_hold,
        "close": curves.close,
    }
    for symbol, own in evaluation.out_of_sample.items():
        arrays[f"time/{symbol}"] = halves_of_times(own.time)
        arrays[f"outputs/{symbol}"] = own.outputs
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def _curves(arrays: Mapping[str, np.ndarray], facts: EvaluationFacts) -> Curves:
    time = times_in(arrays, "time", _CURVES_FILE)
    bars = len(time)
    if not bars:
        raise FileError(f"{_CURVES_FILE} has no bars")
    return Curves(
        time,
        curve_in(arrays, "equity", (len(facts.paths), bars), _CURVES_FILE),
        curve_in(arrays, "buy_and_hold", (bars,), _CURVES_FILE),
        curve_in(arrays, "close", (bars,), _CURVES_FILE),
    )


def _out_of_sample(arrays: Mapping[str, np.ndarray], facts: EvaluationFacts) -> dict[str, OutOfSample]:
    expected = {"time", "equity", "buy_and_hold", "close"}
    found = {}
    for symbol in facts.symbols:
        time = times_in(arrays, f"time/{symbol}", _CURVES_FILE)
        classes = len(CLASSES) if facts.output == "classification" else 0
        shape = (len(time), classes) if classes else (len(time),)
        outputs = values_in(arrays, f"outputs/{symbol}", shape, _CURVES_FILE)
        # The checks of a bundle: a model that is trained from the evaluation has these predictions in its own.
        if not ascends_within(time.astype(np.int64) / 1e9, facts.tested.start, facts.tested.end):
            raise FileError(f"{_CURVES_FILE}: the times of {symbol} do not ascend within `tested` of {_FACTS_FILE}")
        if not are_predictions(outputs, classes):
            raise FileError(
                f"{_CURVES_FILE}: the outputs of {symbol} are not {predictions_in_words(classes)}, or missing"
            )
        found[symbol] = OutOfSample(time, outputs)
        expected |= {f"time/{symbol}", f"outputs/{symbol}"}
    if unknown := sorted(arrays.keys() - expected):
        raise FileError(f"{_CURVES_FILE} has an array {quoted(unknown[0])} of no symbol of the evaluation")
    return found
