"""Gradients layer by layer beside those of autograd."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.ml.torch.feed import Step
from ktrdr.ml.torch.gradients import Autograd, LayerByLayer, make_gradients
from ktrdr.ml.torch.losses import make_loss
from ktrdr.ml.torch.model_description import Scaling, describe
from ktrdr.ml.torch.networks import empty_network
from ktrdr.ml.torch.stacked_networks import Batch, stacked

CPU = torch.device("cpu")


def random_step(network, kind, settings, members, samples, weighted, seed):
    """Return weights of a stack, buffers and a batch whose last member has one sample less."""
    random = torch.Generator().manual_seed(seed)
    weights = torch.stack(
        [
            kind.weights.row({name: torch.randn(t.shape, generator=random) for name, t in network.state_dict().items()})
            for _ in range(members)
        ]
    )
    sizes, counted = torch.full((members,), float(samples)), None
    factors = torch.rand(members, samples, generator=random) if weighted else None
    if samples > 1:
        sizes[-1] -= 1
        counted = torch.ones(members, samples)
        counted[-1, -1] = 0.0
        factors = counted if factors is None else factors * counted
    masks = [(torch.rand(members, samples, *shape, generator=random) > 0.3).float() / 0.7 for shape in kind.dropouts(1)]
    x = torch.zeros(members, samples, kind.inputs)
    x[..., :4] = torch.randn(members, samples, 4, generator=random)
    classifies = settings["loss"] in ("cross_entropy", "focal")
    labels = (
        torch.randint(0, 3, (members, samples), generator=random)
        if classifies
        else torch.randn(members, samples, generator=random)
    )
    batch = Batch(sizes.view(-1, 1, 1), None if counted is None else counted.unsqueeze(2), masks)
    return weights, Step(x, labels, sizes, factors, batch)


@pytest.mark.parametrize("name", ["cross_entropy", "focal", "mse", "huber"])
@given(
    widths=st.lists(st.integers(1, 20), min_size=1, max_size=3),
    activation=st.sampled_from(["tanh", "relu"]),
    dropout=st.sampled_from([0.0, 0.3]),
    members=st.integers(1, 4),
    samples=st.integers(1, 40),
    weighted=st.booleans(),
    seed=st.integers(0, 99),
)
def test_gradients_layer_by_layer_are_those_of_autograd_bit_for_bit(
    problem, name, widths, activation, dropout, members, samples, weighted, seed
):
    output = "classification" if name in ("cross_entropy", "focal") else "regression"
    settings = {"loss": name, "focal_gamma": 2.0, "huber_delta": 1.0}
    architecture = {"hidden_layers": widths, "activation": activation, "dropout": dropout}
    task = problem(output=output, architecture=architecture, settings=settings).task
    network = empty_network(describe(task, None if output == "classification" else Scaling(mean=0.0, scale=1.0)))
    kind, loss = stacked(network), make_loss(settings, output)
    layer_by_layer = make_gradients(kind, loss, CPU, None)
    assert isinstance(layer_by_layer, LayerByLayer)
    # The second batch is computed in the memory of the first.
    for own in (members, max(members - 1, 1)):
        weights, step = random_step(network, kind, settings, own, samples, weighted, seed)
        leaves = {key: view.detach().requires_grad_(True) for key, view in kind.weights.views(weights).items()}
        expected = Autograd(kind, loss, nullcontext)(leaves, {}, step)
        found = layer_by_layer(leaves, {}, step)
        assert torch.equal(found[0], expected[0])
        assert torch.equal(found[1], expected[1])
        for one, another in zip(found[2], expected[2], strict=True):
            assert one.shape == another.shape
            assert torch.equal(one, another)


@pytest.mark.parametrize(
    ("architecture", "precision"),
    [({"activation": "gelu"}, None), ({"batch_norm": True}, None), ({"activation": "relu"}, nullcontext)],
)
def test_other_perceptrons_have_the_gradients_of_autograd(problem, architecture, precision):
    kind = stacked(empty_network(describe(problem(architecture=architecture).task, None)))
    assert isinstance(
        make_gradients(kind, make_loss({"loss": "cross_entropy"}, "classification"), CPU, precision), Autograd
    )


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_recurrent_networks_have_the_gradients_of_autograd(problem, name):
    kind = stacked(empty_network(describe(problem(name).task, None)))
    assert isinstance(make_gradients(kind, make_loss({"loss": "cross_entropy"}, "classification"), CPU, None), Autograd)
