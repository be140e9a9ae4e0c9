"""Evaluations end to end: kill and resume, cancellation, the ledger, the reserve, and what a fold may see."""

from __future__ import annotations

import dataclasses
import statistics
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.errors import BadInputError, CancelledError
from ktrdr.core.indicators import registry
from ktrdr.core.strategy.member_seeds import member_seeds
from ktrdr.core.strategy.model import EnsembleSection, Members, ModelSection
from ktrdr.core.training import symbol_features
from ktrdr.core.training.population import train_population
from ktrdr.core.training.run_checkpoint import NothingToResumeError
from ktrdr.core.trials.trial_database import TrialStoreError
from ktrdr.core.validation import evaluator
from ktrdr.core.validation.fold_metrics import Judge
from ktrdr.core.validation.fold_trainings import MOST_TRAININGS, check_number, evaluation_seeds
from ktrdr.core.validation.path_accounts import median_place
from ktrdr.core.work import Cancellation

CPCV = {"type": "cpcv", "groups": 4, "test_groups": 2}
WALK = {"type": "walk_forward", "train": "5w", "test": "2w"}
UNNORMALIZED = ("  - {raw_indicator: roc_5, timeframes: all}\n", "")


class Killed(BaseException):
    """Ends a run at once, as no code of KTRDR catches it."""


def of(evaluation, *, but=("seconds",)):
    """Everything in an evaluation that does not depend on the clock."""
    facts = evaluation.facts.model_dump(mode="json", exclude=set(but))
    curves = [getattr(evaluation.curves, field.name).tobytes() for field in dataclasses.fields(evaluation.curves)]
    outputs = [(symbol, own.time.tobytes(), own.outputs.tobytes()) for symbol, own in evaluation.out_of_sample.items()]
    return facts, curves, outputs


def end_of(data, rows=slice(None)):
    """The last bar that the labels of samples can reach; the tests label four bars ahead."""
    return data.rows[rows].max() + 4


@pytest.mark.parametrize(
    ("step", "fraction"),
    [("labels", 0), ("training", 0), ("training", 0.3), ("training", 1), ("prediction", 0), ("prediction", 1),
     ("accounts", 1), ("metrics", 0), ("metrics", 1)],
)  # fmt: skip
def test_killed_at_any_moment_and_resumed_it_gives_the_same_result(load, run, tmp_path, step, fraction):
    loaded = load(**CPCV)
    whole = run(loaded, checkpoint_root=tmp_path / "other")

    def kill(event):
        if event.step == step and event.fraction >= fraction:
            raise Killed

    with pytest.raises(Killed):
        run(loaded, progress=kill)
    try:
        resumed = run(loaded, resume=True)
    except NothingToResumeError:
        assert (step, fraction) in (("labels", 0), ("training", 0))
        resumed = run(loaded)
    assert of(resumed) == of(whole)
    assert not list((tmp_path / "checkpoints").glob("*/*"))


def test_a_resumed_run_trains_nothing_twice(load, run, monkeypatch):
    loaded, trained = load(**CPCV), []

    def kill(event):
        if event.step == "prediction":
            raise Killed

    with pytest.raises(Killed):
        run(loaded, progress=kill)

    def counted(trainer, model_type, members, *, store, **more):
        trained.extend(number for number in range(len(members)) if store.find(number) is None)
        return train_population(trainer, model_type, members, store=store, **more)

    monkeypatch.setattr(evaluator, "train_population", counted)
    run(loaded, resume=True)
    assert not trained


@pytest.mark.parametrize("change", [{"seeds": 3}, {"reserve": True}, {"seed": 4}])
def test_what_changes_the_trainings_is_not_resumed(load, run, change):
    loaded = load(**CPCV, reserve=0.1)

    def kill(event):
        if event.step == "prediction":
            raise Killed

    with pytest.raises(Killed):
        run(loaded, progress=kill)
    with pytest.raises(NothingToResumeError):
        run(loaded, resume=True, **change)
    with pytest.raises(NothingToResumeError):
        run(load(**CPCV, reserve=0.11), resume=True)
    assert run(loaded, resume=True).facts.seeds == (3, 4)


def test_other_code_of_an_indicator_is_not_resumed_and_is_another_trial(load, run, own_indicator):
    def kill(event):
        if event.step == "prediction":
            raise Killed

    own = ("{type: roc, period: 5}", "{type: own_share}")
    own_indicator()
    with pytest.raises(Killed):
        run(load(*own, **CPCV), progress=kill)
    own_indicator("2")
    with pytest.raises(NothingToResumeError):
        run(load(*own, **CPCV), resume=True)
    other = run(load(*own, **CPCV)).facts
    own_indicator()
    resumed = run(load(*own, **CPCV), resume=True).facts
    assert [own.trial_count["known"] for own in (other, resumed)] == [1, 2]


def test_an_evaluation_warns_of_an_indicator_whose_code_cannot_be_read(load, run, own_indicator, monkeypatch):
    own_indicator()
    monkeypatch.setattr(registry, "code_digest", lambda module, indicator: None)
    found = run(load("{type: roc, period: 5}", "{type: own_share}", **CPCV), seeds=1).facts
    assert any("the source of indicator `own_share`" in warning for warning in found.warnings)


def test_a_cancelled_run_says_what_can_be_resumed(load, run):
    loaded, cancellation = load(**CPCV), Cancellation()

    def cancel(event):
        if event.step == "training" and event.done > 3:
            cancellation.cancel("by the test")

    with pytest.raises(CancelledError) as stopped:
        run(loaded, progress=cancel, cancellation=cancellation)
    assert stopped.value.checkpoint is not None
    assert of(run(loaded, resume=True)) == of(run(loaded))


def test_cancelled_before_training_there_is_nothing_to_resume_and_nothing_in_the_ledger(load, run, ledger):
    cancellation = Cancellation()
    cancellation.cancel("by the test")
    with pytest.raises(CancelledError) as stopped:
        run(load(**CPCV), cancellation=cancellation)
    assert stopped.value.checkpoint is None
    assert not ledger.rows()


def test_it_is_one_trial_however_many_seeds_it_has(load, run, ledger):
    first = run(load(**CPCV))
    assert first.facts.trial_count["number"] == 1
    assert run(load(**CPCV)).facts.trial_count["number"] == 1
    other = run(load("low: [0, 25, 45]", "low: [0, 20, 40]", **CPCV))
    assert other.facts.trial_count["number"] == 2
    look = first.look
    assert (look.kind, look.seed, look.seeds, look.span.symbols) == ("evaluation", None, (3, 4), ("EURUSD",))
    assert look.metrics["members"] == [[own.path, own.seed, own.metrics["sharpe"]] for own in first.facts.paths]
    median = next(own for own in first.facts.paths if (own.path, own.seed) == first.facts.median_path)
    assert look.metrics["sharpe"] == median.metrics["sharpe"]
    assert {listed.row.kind for listed in ledger.page()} == {"evaluation"}
    days = np.unique(first.curves.time.astype("datetime64[D]"))
    total = np.prod(1 + look.returns.values.astype(np.float64)) - 1
    assert total == pytest.approx(median.metrics["total_return"], abs=1e-5)
    assert look.returns.first == days[0].astype(int)


def test_seeds_cannot_be_picked_for_free(load, run, ledger):
    """Whoever keeps the best of twelve seeds has made twelve trials, and has opened the reserve twelve times."""
    loaded = load(**CPCV, reserve=0.2)
    for number in range(1, 4):
        facts = run(loaded, seeds=1, seed=100 + number, reserve=True).facts
        assert (facts.trial_count["number"], facts.reserve.opened) == (number, number)
    facts = run(loaded, seeds=1, seed=102, reserve=True).facts
    assert (facts.trial_count["number"], facts.reserve.opened) == (3, 3)
    # Three seeds together are neither of the three, and the seed of the file is a seed like any other.
    assert run(loaded, seeds=3, seed=101).facts.trial_count["number"] == 4
    assert run(loaded, seeds=1).facts.trial_count["number"] == 5
    assert run(load("seed: 3", "seed: 101", **CPCV, reserve=0.2), seeds=3).facts.trial_count["number"] == 5
    assert not any(chain.problem for chain in ledger.verify())


def test_without_a_record_there_is_no_result(load, run, ledger, monkeypatch):
    def fail(looks):
        raise TrialStoreError("the ledger is full")

    monkeypatch.setattr(ledger, "record", fail)
    with pytest.raises(TrialStoreError, match="full"):
        run(load(**CPCV))


@pytest.fixture
def members(monkeypatch):
    """Return the list that the members of the next evaluation are put into."""
    found = []

    def capture(trainer, model_type, population, **more):
        found.extend(population)
        return train_population(trainer, model_type, population, **more)

    monkeypatch.setattr(evaluator, "train_population", capture)
    return found


def test_all_folds_share_one_array_and_features_are_computed_once(load, run, members, monkeypatch):
    computed = []

    def counted(*arguments):
        computed.append(1)
        return fuzzify(*arguments)

    fuzzify = symbol_features.fuzzify
    monkeypatch.setattr(symbol_features, "fuzzify", counted)
    run(load(*UNNORMALIZED, **CPCV, reserve=0.1), seeds=2)
    assert len(members) == 12
    assert all(member.data.features is members[0].data.features for member in members)
    assert len(computed) == 1


@pytest.mark.parametrize("validation", [CPCV, WALK], ids=lambda own: own["type"])
def test_no_training_sees_a_label_that_reaches_its_test_part(load, run, members, validation):
    found = run(load(*UNNORMALIZED, **validation), seeds=1)
    timeline = found.curves.time
    bars = len(members[0].data.features)
    assert len(members) == len(found.facts.folds)
    for member, fold in zip(members, found.facts.folds, strict=True):
        tested = np.zeros(bars, dtype=bool)
        first = bars - len(timeline)
        for part in fold.test:
            start, end = (np.datetime64(at.replace(tzinfo=None), "ns") for at in (part.start, part.end))
            tested[first:] |= (timeline >= start) & (timeline < end)
        reached = touched(member.data)
        assert not (reached & tested).any()
        # A trainer that chooses its epoch by test samples would be seen.
        peeking = dataclasses.replace(
            member.data, validation=dataclasses.replace(member.data.validation, rows=np.flatnonzero(tested)[:5])
        )
        assert (touched(peeking) & tested).any()


def touched(data):
    """Mask of the bars that samples of a training are of, or that their labels, four bars ahead, depend on."""
    reached = np.zeros(len(data.features) + 4, dtype=bool)
    for part in (data.train, data.validation):
        for ahead in range(5):
            reached[part.rows + ahead] = True
    return reached[: len(data.features)]


@pytest.fixture
def garbled(bar_store, tmp_path):
    """Return ``garbled(start)``: a store in which prices from ``start`` on are others."""

    def make(start):
        bars = bar_store.read("EURUSD", "1h")
        late = bars.time >= np.datetime64(start)
        factor = np.where(late, 1.5 + 0.2 * np.sin(np.arange(len(bars))), 1.0)
        columns = {name: getattr(bars, name) * factor for name in ("open", "high", "low", "close")}
        store = BarStore(tmp_path / "garbled")
        store.write(dataclasses.replace(bars, **columns))
        return store

    return make


def test_a_closed_reserve_changes_nothing(load, run, garbled):
    loaded = load(**CPCV, reserve=0.2)
    found = run(loaded)
    reserve = found.facts.reserve
    assert (reserve.opened, reserve.seeds, reserve.metrics) == (0, (), {})
    other = run(loaded, bar_store=garbled(reserve.period.start.replace(tzinfo=None).isoformat()))
    assert of(other) == of(found)
    assert found.facts.tested.end <= reserve.period.start


def test_an_opened_reserve_is_a_trial_of_its_own_and_counted_by_whatever_name(load, run, ledger, garbled):
    loaded = load(**CPCV, reserve=0.2)
    closed = run(loaded)
    opened = run(loaded, reserve=True)
    but = ("seconds", "reserve", "trial_count")
    assert of(opened, but=but) == of(closed, but=but)
    reserve = opened.facts.reserve
    assert reserve.opened == 1
    assert [own.seed for own in reserve.seeds] == [3, 4]
    assert 0 <= reserve.metrics["accuracy"].low <= reserve.metrics["accuracy"].high <= 1
    assert len(opened.looks) == 2
    assert opened.looks[1].span.start == int(reserve.period.start.timestamp())
    assert run(loaded, reserve=True).facts.reserve.opened == 1
    renamed = load("name: waves", "name: others", "epochs: 3", "epochs: 2", **CPCV, reserve=0.2)
    assert run(renamed, reserve=True).facts.reserve.opened == 2
    start = reserve.period.start.replace(tzinfo=None).isoformat()
    garbage = run(loaded, reserve=True, bar_store=garbled(start))
    assert of(garbage, but=but) == of(closed, but=but)
    assert garbage.facts.reserve.seeds != reserve.seeds


def test_a_seed_that_cannot_be_trained_everywhere_is_left_out(load, run, monkeypatch):
    def failing(trainer, model_type, members, **more):
        outcomes = train_population(trainer, model_type, members, **more)
        return [
            BadInputError("its loss is not finite") if place == broken else own for place, own in enumerate(outcomes)
        ]

    monkeypatch.setattr(evaluator, "train_population", failing)
    broken = 4  # fold 2, seed 4
    found = run(load(**CPCV), seeds=3)
    assert found.facts.seeds == (3, 5)
    assert {own.seed for own in found.facts.paths} == {3, 5}
    assert any(
        "seed 4 is left out, because its training failed in fold 2: its loss is not finite" in warning
        for warning in found.facts.warnings
    )
    with pytest.raises(BadInputError, match=r"^the training failed with 1 of 2 seeds; .*seed 3, in fold 3: its loss"):
        run(load(**CPCV), seeds=2)


def test_progress_is_reported_at_most_ten_times_a_second(load, run):
    events, begun = [], time.monotonic()
    run(load(**CPCV), seeds=4, progress=events.append)
    lasted = time.monotonic() - begun
    for step in ("prediction", "accounts", "metrics"):
        own = [event for event in events if event.step == step]
        assert own[-1].fraction == 1.0
        assert [event.fraction for event in own] == sorted(event.fraction for event in own)
        assert len(own) <= 10 * lasted + 2


def test_the_benchmarks_are_those_of_the_tested_bars(load, run):
    found = run(load(**WALK))
    facts, curves = found.facts, found.curves
    assert facts.tested.start > facts.period.start
    assert len(curves.time) == facts.buy_and_hold["bars"] == facts.paths[0].metrics["bars"]
    assert curves.buy_and_hold[-1] == pytest.approx(facts.buy_and_hold["final_equity"])
    assert facts.majority is not None
    assert set(facts.majority) == set(facts.paths[0].metrics)
    assert set(facts.paths[0].metrics).isdisjoint({"trials", "deflated_sharpe"})
    assert sum(row.bars for row in facts.regimes) == len(curves.time)
    assert facts.best_epoch == int(statistics.median(own.best_epoch for fold in facts.folds for own in fold.seeds))
    samples = facts.baselines["majority"]["samples"]
    assert samples == sum(fold.samples["test"] for fold in facts.folds)


def test_warnings_name_what_is_too_little(load, run):
    short = load("end: 2017-03-31", "end: 2017-01-31", type="cpcv", groups=8, test_groups=1)
    told = "\n".join(run(short).facts.warnings)
    assert "in the fold with the fewest," in told
    assert "of the median account," in told or "never trades" in told


@given(st.lists(st.one_of(st.none(), st.floats(-5, 5)), min_size=1, max_size=30))
def test_the_median_account_is_the_lower_one(ratios):
    place = median_place(ratios)
    assert (ratios[place] or 0.0) == statistics.median_low([own or 0.0 for own in ratios])


@given(st.integers(0, 2**32 - 1), st.integers(1, 20), st.integers(2, 9))
def test_ensembles_share_no_member(first, number, size):
    ensemble = EnsembleSection(of=ModelSection(type="mlp"), members=Members(seeds=size))
    seeds = evaluation_seeds(first, number, ensemble)
    members = [seed for own in seeds for seed in member_seeds(own, size)]
    assert len(set(members)) == number * size
    assert members == list(member_seeds(first, number * size))
    assert evaluation_seeds(first, number, ensemble.of) == member_seeds(first, number)


def test_too_many_trainings_are_refused_with_their_number():
    model = ModelSection(type="mlp")
    check_number(MOST_TRAININGS // 5, 5, model)
    with pytest.raises(BadInputError, match=r"would have 10,005 trainings \(2,001 folds × 5 seeds\)"):
        check_number(MOST_TRAININGS // 5 + 1, 5, model)


@pytest.mark.parametrize(
    ("last", "settings", "told"),
    [
        ("2017-03-10", {"reserve": True}, "GBPUSD has no bar in the reserve; leave the symbol out"),
        ("2017-02-01", {}, "GBPUSD has no bar in the tested period; leave the symbol out"),
    ],
)
def test_a_symbol_without_bars_to_trade_is_told_before_any_training(
    load, run, bar_store, tmp_path, last, settings, told
):
    store, bars = BarStore(tmp_path / "store"), bar_store.read("EURUSD", "1h")
    store.write(bars)
    store.write(dataclasses.replace(bars, symbol="GBPUSD").between(None, np.datetime64(last)))
    both = load(
        "{mode: single, symbol: EURUSD}",
        "{mode: multi_symbol, list: [EURUSD, GBPUSD]}",
        type="walk_forward", train="5w", test="2w", reserve=0.2,
    )  # fmt: skip
    events = []
    with pytest.raises(BadInputError, match=told):
        run(both, bar_store=store, progress=events.append, **settings)
    assert "training" not in {event.step for event in events}


def test_the_world_is_named_and_two_are_refused_before_any_training(load, run, bar_store, tmp_path):
    store, bars = BarStore(tmp_path / "store"), bar_store.read("EURUSD", "1h")
    store.write(dataclasses.replace(bars, world="walk-7"))
    store.write(dataclasses.replace(bars, symbol="GBPUSD"))
    found = run(load(**WALK), bar_store=store, seeds=1)
    assert (found.facts.world, found.look.span.world) == ("walk-7", "walk-7")
    both = load("{mode: single, symbol: EURUSD}", "{mode: multi_symbol, list: [EURUSD, GBPUSD]}", **WALK)
    with pytest.raises(BadInputError, match="different markets: EURUSD has bars of the synthetic market walk-7"):
        run(both, bar_store=store)


@pytest.mark.parametrize("share", [0.0, 0.25])
def test_a_holdout_opens_its_reserve_with_the_shares_of_its_own_parts(load, run, members, share):
    loaded = load(*UNNORMALIZED, type="holdout", train=0.75 - share, validation=share, test=0.25, reserve=0.2)
    found = run(loaded, seeds=1, reserve=True)
    of_fold, before_reserve = (member.data for member in members)
    assert len(found.facts.folds) == 1
    assert len(found.facts.reserve.seeds) == 1
    assert len(before_reserve.validation) > len(of_fold.validation) if share else not len(before_reserve.validation)
    bars = found.facts.bars["EURUSD"]
    assert touched(before_reserve)[bars - 20 :].sum() < touched(before_reserve)[bars - 40 : bars - 20].sum()
    rows = len(before_reserve.validation) / (len(before_reserve.validation) + len(before_reserve.train))
    assert rows == pytest.approx(share / 0.75, abs=0.02)


@pytest.fixture
def judged(monkeypatch):
    """Return the list that the samples of every interval of the next evaluation are put into."""
    found, intervals = [], Judge.intervals

    def capture(judge, samples, outputs):
        found.append((judge, samples))
        return intervals(judge, samples, outputs)

    monkeypatch.setattr(Judge, "intervals", capture)
    return found


BARRIERS = (
    "{source: direction, horizon: 4, threshold: 0.0005}",
    "{source: triple_barrier, pt_multiplier: 4, sl_multiplier: 4, max_holding_period: 150}",
)


def test_a_reserve_is_not_judged_by_labels_that_only_fast_moves_have(load, run, judged):
    loaded = load(*BARRIERS, type="holdout", train=0.6, validation=0.2, test=0.2, reserve=0.2)
    reserve = run(loaded, seeds=1, reserve=True).facts.reserve
    judge, samples = judged[-1]
    labels, bars = judge.labels["EURUSD"], len(judge.times["EURUSD"])
    first = bars - reserve.bars
    assert judge.look_ahead == 150
    # Some of the last labels are known, and those would be judged.
    assert np.isfinite(labels.values[bars - 150 :].astype(float)).any()
    known = [row for row in range(first, bars - 150) if np.isfinite(float(labels.values[row]))]
    assert samples.rows["EURUSD"].tolist() == known
    assert 0 < reserve.metrics["accuracy"].value < 1


def test_a_reserve_that_no_label_fits_into_has_accounts_and_no_metrics(load, run):
    loaded = load(*BARRIERS, type="holdout", train=0.6, validation=0.2, test=0.2, reserve=0.09)
    reserve = run(loaded, seeds=1, reserve=True).facts.reserve
    assert 0 < reserve.bars <= 150
    assert reserve.metrics == {}
    assert len(reserve.seeds) == 1


@pytest.mark.parametrize(
    "dates", [{"end": "2017-05-31"}, {"start": "2017-01-20"}, {"end": "2017-02-28"}], ids=lambda own: "-".join(own)
)
def test_the_dates_of_a_run_do_not_move_the_reserve(load, run, dates):
    """Bars at and after its begin are neither trained on nor tested, and it ends where the file's dates end."""
    loaded = load(**CPCV, reserve=0.2)
    usual = run(loaded, seeds=1, reserve=True).facts
    found = run(loaded, seeds=1, reserve=True, **dates)
    facts = found.facts
    assert facts.reserve.period == usual.reserve.period
    assert facts.reserve.bars == usual.reserve.bars
    assert facts.tested.end <= facts.reserve.period.start
    assert facts.reserve.opened == 2
    assert found.looks[1].span.end <= int(usual.reserve.period.end.timestamp())
    assert (facts.data_fingerprint == usual.data_fingerprint) == (dates == {"end": "2017-05-31"})


def test_dates_inside_the_reserve_are_refused(load, run):
    with pytest.raises(BadInputError, match="EURUSD has no 1h bars before the reserve, which begins at 2017-03-14"):
        run(load(**CPCV, reserve=0.2), start="2017-03-20", end="2017-05-31")


def test_the_training_before_the_reserve_keeps_the_embargo(load, run, members):
    loaded = load(*UNNORMALIZED, "seed: 3", "seed: 3\n  embargo: 0.05", **CPCV, reserve=0.2)
    facts = run(loaded, seeds=1, reserve=True).facts
    bars = facts.bars["EURUSD"]
    embargo = -(-bars * 5 // 100)
    data = members[-1].data
    # The label of the last sample ends with the last bar before the embargo.
    assert bars - embargo - 5 <= data.validation.rows.max() < bars - embargo
    # The last samples of training end as far before those that choose the epoch.
    assert end_of(data.train) + embargo < data.validation.rows.min()
