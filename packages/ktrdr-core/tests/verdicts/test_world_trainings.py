"""The training of worlds is that of an evaluation, and what worlds are trained beside changes nothing."""

from __future__ import annotations

import numpy as np
import pytest

from ktrdr.core.errors import BadInputError, CancelledError
from ktrdr.core.jobs.job_settings import EvaluationSettings
from ktrdr.core.strategy.model import CpcvValidation, HoldoutValidation, WalkForwardValidation
from ktrdr.core.verdicts import world_trainings
from ktrdr.core.verdicts.verdict_parts import MOST_POINTS
from ktrdr.core.verdicts.world_folds import one_path
from ktrdr.core.verdicts.world_maker import WorldMaker
from ktrdr.core.verdicts.world_trainings import WorldTrainer, curve_rows, world_inputs
from ktrdr.core.work import Cancellation
from ktrdr.core.workflows.run_evaluation import evaluate

HOLDOUT = HoldoutValidation(train=0.6, validation=0.2, test=0.2)


@pytest.fixture
def trainer_of(example_plugins):
    def make(setup, cancellation=None):
        return WorldTrainer(setup.folds, example_plugins, setup.account, cancellation or Cancellation())

    return make


@pytest.fixture
def worlds_of(asked):
    def make(setup, *numbers):
        maker = WorldMaker(setup.base, setup.world_seed)
        return [world_inputs(setup.folds, maker.bars("sign_flips", number)) for number in numbers]

    return make


def of(accounts):
    return [(own.sharpe, own.equity.tobytes()) for own in accounts]


@pytest.mark.parametrize(
    ("given", "folds"),
    [
        (CpcvValidation(groups=6, test_groups=2), CpcvValidation(groups=3, test_groups=1)),
        (CpcvValidation(groups=7, test_groups=2, reserve=0.2), CpcvValidation(groups=4, test_groups=1)),
        (CpcvValidation(groups=4, test_groups=3), CpcvValidation(groups=2, test_groups=1)),
        (CpcvValidation(groups=5, test_groups=1), CpcvValidation(groups=5, test_groups=1)),
        (WalkForwardValidation(train="5w", test="2w", reserve=0.1), WalkForwardValidation(train="5w", test="2w")),
        (HOLDOUT, HOLDOUT),
    ],
)
def test_folds_of_a_world_have_one_path_and_as_large_trainings(given, folds):
    assert one_path(given) == folds


@pytest.mark.parametrize(
    "validation", ["{type: cpcv, groups: 3, test_groups: 1}", "{type: walk_forward, train: 4w, test: 2w}"]
)
def test_on_the_real_bars_it_is_the_account_of_an_evaluation(
    load, asked, trainer_of, markets, example_plugins, ledger, tmp_path, validation
):
    loaded = load("{type: cpcv, groups: 4, test_groups: 2}", validation)
    setup = asked(loaded)
    (accounts,) = trainer_of(setup).accounts([setup.evaluation.bars], setup.seeds)
    evaluation = evaluate(
        loaded,
        EvaluationSettings(seeds=5, commission=0.00001),
        bar_store=markets,
        plugins=example_plugins,
        trials=ledger,
        checkpoint_root=tmp_path / "checkpoints",
    )
    assert [own.sharpe for own in accounts] == [own.metrics["sharpe"] for own in evaluation.facts.paths]
    rows = curve_rows(len(evaluation.curves.time))
    for own, equity in zip(accounts, evaluation.curves.equity, strict=True):
        np.testing.assert_array_equal(own.equity, equity[rows] / 10_000)


def test_a_world_is_the_same_alone_and_beside_others(load, asked, trainer_of, worlds_of):
    setup = asked(load())
    trainer, worlds = trainer_of(setup), worlds_of(setup, 0, 1, 2)
    together = [of(each) for each in trainer.accounts(worlds, setup.seeds[:2])]
    alone = [of(*trainer.accounts([world], setup.seeds[:2])) for world in worlds]
    assert together == alone
    assert len({sharpe for each in together for sharpe, _ in each}) == 6


def test_a_world_whose_training_fails_is_told_and_others_are_not_affected(
    load, asked, trainer_of, worlds_of, monkeypatch
):
    setup = asked(load())
    trainer, worlds = trainer_of(setup), worlds_of(setup, 0, 1)
    (expected,) = trainer.accounts(worlds[1:], setup.seeds[:1])
    train = world_trainings.train_members

    def failing(backend, model_type, members, **more):
        outcomes = train(backend, model_type, members, **more)
        return [BadInputError("the loss is not finite"), *outcomes[1:]]

    monkeypatch.setattr(world_trainings, "train_members", failing)
    failed, other = trainer.accounts(worlds, setup.seeds[:1])
    assert [own.sharpe for own in failed] == [None]
    assert not failed[0].equity.size
    assert of(other) == of(expected)


def test_an_account_that_never_trades_has_a_ratio_of_zero(load, asked, trainer_of, worlds_of):
    setup = asked(load("confidence_threshold: 0.51", "confidence_threshold: 0.99"))
    ((account,),) = trainer_of(setup).accounts(worlds_of(setup, 0), setup.seeds[:1])
    assert account.sharpe == 0.0
    assert (account.equity == 1).all()


def test_it_can_be_cancelled(load, asked, trainer_of, worlds_of):
    setup, cancellation = asked(load()), Cancellation()
    trainer, worlds = trainer_of(setup, cancellation), worlds_of(setup, 0)
    cancellation.cancel("by the test")
    with pytest.raises(CancelledError):
        trainer.accounts(worlds, setup.seeds[:1])


@pytest.mark.parametrize("bars", [1, 2, 399, 400, 401, 100_000])
def test_curves_are_kept_at_the_first_and_the_last_bar_and_between(bars):
    rows = curve_rows(bars)
    assert rows[0] == 0
    assert rows[-1] == bars - 1
    assert len(rows) == min(bars, MOST_POINTS)
    assert (np.diff(rows) >= 1).all()
