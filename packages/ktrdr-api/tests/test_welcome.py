"""What is told at `/`, what a queued operation waits for, and what needs no token."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from ktrdr.api import __version__
from ktrdr.api.app import create_app
from ktrdr.api.engine.embedded import EmbeddedEngine
from ktrdr.api.engine.port import Joining, NoEngine, WorkerInfo
from ktrdr.api.operations.waiting import what_is_missing

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


class Page(HTMLParser):
    """Links, styles and everything that would be loaded."""

    def __init__(self, text):
        super().__init__()
        self.links, self.tags, self.loaded = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [value for name, value in attributes if name == "href" and tag == "a"]
        self.loaded += [value for name, value in attributes if name in ("src", "href", "style") and tag != "a"]


def test_a_person_gets_a_page_that_needs_nothing_else(serving, engine_double):
    with serving(engine_double(), token="secret") as client:
        answer = client.get("/", headers=BROWSER)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        page = Page(answer.text)
        assert not page.loaded
        assert not {"script", "img", "iframe", "form", "link"} & set(page.tags)
        assert __version__ in answer.text
        assert "neuro-fuzzy trading strategies" in answer.text
        assert len(answer.text) < 4_000
        # All of it leads somewhere, and without a token.
        assert {"/api/v1/docs", "/api/v1/openapi.json", "/api/v1/health"} <= set(page.links)
        for link in page.links:
            assert client.get(link).status_code == 200, link
        # Nothing but this one style may be applied.
        (style,) = re.findall("<style>(.*?)</style>", answer.text)
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        policy = answer.headers["content-security-policy"]
        assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}';")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"


def test_a_program_gets_the_same_as_json(serving, engine_double):
    with serving(engine_double(), token="secret") as client:
        for accept in ("*/*", "application/json", ""):
            answer = client.get("/", headers={"Accept": accept})
            told = answer.json()
            assert (told["name"], told["version"]) == ("KTRDR", __version__)
            assert client.get(told["docs"]).status_code == client.get(told["openapi"]).status_code == 200
            assert answer.headers["vary"] == "Accept"
        assert client.head("/", headers=BROWSER).headers["content-type"] == "text/html; charset=utf-8"
        assert client.post("/").status_code == 405
    assert "/" not in create_app().openapi()["paths"]


# Waiting


@pytest.mark.parametrize(
    ("joining", "told"),
    [
        (Joining("tcp://127.0.0.1:8786"), "start one with `ktrdr worker tcp://127.0.0.1:8786 --require torch`"),
        (Joining("tls://10.0.0.1:8786"), "`ktrdr worker tls://10.0.0.1:8786 --certificates DIRECTORY --require torch`"),
        (Joining("tcp://127.0.0.1:1", expected=2), "no worker is connected, 2 workers are starting"),
        (Joining("tcp://127.0.0.1:1", expected=1), "no worker is connected, 1 worker is starting"),
        (Joining("tcp://127.0.0.1:1", answers=False), "the scheduler at tcp://127.0.0.1:1 does not answer"),
        (Joining(None), "this server has no scheduler. Stop it, and start `ktrdr up`"),
    ],
)
def test_what_is_to_be_done_is_said_as_it_stands(joining, told):
    text = what_is_missing(["ml-torch"], [], joining)
    assert text.startswith("waits for a worker with plugin `torch` (ml-torch); no worker is connected")
    assert told in text
    assert "ADDRESS" not in text


def test_one_that_is_there_and_lacks_something_is_counted():
    other = WorkerInfo("tcp://w", "w", ("backtest",))
    text = what_is_missing(["ml-torch"], [other], Joining("tcp://127.0.0.1:8786"))
    assert "none of the 1 connected offers all of it, start one with `ktrdr worker tcp://127.0.0.1:8786" in text
    assert what_is_missing(["backtest"], [other], Joining(None)) is None


def test_what_must_be_installed_where_the_command_runs_is_named():
    joining = Joining("tcp://127.0.0.1:8786")
    assert what_is_missing(["ml-torch"], [], joining).endswith("--require torch`, after `pip install ktrdr-ml-torch`")
    assert what_is_missing(["ml-sklearn"], [], Joining(None)).endswith("after `pip install ktrdr-ml-sklearn`")
    # The distribution of another vendor's plugin is not known, and a backtest by a twin needs no plugin.
    assert what_is_missing(["backtest", "ml-mine"], [], joining).endswith("--require mine`")
    assert what_is_missing(["backtest"], [], joining).endswith("start one with `ktrdr worker tcp://127.0.0.1:8786`")


def test_without_a_scheduler_no_worker_is_asked_for():
    assert asyncio.run(NoEngine().joining()) == Joining(None)


def test_its_own_workers_are_expected_until_they_are_there():
    """Announced to whoever started it, and again when they have joined."""

    async def work():
        engine, said = EmbeddedEngine(workers=2), []
        engine._address = "tcp://127.0.0.1:9"
        engine.announce(said.append)
        await asyncio.sleep(0)
        assert said == ["Waiting for 2 workers to join tcp://127.0.0.1:9 ..."]
        for name, expected in (("somebody", 2), ("local-2", 1), ("local-1", 0)):
            engine._workers = (*engine._workers, WorkerInfo(f"tcp://{name}", name, ()))
            assert (await engine.joining()).expected == expected
        await engine._announcing
        return said

    assert asyncio.run(work())[1:] == ["2 workers joined; start another one with `ktrdr worker tcp://127.0.0.1:9`."]
