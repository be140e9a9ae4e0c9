"""Loopback by default; any other address needs a token, and then every request but health needs it."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from ktrdr.api.app import create_app
from ktrdr.api.settings import ApiSettings, is_loopback
from ktrdr.core.cli.main import main
from ktrdr.core.errors import BadInputError


@pytest.fixture
def guarded():
    with TestClient(create_app(ApiSettings(token="s3cret", read_token="r3ad")), base_url="http://127.0.0.1") as client:
        yield client


@pytest.mark.parametrize("header", [None, "s3cret", "Bearer wrong", "Basic s3cret", "Bearer ", "Bearer s3cre\u0074x"])
def test_without_the_token_nothing_is_told(guarded, header):
    answer = guarded.get("/api/v1/plugins", headers={} if header is None else {"Authorization": header})
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "Authorization: Bearer" in answer.json()["detail"]


def test_with_the_token_all_is_told(guarded):
    assert guarded.get("/api/v1/plugins", headers={"Authorization": "Bearer s3cret"}).status_code == 200


def test_health_needs_no_token(guarded):
    assert guarded.get("/api/v1/health").json()["status"] == "ok"


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("[::1]", True), ("127.8.9.1", True)]
    + [("0.0.0.0", False), ("::", False), ("example.org", False), ("192.168.1.2", False)],
)
def test_what_counts_as_loopback(host, expected):
    assert is_loopback(host) is expected


def test_an_exposed_address_without_a_token_is_refused():
    with pytest.raises(BadInputError, match="refusing to listen on 0.0.0.0 without a token"):
        ApiSettings(host="0.0.0.0").check_exposure()
    ApiSettings(host="0.0.0.0", token="x").check_exposure()


def test_a_token_file_is_read_and_an_empty_one_refused(tmp_path):
    path = tmp_path / "token"
    path.write_text("abc\n")
    assert ApiSettings(token_file=path).tokens().write == "abc"
    path.write_text("")
    with pytest.raises(BadInputError, match="empty"):
        ApiSettings(host="0.0.0.0", token_file=path).check_exposure()
    with pytest.raises(BadInputError, match="cannot be read"):
        ApiSettings(token_file=tmp_path / "absent").tokens().write


@pytest.mark.parametrize(
    ("arguments", "environ", "message"),
    [
        (["--host", "0.0.0.0"], {}, "refusing to listen on 0.0.0.0"),
        ([], {"KTRDR_API_PORT": "99999"}, "KTRDR_API_PORT is not valid"),
    ],
)
def test_serve_refuses_in_one_sentence(arguments, environ, message, monkeypatch, capsys):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as end:
        main(["serve", *arguments])
    assert end.value.code == 2
    assert message in capsys.readouterr().err
