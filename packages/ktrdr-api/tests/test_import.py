"""What importing the API brings with it, in a fresh interpreter: no framework, no heavy library, no file, no socket.

How long it takes is measured by benchmarks/startup.py.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

FRAMEWORKS = {"torch", "tensorflow", "jax", "sklearn", "skops"}
LATER = {"pandas", "duckdb", "talib", "distributed", "dask", "exchange_calendars", "plotly", "jinja2", "scipy", "rich"}
LATER |= {"numpy", "sqlalchemy", "alembic", "prometheus_client", "yaml", "psycopg", "cryptography"}

REPORT = """
import json, sys
before = set(sys.modules)
touched = []
def watch(event, arguments):
    if event in ("socket.__new__", "socket.connect", "socket.bind", "os.mkdir", "sqlite3.connect", "subprocess.Popen"):
        touched.append(event)
    # Modules, archives of them and metadata are what the import system itself reads.
    modules = (".py", ".pyc", ".so", ".zip", "METADATA", "entry_points.txt")
    if event == "open" and not str(arguments[0]).endswith(modules):
        touched.append(f"open {arguments[0]}")
"""
TELL = """
top = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps({"top": top, "new": len(set(sys.modules) - before), "touched": touched,
                  "paths": sorted(app.openapi()["paths"])}))
"""


@pytest.fixture
def look(tmp_path):
    def look(code):
        environment = {"HOME": str(tmp_path), "KTRDR_HOME": str(tmp_path / "home"), "KTRDR_API_PORT": "no number"}
        watched = f"{REPORT}sys.addaudithook(watch)\n{code}\nseen = list(touched)\ntouched = seen\n{TELL}"
        done = subprocess.run(
            [sys.executable, "-c", watched], env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        assert not (tmp_path / "home").exists()
        return json.loads(done.stdout)

    return look


def test_importing_the_application_brings_what_it_serves_with_and_no_more(look):
    found = look("from ktrdr.api.main import app")
    assert not FRAMEWORKS & set(found["top"])
    assert not LATER & set(found["top"])
    assert found["new"] > 50
    assert len(found["paths"]) > 10
    assert "/api/v1/health" in found["paths"]


def test_importing_it_opens_no_file_and_no_socket_and_reads_no_setting(look):
    """The wrong port in the environment above would be an error."""
    assert look("from ktrdr.api.main import app")["touched"] == []


def test_the_watch_sees_what_it_looks_for(look):
    seen = look(
        "import numpy, os, socket\nfrom ktrdr.api.main import app\nsocket.socket().close()\nopen(os.devnull).close()"
    )
    assert "numpy" in seen["top"]
    assert "socket.__new__" in seen["touched"]
    assert "open /dev/null" in seen["touched"]
