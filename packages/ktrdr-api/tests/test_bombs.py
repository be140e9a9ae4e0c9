"""Uploads made to cost: a real server answers each of them, stays small, and goes on answering others meanwhile.

What is held to is time of processors and memory, of the server and the processes it starts, so that a busy machine does
not matter: an answer costs 2 s at most and 300 MB of memory at most, and no look at `/health` waits for more than 0.1 s
of the server's own work.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from ktrdr.api.routes.strategies import EXAMPLE
from ktrdr.core.limits import LONGEST_STRATEGY, MOST_JSON_VALUES, MOST_MEMBERS

pytestmark = pytest.mark.slow

SECONDS, MEGABYTES, WAIT = 2.0, 300, 0.1
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")


def own_seconds(pid: int) -> float:
    """Return the time that a process has been on a processor."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def children_seconds(pid: int) -> float:
    """Return that of its children which have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / _TICKS


def memory(pid: int) -> int:
    """Return the resident bytes of a process and its children."""
    total = 0
    with contextlib.suppress(OSError):
        total = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            total += memory(int(child))
        for task in Path(f"/proc/{pid}/task").iterdir():
            if task.name != str(pid):
                total += sum(memory(int(child)) for child in (task / "children").read_text().split())
    return total


@dataclass
class Watch:
    """Asks for `/health` all the time, and sees what the server costs."""

    url: str
    pid: int
    waits: list[float] = field(default_factory=list)
    grown: int = 0
    seconds: float = 0.0

    @contextlib.contextmanager
    def watching(self) -> Iterator[Watch]:
        stop = threading.Event()
        at_rest, before = memory(self.pid), own_seconds(self.pid) + children_seconds(self.pid)

        def look() -> None:
            with httpx2.Client(timeout=60) as http:
                while not stop.is_set():
                    worked, began = own_seconds(self.pid), time.monotonic()
                    assert http.get(f"{self.url}/health").status_code == 200
                    waited = time.monotonic() - began
                    self.waits.append(min(waited, own_seconds(self.pid) - worked))
                    time.sleep(0.02)

        def weigh() -> None:
            while not stop.is_set():
                self.grown = max(self.grown, memory(self.pid) - at_rest)
                time.sleep(0.02)

        threads = [threading.Thread(target=look), threading.Thread(target=weigh)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            stop.set()
            for thread in threads:
                thread.join()
            self.seconds = own_seconds(self.pid) + children_seconds(self.pid) - before


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[tuple[str, int]]:
    """The address of `ktrdr serve` on a home of its own, and its process."""
    home = tmp_path_factory.mktemp("bombed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "KTRDR_HOME": str(home), "KTRDR_API_RATE_LIMIT": "0"}
    log = (home / "log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", "ktrdr.core.cli.main", "serve", "--port", str(port)],
        env=environment,
        stdout=log,
        stderr=log,
    )
    url = f"http://127.0.0.1:{port}/api/v1"
    try:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(httpx2.TransportError):
                if httpx2.get(f"{url}/health/ready").status_code in (200, 503):
                    break
            assert process.poll() is None, (home / "log").read_text()
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.1)
        # What a first request of a kind imports is no matter of what is sent.
        assert httpx2.get(f"{url}/models").status_code == 200
        assert httpx2.put(f"{url}/strategies/rsi_reversion", content=EXAMPLE).status_code == 201
        assert httpx2.post(f"{url}/models", content=b"").status_code == 422
        assert httpx2.post(f"{url}/data?filename=x.csv", content=b"time\n1\n", timeout=60).status_code == 422
        yield url, process.pid
    finally:
        process.terminate()
        process.wait(30)
        log.close()
    assert "Traceback" not in (home / "log").read_text()


@pytest.fixture(scope="module")
def parts(made_home) -> Mapping[str, bytes]:
    """The files of a whole bundle."""
    directory = made_home.path / "models" / "waves" / "1"
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def bundle(
    parts: Mapping[str, bytes],
    *,
    manifest: Callable[[dict[str, Any]], object] | bytes = lambda manifest: None,
    method: int = zipfile.ZIP_STORED,
    files: Mapping[str, bytes | None] | None = None,
) -> bytes:
    """Return an exported bundle with other files, whose manifest has their hashes."""
    contents = {name: content for name, content in {**parts, **(files or {})}.items() if content is not None}
    own = contents.pop("manifest.json")
    if isinstance(manifest, bytes):
        own = manifest
    else:
        value = json.loads(own)
        value["files"] = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
        manifest(value)
        own = json.dumps(value).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in {"manifest.json": own, **contents}.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def weights(header: bytes) -> dict[str, bytes | None]:
    return {"weights.safetensors": len(header).to_bytes(8, "little") + header + bytes(4)}


def archive_of(count: int, content: bytes, method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for number in range(count):
            archive.writestr(f"{number}.npy", content)
    return buffer.getvalue()


def array(header: bytes = b"") -> bytes:
    if header:
        return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(1))
    return buffer.getvalue()


def tensors(number: int, shape: bytes) -> bytes:
    each = b'{"dtype":"F32","shape":[' + shape + b'],"data_offsets":[0,4]}'
    return b"{" + b",".join(b'"t%d":' % k + each for k in range(number)) + b"}"


def in_strategy(**changes: Any) -> Callable[[dict[str, Any]], object]:
    return lambda manifest: manifest["strategy"].update(changes)


ONES = b"[" + b"1," * 30_000_000 + b"1]"
VALUES = MOST_JSON_VALUES - 10
DEFLATED = zipfile.ZIP_DEFLATED

MODELS: Mapping[str, Callable[[Mapping[str, bytes]], bytes]] = {
    "a thousand huge extents": lambda parts: bundle(parts, files=weights(tensors(1, b",".join([b"9" * 4000] * 900)))),
    "tensors of huge extents": lambda parts: bundle(
        parts, files=weights(tensors(3000, b",".join([b"9" * 38] * 30)))
    ),
    "tensors without end": lambda parts: bundle(parts, files=weights(tensors(60_000, b"1"))),
    "a header of 60 MB": lambda parts: bundle(parts, files=weights(ONES)),
    "a header of numbers": lambda parts: bundle(parts, files=weights(b"[" + b"1," * VALUES + b"1]")),
    "a history of 60 MB in 60 kB": lambda parts: bundle(parts, method=DEFLATED, files={"history.json": ONES}),
    "a history of 60 MB": lambda parts: bundle(parts, files={"history.json": ONES}),
    "a history of numbers": lambda parts: bundle(parts, files={"history.json": b"[" + b"1.5," * VALUES + b"1]"}),
    "a history of maps": lambda parts: bundle(parts, files={"history.json": b"[" + b"{}," * (VALUES // 2) + b"1]"}),
    "a history of keys": lambda parts: bundle(
        parts, files={"history.json": b"{" + b",".join(b'"%d":[]' % k for k in range(VALUES // 2)) + b"}"}
    ),
    "a history of one text": lambda parts: bundle(parts, files={"history.json": b'["' + b"x" * 60_000_000 + b'"]'}),
    "a history of escapes": lambda parts: bundle(
        parts, files={"history.json": b'["' + rb"\u0041" * 10_000_000 + b'"]'}
    ),
    "a history of half characters": lambda parts: bundle(
        parts, files={"history.json": b'["' + rb"\ud800" * 10_000_000 + b'"]'}
    ),
    "a history of one number": lambda parts: bundle(parts, files={"history.json": b"[0." + b"9" * 60_000_000 + b"]"}),
    "a history nested without end": lambda parts: bundle(parts, files={"history.json": b"[" * VALUES}),
    "opcodes for weights": lambda parts: bundle(
        parts, files={"weights.skops": b"\x80\x04" + b"N0" * 30_000_000}
    ),
    "opcodes for a strategy": lambda parts: bundle(parts, files={"strategy.yaml": b"(0" * 30_000_000}),
    "opcodes as long as a strategy": lambda parts: bundle(
        parts, files={"strategy.yaml": b"(0" * (2 * LONGEST_STRATEGY)}
    ),
    "opcodes for JSON": lambda parts: bundle(parts, files={"more.json": b"(0" * 30_000_000}),
    "opcodes for an array": lambda parts: bundle(parts, files={"more.npz": archive_of(1, b"(0" * 30_000_000)}),
    "arrays without end": lambda parts: bundle(parts, files={"more.npz": archive_of(2 * MOST_MEMBERS, array())}),
    "arrays of odd heads": lambda parts: bundle(
        parts,
        files={
            "more.npz": archive_of(
                9000, array(b"{'descr': [" + b"('a','<f8')," * 300 + b"],'fortran_order': False,'shape': ()}")
            )
        },
    ),
    "arrays of nested heads": lambda parts: bundle(
        parts, files={"more.npz": archive_of(9000, array(b"(" * 90 + b")" * 90))}
    ),
    "an array with a head of 60 MB": lambda parts: bundle(
        parts, files={"more.npy": b"\x93NUMPY\x02\x00" + struct.pack("<I", 60_000_000) + b"(" * 60_000_000}
    ),
    "an array of 600 MB in 600 kB": lambda parts: bundle(
        parts, files={"more.npz": archive_of(1, bytes(600_000_000), DEFLATED)}
    ),
    "JSON in every file": lambda parts: bundle(
        parts, files={f"more{k}.json": b"[" + b"1," * (VALUES // 2) + b"1]" for k in range(50)}
    ),
    "headers in every file": lambda parts: bundle(
        parts,
        files={f"more{k}.safetensors": weights(tensors(19_000, b"1"))["weights.safetensors"] for k in range(50)},
    ),
    "arrays in every file": lambda parts: bundle(
        parts, files={f"more{k}.npz": archive_of(MOST_MEMBERS // 3, array()) for k in range(10)}
    ),
    "a number of 300 digits": lambda parts: bundle(parts, manifest=lambda manifest: manifest.update(version=10**300)),
    "a manifest of 60 MB": lambda parts: bundle(parts, manifest=ONES),
    "a manifest of maps": lambda parts: bundle(parts, manifest=b"[" + b"{}," * 99_000 + b"1]"),
    "a manifest of features": lambda parts: bundle(
        parts,
        manifest=lambda manifest: manifest.update(feature_ids=[str(k) for k in range(190_000)], input_size=190_000),
    ),
    "a manifest of indicators": lambda parts: bundle(
        parts, manifest=in_strategy(indicators={str(k): {"type": "x", "parameters": {}} for k in range(45_000)})
    ),
    "a manifest of features by the billion": lambda parts: bundle(
        parts,
        manifest=in_strategy(
            nn_inputs=[
                {"raw_indicator": "x", "timeframes": ["1h"] * 90_000, "lags": [*range(90_000)], "kind": "raw_indicator"}
            ]
        ),
    ),
    "a manifest with half a character": lambda parts: bundle(
        parts, manifest=parts["manifest.json"].replace(b'"name": "waves"', rb'"name": "waves\ud800"')
    ),
    "files without end": lambda parts: archive_of(300_000, b""),
    "bytes that say nothing": lambda parts: bytes(60_000_000),
    "names of archives": lambda parts: b"PK\x03\x04" * 15_000_000,
}  # fmt: skip

BROKEN_HEAD = b"time,open,high,low,close,volume\n"
ROW = b"2020-01-02 10:00,1,1,1,1,1\n"
DATA: Mapping[str, Callable[[], bytes]] = {
    "600 MB of zeros in gzip": lambda: gzip.compress(bytes(600_000_000), 9),
    "600 MB of one row in gzip": lambda: gzip.compress(BROKEN_HEAD + ROW * 22_000_000, 9),
    "600 MB of one row in zip": lambda: archive_of(1, BROKEN_HEAD + ROW * 22_000_000, DEFLATED),
    "gzip in gzip": lambda: gzip.compress(gzip.compress(bytes(600_000_000), 9), 9),
    "files without end": lambda: archive_of(300_000, b""),
    "Parquet that is none": lambda: b"PAR1" + bytes(60_000_000) + b"PAR1",
}

STRATEGIES: Mapping[str, str] = {
    "aliases of aliases": "a: &a [x,x,x,x,x,x,x,x,x]\n"
    + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefghijk", "bcdefghijkl", strict=True)),
    "merges of merges": "a: &a {x: 1}\n"
    + "".join(
        f"{b}: &{b} {{<<: [{','.join([f'*{a}'] * 9)}]}}\n" for a, b in zip("abcdefghijk", "bcdefghijkl", strict=True)
    ),
    "an anchor that holds itself": "a: &a [*a]\n",
    "nested lists": "[" * LONGEST_STRATEGY,
    "nested maps": "{a: " * (LONGEST_STRATEGY // 4),
    "nested blocks": "".join(" " * k + "a:\n" for k in range(500)),
    "nested dashes": "- " * (LONGEST_STRATEGY // 2),
    "questions": "? " * (LONGEST_STRATEGY // 2),
    "anchors": "".join(f"k{k}: &a{k} 1\n" for k in range(9000)),
    "one long text": "a: " + "x" * (LONGEST_STRATEGY - 3),
    "one long number": "a: " + "9" * (LONGEST_STRATEGY - 3),
    "one long key": "x" * (LONGEST_STRATEGY - 3) + ": 1",
    "quotes": "a: '" + "''" * (LONGEST_STRATEGY // 2 - 3),
    "escapes": 'a: "' + "\\x41" * (LONGEST_STRATEGY // 4 - 2) + '"',
    "blank lines": "a: 1" + "\n" * (LONGEST_STRATEGY - 4),
    "comments": "#\n" * (LONGEST_STRATEGY // 2),
    "separate documents": "---\n" * (LONGEST_STRATEGY // 4),
    "directives": "%YAML 1.1\n" * (LONGEST_STRATEGY // 10),
    "features by the million": EXAMPLE.replace(
        "timeframes: all}", f"timeframes: all, lags: [{','.join(map(str, range(1, 4000)))}]}}"
    ).replace("rsi: {", "rsi: {" + "".join(f"m{k}: [0, 1, 2], " for k in range(1000))),
    "indicators that none is": EXAMPLE.replace(
        "indicators:\n", "indicators:\n" + "".join(f"  i{k}: {{type: rsy, perod: 14}}\n" for k in range(1500))
    ),
    "half a character": 'name: "\\ud800"\n',
}

JSON: Mapping[str, bytes] = {
    "nested lists": b"[" * 1_000_000,
    "nested maps": b'{"a":' * 200_000,
    "one long number": b'{"seed": ' + b"9" * 1_000_000 + b"}",
    "keys without end": b"{" + b",".join(b'"k%d":0' % k for k in range(90_000)) + b"}",
    "values without end": b'{"model": "a/1", "settings": {"x": [' + b"{}," * 300_000 + b"{}]}}",
    "settings without end": b'{"settings": {' + b",".join(b'"k%d":[{}]' % k for k in range(70_000)) + b"}}",
    "memberships without end": b'{"memberships": {"x": [' + b"{}," * 300_000 + b'{}]}, "indicator": {"type": "rsi"}}',
    "parameters without end": b'{"parameters": {"x": [' + b"[]," * 300_000 + b"[]]}}",
    "symbols without end": b'{"strategy": "a", "model": "a/1", "symbols": [' + b"1," * 490_000 + b"1]}",
    "half a character": rb'{"strategy": "\ud800", "model": "\ud800", "settings": {"\ud800": ["\ud800"]}}',
    "a key of half a character": rb'{"\ud800": 1}',
}  # fmt: skip


_TURNS = 3


@pytest.fixture
def sent(server) -> Callable[..., httpx2.Response]:
    """Return a function that sends a body, and checks what the answer has cost."""
    url, pid = server

    def send(method: str, path: str, body: bytes, kind: str = "application/octet-stream") -> httpx2.Response:
        # The wait varies by half from turn to turn on a shared processor: too long is what is so in every turn.
        for turn in range(_TURNS):
            with Watch(url, pid).watching() as watch:
                began = time.monotonic()
                answer = httpx2.request(method, url + path, content=body, headers={"Content-Type": kind}, timeout=120)
                took = time.monotonic() - began
            waited = max(watch.waits, default=0)
            cost = (
                f"{len(body) / 1e6:.2f} MB, {took:.2f} s, {watch.seconds:.2f} s of processors, "
                f"{watch.grown / 1e6:.0f} MB more, `/health` after {waited * 1000:.0f} ms of work at most"
            )
            print(f"{path}, turn {turn + 1}: {cost}: {answer.text[:200]}")
            assert answer.status_code < 500, answer.text
            assert watch.seconds < SECONDS, cost
            assert watch.grown < MEGABYTES * 1e6, cost
            if waited < WAIT:
                return answer
        pytest.fail(f"in each of {_TURNS} turns: {cost}")

    return send


@pytest.mark.parametrize("kind", sorted(MODELS))
def test_a_bundle(sent, parts, kind):
    answer = sent("POST", "/models", MODELS[kind](parts))
    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:ktrdr:problem:bad-input"
    assert len(answer.content) < 2000


def test_an_honest_bundle_is_taken(sent, parts):
    """The limits are not what refuses the others."""
    assert sent("POST", "/models", bundle(parts)).status_code == 201
    assert sent("POST", "/models", bundle(parts, method=DEFLATED)).status_code == 200


@pytest.mark.parametrize("kind", sorted(DATA))
def test_bars(sent, kind):
    answer = sent("POST", "/data?filename=EURUSD_1h.csv&symbol=EURUSD", DATA[kind]())
    assert answer.status_code == 422
    assert "ktrdr-import" not in answer.text


@pytest.mark.parametrize("kind", sorted(STRATEGIES))
def test_a_strategy(sent, kind):
    text = STRATEGIES[kind].encode()
    checked = sent("POST", "/validate-strategy", text)
    assert checked.status_code in (200, 422)
    assert not checked.json().get("valid")
    assert sent("PUT", "/strategies/x", text).status_code == 422


PATHS = ["/trainings", "/evaluations", "/backtests", "/sweeps", "/fuzzy/calculate", "/indicators/rsi/calculate"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", sorted(JSON))
def test_a_request(sent, kind, path):
    answer = sent("POST", path, JSON[kind], "application/json")
    assert answer.status_code in (400, 404, 422)
    assert len(answer.content) < 200_000
