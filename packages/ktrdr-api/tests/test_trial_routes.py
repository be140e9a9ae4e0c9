"""The routes of the ledger of trials, over an application as it runs."""

from __future__ import annotations

import asyncio
import sqlite3

import numpy as np
import pytest

from ktrdr.api.engine.choose import choose_engine
from ktrdr.api.ledger.one_server import server_hold
from ktrdr.api.services import open_services
from ktrdr.api.settings import ApiSettings
from ktrdr.core.errors import BadInputError
from ktrdr.core.trials.daily_returns import DailyReturns
from ktrdr.core.trials.look import Look, Span
from ktrdr.core.trials.trial_database import TRIALS_FILE, SQLiteDatabase
from ktrdr.core.trials.trial_ledger import TrialLedger

DAY = 86_400
# 2017-10-01 to 2017-12-31.
FIRST, LAST = 17_440 * DAY, 17_532 * DAY


def look(number, symbols=("EURUSD",), start=FIRST, end=LAST, *, kind="backtest", **more):
    traded = kind != "training"
    given = {
        "kind": kind,
        "strategy": f"{number:064x}",
        "text": f"name: strategy_{number}\n",
        "changes": {"risk.stop_loss.atr": number},
        "parent": None,
        "seed": 1,
        "training_data": "t",
        "data": "d",
        "timeframe": "1h",
        "span": Span(symbols, start, end),
        "account": {"capital": 10_000.0} if traded else {},
        "metrics": {"sharpe": number / 10} if traded else {},
        "returns": DailyReturns(17_440, np.linspace(0, number, 9, dtype=np.float32)) if traded else None,
        "model": f"m/{number + 1}",
        "operation": "01K9ZJ5T3C8E6W2V4R7Q1M0N8B",
    }
    return Look(**given | more)


@pytest.fixture
def trials(client):
    """The ledger of the running server."""
    return client.app.state.services.trials


def test_an_empty_ledger_has_an_id_and_no_rows(client, trials):
    assert client.get("/api/v1/trials").json() == {"ledger": trials.id, "total": 0, "items": [], "next": None}
    count = client.get("/api/v1/trials/count?symbols=EURUSD&start=2017-10-01&end=2017-12-31").json()
    assert (count["number"], count["statement"]) == (0, "0 trials known to this ledger")
    refused = client.get("/api/v1/trials/count?symbols=EURUSD&start=2017-10-01&end=2017").json()
    assert refused["detail"] == "query.end: '2017' is not a date: write it as 2017-01-31"


def test_rows_are_listed_newest_first_a_page_at_a_time(client, trials):
    trials.record([look(number) for number in range(4)])
    trials.record([look(7, kind="training"), look(8, ("EURUSD", "GBPUSD"))])
    pages, query = [], {"limit": 4}
    while True:
        page = client.get("/api/v1/trials", params=query).json()
        assert (page["ledger"], page["total"]) == (trials.id, 6)
        pages.append([item["model"] for item in page["items"]])
        if page["next"] is None:
            break
        query["before"] = page["next"]
    assert pages == [["m/9", "m/8", "m/4", "m/3"], ["m/2", "m/1"]]
    assert client.get("/api/v1/trials?limit=6").json()["next"] is None
    (item,) = client.get("/api/v1/trials?symbol=GBPUSD").json()["items"]
    assert item["symbols"] == ["EURUSD", "GBPUSD"]
    assert (item["start"], item["end"]) == ("2017-10-01T00:00:00Z", "2018-01-01T00:00:00Z")
    assert item["changes"] == {"risk.stop_loss.atr": 8}
    assert item["metrics"] == {"sharpe": 0.8}
    assert not {"returns", "previous", "text", "strategy_text"} & set(item)


def test_a_row_is_found_whole(client, trials):
    trials.record([look(3), look(4, kind="training")])
    training, backtest = client.get("/api/v1/trials").json()["items"]
    del backtest["number"], training["number"]
    for name in (backtest["id"], backtest["hash"], backtest["hash"][:9]):
        detail = client.get(f"/api/v1/trials/{name}").json()
        assert detail.items() >= backtest.items()
        assert detail["strategy_text"] == "name: strategy_3\n"
        np.testing.assert_array_equal(DailyReturns.from_json(detail["returns"]).values, look(3).returns.values)
    detail = client.get(f"/api/v1/trials/{training['id']}").json()
    assert detail["returns"] is None
    assert detail["previous"] == backtest["hash"]


def test_what_is_no_trial_is_not_found(client, trials):
    trials.record([look(1)])
    answer = client.get("/api/v1/trials/0123456789abcdef")
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:ktrdr:problem:not-found")
    assert "there is no trial 0123456789abcdef" in answer.json()["detail"]
    for wrong in ("abc", "ABCDEF", "g" * 16, "0" * 65, "' OR 1=1"):
        assert client.get(f"/api/v1/trials/{wrong}").json()["type"] == "urn:ktrdr:problem:invalid-request"


def count(client, **query):
    asked = {"symbols": "EURUSD", "start": "2017-10-01", "end": "2017-12-31"} | query
    return client.get("/api/v1/trials/count", params=asked)


def test_trials_are_counted_by_the_days_they_looked_at(client, trials):
    trials.record([look(number) for number in range(1, 5)])
    trials.record([look(6, kind="training"), look(6), look(9, kind="sweep", chosen_among=20)])
    trials.record([look(11, ("GBPUSD",)), look(12, start=LAST, end=LAST + DAY)])
    told = count(client).json()
    counted = trials.count(Span(("EURUSD",), FIRST, LAST)).to_json()
    # Bars are counted, and no result that could have opened a reserve.
    assert counted.pop("reserve_opened") is None
    assert told == counted | {"statement": "6 trials known to this ledger"}
    assert (told["number"], told["known"], told["elsewhere"], told["chosen_among"]) == (6, 6, 0, None)
    assert told["spread"] > 0
    assert count(client, symbols="EURUSD,GBPUSD").json()["number"] == 7
    assert count(client, end="2018-01-01").json()["number"] == 7
    assert count(client, start="2017-12-31").json()["number"] == 6
    assert count(client, start="2018-01-01", end="2018-01-01").json()["number"] == 1
    assert count(client, start="2018-01-02", end="9999-12-31").json()["number"] == 0
    assert count(client, start="0001-01-01", end="2017-09-30").json()["number"] == 0
    assert count(client, model="m/3").json()["number"] == 6
    assert count(client, strategy=look(9).strategy).json()["chosen_among"] == 20


@pytest.mark.parametrize(
    ("query", "kind", "said"),
    [
        ({"end": "2017-09-30"}, "bad-input", "the last day, 2017-09-30, is before the first, 2017-10-01"),
        ({"symbols": ""}, "invalid-request", "query.symbols"),
        ({"symbols": "EURUSD,"}, "invalid-request", "query.symbols"),
        ({"symbols": "EURUSD, GBPUSD"}, "invalid-request", "query.symbols"),
        ({"symbols": "../x"}, "invalid-request", "query.symbols"),
        ({"symbols": ",".join(["EURUSD"] * 101)}, "invalid-request", "query.symbols"),
        ({"symbols": "EURUSD,NUL"}, "bad-input", "'NUL' cannot be a symbol"),
        ({"start": "yesterday"}, "invalid-request", "query.start"),
        ({"end": "2017-02-30"}, "invalid-request", "query.end"),
        ({"model": "m"}, "invalid-request", "query.model"),
        ({"model": "m/0"}, "invalid-request", "query.model"),
        ({"strategy": "abc"}, "invalid-request", "query.strategy"),
    ],
)
def test_what_cannot_be_counted_is_refused(client, query, kind, said):
    answer = count(client, **query)
    assert (answer.status_code, answer.json()["type"]) == (422, f"urn:ktrdr:problem:{kind}")
    assert said in answer.json()["detail"]


def test_days_and_symbols_must_be_given(client):
    for missing in ("symbols", "start", "end"):
        assert count(client, **{missing: None}).status_code == 422


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=201", "before=0", "before=x", f"before={2**63}", "symbol=../x", "symbol=%00"]
)
def test_a_list_that_cannot_be_is_refused(client, query):
    answer = client.get(f"/api/v1/trials?{query}")
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:ktrdr:problem:invalid-request")


def test_who_may_only_read_may_read_them(serving):
    with serving(token="s3cret", read_token="r3ad") as client:
        for path in ("/trials", "/trials/count?symbols=EURUSD&start=2017-10-01&end=2017-12-31", "/trials/0123456789"):
            assert client.get(f"/api/v1{path}").status_code == 401
            answer = client.get(f"/api/v1{path}", headers={"Authorization": "Bearer r3ad"})
            assert answer.status_code == (404 if path.endswith("789") else 200)


def test_a_file_that_cannot_be_read_is_said_without_its_place(home, client, trials, caplog):
    trials.record([look(1)])
    (home / TRIALS_FILE).write_bytes(b"this is no database" * 100)
    answer = client.get("/api/v1/trials")
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:ktrdr:problem:store-unusable")
    assert answer.headers["retry-after"]
    assert str(home) not in answer.text
    assert f"the ledger of trials {home / TRIALS_FILE} cannot be read: file is not a database" in caplog.text


def test_what_is_damaged_is_told_with_the_count(home, client, trials):
    trials.record([look(1), look(2)])
    with sqlite3.connect(home / TRIALS_FILE) as connection:
        connection.execute("UPDATE trial_rows SET content = replace(content, 'm/2', 'm/7') WHERE number = 1")
    trials.verify()
    assert "was changed" in count(client).json()["broken"]


def test_a_start_on_postgresql_takes_in_the_rows_of_the_home(home, serving, new_database):
    local = TrialLedger(SQLiteDatabase(home / TRIALS_FILE))
    local.record([look(1), look(2, kind="training")])
    url = new_database("postgresql")
    with serving(database=url) as client:
        first = client.get("/api/v1/trials").json()
        assert (first["total"], first["ledger"] == local.id) == (2, False)
        assert {item["ledger"] for item in first["items"]} == {local.id}
        assert count(client).json()["number"] == 2
        client.app.state.services.trials.record([look(3)])
    with serving(database=url) as client:
        second = client.get("/api/v1/trials").json()
        assert (second["total"], second["ledger"]) == (3, first["ledger"])
        assert second["items"][1:] == first["items"]
        assert client.get(f"/api/v1/trials/{second['items'][0]['id']}").json()["strategy_text"] == look(3).text
    assert local.rows() == 2


def test_a_ledger_of_a_newer_version_keeps_the_server_from_starting(home):
    TrialLedger(SQLiteDatabase(home / TRIALS_FILE))
    with sqlite3.connect(home / TRIALS_FILE) as connection:
        connection.execute("UPDATE trial_meta SET value = '99' WHERE name = 'schema'")
    with pytest.raises(BadInputError, match="made by a newer KTRDR"):
        asyncio.run(open_services(ApiSettings(), choose_engine(ApiSettings()), server_hold(ApiSettings(), home), print))
