"""What readers of the facts of an evaluation rely on, checked in facts of unknown origin."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from ktrdr.core.files.reading import FileError
from ktrdr.core.short_texts import quoted
from ktrdr.core.trials.trial_count import TrialCount
from ktrdr.core.validation.evaluation_result import EvaluationFacts
from ktrdr.core.validation.evaluation_sentences import HEADLINES, SCORES

__all__ = ["check_account", "check_facts"]

_ACCOUNT = ("capital", "commission", "slippage")
_COUNT = TypeAdapter(TrialCount)


def check_facts(facts: EvaluationFacts, file: str) -> None:
    """Check the facts of an evaluation.

    Args:
        facts: to check.
        file: name of the file that they are read from, for messages.

    Raises:
        FileError: a part is missing, or two parts do not belong together.
    """
    accounts = [(own.path, own.seed) for own in facts.paths]
    if facts.median_path not in accounts or len(set(accounts)) < len(accounts):
        raise FileError(f"{file} names a median path that is none of its accounts, or an account twice")
    if {seed for _, seed in accounts} != set(facts.seeds) or not facts.folds or not facts.symbols:
        raise FileError(f"{file} has no folds, no symbols, or accounts of other seeds than its own")
    if any(tuple(own.seed for own in fold.seeds) != facts.seeds for fold in facts.folds):
        raise FileError(f"{file} has a fold with other seeds than its own")
    _check_results(facts, file)
    if facts.trial_count is not None:
        _check_count(facts.trial_count, file)


def check_account(account: Mapping[str, float], file: str) -> None:
    """Check that an account has its capital and costs, and nothing else.

    Raises:
        FileError: it has not.
    """
    if account.keys() != set(_ACCOUNT):
        raise FileError(f"{file}: `account` must have {', '.join(_ACCOUNT)}, and nothing else")


def _check_results(facts: EvaluationFacts, file: str) -> None:
    """Check that whatever is shown without asking is there, and that metrics have names that can be shown."""
    for number, fold in enumerate(facts.folds, 1):
        if not fold.test or not all(fold.samples.get(part, -1) >= 0 for part in ("train", "validation", "test")):
            raise FileError(f"{file} lacks the test part of fold {number}, or the samples of a part")
    reserve = {} if facts.reserve is None else facts.reserve.metrics
    for metrics in (facts.metrics, *(fold.metrics for fold in facts.folds)):
        if missing := [name for name in HEADLINES[facts.output] if name not in metrics]:
            raise FileError(f"{file} lacks the metric `{missing[0]}` of a fold, or of all folds")
    for name in (*facts.metrics, *(name for fold in facts.folds for name in fold.metrics), *reserve):
        if name not in SCORES:
            raise FileError(f"{file} has a metric {quoted(name)}, which no prediction has")
    check_account(facts.account, file)


def _check_count(content: Mapping[str, Any], file: str) -> None:
    try:
        # Readers call from_json, which checks the keys but no types.
        count = TrialCount.from_json(dict(content)).to_json()
        _COUNT.validate_json(json.dumps(count, allow_nan=False), strict=True)
    except (TypeError, ValueError):
        raise FileError(f"{file}: `trial_count` is no count of trials") from None
