"""Writing of verdicts to their store, and reading, which refuses what is damaged or hostile."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ktrdr.core.errors import BadInputError
from ktrdr.core.files.checked_curves import halves_of_times
from ktrdr.core.files.checked_models import model_text, read_model
from ktrdr.core.files.durable import write_atomically
from ktrdr.core.files.numbered_results import NumberedResults
from ktrdr.core.files.reading import FileError, read_plain
from ktrdr.core.files.safetensors import read_safetensors, write_safetensors
from ktrdr.core.limits import LARGEST_BUNDLE_FILE, LONGEST_STRATEGY
from ktrdr.core.validation.stored_evaluation import store_evaluation
from ktrdr.core.verdicts.verdict_check import check_verdict, curves_of
from ktrdr.core.verdicts.verdict_parts import Verdict, VerdictCurves
from ktrdr.core.verdicts.verdict_result import VerdictFacts

__all__ = [
    "VerdictEntry",
    "latest_verdict",
    "list_verdicts",
    "load_verdict",
    "load_verdict_facts",
    "read_verdict",
    "recount_verdict",
    "store_verdict",
    "verdict_directory",
]

_VERDICTS = NumberedResults(
    kind="verdict",
    article="a",
    folder="verdicts",
    file="verdict.json",
    command="ktrdr verdict",
    again="judge the strategy again",
)
_FACTS_FILE = _VERDICTS.file
_TEXT_FILE = "strategy.yaml"
_CURVES_FILE = "curves.safetensors"
_BEST = (2, True, True)
"""What :func:`_worth` returns at most."""


@dataclass(frozen=True, slots=True)
class VerdictEntry:
    """An entry of the list of verdicts: its ``facts``, or the ``problem`` why it is refused.

    Attributes:
        name: ``name/3``; empty if there is no verdict.
        facts: the facts; ``None`` if they cannot be read, or if there is no verdict.
        problem: why; empty if they can.
        same_choice: True if the verdict is on the choice that was asked for: the same strategy, but for its name,
            description and seed.
    """

    name: str
    facts: VerdictFacts | None
    problem: str = ""
    same_choice: bool = False


def store_verdict(
    verdict: Verdict,
    *,
    root: Path | None = None,
    evaluations: Path | None = None,
    operation: str | None = None,
) -> Verdict:
    """Store a verdict as the next one of its strategy, and return it with its reference.

    The evaluation that it rests on is stored first, in the store of evaluations, and the verdict names it.

    Args:
        verdict: to store.
        root: directory of the store; by default ``$KTRDR_HOME/verdicts``.
        evaluations: directory of the store of evaluations; by default ``$KTRDR_HOME/evaluations``.
        operation: id of the operation that made it, if any. An operation stores one verdict: if the store already has
            it, that one is returned.

    Raises:
        StoreError: the disk is full, or the directory is not writable; no verdict is stored.
    """
    rests_on, evaluation = verdict.facts.evaluation, verdict.evaluation
    if evaluation is not None:
        evaluation = store_evaluation(evaluation, root=evaluations, operation=operation)
        rests_on = evaluation.facts
    written: list[Verdict] = []

    def write(directory: Path, ref: str) -> None:
        facts = verdict.facts.model_copy(update={"verdict": ref, "evaluation": rests_on, "operation": operation})
        written.append(dataclasses.replace(verdict, facts=facts, evaluation=evaluation))
        _write(written[0], directory)

    directory = _VERDICTS.add(
        verdict.facts.strategy,
        write,
        root=root,
        left_by=None if operation is None else lambda place: _left_by(place, operation),
    )
    if written:
        return written[0]
    return dataclasses.replace(_stored(directory), strategy=verdict.strategy, evaluation=evaluation)


def verdict_directory(ref: str, root: Path | None = None) -> Path:
    """Return the directory of a stored verdict.

    Args:
        ref: ``name/3``, or ``name`` for the latest verdict on a strategy.
        root: directory of the store; by default ``$KTRDR_HOME/verdicts``.

    Raises:
        NotFoundError: there is no such verdict; the message names what is stored.
        BadInputError: ``ref`` is not a reference to a verdict.
    """
    return _VERDICTS.directory(ref, root)


def load_verdict(ref: str, root: Path | None = None) -> Verdict:
    """Return a stored verdict, without its evaluation, which ``facts.evaluation`` names.

    Args:
        ref: ``name/3``, or ``name`` for the latest verdict on a strategy.
        root: directory of the store; by default ``$KTRDR_HOME/verdicts``.

    Raises:
        NotFoundError: there is no such verdict; the message names what is stored.
        BadInputError: ``ref`` is not a reference, or the files are damaged.
    """
    return _stored(_VERDICTS.directory(ref, root))


def load_verdict_facts(ref: str, root: Path | None = None) -> VerdictFacts:
    """Return the facts of a stored verdict without its curves.

    Args:
        ref: ``name/3``, or ``name`` for the latest verdict on a strategy.
        root: directory of the store; by default ``$KTRDR_HOME/verdicts``.

    Raises:
        NotFoundError: there is no such verdict; the message names what is stored.
        BadInputError: ``ref`` is not a reference, or the file is damaged.
    """
    return _stored_facts(_VERDICTS.directory(ref, root))


def list_verdicts(root: Path | None = None) -> tuple[VerdictEntry, ...]:
    """Return all stored verdicts, by name and number; a damaged one has a ``problem``.

    Args:
        root: directory of the store; by default ``$KTRDR_HOME/verdicts``.
    """
    return tuple(_entry(directory) for directory in _VERDICTS.stored(root))


def latest_verdict(
    strategy: str, choice: str, root: Path | None = None, *, symbols: Collection[str] = ()
) -> VerdictEntry:
    """Return the latest verdict on a choice, or else on another version of the strategy.

    Args:
        strategy: name of the strategy.
        choice: hash of the strategy without its name, description and seed.
        root: directory of the store; by default ``$KTRDR_HOME/verdicts``.
        symbols: symbols that are asked about. A verdict on the same ones goes before later verdicts on others, and an
            INVALID on others comes after every other verdict, as it tells of faults in other bars. By default the
            symbols do not matter.

    Returns:
        The entry; one without a name if there is no verdict on the strategy. A verdict on the choice goes before all
        others, except an INVALID on other symbols. A damaged verdict is passed over unless there are none but damaged
        ones.
    """
    best, least = VerdictEntry("", None), (-1, False, False)
    for directory in reversed(_VERDICTS.stored_of(strategy, root)):
        entry = _entry(directory)
        worth = _worth(entry.facts, choice, symbols)
        if worth > least:
            best, least = dataclasses.replace(entry, same_choice=worth[1]), worth
        if worth == _BEST:
            break
    return best


def _worth(facts: VerdictFacts | None, choice: str, symbols: Collection[str]) -> tuple[int, bool, bool]:
    """Return what orders the verdicts: not void for these symbols, on the same choice, on the same symbols."""
    if facts is None:
        return (0, False, False)
    same = not symbols or set(facts.symbols) == set(symbols)
    return (1 if facts.word == "INVALID" and not same else 2, facts.choice == choice, same)


def read_verdict(directory: Path) -> Verdict:
    """Return the verdict in a directory outside the store, which may have any name.

    Raises:
        BadInputError: a file is missing, damaged or hostile, or the files do not belong together.
    """
    return _VERDICTS.told(directory, lambda: _verdict(directory))


def recount_verdict(directory: Path, result: Mapping[str, Any]) -> None:
    """Write facts with the counts of another ledger into the files of a verdict, if they are there and have others.

    Args:
        directory: of the verdict.
        result: what :func:`~ktrdr.core.verdicts.recounted_verdict.recounted_verdict` returned.

    Raises:
        BadInputError: the file is damaged, or ``result`` is another verdict.
        StoreError: the file cannot be written.
    """
    if not (directory / _FACTS_FILE).is_file():
        return
    before = _VERDICTS.told(directory, lambda: _facts(directory))
    facts = VerdictFacts.model_validate({name: result[name] for name in VerdictFacts.model_fields if name in result})
    if (facts.verdict, facts.choice, facts.data_fingerprint) != (
        before.verdict,
        before.choice,
        before.data_fingerprint,
    ):
        raise BadInputError(f"the files of verdict {before.verdict} are not those of the result; judge it again")
    if facts != before:
        write_atomically(directory / _FACTS_FILE, model_text(facts).encode())


def _write(verdict: Verdict, directory: Path) -> None:
    (directory / _TEXT_FILE).write_text(verdict.text, encoding="utf-8")
    if verdict.curves is not None:
        write_safetensors(directory / _CURVES_FILE, _arrays(verdict.curves))
    (directory / _FACTS_FILE).write_text(model_text(verdict.facts), encoding="utf-8")


def _arrays(curves: VerdictCurves) -> dict[str, np.ndarray]:
    """Return the arrays of the curves, by name."""
    arrays = {
        "time": halves_of_times(curves.time),
        "accounts": curves.accounts,
        "buy_and_hold": curves.buy_and_hold,
        "observed": curves.observed,
        **{f"worlds/{name}": own for name, own in curves.worlds.items()},
    }
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def _left_by(directory: Path, operation: str) -> bool:
    entry = _entry(directory)
    return entry.facts is not None and entry.facts.operation == operation


def _entry(directory: Path) -> VerdictEntry:
    name = _VERDICTS.name_of(directory)
    try:
        return VerdictEntry(name, _stored_facts(directory))
    except BadInputError as error:
        return VerdictEntry(name, None, str(error))


def _stored(directory: Path) -> Verdict:
    return _VERDICTS.told(directory, lambda: _verdict(directory, _VERDICTS.name_of(directory)))


def _stored_facts(directory: Path) -> VerdictFacts:
    return _VERDICTS.told(directory, lambda: _facts(directory, _VERDICTS.name_of(directory)))


def _verdict(directory: Path, name: str = "") -> Verdict:
    """Read all files; ``name`` as in :func:`_facts`."""
    facts = _facts(directory, name)
    text = read_plain(directory / _TEXT_FILE, 4 * LONGEST_STRATEGY).decode("utf-8")
    if facts.evaluation is None:
        return Verdict(facts, text, None)
    arrays = read_safetensors(directory / _CURVES_FILE, LARGEST_BUNDLE_FILE)
    return Verdict(facts, text, curves_of(arrays, facts, _CURVES_FILE))


def _facts(directory: Path, name: str = "") -> VerdictFacts:
    """Read and check the facts.

    Args:
        directory: of the files.
        name: the name that they must have, because others find the directory by it; empty if any will do.
    """
    facts = read_model(directory / _FACTS_FILE, VerdictFacts)
    if name and (facts.verdict != name or facts.strategy != name.partition("/")[0]):
        # A copied or renamed directory: what is written for this name would land in the other one.
        raise FileError(f"{_FACTS_FILE} belongs to {facts.verdict or 'no stored verdict'}")
    check_verdict(facts, _FACTS_FILE)
    return facts
