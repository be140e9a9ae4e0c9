"""A verdict with the count of trials of another ledger, as where a server knows more trials than its worker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ktrdr.core.errors import BadInputError
from ktrdr.core.trials.trial_count import TrialCount
from ktrdr.core.validation.evaluation_result import EvaluationFacts
from ktrdr.core.validation.evaluation_sentences import median_account
from ktrdr.core.validation.stored_evaluation import recounted
from ktrdr.core.verdicts.deflation import deflated
from ktrdr.core.verdicts.evidence import evidence_from
from ktrdr.core.verdicts.rule import rule
from ktrdr.core.verdicts.verdict_hash import evidence_hash, verdict_hash
from ktrdr.core.verdicts.verdict_result import EXIT_STATUS, Deflation, VerdictFacts

__all__ = ["recounted_verdict"]


def recounted_verdict(result: Mapping[str, Any], count: TrialCount, opened: TrialCount | None = None) -> dict[str, Any]:
    """Return a verdict as a JSON-ready map with the counts of another ledger, and what the rule says then.

    Superior ability and overfitting, which are shown only, stay those of the trials that the worker knew.

    Args:
        result: the verdict, not INVALID; other keys than those of its facts stay as they are.
        count: of the trials on the tested bars; those made elsewhere are taken from ``result``.
        opened: of the trials on the reserve; ``None`` if it was not opened.

    Raises:
        BadInputError: ``result`` is no such verdict.
    """
    known = {name: result[name] for name in VerdictFacts.model_fields if name in result}
    try:
        facts = VerdictFacts.model_validate(known)
    except ValueError as error:
        raise BadInputError(f"a worker reports a verdict in an unknown format ({error}); update its KTRDR") from None
    if facts.evaluation is None:
        raise BadInputError("a worker reports a verdict that is INVALID, and a look at results; update its KTRDR")
    evaluation = EvaluationFacts.model_validate(recounted(known["evaluation"], count, opened))
    deflation = _deflated(facts.deflation, evaluation)
    ruling = rule(evidence_from(facts.validity, evaluation, facts.nulls, deflation))
    assert evaluation.trial_count is not None
    own = facts.model_copy(
        update={
            "evaluation": evaluation,
            "deflation": deflation,
            "word": ruling.word,
            "sentence": ruling.sentence,
            "conditions": ruling.conditions,
            "reasons": ruling.reasons,
            "hash": verdict_hash(
                choice=facts.choice,
                bars=facts.data_fingerprint,
                seeds=facts.seeds,
                worlds=facts.worlds,
                account=facts.account,
                reserve=facts.reserve_fingerprint,
                other_trials=TrialCount.from_json(dict(evaluation.trial_count)).number - 1,
                versions=facts.provenance.environment.packages,
            ),
        }
    )
    own = own.model_copy(update={"evidence_hash": evidence_hash(own)})
    return {**result, **own.model_dump(mode="json"), "exit_status": EXIT_STATUS[own.word]}


def _deflated(found: Deflation | None, evaluation: EvaluationFacts) -> Deflation | None:
    """Return the ratio of the median account beside the trials that the evaluation counts."""
    error = median_account(evaluation).metrics.get("sharpe_error")
    if found is None or error is None:
        return found
    assert evaluation.trial_count is not None
    return deflated(
        found.sharpe,
        error,
        (found.low, found.high),
        found.years,
        TrialCount.from_json(dict(evaluation.trial_count)),
    )
