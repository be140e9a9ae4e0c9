"""Verdicts end to end: the word of known markets, kill and resume, the ledger, hashes, and the batches of worlds."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.errors import BadInputError, CancelledError
from ktrdr.core.jobs import job_settings
from ktrdr.core.jobs.job_settings import EvaluationSettings, VerdictSettings
from ktrdr.core.limits import QUICK_WORLDS
from ktrdr.core.training.run_checkpoint import NothingToResumeError
from ktrdr.core.trials.look import Look
from ktrdr.core.validation.evaluation_parts import Evaluation
from ktrdr.core.verdicts import verdict_maker, verdict_setup, world_batches
from ktrdr.core.verdicts.verdict_result import ValidityFinding
from ktrdr.core.work import Cancellation
from ktrdr.core.workflows.run_evaluation import evaluate
from ktrdr.core.workflows.run_verdict import estimate

CLOCK = {"seconds", "made"}
WALK = ("symbol: MEAN", "symbol: WALK")


class Killed(BaseException):
    """Ends a run at once, as no code of KTRDR catches it."""


def of(verdict):
    """Everything in a verdict that does not depend on the clock."""
    facts = verdict.facts.model_dump(mode="json", exclude=CLOCK)
    facts["evaluation"].pop("seconds")
    curves = verdict.curves
    arrays = [curves.time, curves.accounts, curves.buy_and_hold, curves.observed, *curves.worlds.values()]
    return facts, [own.tobytes() for own in arrays], [look.trial for look in verdict.looks]


def kill_at(step, fraction):
    def kill(event):
        if event.step == step and event.fraction >= fraction:
            raise Killed

    return kill


def test_a_market_with_an_edge_and_one_without(load, run):
    edge, none = run(load(), few=QUICK_WORLDS), run(load(*WALK), few=QUICK_WORLDS)
    assert edge.facts.word == "EDGE", edge.facts.reasons
    assert none.facts.word in ("NOT PROVEN", "NONE")
    assert max(worlds.p for worlds in edge.facts.nulls) == 1 / 21
    assert all(len(worlds.values) == 20 for worlds in edge.facts.nulls)
    assert not edge.facts.linear
    assert edge.facts.world.startswith("mean_reversion-5")
    assert none.facts.reasons


@pytest.mark.slow
def test_more_worlds_begin_with_the_same_ones(load, run, monkeypatch):
    monkeypatch.setattr(job_settings, "NULL_WORLDS", 6)
    few, many = run(load()).facts, run(load(), quick=False).facts
    for short, long in zip(few.nulls, many.nulls, strict=True):
        assert long.values[:4] == short.values
        assert len(long.values) == 6
    # The first of five seeds is that of the quick form.
    assert many.evaluation.seeds[:1] == few.evaluation.seeds
    assert {each.kind: len(each.values) for each in many.linear} == {"random_phases": 10, "block_bootstrap": 10}


@pytest.mark.parametrize(
    ("step", "fraction"),
    [("null worlds", 0), ("null worlds", 0.4), ("null worlds", 1), ("training", 0.5), ("accounts", 1),
     ("real bars", 0)],
)  # fmt: skip
def test_killed_at_any_moment_and_resumed_it_is_the_same(load, run, tmp_path, step, fraction):
    loaded = load()
    whole = run(loaded, checkpoint_root=tmp_path / "other")
    with pytest.raises(Killed):
        run(loaded, progress=kill_at(step, fraction))
    try:
        resumed = run(loaded, resume=True)
    except NothingToResumeError:
        assert (step, fraction) == ("null worlds", 0)
        resumed = run(loaded)
    assert of(resumed) == of(whole)
    assert not list((tmp_path / "checkpoints").glob("*/*"))


def test_a_resumed_run_trains_no_world_twice(load, run, monkeypatch):
    loaded = load()
    with pytest.raises(Killed):
        run(loaded, progress=kill_at("null worlds", 0.4))
    trained = []
    add = world_batches.WorldLog.add
    monkeypatch.setattr(world_batches.WorldLog, "add", lambda log, made: (trained.extend(made), add(log, made)))
    run(loaded, resume=True)
    assert 0 < len(trained) < 40
    assert len(set(trained)) == len(trained)


@pytest.mark.parametrize(
    "change",
    [{"commission": 0.0002}, {"slippage": 0.0001}, {"capital": 500.0}, {"seed": 4}, {"epochs": 2}],
)
def test_what_changes_an_account_is_not_resumed(load, run, change):
    with pytest.raises(Killed):
        run(load(), progress=kill_at("null worlds", 0.4))
    with pytest.raises(NothingToResumeError, match="leave out --resume"):
        run(load(), resume=True, **change)
    with pytest.raises(NothingToResumeError):
        run(load("max_holding_period: 4", "max_holding_period: 5"), resume=True)
    run(load(), resume=True)


def test_other_code_of_an_indicator_is_another_question_and_is_not_resumed(load, run, own_indicator):
    own = ("{type: rsi, period: 3}", "{type: own_share}", "[0, 10, 45]", "[0, 0.001, 0.002]",
           "[30, 50, 70]", "[0.001, 0.002, 0.003]", "[55, 90, 100]", "[0.002, 0.003, 0.1]")  # fmt: skip
    own_indicator()
    with pytest.raises(Killed):
        run(load(*own), progress=kill_at("null worlds", 0.4))
    own_indicator("1.5")
    with pytest.raises(NothingToResumeError):
        run(load(*own), resume=True)
    other = run(load(*own)).facts
    own_indicator()
    resumed = run(load(*own), resume=True).facts
    assert resumed.hash != other.hash
    assert resumed.choice != other.choice
    assert [own.evaluation.trial_count["known"] for own in (other, resumed)] == [1, 2]


def test_a_run_of_another_ktrdr_is_not_resumed(load, run, monkeypatch):
    with pytest.raises(Killed):
        run(load(), progress=kill_at("null worlds", 0.4))
    with monkeypatch.context() as patch:
        patch.setattr(verdict_maker, "__version__", "9.9.9")
        with pytest.raises(NothingToResumeError):
            run(load(), resume=True)
    run(load(), resume=True)


def test_a_cancelled_run_says_what_can_be_resumed_and_is_no_trial(load, run, ledger):
    cancellation = Cancellation()

    def cancel(event):
        if event.step == "null worlds" and event.fraction > 0.4:
            cancellation.cancel("by the test")

    with pytest.raises(CancelledError) as stopped:
        run(load(), progress=cancel, cancellation=cancellation)
    assert stopped.value.checkpoint is not None
    assert stopped.value.checkpoint.is_file()
    assert not ledger.rows()
    assert run(load(), resume=True).facts.word == "NOT PROVEN"


@pytest.mark.parametrize("most", [1, 3, 40])
def test_batches_of_any_size_give_the_same_worlds(load, run, monkeypatch, tmp_path, most):
    whole = run(load())
    monkeypatch.setattr(verdict_maker, "most_worlds_at_once", lambda setup, plugins: most)
    assert of(run(load(), checkpoint_root=tmp_path / "other")) == of(whole)


@pytest.mark.slow
def test_the_same_question_has_the_same_hash_and_another_has_another(load, run):
    first, again = run(load()).facts, run(load()).facts
    assert (first.hash, first.evidence_hash) == (again.hash, again.evidence_hash)
    named = run(load("name: waves", "name: others")).facts
    assert named.hash == first.hash
    changed = [
        run(load(), seed=4).facts,
        run(load(), commission=0.00002).facts,
        run(load(*WALK)).facts,
        run(load("middle: [30, 50, 70]", "middle: [30, 50, 71]")).facts,
    ]
    hashes = {first.hash, *(facts.hash for facts in changed)}
    assert len(hashes) == 5
    # The other trials count: the first question is another one now.
    later = run(load()).facts
    assert later.deflation.other_trials > 0
    assert later.hash not in hashes


def test_it_is_a_row_in_the_ledger_and_the_trial_of_the_evaluation(
    load, run, ledger, markets, example_plugins, tmp_path
):
    verdict = run(load())
    (look,) = verdict.looks
    assert isinstance(look, Look)
    assert look.kind == "verdict"
    assert [listed.row.kind for listed in ledger.page()] == ["verdict"]
    evaluation = evaluate(
        load(),
        EvaluationSettings(seeds=1, commission=0.00001),
        bar_store=markets,
        plugins=example_plugins,
        trials=ledger,
        checkpoint_root=tmp_path / "checkpoints",
    )
    assert evaluation.look.trial == look.trial
    assert evaluation.facts.trial_count["number"] == 1
    assert run(load()).facts.deflation.trials == 1


@pytest.mark.slow
def test_200_trials_before_it_do_not_improve_it(load, run, ledger):
    alone = run(load()).facts
    (look,) = run(load()).looks
    ledger.record([dataclasses.replace(look, strategy=f"{number:064x}") for number in range(200)])
    after = run(load()).facts
    assert after.deflation.other_trials == 200
    assert after.deflation.probability < alone.deflation.probability
    assert after.deflation.expected_best > alone.deflation.expected_best
    # Worlds and account are as they were: only the count is another.
    assert after.nulls == alone.nulls
    order = ["INVALID", "NONE", "NOT PROVEN", "EDGE"]
    assert order.index(after.word) <= order.index(alone.word)


def test_trials_made_elsewhere_count_too(load, run):
    facts = run(load(), trials=1000).facts
    assert facts.deflation.other_trials == 1000


def test_costs_of_zero_are_never_an_edge(load, run):
    facts = run(load(), few=QUICK_WORLDS, commission=0.0).facts
    assert facts.word == "NOT PROVEN"
    assert [reason.name for reason in facts.reasons] == ["costs"]


def test_a_finding_ends_it_before_any_result_is_looked_at(load, run, ledger, monkeypatch):
    finding = ValidityFinding(check="made_up", title="made up", clean=False, sentence="The test says so.")
    monkeypatch.setattr(verdict_maker, "check_validity", lambda *arguments, **more: (finding,))
    verdict = run(load())
    assert verdict.facts.word == "INVALID"
    assert verdict.facts.evaluation is None
    assert verdict.curves is None
    assert not verdict.looks
    assert not ledger.rows()
    assert [reason.name for reason in verdict.facts.reasons] == ["made_up"]
    # Each worker has its own ledger, and no count decides here.
    assert run(load(), trials=200).facts.hash == verdict.facts.hash


def test_an_opened_reserve_is_told_and_counted(load, run, ledger):
    loaded = load("test_groups: 2}", "test_groups: 2, reserve: 0.2}")
    closed, opened = run(loaded), run(loaded, reserve=True)
    assert not closed.facts.evaluation.reserve.opened
    assert opened.facts.evaluation.reserve.opened == 1
    assert len(opened.looks) == 2
    assert opened.facts.hash != closed.facts.hash
    assert opened.facts.nulls == closed.facts.nulls


def test_nothing_but_the_opened_accounts_reads_the_reserve(load, run, markets, tmp_path):
    """With other bars in the reserve, everything before the accounts on it stays as it is, to the last bit."""
    loaded = load("test_groups: 2}", "test_groups: 2, reserve: 0.2}")
    other = BarStore(tmp_path / "other")
    bars = markets.read("MEAN", "1h")
    random = np.random.default_rng(3)
    price = bars.close[1199] * np.exp(np.cumsum(random.normal(0, 0.01, 300)))
    columns = {name: np.concatenate((getattr(bars, name)[:1200], price)) for name in ("open", "high", "low", "close")}
    other.write(dataclasses.replace(bars, **columns, world=""))
    for reserve in (False, True):
        one, two = run(loaded, reserve=reserve).facts, run(loaded, reserve=reserve, bar_store=other).facts
        assert (one.nulls, one.deflation.sharpe, one.break_even) == (two.nulls, two.deflation.sharpe, two.break_even)
        assert [own.metrics for own in one.evaluation.paths] == [own.metrics for own in two.evaluation.paths]
        assert one.data_fingerprint == two.data_fingerprint
        assert (one.evidence_hash == two.evidence_hash) is not reserve
        assert (one.reserve_fingerprint == two.reserve_fingerprint) is not reserve


def test_an_opened_reserve_that_loses_is_no_edge(load, run, markets, tmp_path):
    loaded = load("test_groups: 2}", "test_groups: 2, reserve: 0.2}")
    other, bars = BarStore(tmp_path / "other"), markets.read("MEAN", "1h")
    price = bars.close[1199] * np.exp(0.002 * np.arange(1, 301))  # a trend, which a reverter loses on
    columns = {name: np.concatenate((getattr(bars, name)[:1200], price)) for name in ("open", "high", "low", "close")}
    other.write(dataclasses.replace(bars, **columns, world=""))
    closed = run(loaded, few=QUICK_WORLDS, bar_store=other).facts
    assert closed.word == "EDGE", closed.reasons
    opened = run(loaded, few=QUICK_WORLDS, bar_store=other, reserve=True).facts
    assert opened.word == "NOT PROVEN"
    assert [reason.name for reason in opened.reasons] == ["reserve"]


def test_the_seed_of_the_worlds_follows_from_the_bars_and_from_nothing_else(load, asked):
    one = asked(load())
    assert one.world_seed == int(one.data_fingerprint[:8], 16)
    assert asked(load("seed: 3", "seed: 4"), seed=9, capital=5.0).world_seed == one.world_seed
    assert asked(load(*WALK)).world_seed != one.world_seed


def test_the_real_bars_are_compared_by_the_median_of_their_seeds(load, run, monkeypatch):
    ratios = iter([4.0, -1.0, 2.0, 9.0, 3.0])
    train = verdict_maker.VerdictMaker._train_real

    def changed(maker, setup, trainer):
        return [dataclasses.replace(own, sharpe=next(ratios)) for own in train(maker, setup, trainer)]

    monkeypatch.setattr(verdict_maker.VerdictMaker, "_train_real", changed)
    monkeypatch.setattr(job_settings, "NULL_WORLDS", 4)
    monkeypatch.setattr(verdict_setup, "LINEAR_WORLDS", 1)
    facts = run(load(), quick=False).facts
    assert {own.observed for own in (*facts.nulls, *facts.linear)} == {3.0}


def test_the_median_account_is_that_of_the_evaluation(load, run):
    verdict = run(load())
    facts = verdict.facts
    median = next(own for own in facts.evaluation.paths if (own.path, own.seed) == facts.evaluation.median_path)
    assert facts.deflation.sharpe == pytest.approx(median.metrics["sharpe"], rel=1e-9)
    assert facts.delay.observed == median.metrics["sharpe"]
    at_paid = facts.break_even.sharpe[facts.break_even.costs.index(facts.break_even.paid)]
    assert at_paid == pytest.approx(median.metrics["sharpe"], rel=1e-9)
    assert isinstance(verdict.evaluation, Evaluation)
    assert verdict.curves.accounts.shape[0] == len(facts.evaluation.paths)
    np.testing.assert_array_equal(verdict.curves.worlds["garch"].shape, (4, verdict.curves.time.size))


def test_an_estimate_looks_at_nothing(load, markets, example_plugins, home):
    told = estimate(load(), VerdictSettings(quick=True), bar_store=markets, plugins=example_plugins)
    # 2 x 20 worlds of 2 folds, and on the real bars 2 of the worlds' folds and 6 of the evaluation.
    assert (told.trainings, told.worlds) == (2 * 40 + 2 + 6, 40)
    assert told.seconds > 0
    assert not (home / "trials.sqlite").exists()


def test_bars_without_room_for_the_folds_are_refused(load, run):
    with pytest.raises(BadInputError, match="groups"):
        run(load("groups: 4, test_groups: 2", "groups: 600, test_groups: 1"))


def test_more_trainings_than_the_limit_are_refused_with_their_number(load, run, monkeypatch):
    monkeypatch.setattr(verdict_setup, "MOST_WORLD_TRAININGS", 15)
    with pytest.raises(BadInputError, match=r"16 trainings \(8 worlds × 2 folds\), and the limit is 15"):
        run(load())
    monkeypatch.setattr(verdict_setup, "MOST_WORLD_TRAININGS", 16)
    assert run(load()).facts.worlds == 4
