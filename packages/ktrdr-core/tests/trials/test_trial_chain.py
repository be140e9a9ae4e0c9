"""Whatever somebody changes in the file of a ledger is found, and said; recording goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import pytest

from ktrdr.core.errors import BadInputError
from ktrdr.core.trials.look import canonical_json
from ktrdr.core.trials.row import hash_of
from ktrdr.core.trials.transfer import export_trials
from ktrdr.core.trials.trial_database import SQLiteDatabase
from ktrdr.core.trials.trial_ledger import TrialLedger

# What is done, and what is said of which row: they are numbered from 1, and two of seven are trainings. `None` where
# it is no row.
DAMAGE: dict[str, tuple[tuple[str, ...], int | None, str]] = {
    "content changed": (
        ("UPDATE trial_rows SET content = replace(content, '0.25', '2.25') WHERE number = 3",), 3, "was changed",
    ),
    "content of the last changed": (
        ("UPDATE trial_rows SET content = replace(content, '1h', '4h') WHERE number = 7",), 7, "was changed",
    ),
    "content is no text": (
        ("UPDATE trial_rows SET content = CAST(x'ff' AS TEXT) WHERE number = 2",), 2, "was changed",
    ),
    "content is bytes": (("UPDATE trial_rows SET content = CAST(content AS BLOB) WHERE number = 2",), 2, "was changed"),
    "hash changed": ((f"UPDATE trial_rows SET hash = '{'a' * 64}' WHERE number = 2",), -1, "was changed"),
    "the first deleted": (("DELETE FROM trial_rows WHERE number = 1",), 2, "follows a row that is missing"),
    "one in the middle deleted": (("DELETE FROM trial_rows WHERE number = 4",), 5, "follows a row that is missing"),
    "the last deleted": (("DELETE FROM trial_rows WHERE number = 7",), 7, "is missing"),
    "all deleted": (("DELETE FROM trial_rows",), 7, "is missing"),
    "two swapped": (
        (
            "UPDATE trial_rows SET number = 99 WHERE number = 3",
            "UPDATE trial_rows SET number = 3 WHERE number = 4",
            "UPDATE trial_rows SET number = 4 WHERE number = 99",
        ),
        4,
        "follows a row that is missing",
    ),
    "the last ones swapped": (
        (
            "UPDATE trial_rows SET number = 99 WHERE number = 6",
        ),
        7,
        "follows a row that is missing",
    ),
    "not counted any more": (("UPDATE trial_rows SET counted = 0 WHERE number = 5",), 5, "is counted wrongly"),
    "counted twice": (("UPDATE trial_rows SET counted = 1 WHERE number = 6",), 6, "is counted wrongly"),
    "another trial": (
        ("UPDATE trial_rows SET trial = 'other' WHERE number = 5",),
        5,
        "is stored with columns that differ from its content",
    ),
    "another choice": (("UPDATE trial_rows SET fitted = 'other' WHERE number = 5",), 5, "is stored with columns"),
    "another strategy": (("UPDATE trial_rows SET strategy = 'other' WHERE number = 5",), 5, "is stored with columns"),
    "of another ledger": (("UPDATE trial_rows SET ledger = 'other' WHERE number = 5",), 5, "is stored with columns"),
    "one among fewer": (("UPDATE trial_rows SET chosen_among = 2 WHERE number = 6",), 6, "is stored with columns"),
    "a training that trades": (("UPDATE trial_rows SET trades = 1 WHERE number = 1",), 1, "is stored with columns"),
    "other bars": (
        ("UPDATE trial_rows SET span = (SELECT span FROM trial_rows WHERE number = 5) WHERE number = 7",), 7,
        "is stored with columns",
    ),
    "bars that end later": (
        ("UPDATE trial_spans SET closes = 2000000000 WHERE id = (SELECT span FROM trial_rows WHERE number = 7)",), 7,
        "is stored with columns",
    ),
    "bars of another world": (("UPDATE trial_spans SET world = 'made up' WHERE id = 1",), 1, "is stored with columns"),
    "symbols of bars": (("UPDATE trial_span_symbols SET closes = closes - 1 WHERE span = 1",), None, "the symbols"),
    "bars without a symbol": (("DELETE FROM trial_span_symbols WHERE span = 1",), None, "the symbols"),
    "a sum": (("UPDATE trial_spans SET evaluations = evaluations - 1 WHERE id = 1",), None, "the numbers"),
    "a sum of ratios": (("UPDATE trial_spans SET total = total + 0.001 WHERE id = 1",), None, "the numbers"),
    "a sum of squares": (("UPDATE trial_spans SET squares = 2 * squares + 1 WHERE id = 1",), None, "the numbers"),
    "pairs": (("UPDATE trial_pairs SET pairs = 2",), None, "the numbers"),
    "pairs deleted": (("DELETE FROM trial_pairs",), None, "the numbers"),
    "a strategy file changed": (
        ("UPDATE trial_texts SET text = text || '#' WHERE text LIKE '%strategy 2%'",), 3, "has lost its strategy file",
    ),
    "a strategy file deleted": (
        ("DELETE FROM trial_texts WHERE text LIKE '%strategy 3%'",), 5, "has lost its strategy file",
    ),
    "a strategy file under another hash": (
        (f"UPDATE trial_texts SET hash = '{'b' * 64}' WHERE text LIKE '%strategy 3%'",), 5, "has lost its strategy",
    ),
    "the head": ((f"UPDATE trial_meta SET value = '{'a' * 64}' WHERE name = 'head'",), -1, "is missing"),
}  # fmt: skip


@pytest.fixture
def hashes(ledger, look) -> dict[int, str]:
    """Seven rows, and their hashes by number."""
    ledger.record([look(1, kind="training", days=(10, 20)), look(1, sharpe=0.25, days=(15, 25))])
    ledger.record([look(2, sharpe=0.25), look(2, kind="training")])
    ledger.record([look(3, chosen_among=5), look(3, chosen_among=9), look(4, symbols=("EURUSD", "GBPUSD"))])
    return {number: digest for number, (digest, _, _) in enumerate(ledger.export(), 1)}


def problems(ledger: TrialLedger) -> list[str]:
    return [chain.problem for chain in ledger.verify() if chain.problem]


@pytest.mark.parametrize("name", DAMAGE)
def test_it_is_found_and_the_row_is_named(
    name: str, ledger: TrialLedger, hashes: dict[int, str], damage: Callable[..., None], look, is_clean
) -> None:
    assert is_clean(ledger)
    assert ledger.count(look().span).broken == ""
    statements, number, what = DAMAGE[name]
    damage(*statements)
    (problem,) = problems(ledger)
    if number is None:
        assert problem.startswith(what)
    else:
        row = {**hashes, -1: "a" * 64}[number]
        assert problem.startswith(f"row {row[:16]} of the ledger of trials {what}")
    # It is said with every count, and recording goes on.
    assert ledger.count(look().span).broken == problem
    rows = ledger.rows()
    ledger.record([look(5), look(6)])
    assert ledger.rows() == rows + 2
    assert ledger.count(look().span).broken
    assert problems(ledger)


def test_what_was_changed_together_with_its_hash_is_found(ledger, hashes, damage):
    content = next(content for digest, content, _ in ledger.export() if digest == hashes[3])
    row = json.loads(content)
    for forged in (
        canonical_json({**row, "metrics": {"sharpe": -3.0}}),
        canonical_json({**row, "previous": []}),
        canonical_json({**row, "symbols": [1, "a"]}),
        canonical_json({**row, "start": "long ago"}),
        "no JSON",
        "[]",
        '{"metrics": 1}',
        "[" * 100_000,
    ):
        damage(f"UPDATE trial_rows SET content = '{forged}', hash = '{hash_of(forged)}' WHERE number = 3")
        (problem,) = problems(ledger)
        assert problem.split(" of the ledger")[0] in {f"row {hash_of(forged)[:16]}", f"row {hashes[4][:16]}"}


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("UPDATE trial_rows SET content = content || ' ' WHERE number = 7", "was changed"),
        ("UPDATE trial_rows SET content = CAST(content AS BLOB) WHERE number = 7", "was changed"),
        ("DELETE FROM trial_rows WHERE number = 7", "is missing"),
    ],
)
def test_recording_notices_what_became_of_the_last_row(ledger, hashes, damage, look, statement, what):
    damage(statement)
    assert ledger.count(look().span).broken == ""
    ledger.record([look(5)])
    assert ledger.count(look().span).broken == f"row {hashes[7][:16]} of the ledger of trials {what}"
    assert problems(ledger)


def test_a_head_that_was_set_back_is_found(ledger, hashes, damage):
    damage("UPDATE trial_meta SET value = (SELECT hash FROM trial_rows WHERE number = 4) WHERE name = 'head'")
    (problem,) = problems(ledger)
    assert (
        problem == f"row {hashes[4][:16]} of the ledger of trials is stored as the last one, but another row follows it"
    )


def test_what_was_put_back_is_clean_again(ledger, hashes, damage, look, is_clean):
    damage("UPDATE trial_rows SET counted = 0 WHERE number = 5")
    assert problems(ledger)
    damage("UPDATE trial_rows SET counted = 1 WHERE number = 5")
    assert is_clean(ledger)
    assert ledger.count(look().span).broken == ""


def test_what_is_broken_is_still_counted_and_never_exported_as_whole(
    ledger: TrialLedger, hashes: dict[int, str], damage: Callable[..., None], look, tmp_path: Path
) -> None:
    known = ledger.count(look().span).known
    for content in ("'no JSON'", "x'00ff'", "'[]'", f"'{'[' * 100_000}'"):
        damage(f"UPDATE trial_rows SET content = {content} WHERE number = 3")
        assert ledger.count(look().span).known == known
        with pytest.raises(BadInputError, match=f"row {hashes[3][:16]} of the ledger of trials was changed"):
            export_trials(ledger, tmp_path / "file")
        assert not (tmp_path / "file").exists()
        assert [listed.number for listed in ledger.page()] == [
            number for number in sorted(hashes, reverse=True) if number != 3
        ]
        assert ledger.broken() == f"row {hashes[3][:16]} of the ledger of trials was changed"


def test_others_record_while_it_is_checked(ledger, place, look, monkeypatch):
    monkeypatch.setattr("ktrdr.core.trials.trial_check.BATCH", 2)
    ledger.record([look(number) for number in range(7)])
    someone, numbers = TrialLedger(SQLiteDatabase(place)), iter(range(100, 104))
    reading = SQLiteDatabase.reading

    @contextmanager
    def interrupted(database):
        with reading(database) as session:
            yield session
        if database is not someone._database and (number := next(numbers, 0)):
            someone.record([look(number, kind="training"), look(number, days=(number, number + 5))])

    monkeypatch.setattr(SQLiteDatabase, "reading", interrupted)
    (chain,) = ledger.verify()
    assert (chain.rows, chain.problem) == (7 + 8, "")


def test_chains_are_listed_with_the_own_first(ledger, other, look):
    ledger.record([look(1)])
    other.record([look(1), look(2)])
    texts = {json.loads(content)["text"]: text or "" for _, content, text in other.export()}
    ledger.add([(digest, content) for digest, content, _ in other.export()], texts)
    own, copy = ledger.verify()
    assert (own.ledger, own.own, own.rows, own.problem) == (ledger.id, True, 1, "")
    assert (copy.ledger, copy.own, copy.rows, copy.problem) == (other.id, False, 2, "")


def test_a_break_is_said_of_the_ledger_whose_row_it_is(ledger, other, look, damage):
    ledger.record([look(1)])
    other.record([look(2)])
    rows = list(other.export())
    ledger.add([(digest, content) for digest, content, _ in rows], {json.loads(rows[0][1])["text"]: rows[0][2] or ""})
    damage("UPDATE trial_rows SET content = content || ' ' WHERE number = 2")
    own, copy = ledger.verify()
    assert own.problem == ""
    assert copy.problem.startswith(f"row {rows[0][0][:16]}")
    assert ledger.count(look().span).broken == copy.problem
