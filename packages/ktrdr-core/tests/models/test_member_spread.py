"""Spread over members, compared with numpy."""

from __future__ import annotations

import numpy as np
import pytest

from ktrdr.core.models.manifest import MemberRecord
from ktrdr.core.models.member_spread import spread_columns, spread_of


def members(*maps):
    return [MemberRecord(seed=seed, best_epoch=1, metrics={"test": values}) for seed, values in enumerate(maps)]


def test_mean_sd_and_range_are_those_of_numpy():
    values = [0.25, 0.5, 0.125, 0.75]
    found = spread_of(members(*({"samples": 9, "mcc": value} for value in values)), "test")
    assert list(found) == ["mcc"]
    own = found["mcc"]
    assert (own.mean, own.sd) == pytest.approx((np.mean(values), np.std(values, ddof=1)))
    assert (own.min, own.max) == (0.125, 0.75)


def test_one_member_has_no_spread_and_none_nothing():
    assert spread_of(members({"mcc": 0.5}), "test")["mcc"].sd == 0.0
    assert spread_of([], "test") == {}
    assert spread_of(members({"mcc": 0.5}), "validation") == {}


def test_a_metric_that_is_not_known_of_every_member_is_left_out():
    assert list(spread_of(members({"mcc": 0.5, "r2": None}, {"mcc": 0.5, "r2": 0.1}), "test")) == ["mcc"]
    assert spread_of(members({"mcc": 0.5}, {}), "test") == {}


def test_columns_are_mean_sd_and_range_and_none_without_members():
    found = spread_columns(members({"mcc": 0.25}, {"mcc": 0.75}), "test")
    assert found == {
        "mean": {"mcc": 0.5},
        "sd": {"mcc": pytest.approx(0.5**1.5)},
        "min": {"mcc": 0.25},
        "max": {"mcc": 0.75},
    }
    assert spread_columns([], "test") == {}
