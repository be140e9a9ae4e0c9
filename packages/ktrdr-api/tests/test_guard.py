"""What every request passes: address, host, origin, rate, size; and what every answer carries."""

from __future__ import annotations

import pytest

from ktrdr.api.http.guard import RateLimiter
from ktrdr.api.settings import load_settings
from ktrdr.core.errors import BadInputError

LOCAL = "http://127.0.0.1"


def refused(answer, status, kind):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == f"urn:ktrdr:problem:{kind}"
    return True


@pytest.mark.parametrize("path", ["/api/v1/health", "/api/v1/models", "/api/v1/none", "/api/v1/docs"])
def test_every_answer_carries_the_headers(client, path):
    headers = client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]


def test_without_a_token_only_loopback_is_served(client):
    """`uvicorn ktrdr.api.main:app --host 0.0.0.0` does not pass by the check of `ktrdr serve`."""
    assert refused(client.get("http://192.168.1.2/api/v1/models"), 403, "exposed")
    assert client.get("http://127.0.0.1:8000/api/v1/models").status_code == 200
    assert client.get("http://[::1]:8000/api/v1/models").status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", ""])
def test_without_a_token_a_foreign_name_for_this_machine_is_refused(client, host):
    """DNS rebinding: a page of evil.example has its name point here."""
    assert refused(client.get("/api/v1/models", headers={"Host": host}), 403, "foreign-host")


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:1", "[::1]:8000"])
def test_names_of_this_machine_are_served(client, host):
    assert client.get("/api/v1/models", headers={"Host": host}).status_code == 200


def test_with_a_token_any_address_and_name_is_served(serving):
    with serving(token="s3cret") as client:
        headers = {"Authorization": "Bearer s3cret", "Host": "research.example"}
        assert client.get("http://192.168.1.2/api/v1/models", headers=headers).status_code == 200
        assert client.get("http://192.168.1.2/api/v1/models").status_code == 401


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:81"])
def test_pages_of_other_sites_change_nothing(client, origin):
    answer = client.post("/api/v1/operations/01K9ZJ5T3C8E6W2V4R7Q1M0N8B/cancel", headers={"Origin": origin})
    assert refused(answer, 403, "foreign-origin")


def test_own_pages_may(client):
    answer = client.post("/api/v1/operations/01K9ZJ5T3C8E6W2V4R7Q1M0N8B/cancel", headers={"Origin": LOCAL})
    assert answer.status_code == 404


def preflight(client, origin):
    headers = {"Origin": origin, "Access-Control-Request-Method": "PUT"}
    return client.options("/api/v1/strategies/x", headers=headers)


def test_cross_origin_reading_is_off_by_default(client):
    answer = client.get("/api/v1/models", headers={"Origin": "https://research.example"})
    assert "access-control-allow-origin" not in answer.headers
    assert preflight(client, "https://research.example").status_code == 405


def test_cross_origin_is_allowed_for_those_who_are_named(serving):
    with serving(cors_origins="https://a.example, https://b.example") as client:
        allowed = client.get("/api/v1/models", headers={"Origin": "https://b.example"})
        assert allowed.headers["access-control-allow-origin"] == "https://b.example"
        assert preflight(client, "https://a.example").status_code == 200
        other = client.get("/api/v1/models", headers={"Origin": "https://c.example"})
        assert "access-control-allow-origin" not in other.headers
        path = "/api/v1/operations/01K9ZJ5T3C8E6W2V4R7Q1M0N8B/cancel"
        assert client.post(path, headers={"Origin": "https://a.example"}).status_code == 404
        assert refused(client.post(path, headers={"Origin": "https://c.example"}), 403, "foreign-origin")


def test_too_many_requests_are_put_off(serving):
    with serving(rate_limit=2) as client:
        answers = [client.get("/api/v1/fuzzy") for _ in range(8)]
        codes = [answer.status_code for answer in answers]
        assert codes[:4] == [200] * 4
        late = answers[-1]
        assert refused(late, 429, "too-many-requests")
        assert int(late.headers["retry-after"]) >= 1
        assert late.headers["x-content-type-options"] == "nosniff"
        # Whoever watches over the server must not be told that it is down.
        assert {client.get("/api/v1/health").status_code for _ in range(10)} == {200}


def test_the_bucket_refills_and_forgets():
    now = 0.0
    limiter = RateLimiter(10, most=3, clock=lambda: now)
    assert [limiter.take("a") for _ in range(20)] == [0.0] * 20
    assert limiter.take("a") == pytest.approx(0.1)
    assert limiter.take("b") == 0.0
    now = 0.1
    assert limiter.take("a") == 0.0
    assert limiter.take("a") > 0
    now = 100.0
    assert [limiter.take("a") for _ in range(20)] == [0.0] * 20
    assert limiter.take("a") > 0
    for client in "cdef":
        limiter.take(client)
    assert len(limiter) == 3


def chunks(size, count):
    for _ in range(count):
        yield b"x" * size


@pytest.mark.parametrize(
    ("path", "limit"),
    [("/api/v1/validate-strategy", 1000), ("/api/v1/trainings", 1000), ("/api/v1/data?filename=a.csv", 5000)]
    + [("/api/v1/models", 5000)],
)
def test_large_bodies_are_refused_declared_or_not(serving, home, path, limit):
    with serving(max_body=1000, max_upload=5000) as client:
        headers = {"Content-Type": "application/json"}
        declared = client.post(path, content=b"x" * (limit + 1), headers=headers)
        assert refused(declared, 413, "too-large")
        streamed = client.post(path, content=chunks(100, limit // 100 + 1), headers=headers)
        assert refused(streamed, 413, "too-large")
        small = client.post(path, content=chunks(100, limit // 100), headers=headers)
        assert small.status_code in (200, 422)
        assert not list((home / "data").glob("*")) if (home / "data").exists() else True


def test_a_wrong_length_is_no_way_around(client):
    answer = client.post("/api/v1/trainings", content=b"{}", headers={"Content-Length": "-3"})
    assert refused(answer, 413, "too-large")


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"KTRDR_API_PROT": "1"}, r"no setting KTRDR_API_PROT, did you mean `KTRDR_API_PORT`"),
        ({"KTRDR_API_RATE_LIMIT": "-1"}, "KTRDR_API_RATE_LIMIT is not valid"),
        ({"KTRDR_API_CORS_ORIGINS": "*"}, "is not an origin such as"),
        ({"KTRDR_API_MAX_BODY": "much"}, "KTRDR_API_MAX_BODY is not valid"),
    ],
)
def test_settings_that_mean_nothing_are_refused(environ, message, monkeypatch):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BadInputError, match=message) as error:
        load_settings()
    assert "\n" not in str(error.value)


def test_every_setting_is_read_from_the_environment_by_the_application_itself(monkeypatch):
    """As `uvicorn ktrdr.api.main:app` starts it: the application is made before its settings are read."""
    from fastapi.testclient import TestClient

    from ktrdr.api.app import create_app

    app = create_app()
    monkeypatch.setenv("KTRDR_API_MAX_BODY", "10")
    monkeypatch.setenv("KTRDR_API_RATE_LIMIT", "1")
    with TestClient(app, base_url=LOCAL) as client:
        assert refused(client.post("/api/v1/trainings", content=b"x" * 11), 413, "too-large")
        assert [client.get("/api/v1/fuzzy").status_code for _ in range(3)][-1] == 429
