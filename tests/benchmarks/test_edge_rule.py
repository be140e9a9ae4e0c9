"""The simulation of the conditions of an edge: it goes on where it was, and its table counts what it should."""

from __future__ import annotations

import json

import edge_rule
import pytest


def row(process, seed, met):
    return {"process": process, "seed": seed, "met": met, "edge": all(met)}


def test_a_world_is_evaluated_once_and_a_stopped_run_goes_on(tmp_path, monkeypatch):
    evaluated = []

    def judge(process, seed):
        evaluated.append((process, seed))
        return row(process, seed, [True, False, True, True])

    monkeypatch.setattr(edge_rule, "judge", judge)
    rows, worlds = tmp_path / "rows.jsonl", [("walk", 1), ("garch", 1), ("walk", 2)]
    assert not list(edge_rule.judged(worlds, rows, 0))
    assert len(list(edge_rule.judged(worlds[:2], rows, 60))) == 2
    found = list(edge_rule.judged(worlds, rows, 60))
    assert evaluated == worlds == [(own["process"], own["seed"]) for own in found]
    assert [json.loads(line) for line in rows.read_text(encoding="utf-8").splitlines()] == found


def test_the_table_has_the_exact_interval_of_each_share():
    rows = [row("walk", seed, [seed == 0, False, False, True]) for seed in range(20)]
    rows += [row("garch", seed, [True] * 4) for seed in range(5)]
    rows += [row("regime_volatility", 1, [True] * 4), row("mean_reversion", 1, [True] * 4)]
    _, _, walk, garch, _, together, known = edge_rule.table(rows)
    # Of none among n the upper bound is 1 - 0.025 ** (1 / n), of all the lower one 0.025 ** (1 / n).
    assert walk == f"| walk | 20 | 1 | 0 | 0 | 20 | 0 | 0% (0.0% to {1 - 0.025 ** (1 / 20):.1%}) |"
    assert garch == f"| garch | 5 | 5 | 5 | 5 | 5 | 5 | 100% ({0.025 ** (1 / 5):.1%} to 100.0%) |"
    assert together.startswith("| walk and regime_volatility | 21 | 2 | 1 | 1 | 21 | 1 | 5% (")
    assert known.startswith("| mean_reversion | 1 | 1 | 1 | 1 | 1 | 1 | 100% (")


def test_seeds_are_a_range_or_one():
    assert (edge_rule.seeds_of("101-103"), edge_rule.seeds_of("7")) == (range(101, 104), range(7, 8))


@pytest.mark.parametrize("process", ["walk", "mean_reversion"])
def test_a_world_is_judged_by_the_evaluator_and_leaves_nothing_behind(tmp_path, monkeypatch, process):
    monkeypatch.setenv("KTRDR_HOME", str(tmp_path / "home"))
    found = edge_rule.judge(process, 5, bars=900, epochs=1)
    assert found == edge_rule.judge(process, 5, bars=900, epochs=1)
    assert len(found["met"]) == len(found["found"]) == 4
    assert found["edge"] == all(found["met"])
    assert not (tmp_path / "home").exists()
