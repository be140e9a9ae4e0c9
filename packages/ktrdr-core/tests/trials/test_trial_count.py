"""The count is what a slow and obvious program comes to, in whatever order and ledgers the looks are recorded."""

from __future__ import annotations

import math
import statistics
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.trials.look import HIGHEST_SHARPE, Look, Span
from ktrdr.core.trials.transfer import export_trials, import_trials
from ktrdr.core.trials.trial_count import TrialCount
from ktrdr.core.trials.trial_database import SQLiteDatabase
from ktrdr.core.trials.trial_ledger import TrialLedger

DAY = 86_400


def overlap(one: Span, two: Span) -> bool:
    return (
        one.world == two.world
        and bool(set(one.symbols) & set(two.symbols))
        and one.start < two.end
        and two.start < one.end
    )


def expected(recorded: list[Look], span: Span) -> tuple[int, float | None]:
    """Count the trials among looks in the order of their recording, and the spread of their Sharpe ratios.

    The ratios are those of bars as long as ``span``.
    """
    distinct: dict[str, Look] = {}
    for look in recorded:
        distinct.setdefault(look.trial, look)
    first: dict[tuple[str, bool], Look] = {}
    for look in distinct.values():
        first.setdefault((look.fitted, look.kind == "training"), look)
    seen = [look for look in distinct.values() if overlap(look.span, span)]
    number = len(seen)
    for look in seen:
        partner = first.get((look.fitted, False))
        if look is first.get((look.fitted, True)) and partner is not None and overlap(partner.span, span):
            number -= 1
    asked = span.end - span.start
    ratios = [
        look.sharpe * math.sqrt((look.span.end - look.span.start) / asked) for look in seen if look.sharpe is not None
    ]
    return number, statistics.stdev(ratios) if len(ratios) > 1 else None


def agrees(found: TrialCount, recorded: list[Look], span: Span) -> bool:
    number, spread = expected(recorded, span)
    if found.known != number:
        return False
    if spread is None or found.spread is None:
        return spread is found.spread
    return math.isclose(found.spread, spread, rel_tol=1e-6, abs_tol=1e-5)


days = st.tuples(st.integers(0, 6), st.integers(1, 4)).map(lambda given: (given[0], sum(given)))
symbols = st.sampled_from((("A",), ("B",), ("A", "B"), ("B", "A"), ("C",)))
worlds = st.sampled_from(("", "", "", "synthetic 1"))
spans = st.builds(lambda names, days, world: Span(names, days[0] * DAY, days[1] * DAY, world), symbols, days, worlds)
# Few of everything, so that much of it is alike.
drawn = st.fixed_dictionaries(
    {
        "choice": st.integers(1, 4),
        "kind": st.sampled_from(("training", "backtest", "backtest", "sweep")),
        "sharpe": st.one_of(st.none(), st.floats(-4, 4)),
        "symbols": symbols,
        "days": days,
        "world": worlds,
        "seed": st.sampled_from((1, 2)),
        "chosen_among": st.sampled_from((None, None, 9, 25)),
    }
)


@st.composite
def recordings(draw: st.DrawFn) -> list[list[dict[str, object]]]:
    """Looks, some of them several times, in groups that are recorded at once."""
    looks = draw(st.lists(drawn, max_size=25))
    again = draw(st.lists(st.sampled_from(looks), max_size=8)) if looks else []
    looks = draw(st.permutations(looks + again))
    cuts = sorted(draw(st.lists(st.integers(0, len(looks)), max_size=4)))
    return [looks[start:end] for start, end in zip([0, *cuts], [*cuts, len(looks)], strict=True)]


def recorded_in(ledger: TrialLedger, groups: list[list[dict[str, object]]], look) -> list[Look]:
    recorded = []
    for group in groups:
        looks = [look(**each) for each in group]
        ledger.record(looks)
        recorded += looks
    return recorded


@given(groups=recordings(), asked=st.lists(spans, min_size=1, max_size=4))
def test_it_agrees_with_the_reference(look, is_clean, groups, asked):
    with tempfile.TemporaryDirectory() as folder:
        ledger = TrialLedger(SQLiteDatabase(Path(folder) / "trials"))
        recorded = recorded_in(ledger, groups, look)
        assert all(agrees(ledger.count(span), recorded, span) for span in asked)
        assert is_clean(ledger)


@given(mine=recordings(), yours=recordings(), asked=spans)
def test_what_two_ledgers_know_is_counted_once(look, is_clean, mine, yours, asked):
    with tempfile.TemporaryDirectory() as folder:
        one, two = (TrialLedger(SQLiteDatabase(Path(folder) / name)) for name in ("one", "two"))
        looks = recorded_in(one, mine, look), recorded_in(two, yours, look)
        exported = export_trials(one, Path(folder) / "file")
        assert import_trials(two, Path(folder) / "file") == (exported, 0)
        assert agrees(two.count(asked), looks[1] + looks[0], asked)
        assert is_clean(two)
        # And what is recorded from now on is known, whoever took the look.
        before = two.rows()
        two.record(looks[0])
        assert two.rows() == before


def test_a_look_is_recorded_once_and_again_as_one_among_more(ledger, look):
    for among, rows in ((None, 1), (None, 1), (9, 2), (4, 2), (25, 3), (9, 3)):
        ledger.record([look(chosen_among=among)])
        assert ledger.rows() == rows
    count = ledger.count(look().span, strategy=look().strategy)
    assert (count.known, count.chosen_among) == (1, 25)
    assert ledger.count(look().span, strategy="another").chosen_among is None


def test_the_first_of_a_recording_is_what_counts(ledger, look):
    ledger.record([look(1, sharpe=1.0), look(2, sharpe=2.0), look(1, sharpe=9.0), look(2, sharpe=-9.0)])
    assert ledger.rows() == 2
    assert ledger.count(look().span).spread == pytest.approx(math.sqrt(0.5))


def test_bars_that_only_touch_do_not_overlap(ledger, look):
    ledger.record([look(days=(10, 20))])
    for days, number in (((20, 30), 0), ((0, 10), 0), ((19, 30), 1), ((0, 11), 1), ((12, 13), 1), ((0, 99), 1)):
        assert ledger.count(look(days=days).span).known == number


def test_a_training_and_the_backtest_of_its_model_are_one(ledger, look):
    ledger.record([look(kind="training", days=(0, 10))])
    ledger.record([look(days=(5, 20)), look(days=(5, 30))])
    known = {days: ledger.count(look(days=days).span).known for days in ((0, 5), (6, 7), (15, 20), (25, 30), (0, 30))}
    assert known == {(0, 5): 1, (6, 7): 2, (15, 20): 2, (25, 30): 1, (0, 30): 2}


def test_a_ratio_of_returns_that_hardly_vary_spoils_no_spread(ledger, look):
    ledger.record([look(1, sharpe=1.0), look(2, sharpe=2.0), look(3, sharpe=10 * HIGHEST_SHARPE), look(4, sharpe=True)])
    count = ledger.count(look().span)
    assert (count.known, count.spread) == (4, pytest.approx(math.sqrt(0.5)))


def test_trials_of_the_length_of_the_result_have_the_standard_deviation_of_their_ratios(ledger, look):
    ratios = [0.5, -0.25, 1.75, 1.25]
    # None of these has the same bars as another.
    ledger.record(
        [look(number, sharpe=sharpe, days=(number, number + 9)) for number, sharpe in enumerate(ratios, start=100)]
    )
    total, squares = math.fsum(ratios), math.fsum(ratio * ratio for ratio in ratios)
    found = ledger.count(look(days=(102, 111)).span).spread
    assert found == math.sqrt((squares - total * total / 4) / 3)


@pytest.mark.parametrize("sharpe", [25.0, -30.0])
def test_a_week_of_luck_spoils_no_spread_of_years(ledger, look, sharpe):
    years = [look(number, sharpe=0.1 * number, days=(10_000, 12_557)) for number in range(5)]
    ledger.record(years)
    before = ledger.count(years[0].span).spread
    ledger.record([look("a week", sharpe=sharpe, days=(10_500, 10_507))])
    # The ratio of a week counts as a ratio of 25 / sqrt(2557 / 7) = 1.3 on these seven years.
    ratios = [*(look.sharpe for look in years), sharpe / math.sqrt(2557 / 7)]
    found = ledger.count(years[0].span).spread
    assert before < found == pytest.approx(statistics.stdev(ratios))
    assert found < 1


def test_luck_has_the_spread_of_its_standard_error_whatever_the_lengths(ledger, look):
    """The ratio of worthless trials has a standard error of 1 over the root of the years."""
    random = np.random.default_rng(0)
    looks = []
    for number, days in enumerate(random.choice([7, 30, 365, 1461], size=400).tolist()):
        sharpe = float(random.normal() / math.sqrt(days / 365.25))
        looks.append(look(number, sharpe=sharpe, days=(10_000, 10_000 + days)))
    ledger.record(looks)
    for days in (7, 1461):
        found = ledger.count(look(days=(10_000, 10_000 + days)).span).spread
        # Four standard errors of a standard deviation of 400 numbers.
        assert found * math.sqrt(days / 365.25) == pytest.approx(1, abs=4 / math.sqrt(800))


def test_what_was_tried_before_the_ledger_is_no_less_than_the_version(place, look):
    ledger = TrialLedger(SQLiteDatabase(place), lambda: [look(model="waves/7", before_ledger=True)])
    known = {model: ledger.count(look().span, model=model).known for model in ("waves/3", "waves/7", "waves/9", "b/5")}
    assert known == {"waves/3": 3, "waves/7": 7, "waves/9": 7, "b/5": 1}


def test_a_count_in_words_and_as_json(ledger, look):
    ledger.record([look(number, sharpe=number) for number in range(3)])
    count = ledger.count(look().span).with_elsewhere(1_200)
    assert count.statement == "3 trials known to this ledger, 1,200 made elsewhere"
    assert count.number == 1_203 == count.to_json()["number"]
    assert count.facts["spread"] == "Their Sharpe ratios have a standard deviation of 1.00 on bars as long as these."
    assert TrialCount.from_json(count.to_json()) == count
    assert TrialCount(1, "a").statement == "1 trial known to this ledger"


def test_pages_are_the_newest_first(ledger, other, look, tmp_path):
    """Also of one symbol, of whichever span, before whichever number."""
    pages = [
        look(number, symbols=(("A",), ("B",), ("A", "C"))[number % 3], days=(number % 4, number % 4 + 1))
        for number in range(40)
    ]
    ledger.record(pages)
    export_trials(ledger, tmp_path / "file")
    import_trials(other, tmp_path / "file")
    for each in (ledger, other):
        rows = each.page(limit=100)
        assert [row.row.strategy for row in rows] == [page.strategy for page in reversed(pages)]
        for symbol in ("A", "B", "C", "D", None):
            wanted = [row for row in rows if symbol is None or symbol in row.row.symbols]
            found = each.page(symbol=symbol, limit=7)
            while page := each.page(symbol=symbol, before=found[-1].number if found else 1, limit=7):
                found += page
            assert found == wanted
