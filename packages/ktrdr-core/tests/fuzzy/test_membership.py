from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ktrdr.core.fuzzy.definition import FuzzySet, MembershipFunction
from ktrdr.core.fuzzy.membership import MEMBERSHIP_TYPES, dead_zone_share, membership, write_membership

Reference = Callable[[MembershipFunction, float], float]

EXAMPLES = [
    MembershipFunction(type="triangular", parameters=(20, 50, 80)),
    MembershipFunction(type="triangular", parameters=(0, 0, 50)),
    MembershipFunction(type="triangular", parameters=(50, 100, 100)),
    MembershipFunction(type="trapezoidal", parameters=(10, 20, 60, 90)),
    MembershipFunction(type="trapezoidal", parameters=(0, 0, 25, 42)),
    MembershipFunction(type="trapezoidal", parameters=(58, 75, 100, 100)),
    MembershipFunction(type="gaussian", parameters=(50, 12.5)),
    MembershipFunction(type="sigmoid", parameters=(50, 0.3)),
    MembershipFunction(type="sigmoid", parameters=(50, -0.3)),
    MembershipFunction(type="bell", parameters=(15, 2.5, 50)),
]


def name(function: MembershipFunction) -> str:
    return f"{function.type}{function.parameters}"


def numbers(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False, allow_infinity=False)


@st.composite
def functions(draw: st.DrawFn) -> MembershipFunction:
    kind = draw(st.sampled_from(sorted(MEMBERSHIP_TYPES)))
    center = draw(numbers(-1e5, 1e5))
    width = draw(numbers(1e-3, 1e3))
    match kind:
        case "triangular" | "trapezoidal":
            steps = draw(
                st.lists(st.just(0.0) | numbers(1e-3, 1e3), min_size=len(MEMBERSHIP_TYPES[kind]) - 1, max_size=3)
            )[: len(MEMBERSHIP_TYPES[kind]) - 1]
            parameters = [center]
            for step in steps:
                parameters.append(parameters[-1] + step)
        case "gaussian":
            parameters = [center, width]
        case "sigmoid":
            parameters = [center, draw(st.sampled_from((-1, 1))) / width]
        case _:
            parameters = [width, draw(numbers(0.1, 20)), center]
    return MembershipFunction(type=kind, parameters=tuple(parameters))


@settings(max_examples=100, deadline=None)
@given(data=st.data(), function=functions())
def test_equals_the_textbook_value_by_value(reference: Reference, data: st.DataObject, function: MembershipFunction):
    near = [*function.parameters, *(sum(pair) / 2 for pair in pairwise(function.parameters))]
    values = np.array(data.draw(st.lists(numbers(-1e6, 1e6) | st.sampled_from(near) | st.just(float("nan")))))
    expected = [reference(function, float(value)) for value in values]
    np.testing.assert_allclose(membership(function, values), expected, rtol=0, atol=3e-6)


@pytest.mark.parametrize("function", EXAMPLES, ids=name)
def test_is_within_a_few_float32_steps_over_its_whole_range(reference: Reference, function: MembershipFunction):
    values = np.linspace(-150, 250, 20_001)
    expected = np.array([reference(function, float(value)) for value in values])
    np.testing.assert_allclose(membership(function, values), expected, rtol=0, atol=3e-7)


@pytest.mark.parametrize("function", EXAMPLES, ids=name)
def test_gives_float32_in_the_unit_interval_and_hands_nan_on(function: MembershipFunction):
    values = np.array([np.nan, -1e300, -np.inf, 0.0, 1e-300, 50.0, np.inf, 1e300, np.nan])
    degrees = membership(function, values)
    assert degrees.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(degrees), np.isnan(values))
    assert np.nanmin(degrees) >= 0
    assert np.nanmax(degrees) <= 1


@pytest.mark.parametrize(
    ("kind", "parameters", "value", "degree"),
    [
        ("triangular", (0, 0, 50), -1000.0, 1),
        ("triangular", (0, 0, 50), 0.0, 1),
        ("triangular", (0, 0, 50), 50.0, 0),
        ("triangular", (50, 100, 100), 1e9, 1),
        ("triangular", (50, 100, 100), 50.0, 0),
        ("triangular", (20, 50, 80), 50.0, 1),
        ("trapezoidal", (0, 0, 25, 42), -7.0, 1),
        ("trapezoidal", (0, 0, 25, 42), 25.0, 1),
        ("trapezoidal", (58, 75, 100, 100), 101.0, 1),
        ("trapezoidal", (10, 20, 60, 90), 20.0, 1),
        ("trapezoidal", (10, 20, 60, 90), 60.0, 1),
        ("trapezoidal", (10, 20, 60, 90), 90.0, 0),
        ("triangular", (5, 5, 5), 1e6, 1),
        ("gaussian", (3, 1), 3.0, 1),
        ("sigmoid", (3, 8), 3.0, 0.5),
        ("bell", (2, 4, 3), 5.0, 0.5),
        ("bell", (2, 4, 3), 3.0, 1),
    ],
)
def test_corners_and_shoulders_are_exact(kind: str, parameters: tuple[float, ...], value: float, degree: float):
    function = MembershipFunction(type=kind, parameters=parameters)
    assert membership(function, np.array([value]))[0] == degree


@pytest.mark.parametrize("function", EXAMPLES, ids=name)
def test_a_value_has_one_degree_wherever_it_stands(function: MembershipFunction):
    """Position, length and target must not matter: training and backtest hold the same bar at different rows."""
    values = np.random.default_rng(0).normal(50, 30, 10_000)
    whole = membership(function, values)
    for start, stop in [(0, 1), (1, 2), (3, 4100), (4095, 4097), (17, 9999), (9999, 10_000)]:
        np.testing.assert_array_equal(membership(function, values[start:stop]), whole[start:stop])
    matrix = np.zeros((len(values), 3), dtype=np.float32)
    write_membership(function, values, matrix[:, 1])
    np.testing.assert_array_equal(matrix[:, 1], whole)
    assert not matrix[:, [0, 2]].any()


def test_a_narrow_set_of_a_large_price_keeps_its_cents():
    function = MembershipFunction(type="triangular", parameters=(60_000.00, 60_000.01, 60_000.02))
    degrees = membership(function, np.array([60_000.0025, 60_000.005, 60_000.015]))
    np.testing.assert_allclose(degrees, [0.25, 0.5, 0.5], atol=1e-3)


def test_no_value_gives_no_degree():
    assert membership(EXAMPLES[0], np.empty(0)).shape == (0,)


def test_dead_zone_is_the_share_no_membership_answers():
    fuzzy_set = FuzzySet(
        indicator="rsi",
        memberships={
            "low": MembershipFunction(type="trapezoidal", parameters=(0, 0, 20, 30)),
            "high": MembershipFunction(type="trapezoidal", parameters=(70, 80, 100, 100)),
        },
    )
    assert dead_zone_share(fuzzy_set, np.array([10.0, 50.0, 90.0, np.nan, 60.0])) == 0.5
    assert dead_zone_share(fuzzy_set, np.array([np.nan])) == 0.0
