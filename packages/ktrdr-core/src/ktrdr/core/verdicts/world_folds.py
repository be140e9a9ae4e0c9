"""Folds of the training in null worlds: each bar is tested once, by a model that was trained on the others."""

from __future__ import annotations

import dataclasses
import math

from ktrdr.core.strategy.model import CpcvValidation, HoldoutValidation, ValidationSection, WalkForwardValidation
from ktrdr.core.validation.evaluation_setup import EvaluationSetup
from ktrdr.core.validation.folds import plan_folds

__all__ = ["one_path", "world_setup"]


def one_path(validation: ValidationSection) -> ValidationSection:
    """Return folds with a single path, whose trainings have as large a share of the bars as those of ``validation``.

    Combinatorial folds of ``groups`` of which ``test_groups`` are tested become ``groups / test_groups`` groups,
    rounded up, of which one is tested: 6 and 2 become 3 trainings in place of 15. Walk-forward and holdout have one
    path already. The reserve is left out: the bars are those before it.

    Args:
        validation: folds of an evaluation.
    """
    if isinstance(validation, CpcvValidation):
        groups = max(2, math.ceil(validation.groups / validation.test_groups))
        return CpcvValidation(groups=groups, test_groups=1)
    assert isinstance(validation, WalkForwardValidation | HoldoutValidation)
    return validation.model_copy(update={"reserve": 0.0})


def world_setup(setup: EvaluationSetup) -> EvaluationSetup:
    """Return an evaluation of the same bars before the reserve on the folds of :func:`one_path`.

    Args:
        setup: the evaluation of the strategy.

    Raises:
        BadInputError: the bars have no room for the folds.
    """
    validation = one_path(setup.validation)
    plan = plan_folds(
        validation,
        setup.times,
        look_ahead=setup.plan.look_ahead,
        embargo=setup.strategy.training.embargo,
        bar=setup.bar,
        window=setup.window,
    )
    return dataclasses.replace(setup, validation=validation, plan=plan, stored=setup.bars)
