"""Evidence over the trials at hand: whether the best of them is better than cash, and whether choosing it overfits."""

from __future__ import annotations

from ktrdr.core.trials.look import Look
from ktrdr.core.trials.trial_ledger import TrialLedger
from ktrdr.core.verdicts.overfitting import overfitting_of
from ktrdr.core.verdicts.superior_ability import superior_ability_of
from ktrdr.core.verdicts.trials_at_hand import trials_at_hand
from ktrdr.core.verdicts.verdict_result import Overfitting, SuperiorAbility

__all__ = ["trial_evidence"]


def trial_evidence(
    ledger: TrialLedger, look: Look, *, seed: int
) -> tuple[SuperiorAbility | None, Overfitting | None, tuple[str, ...]]:
    """Return Hansen's test and the probability of backtest overfitting over the trials that looked at the same bars.

    Args:
        ledger: ledger of the trials.
        look: look at the judged strategy, which has been recorded.
        seed: seed of the bootstrap.

    Returns:
        Both, ``None`` where they cannot be told, and a sentence for each that cannot.
    """
    if look.returns is None:
        return None, None, ("There are no daily returns to compare trials by.",)
    table = trials_at_hand(look.returns, ledger.returns(look.span)).returns
    superior, overfitting = superior_ability_of(table, seed=seed), overfitting_of(table)
    notes = []
    if superior is None:
        notes.append("Superior ability cannot be told of fewer than 20 days, or of accounts that never change.")
    if overfitting is None:
        notes.append(
            "The probability of overfitting is that of a choice: it needs two trials with different returns on the same"
            " bars, and two days for each of 16 blocks."
        )
    return superior, overfitting, tuple(notes)
