"""Loopback by default; any other address needs a token, and then every request but health needs it."""

from __future__ import annotations

import socket

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
        ApiSettings(token_file=tmp_path / "absent").tokens()


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


@pytest.fixture
def ask(guarded):
    return lambda method, path, token: guarded.request(method, path, headers={"Authorization": f"Bearer {token}"})


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/api/v1/models"), ("GET", "/api/v1/operations"), ("GET", "/api/v1/metrics"), ("GET", "/api/v1/data")]
    + [("POST", "/api/v1/validate-strategy"), ("POST", "/api/v1/models/none/1/verify")]
    + [("POST", "/api/v1/indicators/rsi/calculate"), ("POST", "/api/v1/fuzzy/calculate")],
)
def test_a_read_only_token_reads(ask, method, path):
    assert ask(method, path, "r3ad").status_code not in (401, 403)
    assert ask(method, path, "other").status_code == 401


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/api/v1/trainings"), ("POST", "/api/v1/backtests"), ("POST", "/api/v1/data?filename=a.csv")]
    + [("POST", "/api/v1/models"), ("DELETE", "/api/v1/models/none/1"), ("DELETE", "/api/v1/data/ABC/1d")]
    + [("PUT", "/api/v1/strategies/x"), ("DELETE", "/api/v1/strategies/x")]
    + [("POST", f"/api/v1/operations/01K9ZJ5T3C8E6W2V4R7Q1M0N8B/{verb}") for verb in ("cancel", "resume", "retry")],
)
def test_a_read_only_token_changes_nothing(ask, method, path):
    answer = ask(method, path, "r3ad")
    assert answer.status_code == 403
    assert answer.json()["type"] == "urn:ktrdr:problem:read-only"
    assert ask(method, path, "s3cret").status_code not in (401, 403)


def test_every_route_but_health_and_its_own_description_needs_a_token(guarded):
    open_paths = []
    for path, operations in guarded.app.openapi()["paths"].items():
        for method in operations:
            concrete = path.replace("{operation_id}", "01K9ZJ5T3C8E6W2V4R7Q1M0N8B").replace("{version}", "1")
            concrete = concrete.replace("{name}", "rsi").replace("{symbol}", "ABC").replace("{timeframe}", "1d")
            if guarded.request(method.upper(), concrete).status_code != 401:
                open_paths.append(path)
    assert open_paths == ["/api/v1/health", "/api/v1/health/ready"]


def test_tokens_are_compared_in_constant_time(guarded, monkeypatch):
    """Every comparison goes through the one function that takes as long whatever differs."""
    import secrets

    from ktrdr.api.http import security

    compared = []
    original = secrets.compare_digest

    def watch(given, expected):
        compared.append((given, expected))
        return original(given, expected)

    monkeypatch.setattr(security.secrets, "compare_digest", watch)
    for token in ("s3cret", "r3ad", "x"):
        guarded.get("/api/v1/models", headers={"Authorization": f"Bearer {token}"})
    assert compared == [(token.encode(), other) for token in ("s3cret", "r3ad", "x") for other in (b"s3cret", b"r3ad")]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"read_token": "r"}, "nobody could change anything"),
        ({"read_token": "same", "token": "same"}, "give each its own"),
        ({"token": "two words"}, "printable ASCII without spaces"),
        ({"token": "ключ"}, "printable ASCII without spaces"),
    ],
)
def test_tokens_that_cannot_work_are_refused(settings, message):
    with pytest.raises(BadInputError, match=message):
        ApiSettings(**settings).tokens()


def test_a_token_file_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "token"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInputError, match="is not text"):
        ApiSettings(token_file=path).tokens()


ESCAPES = ["..", "../x", "..%2Fx", "%2e%2e%2fx", "/etc/passwd", "%2Fetc%2Fpasswd", "a%00b", "a\u2215b", "ａｂ", "a%0Ab"]
ESCAPES += ["..%5Cx", "a\u202eb", "CON", "x" * 200, "%FF", ".hidden", "~root", "a b"]


def test_names_cannot_leave_their_directories(client, home, tmp_path):
    before = {path for path in tmp_path.rglob("*") if "ledger" not in path.name}
    for name in ESCAPES:
        answers = [
            client.get(f"/api/v1/models/{name}/1"),
            client.delete(f"/api/v1/models/{name}/1"),
            client.get(f"/api/v1/models/{name}/1/archive"),
            client.get(f"/api/v1/data/{name}/1d"),
            client.delete(f"/api/v1/data/{name}/1d"),
            client.get(f"/api/v1/strategies/{name}"),
            client.get(f"/api/v1/strategies/{name}/features"),
            client.put(f"/api/v1/strategies/{name}", content=b"name: x"),
            client.delete(f"/api/v1/strategies/{name}"),
            client.post(f"/api/v1/data?filename={name}&symbol=ABC", content=b"x"),
            client.post(f"/api/v1/data?filename=a.csv&symbol={name}", content=b"x"),
            client.get(f"/api/v1/indicators/{name}"),
            client.get(f"/api/v1/backtests/{name}/report"),
        ]
        assert {answer.status_code for answer in answers} <= {404, 405, 422}, name
        for answer in answers:
            assert str(tmp_path) not in answer.text
            assert "Traceback" not in answer.text
    left = {path for path in tmp_path.rglob("*") if "ledger" not in path.name} - before
    assert {path.relative_to(home).parts[0] for path in left} <= {"data", "strategies", "models"}
    assert not [path for path in left if path.is_file() and not path.name.startswith(".")]


def test_links_are_not_followed(client, home, tmp_path):
    secret = tmp_path / "secret.yaml"
    secret.write_text("name: secret")
    (home / "strategies").mkdir(parents=True)
    (home / "strategies" / "link.yaml").symlink_to(secret)
    assert client.get("/api/v1/strategies/link").status_code == 404
    assert client.get("/api/v1/strategies").json() == []
    (home / "models").mkdir()
    (home / "models" / "link").mkdir()
    (home / "models" / "link" / "1").symlink_to(tmp_path)
    assert client.get("/api/v1/models/link/1").status_code == 422
    assert client.get("/api/v1/models/link/1/archive").status_code == 422


def test_an_uploaded_bundle_is_verified_before_it_is_visible(client, home, tmp_path):
    import io
    import zipfile

    for members in (
        {"../../escaped": "x"},
        {"/absolute": "x"},
        {"manifest.json": "{}"},
        {"manifest.json": '{"name": "\\ud800"}'},
        {"manifest.json": '{"\\ud800": 1}'},
        {"manifest.json": '{"version": 1' + "0" * 300 + "}"},
        {"model-1/manifest.json": "{}", "model-1/weights.pkl": "x"},
        {},
    ):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        answer = client.post("/api/v1/models", content=buffer.getvalue())
        assert answer.status_code == 422, members
        assert str(tmp_path) not in answer.text
        assert "ktrdr-upload" not in answer.text
    assert client.post("/api/v1/models", content=b"no zip").status_code == 422
    assert client.get("/api/v1/models").json() == []
    assert not (tmp_path / "escaped").exists()


def test_a_fault_of_the_server_tells_no_more_than_that(serving, monkeypatch):
    from ktrdr.core.models.model_store import ModelStore

    def break_down(self, name=None):
        raise RuntimeError("secret of /srv/ktrdr")

    with serving(raise_server_exceptions=False) as client:
        monkeypatch.setattr(ModelStore, "list", break_down)
        answer = client.get("/api/v1/models")
    assert answer.status_code == 500
    assert answer.json()["type"] == "urn:ktrdr:problem:fault"
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text


def test_a_port_that_is_taken_is_one_sentence_and_nothing_is_started(home, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit) as end:
            main(["serve", "--port", str(port)])
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use; choose another with" in said
    assert not (home / "ledger.sqlite").exists()


def test_an_address_of_another_machine_is_one_sentence(monkeypatch, capsys):
    monkeypatch.setenv("KTRDR_API_TOKEN", "s3cret")
    with pytest.raises(SystemExit) as end:
        main(["serve", "--host", "192.0.2.1", "--port", "0"])
    assert end.value.code == 2
    assert "cannot listen on 192.0.2.1 port 0: " in capsys.readouterr().err
