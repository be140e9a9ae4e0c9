"""Whatever a step of learning does to memberships, their names go on fitting them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.fuzzy.definition import MembershipFunction
from ktrdr.core.fuzzy.membership import membership
from ktrdr.ml.torch.membership_order import MembershipOrder, MembershipStack
from ktrdr.ml.torch.memberships import Memberships
from ktrdr.ml.torch.model_description import FuzzyVariable

CENTER, SCALE = 50.0, 20.0
LOWEST, HIGHEST = -2.0, 2.0

widths = st.floats(2.0, 40.0)


@st.composite
def functions_at(draw, place):
    """A function of any kind at ``place``."""
    kind = draw(
        st.sampled_from(["triangular", "left", "right", "trapezoidal", "gaussian", "bell", "rising", "falling"])
    )
    one, two, top = draw(widths), draw(widths), draw(widths) / 2
    return {
        "triangular": ("triangular", (place - one, place, place + two)),
        "left": ("trapezoidal", (place - one, place - one, place, place + two)),
        "right": ("trapezoidal", (place - two, place, place + one, place + one)),
        "trapezoidal": ("trapezoidal", (place - top - one, place - top, place + top, place + top + two)),
        "gaussian": ("gaussian", (place, one)),
        "bell": ("bell", (one, draw(st.floats(0.5, 5.0)), place)),
        "rising": ("sigmoid", (place, 4 / one)),
        "falling": ("sigmoid", (place, -4 / one)),
    }[kind]  # fmt: skip


@st.composite
def variables(draw):
    """A fuzzy input of one to five functions, in any order of the file."""
    places = draw(st.lists(st.floats(0.0, 100.0), min_size=1, max_size=5, unique_by=lambda place: round(place)))
    return [draw(functions_at(place)) for place in places]


def build(sets):
    made = Memberships(
        [
            FuzzyVariable(name=f"v{column}", column=column, functions=tuple((f"m{i}", *f) for i, f in enumerate(each)))
            for column, each in enumerate(sets)
        ],
        learn=True,
    )
    made.start([CENTER] * len(sets), [SCALE] * len(sets))
    stack = MembershipStack(made, {name: tensor[None, None] for name, tensor in made.state_dict().items()})
    order = MembershipOrder(stack, [LOWEST] * len(sets), [HIGHEST] * len(sets))
    return made, lambda: order.restore(stack)


def found(made, sets):
    """Return the functions of every variable as they are now."""
    flat = iter(made.functions([CENTER] * len(sets), [SCALE] * len(sets)))
    return [[next(flat) for _ in each] for each in sets]


def place_of(kind, numbers):
    """Return where a function is, by the words of the documentation."""
    match kind, numbers:
        case "triangular", (a, b, c):
            return b
        case "trapezoidal", (a, b, c, d):
            left, right = a == b, c == d
            return (b + c) / 2 if left == right else c if left else b
        case "bell", (_, _, center):
            return center
        case _, (center, _):
            return center


def degree(function, x):
    kind, numbers = function
    return membership(MembershipFunction(type=kind, parameters=numbers), np.asarray(x, dtype=float)).astype(float)


def crossing(lower, higher):
    """Return the highest degree that two neighbours share, on ever finer grids between where they are."""
    a, b = place_of(*lower), place_of(*higher)
    highest = 0.0
    # One may be a thousand times as wide as the other.
    for _ in range(3):
        x = np.append(np.linspace(a, b, 4001), b)
        shared = np.minimum(degree(lower, x), degree(higher, x))
        best = int(shared.argmax())
        highest = max(highest, float(shared[best]))
        a, b = x[max(best - 1, 0)], x[min(best + 1, 4000)]
    return highest


def check(before, after):
    for old, new in zip(before, after, strict=True):
        order = sorted(range(len(old)), key=lambda number: place_of(*old[number]))
        for low, high in pairwise(order):
            apart = place_of(*old[high]) - place_of(*old[low])
            size = 1 + max(abs(place_of(*new[low])), abs(place_of(*new[high])))
            assert place_of(*new[high]) - place_of(*new[low]) >= 0.1 * apart - 1e-5 * size
            asked = min(0.25, crossing(old[low], old[high]) / 2)
            assert crossing(new[low], new[high]) >= 0.97 * asked - 1e-3
        bottom, top = CENTER + LOWEST * SCALE, CENTER + HIGHEST * SCALE
        for number, edge, inner in ((order[0], bottom, max), (order[-1], top, min)):
            if degree(old[number], [edge])[0] >= 0.26 and inner(place_of(*old[number]), edge) != edge:
                # What covered the edge of the values covers it still, or the function has moved beyond it.
                beyond = inner(place_of(*new[number]), edge) == edge
                assert beyond or degree(new[number], [edge])[0] >= 0.24


@given(
    sets=st.lists(variables(), min_size=1, max_size=3),
    seed=st.integers(0, 2**32 - 1),
    size=st.sampled_from([0.1, 1.0, 8.0]),
)
def test_order_and_overlap_survive_any_steps(sets, seed, size):
    made, restore = build(sets)
    before = found(made, sets)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(4):
        with torch.no_grad():
            for name, parameter in made.named_parameters():
                # Widths by up to some powers of e, places by many deviations.
                factor = size if name.endswith("place") else min(size, 2.0)
                parameter += factor * torch.randn(parameter.shape, generator=generator)
        restore()
        check(before, found(made, sets))


@given(sets=st.lists(variables(), min_size=1, max_size=3))
def test_what_keeps_to_it_is_left_alone(sets):
    made, restore = build(sets)
    before = {name: parameter.detach().clone() for name, parameter in made.named_parameters()}
    restore()
    for name, parameter in made.named_parameters():
        np.testing.assert_array_equal(parameter.detach().numpy(), before[name].numpy(), err_msg=name)


def test_without_it_names_would_be_swapped_and_values_lost():
    """The guard's own test: these steps break order and overlap."""
    sets = [[("gaussian", (30.0, 10.0)), ("gaussian", (50.0, 10.0)), ("gaussian", (70.0, 10.0))]]
    made, restore = build(sets)
    before = found(made, sets)
    with torch.no_grad():
        made.gaussian_place.copy_(torch.tensor([1.5, -1.0, 6.0]))
    with pytest.raises(AssertionError):
        check(before, found(made, sets))
    restore()
    check(before, found(made, sets))


@pytest.mark.parametrize("learning", ["hybrid", "gradient"])
@pytest.mark.parametrize("output", ["classification", "regression"])
@given(seed=st.integers(0, 1000), rate=st.sampled_from([0.1, 1.0, 3.0]))
def test_a_training_with_large_steps_on_noise_keeps_the_names(problem, train, with_train, learning, output, seed, rate):
    given_problem = problem(
        "anfis",
        output,
        architecture={"learn_memberships": True, "learning": learning},
        settings={"epochs": 3, "learning_rate": rate, "optimizer": "adam", "gradient_clip": 1.0},
    )
    labels = np.random.default_rng(seed).permutation(given_problem.data.train.labels)
    model = train(with_train(given_problem, labels=labels))
    learned = model.predictor().learned_memberships()
    for crisp in given_problem.task.crisp_inputs:
        places = [place_of(*learned[crisp.name][name]) for name in crisp.functions]
        assert places == sorted(places)
        neighbours = [(kind, tuple(numbers)) for kind, numbers in learned[crisp.name].values()]
        for low, high in pairwise(neighbours):
            assert crossing(low, high) >= 0.24
