"""What must be said of a model: too little to learn or to judge by, and baselines that are better."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.limits import FEWEST_JUDGED_SAMPLES, FEWEST_SAMPLES_PER_INPUT
from ktrdr.core.models.manifest import MemberRecord
from ktrdr.core.models.model_warnings import (
    baseline_warnings,
    equal_members_warnings,
    most_error,
    too_little_warnings,
)

ENOUGH = {"train": 5000, "validation": 600, "test": 600}
SCORE = st.none() | st.floats(0, 10)
COUNTS = st.integers(0, 2000)


def little(samples: dict[str, int], *, inputs: int = 9, best_epoch: int = 7, epochs: int = 20) -> tuple[str, ...]:
    return too_little_warnings(samples, inputs=inputs, best_epoch=best_epoch, epochs=epochs)


def test_the_four_things_there_can_be_too_little_of():
    assert little(ENOUGH) == ()
    assert little({"train": 24, "validation": 0, "test": 4}, inputs=30, best_epoch=1) == (
        "24 training samples are too few to learn from: 30 inputs ask for at least 300; train on more bars"
        " or with fewer inputs",
        "4 test samples are too few to judge by: a share of them, such as the accuracy, is uncertain by up to 49"
        " percentage points either way (95%); at least 100 are needed",
        "the epoch that was kept is the first of 20: no later one was better on the validation part, so the rest of"
        " the training did not improve the model",
    )
    (one,) = little({**ENOUGH, "validation": 1})
    assert one.startswith("1 validation sample is too few")


@given(train=COUNTS, validation=COUNTS, test=COUNTS, inputs=st.integers(1, 300), best=st.integers(1, 3))
def test_each_is_said_exactly_where_it_holds(train: int, validation: int, test: int, inputs: int, best: int):
    said = little({"train": train, "validation": validation, "test": test}, inputs=inputs, best_epoch=best, epochs=3)
    assert any("training sample" in each for each in said) == (train < max(100, FEWEST_SAMPLES_PER_INPUT * inputs))
    for part, count in (("validation", validation), ("test", test)):
        assert any(f" {part} sample" in each for each in said) == (0 < count < FEWEST_JUDGED_SAMPLES)
    assert any("epoch" in each for each in said) == (best == 1)
    assert all("\n" not in each and not each.endswith(".") for each in said)


def test_one_epoch_of_one_is_what_was_asked_for():
    assert little(ENOUGH, best_epoch=1, epochs=1) == ()


@given(count=st.integers(1, 10_000))
def test_the_error_is_that_of_the_widest_share(count: int):
    widest = max(math.sqrt(share / 100 * (1 - share / 100) / count) for share in range(101))
    assert most_error(count) == pytest.approx(min(1.96 * widest, 1.0))


def test_a_model_below_its_baselines_is_called_that():
    metrics = {"validation": {"log_loss": 0.5}, "test": {"log_loss": 1.1163}}
    baselines: dict[str, Any] = {"majority": {"test": {"log_loss": 1.0821}}, "last_value": {"test": {"log_loss": 1.2}}}
    assert baseline_warnings("classification", metrics, baselines) == (
        "the model is below a baseline: on the test part its log loss is 1.116, that of the majority class 1.082; lower"
        " is better, and none of these needs a model",
    )
    baselines["last_value"]["test"]["log_loss"] = 1.0215
    (said,) = baseline_warnings("classification", metrics, baselines)
    assert "below its baselines" in said
    assert "that of the majority class 1.082, that of the last value 1.022" in said
    del metrics["test"], baselines["majority"], baselines["last_value"]["test"]
    baselines["last_value"]["validation"] = {"log_loss": 0.4}
    (said,) = baseline_warnings("classification", metrics, baselines)
    assert "below its baseline: on the validation part its log loss is 0.5, that of the last value 0.4" in said


@given(
    output=st.sampled_from([("classification", "log_loss"), ("regression", "rmse")]),
    own=SCORE,
    rivals=st.dictionaries(st.sampled_from(["majority", "mean", "last_value"]), SCORE),
    part=st.sampled_from(["validation", "test"]),
)
def test_it_is_said_exactly_where_a_baseline_is_better(output, own, rivals, part):
    kind, score = output
    said = baseline_warnings(
        kind, {part: {score: own}}, {name: {part: {score: value}} for name, value in rivals.items()}
    )
    below = own is not None and any(value is not None and value < own for value in rivals.values())
    assert len(said) == below


@pytest.mark.parametrize(
    "baselines",
    [{}, {"majority": None}, {"majority": {"test": 3}}, {"majority": {"test": {"log_loss": "0"}}}, {"\x1b[2A": {}}],
)  # fmt: skip
def test_what_an_imported_manifest_may_hold_instead_says_nothing(baselines: dict[str, Any]):
    """Its maps are free, and what stands in them goes to a terminal."""
    hostile = {**baselines, "\x1b[2A": {"test": {"log_loss": 0.0}}}
    assert baseline_warnings("classification", {"test": {"log_loss": 1.0}}, hostile) == ()


def members(*losses: float) -> list[MemberRecord]:
    return [
        MemberRecord(seed=seed, best_epoch=1, metrics={"validation": {"log_loss": 1.0}, "test": {"log_loss": loss}})
        for seed, loss in enumerate(losses)
    ]


def test_that_the_seed_changes_nothing_is_said_of_equal_members_alone():
    assert equal_members_warnings("logistic_regression", members(1.1, 1.1, 1.1)) == (
        "the seed changes nothing for logistic_regression: all 3 models have the same metrics, so their spread says"
        " nothing; one seed is enough",
    )
    assert "both models" in equal_members_warnings("x", members(1.1, 1.1))[0]
    assert equal_members_warnings("x", members(1.1, 1.1, 1.2)) == ()
    assert equal_members_warnings("x", members(1.1)) == ()
    assert equal_members_warnings("x", []) == ()
    unjudged = [MemberRecord(seed=seed, best_epoch=1) for seed in (1, 2)]
    assert equal_members_warnings("x", unjudged) == ()
