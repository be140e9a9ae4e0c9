"""The ledger of trials: every look at out-of-sample results, by whatever command.

A training, a backtest, a sweep, an evaluation and a verdict each look. The ledger counts among how many trials a result
was chosen. A new ledger takes in the models and runs that are stored already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktrdr.core.lazy_names import lazy_names

if TYPE_CHECKING:
    from ktrdr.core.face.stored_trials import StoredTrial, count, export, import_file, list, load, verify
    from ktrdr.core.trials.row import TrialRow
    from ktrdr.core.trials.trial_count import TrialCount

__all__ = [
    "StoredTrial",
    "TrialCount",
    "TrialRow",
    "count",
    "export",
    "import_file",
    "list",
    "load",
    "verify",
]

_ELSEWHERE = {"TrialCount": "ktrdr.core.trials.trial_count", "TrialRow": "ktrdr.core.trials.row"}
__getattr__, __dir__ = lazy_names(
    __name__, {name: _ELSEWHERE.get(name, "ktrdr.core.face.stored_trials") for name in __all__}
)  # fmt: skip
