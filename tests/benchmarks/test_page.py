"""docs/benchmarks.md says what was measured, and nothing about whose machine it was."""

import json
import platform
import re

import page
import pytest
import run
import tables


@pytest.fixture(scope="module")
def document(root):
    (latest,) = (root / "benchmarks" / "results").glob("*.json")
    return json.loads(latest.read_text(encoding="utf-8"))


def test_the_page_is_made_of_the_committed_numbers(document):
    text = page.PAGE.read_text(encoding="utf-8")
    assert page.filled(text, document) == text, "run `python benchmarks/page.py benchmarks/results/<date>.json`"


def test_the_page_changes_with_the_numbers(document):
    text = page.PAGE.read_text(encoding="utf-8")
    changed = json.loads(json.dumps(document))
    changed["benchmarks"][0]["rows"][0]["cpu"]["median"] *= 3
    assert page.filled(text, changed) != text


def test_a_page_without_a_block_is_refused(document):
    with pytest.raises(SystemExit, match="0 blocks 'limits'"):
        page.filled(page.PAGE.read_text(encoding="utf-8").replace("begin: limits", "begin: limit"), document)


def test_every_benchmark_was_run_in_full(document):
    assert [each["benchmark"] for each in document["benchmarks"]] == list(run.BENCHMARKS)
    assert document["failed"] == []
    assert not document["quick"]
    assert set(page.TITLES) == set(run.BENCHMARKS)


def test_whoever_is_slower_than_a_peer_says_why(document):
    """Each line of the table of faster peers has its reason in the text below it."""
    text = page.PAGE.read_text(encoding="utf-8")
    reasons = text.partition("<!-- end: faster peers -->")[2].partition("\n## ")[0]
    missing = [row["contest"] for _, _, row in page.slower(document) if f"`{page.subject(row)}`" not in reasons]
    assert not missing


def test_no_name_and_no_path_of_the_machine_is_in_the_numbers(document):
    text = json.dumps(document)
    assert not re.search(r'"[^"]*/(home|root|tmp|work|usr|opt)/', text)
    assert not re.search(r"hostname|node\b", text)


def test_the_machine_is_described_without_its_name():
    assert platform.node() not in json.dumps(run.machine()).split()
    assert set(run.machine()) == {"cpu", "cores", "memory_gib", "os", "python"}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1.5e-6, "1.50 µs"), (0.012, "12.0 ms"), (0.9994, "999 ms"), (1.0, "1.00 s"), (1234.5, "1,234 s")],
)
def test_durations(seconds, text):
    assert tables.duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0.00"), (0.001, "1.0e-03"), (0.5, "0.50"), (12.34, "12.3"), (5e6, "5,000,000")]
)
def test_numbers(value, text):
    assert tables.number(value) == text


def test_columns_that_say_nothing_are_left_out():
    assert tables.without_empty(("a", "b"), [("1", ""), ("2", "")]) == (("a",), [("1",), ("2",)])


def test_a_benchmark_that_fails_fails_the_run_and_is_named(monkeypatch, tmp_path, capfd):
    (tmp_path / "works.py").write_text(
        "import sys; from harness import Contest, main\n"
        "main(__file__, 'x', lambda quick: [Contest('nothing', {'ours': lambda n: None}, rounds=1)])\n"
    )
    (tmp_path / "broken.py").write_text("raise SystemExit('it is broken')\n")
    monkeypatch.setenv("PYTHONPATH", str(page.PAGE.parent.parent / "benchmarks"))
    monkeypatch.setattr(run, "HERE", tmp_path)
    monkeypatch.setattr(run, "BENCHMARKS", ("broken", "works"))
    monkeypatch.setattr("sys.argv", ["run.py", "--json", str(tmp_path / "a" / "found.json")])
    with pytest.raises(SystemExit, match="failed: broken"):
        run.main()
    assert "it is broken" in capfd.readouterr().err
    found = json.loads((tmp_path / "a" / "found.json").read_text())
    assert found["failed"] == ["broken"]
    assert [row["program"] for row in found["benchmarks"][0]["rows"]] == ["ours"]
    assert found["versions"]["numpy"]


def test_some_benchmarks_can_be_measured_anew(monkeypatch, tmp_path):
    target = tmp_path / "found.json"
    monkeypatch.setattr(run, "BENCHMARKS", ("a", "b", "c"))
    monkeypatch.setattr(
        run, "one", lambda name, *_: {"benchmark": name, "rows": [run.now()], "figures": [], "quick": False} | COST
    )
    for only, more in (("a,b,c", []), ("b", ["--update"])):
        monkeypatch.setattr("sys.argv", ["run.py", "--only", only, "--json", str(target), *more])
        monkeypatch.setattr(run, "now", lambda only=only: only)
        run.main()
    found = json.loads(target.read_text())
    assert [(each["benchmark"], each["rows"]) for each in found["benchmarks"]] == [
        ("a", ["a,b,c"]),
        ("b", ["b"]),
        ("c", ["a,b,c"]),
    ]
    assert found["seconds"] == 3


COST = {"seconds": 1.0, "load_before": 0.0}
