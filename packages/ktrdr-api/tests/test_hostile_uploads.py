"""Files made to break what reads them: refused in a sentence with a remedy; and full disks."""

from __future__ import annotations

import errno
import gzip
import os
import re
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ktrdr.core.limits import LONGEST_LINE, MOST_COLUMNS

HEAD = "timestamp,open,high,low,close,volume\n"
ROWS = "".join(f"2024-01-{day:02d}T{hour:02d}:00:00Z,1.1,1.2,1.0,1.1,5\n" for day in range(1, 8) for hour in range(24))
MILLION = 1_000_000


def numbers(count):
    return ",".join("1" * count) + "\n"


HOSTILE = {
    "a million columns": (",".join(f"c{number}" for number in range(MILLION)) + "\n" + numbers(MILLION), "line 1"),
    "a million nameless columns": ("," * MILLION + "\n", "line 1"),
    "a million columns with the names of bars": (HEAD.strip() + "," * MILLION + "\n" + ROWS, "line 1"),
    "more columns than there may be": (HEAD.strip() + "," * MOST_COLUMNS + "\n" + ROWS, "keep time, open"),
    "a row of a million columns": (HEAD + ROWS + numbers(MILLION), f"line {len(ROWS.splitlines()) + 2}"),
    "rows of thousands of columns": (HEAD + ROWS + numbers(LONGEST_LINE // 2 - 1) * 9, "correct the line"),
    "a line of 7 MB": ("x" * 7_000_000, f"longer than {LONGEST_LINE:,} bytes"),
    "a cell of 5 MB": (HEAD + "x" * 5_000_000 + ",1,1,1,1,1\n", "line 2"),
    "an unclosed quote in the head": (HEAD.replace("open", '"open') + ROWS, "--column|column="),
    "an unclosed quote at the beginning": ('"' + HEAD + ROWS, "column="),
    "an unclosed quote in a row": (HEAD + ROWS.replace("1.2", '"1.2', 1), "line 2: .*correct the line"),
    "an unclosed quote in the last row": (HEAD + ROWS + '2024-02-01T00:00:00Z,"1.1', "correct the line"),
    "nothing but a quote": ('"', "column="),
    "nothing but quotes": ('"' * 10_000, "column="),
    "nothing but a mark of the order of bytes": ("\ufeff", "fetch it again"),
    "blank lines before anything": ("\ufeff" + "\n" * 5_000 + HEAD + ROWS, "fetch it again"),
    "a list in a list in a list": ("[" * 50_000, "column="),
}


@pytest.fixture(scope="module")
def uploading(module_client):
    def upload(body, name="X_1h.csv", more=""):
        content = body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass")
        return module_client.post(f"/api/v1/data?filename={name}&symbol=EURUSD{more}", content=content)

    return upload


@pytest.fixture(scope="module")
def module_client(tmp_path_factory):
    from fastapi.testclient import TestClient

    from ktrdr.api.app import create_app
    from ktrdr.api.settings import ApiSettings

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KTRDR_HOME", str(tmp_path_factory.mktemp("home")))
        app = create_app(ApiSettings(rate_limit=0))
        with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
            yield client


@pytest.mark.parametrize("ending", ["csv", "csv.gz"])
@pytest.mark.parametrize("what", HOSTILE)
def test_it_is_refused_in_a_sentence_with_a_remedy(uploading, what, ending):
    body, told = HOSTILE[what]
    content = body.encode()
    answer = uploading(gzip.compress(content, 1) if ending == "csv.gz" else content, f"X_1h.{ending}")
    assert answer.status_code == 422, answer.text
    detail = answer.json()["detail"]
    assert re.search(told, detail), detail
    assert len(detail) < 2_000
    assert "/" not in detail.partition(":")[0]


PIECES = st.sampled_from(
    [
        *('"', '""', "'", ",", ",,", ";", "\t", "|", "\n", "\r", "\r\n", "\0", "\ufeff", "\ud800", "é", "\u2028"),
        *(HEAD, ROWS[:300], "2024-01-01,1,1,1,1,1\n", "1e400", "1" * 400, "nan", "-", "0x1", "24:00", "9" * 40, "\x1a"),
        *("," * 300, "x" * 3_000, "PK\x03\x04", "PAR1", "\x1f\x8b"),
    ]
)


@given(
    st.lists(PIECES, max_size=30).map("".join),
    st.sampled_from(["csv", "txt", "parquet", "zip", "csv.gz"]),
    st.booleans(),
)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_sent_it_is_no_fault_of_the_server(uploading, text, ending, skip_bad):
    answer = uploading(text, f"X_1h.{ending}", "&skip_bad=true" if skip_bad else "")
    assert answer.status_code in (201, 422), answer.text
    assert answer.status_code == 201 or answer.json()["detail"]


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_disk_that_is_full_before_anything_is_received_is_said(uploading, monkeypatch):
    """A process that has not yet chosen its directory for temporary files finds none. Faked where Python tries them."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", list)
    monkeypatch.setattr("ktrdr.core.files.temporary.free_bytes", lambda place: 0)
    answer = uploading(HEAD + ROWS)
    assert (answer.status_code, answer.json()["type"]) == (507, "urn:ktrdr:problem:disk-full")


def test_a_disk_that_fills_up_while_a_body_is_received_is_said(uploading, monkeypatch):
    """Faked where the body is written."""
    opened = Path.open

    class Full:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *details):
            self.file.close()

        def write(self, block):
            raise FULL

    def full(path, mode="r", *arguments, **more):
        file = opened(path, mode, *arguments, **more)
        return Full(file) if mode == "wb" else file

    monkeypatch.setattr(Path, "open", full)
    answer = uploading(HEAD + ROWS)
    assert (answer.status_code, answer.json()["type"]) == (507, "urn:ktrdr:problem:disk-full")


def test_on_a_small_file_system_every_amount_of_room_is_enough_or_said_not_to_be(uploading, monkeypatch, tmp_path):
    """A file system in memory, where this user may mount one."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(tmp_path)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("NOT TESTED ON A FULL FILE SYSTEM: mounting one needs root; the tests above fake one")
    try:
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        found = set()
        body = HEAD + ROWS + ROWS.replace("2024", "2025").replace("1.2", "x", 1)
        for free in (0, 4, 16, 64, 256, 400, 600, 1_900):
            (tmp_path / "fill").write_bytes(bytes(2**21 - 1024 * free - 4096))
            answer = uploading(body, more="&skip_bad=true")
            assert answer.status_code in (201, 507), answer.text
            found.add(answer.status_code)
            (tmp_path / "fill").unlink()
            assert list(tmp_path.iterdir()) == []
        assert found == {201, 507}
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
