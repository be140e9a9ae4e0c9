"""Firing strengths beside the definition, in arithmetic that cannot underflow; and where no rule fires."""

from __future__ import annotations

import dataclasses
from decimal import Context, Decimal, localcontext
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.plugins import CrispInput
from ktrdr.core.testing.learning_problems import Problem
from ktrdr.ml.torch.model_description import describe
from ktrdr.ml.torch.networks import empty_network


def network_of(given_problem, functions, *, columns=2, architecture=None):
    """Return an ANFIS of ``columns`` inputs with these functions, in units of the inputs, and random consequents."""
    task = dataclasses.replace(
        given_problem.task,
        crisp_inputs=tuple(CrispInput(f"x{number}", number, functions) for number in range(columns)),
        architecture={**given_problem.task.architecture, **(architecture or {})},
    )
    network = empty_network(describe(task, None))
    network.start([0.0] * 4, [1.0] * 4)
    with torch.no_grad():
        network.consequents.copy_(torch.randn(network.consequents.shape, generator=torch.Generator().manual_seed(1)))
    return network


def degree(kind, numbers, x):
    """Return the degree by the formula of the grammar, to fifty digits."""
    numbers = [Decimal(float(np.float32(number))) for number in numbers]
    match kind:
        case "gaussian":
            mean, sigma = numbers
            return (-(((x - mean) / sigma) ** 2) / 2).exp()
        case "bell":
            width, slope, center = numbers
            distance = abs((x - center) / width)
            return 1 / (1 + (distance.ln() * 2 * slope).exp()) if distance else Decimal(1)
        case "sigmoid":
            center, slope = numbers
            return 1 / (1 + (-slope * (x - center)).exp())
        case _:
            a, b, c = numbers
            return max(min((x - a) / (b - a), (c - x) / (c - b)), Decimal(0))


def expected_scores(network, functions, row, columns=2):
    """Return the scores of one row, rule by rule."""
    x = [Decimal(float(value)) for value in row]
    weights = network.consequents.detach().double().numpy().reshape(-1, 5, 3)
    total, scores = Decimal(0), [Decimal(0)] * 3
    for rule, names in enumerate(product(functions, repeat=columns)):
        strength = Decimal(1)
        for value, name in zip(x, names, strict=False):
            strength *= degree(*functions[name], value)
        total += strength
        for output in range(3):
            answer = sum(Decimal(weights[rule, i, output]) * x[i] for i in range(4)) + Decimal(weights[rule, 4, output])
            scores[output] += strength * answer
    return [float(score / total) if total else 0.0 for score in scores]


SHARP = {
    "bells": {f"m{number}": ("bell", (0.05, 6.0, center)) for number, center in enumerate((-1.0, -0.3, 0.4, 1.0))},
    "gaussians": {f"m{number}": ("gaussian", (center, 0.08)) for number, center in enumerate((-1.0, 0.0, 1.0))},
    "sigmoids": {"low": ("sigmoid", (-0.5, -40.0)), "high": ("sigmoid", (0.5, 40.0))},
    "triangles": {"low": ("triangular", (-1.5, -0.7, 0.1)), "high": ("triangular", (-0.1, 0.7, 1.5))},
}


@pytest.mark.parametrize("kind", SHARP)
@given(row=st.lists(st.floats(-1.5, 1.5, width=32), min_size=4, max_size=4))
def test_scores_are_those_of_the_definition_however_weakly_rules_fire(problem, kind, row):
    network = network_of(problem("anfis"), SHARP[kind])
    with localcontext(Context(prec=50, Emin=-(10**6), Emax=10**6)):
        wanted = expected_scores(network, SHARP[kind], row)
    with torch.no_grad():
        found = network(torch.tensor([row], dtype=torch.float32))[0].tolist()
    # Logarithms of strengths are of the size of 1,000 here, and float32 has seven digits.
    assert found == pytest.approx(wanted, abs=5e-3)


def test_a_constant_added_to_the_normalization_would_be_seen(problem):
    """The guard's own test: with 1e-12 beside strengths of 1e-20 the answer is another."""
    network = network_of(problem("anfis"), SHARP["bells"])
    row = torch.tensor([[0.05, 0.7, 0.0, 0.0]])
    with torch.no_grad():
        strengths = torch.stack([a.exp() for a in network.memberships(row)]).double()
        whole = (strengths[0].squeeze(0).unsqueeze(1) * strengths[1].squeeze(0)).sum()
        assert float(whole) < 1e-12
        assert float(network.firing(row).sum()) == pytest.approx(1, abs=1e-6)


def test_where_no_rule_fires_there_is_no_opinion_and_the_gradient_is_finite(problem):
    network = network_of(problem("anfis"), SHARP["triangles"], architecture={"learn_memberships": True})
    x = torch.tensor([[5.0, 5.0, 1.0, 1.0], [0.3, -0.3, 1.0, 1.0], [0.3, 5.0, 0.0, 0.0]], requires_grad=True)
    scores = network(x)
    np.testing.assert_array_equal(scores.detach()[[0, 2]].numpy(), 0.0)
    assert float(scores.detach()[1].abs().min()) > 0
    np.testing.assert_array_equal(network.firing(x).detach().sum(1).numpy() > 0, [False, True, False])
    scores.square().sum().backward()
    for tensor in (x, *network.parameters()):
        assert bool(torch.isfinite(tensor.grad).all())
    assert float(x.grad[0].abs().max()) == 0
    assert float(x.grad[1].abs().max()) > 0


@pytest.mark.parametrize("kind", SHARP)
def test_gradients_are_those_of_differences(problem, kind):
    network = network_of(problem("anfis"), SHARP[kind], architecture={"learn_memberships": True}).double()
    x = torch.tensor([[0.21, -0.33, 0.4, 0.7], [-0.62, 0.55, -0.1, 0.2]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(network, (x,))


def test_silent_rows_are_predicted_as_all_classes_alike(problem, train):
    given_problem = problem("anfis")
    functions = {"low": ("triangular", (0.0, 0.25, 0.5)), "high": ("triangular", (0.5, 0.75, 1.0))}
    task = dataclasses.replace(given_problem.task, crisp_inputs=(CrispInput("one", 0, functions),))
    predictor = train(Problem(task, given_problem.data)).predictor()
    features = np.full((2, 4), 0.3, np.float32)
    features[0, 0] = 7.0
    answer = predictor.predict(features)
    np.testing.assert_allclose(answer[0], 1 / 3)
    assert np.ptp(answer[1]) > 0.01
