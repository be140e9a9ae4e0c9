"""Stacks of networks beside the same networks one by one, and what no stack may let out."""

from __future__ import annotations

import dataclasses
import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.errors import BadInputError, DiskFullError
from ktrdr.core.plugins import CrispInput, Member, Resources, Split
from ktrdr.core.training.checkpoint import DirectoryCheckpoint
from ktrdr.core.work import NO_PROGRESS, Cancellation
from ktrdr.ml.torch import part_losses, stack_plan
from ktrdr.ml.torch import stack as stack_module
from ktrdr.ml.torch.layout import Layout, Place, padded
from ktrdr.ml.torch.losses import make_loss
from ktrdr.ml.torch.masks import Masks
from ktrdr.ml.torch.membership_order import MembershipOrder, MembershipStack
from ktrdr.ml.torch.memberships import Memberships
from ktrdr.ml.torch.model_description import FuzzyVariable, describe
from ktrdr.ml.torch.networks import empty_network
from ktrdr.ml.torch.optimizers import make_optimizer
from ktrdr.ml.torch.part_losses import PartLosses
from ktrdr.ml.torch.samples import Matrix, Samples
from ktrdr.ml.torch.stack_plan import plan_stacks
from ktrdr.ml.torch.stacked_networks import stacked
from ktrdr.ml.torch.torch_trainer import TorchTrainer

CPU = torch.device("cpu")
WIDTHS = st.integers(1, 20)


def random_network(task, seed):
    network = empty_network(describe(task, None))
    random = torch.Generator().manual_seed(seed)
    if hasattr(network, "memberships"):
        network.start([0.4] * 4, [0.3] * 4)
        with torch.no_grad():
            network.consequents.normal_(generator=random)
        return network.eval()
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2.0, generator=random)
            elif tensor.is_floating_point():
                tensor.normal_(generator=random)
    return network.eval()


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", "leaky_relu", "gelu"])
@given(widths=st.lists(WIDTHS, min_size=1, max_size=3), members=st.integers(1, 4), rows=st.integers(1, 40))
def test_a_stack_of_perceptrons_has_the_scores_of_each(problem, activation, batch_norm, widths, members, rows):
    architecture = {"hidden_layers": widths, "activation": activation, "batch_norm": batch_norm}
    compare_scores(problem(architecture=architecture).task, members, rows)


@pytest.mark.parametrize("learn", [False, True])
@given(members=st.integers(1, 4), rows=st.integers(1, 40))
def test_a_stack_of_rules_has_the_scores_of_each(problem, learn, members, rows):
    functions = {
        "low": ("trapezoidal", (-1.0, 0.0, 0.2, 0.6)),
        "middle": ("triangular", (0.1, 0.5, 0.9)),
        "high": ("gaussian", (0.8, 0.2)),
        "rising": ("sigmoid", (0.5, 8.0)),
        "wide": ("bell", (0.3, 2.0, 0.5)),
    }
    given_problem = problem("anfis", architecture={"learn_memberships": learn, "learning": "gradient"})
    crisp = (CrispInput("a", 2, functions), CrispInput("b", 0, dict(list(functions.items())[1:4])))
    compare_scores(dataclasses.replace(given_problem.task, crisp_inputs=crisp), members, rows)


@pytest.mark.parametrize("name", ["lstm", "gru"])
@pytest.mark.parametrize("layers", [1, 3])
def test_a_recurrent_network_has_its_scores(problem, name, layers):
    compare_scores(problem(name, architecture={"num_layers": layers}).task, 1, 17, window=5)


def compare_scores(task, members, rows, window=None):
    networks = [random_network(task, seed) for seed in range(members)]
    kind = stacked(networks[0])
    weights = torch.stack([kind.weights.row(network.state_dict()) for network in networks])
    buffers = torch.stack([kind.buffers.row(network.state_dict()) for network in networks])
    shape = (members, rows, 4) if window is None else (members, rows, window, 4)
    x = torch.rand(shape, generator=torch.Generator().manual_seed(1))
    wide = torch.nn.functional.pad(x, (0, kind.inputs - 4))
    with torch.no_grad():
        scores = kind.scores(kind.weights.views(weights), kind.buffers.views(buffers), wide)
        for number, network in enumerate(networks):
            expected = network(x[number])
            # Rounding is relative to the terms of a sum, which may cancel out.
            assert float((scores[number] - expected).abs().max()) <= 1e-5 * max(1.0, float(expected.abs().max()))
            alone = (kind.weights.views(weights[number : number + 1]), kind.buffers.views(buffers[number : number + 1]))
            assert torch.equal(kind.scores(*alone, wide[number : number + 1])[0], scores[number])


@given(shapes=st.lists(st.tuples(WIDTHS, WIDTHS, st.booleans()), min_size=1, max_size=4))
def test_a_row_gives_back_the_tensors_and_pads_with_zeros(shapes):
    tensors, places = {}, []
    for number, (rows, columns, matrix) in enumerate(shapes):
        name, shape = str(number), (rows, columns) if matrix else (columns,)
        tensors[name] = torch.randn(shape)
        form = (padded(columns), padded(rows)) if matrix else (1, padded(columns))
        places.append(Place(name, shape, form, transposed=matrix))
    layout = Layout(places)
    row = layout.row(tensors)
    assert row.shape == (layout.size,)
    assert layout.size % 8 == 0
    back = layout.tensors(row)
    assert set(back) == set(tensors)
    for name, tensor in tensors.items():
        assert torch.equal(back[name], tensor)
        assert back[name].is_contiguous()
    assert int((row != 0).sum()) == sum(int((tensor != 0).sum()) for tensor in tensors.values())


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "rmsprop"])
@pytest.mark.parametrize("activation", ["sigmoid", "gelu"])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_padding_stays_zero_in_training(problem, optimizer, activation, batch_norm, monkeypatch):
    rows = []
    leave = stack_module.Stack._leave

    def watched(self):
        rows.append((self._network.weights, self._weights.clone()))
        leave(self)

    monkeypatch.setattr(stack_module.Stack, "_leave", watched)
    architecture = {"hidden_layers": [7, 13], "activation": activation, "batch_norm": batch_norm, "dropout": 0.2}
    settings = {"optimizer": optimizer, "weight_decay": 0.01, "batch_size": 37, "gradient_clip": 1.0}
    train_all([problem(architecture=architecture, settings=settings, seed=seed) for seed in range(3)])
    assert len(rows) == 4
    for layout, weights in rows:
        assert len(weights) == 3
        for row in weights:
            assert torch.equal(layout.row(layout.tensors(row)), row)


@pytest.mark.usefixtures("first_optimizer")
@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "rmsprop"])
@given(
    rates=st.lists(st.floats(1e-4, 0.5), min_size=1, max_size=4),
    decay=st.sampled_from([0.0, 0.1]),
    momentum=st.sampled_from([0.0, 0.9]),
    seed=st.integers(0, 99),
)
def test_each_row_moves_as_torch_moves_it(name, rates, decay, momentum, seed):
    momentum = 0.0 if name.startswith("adam") else momentum
    random = torch.Generator().manual_seed(seed)
    weights = torch.randn(len(rates), 11, generator=random)
    settings = [{"optimizer": name, "weight_decay": decay, "momentum": momentum} for _ in rates]
    singles = [weights[number].clone().requires_grad_(True) for number in range(len(rates))]
    kinds = {
        "adam": lambda p, lr: torch.optim.Adam([p], lr, weight_decay=decay),
        "adamw": lambda p, lr: torch.optim.AdamW([p], lr, weight_decay=decay),
        "sgd": lambda p, lr: torch.optim.SGD([p], lr, weight_decay=decay, momentum=momentum),
        "rmsprop": lambda p, lr: torch.optim.RMSprop([p], lr, weight_decay=decay, momentum=momentum),
    }
    theirs = [kinds[name](single, rate) for single, rate in zip(singles, rates, strict=True)]
    ours = make_optimizer(weights, settings, slice(0, 11))
    ours.rates = torch.tensor(rates).unsqueeze(1)
    for step in range(4):
        gradient = torch.randn(len(rates), 11, generator=random)
        for single, one, own in zip(singles, theirs, gradient, strict=True):
            single.grad = own.clone()
            one.step()
        ours.step(weights, gradient.clone(), [step + 1] * len(rates))
    for single, row in zip(singles, weights, strict=True):
        torch.testing.assert_close(row, single.detach(), rtol=1e-4, atol=1e-5)


@given(
    sizes=st.lists(st.integers(1, 300), min_size=1, max_size=5),
    width=st.sampled_from([1, 8, 1000, 20_000]),
    shared=st.booleans(),
    inputs=st.sampled_from([3, 8]),
    seed=st.integers(0, 99),
)
def test_losses_of_parts_are_those_of_a_slow_loop(sizes, width, shared, inputs, seed):
    random = np.random.default_rng(seed)
    matrices = [Matrix(random.random((400, 3)).astype(np.float32), 1, CPU) for _ in range(1 if shared else len(sizes))]
    matrices *= len(sizes) if shared else 1
    parts = []
    for matrix, size in zip(matrices, sizes, strict=True):
        weights = torch.tensor(random.random(size), dtype=torch.float32) if random.random() < 0.5 else None
        rows, labels = (torch.tensor(random.integers(0, most, size)) for most in (400, 3))
        parts.append((matrix, Samples(rows, labels, weights)))
    consequents = torch.tensor(random.normal(size=(len(sizes), 3, 3)), dtype=torch.float32)
    loss, asked, seen = make_loss({"loss": "cross_entropy"}, "classification"), [], []

    def forward(x, members):
        seen.append(x.shape)
        assert x.shape[-1] == inputs
        assert not x[..., 3:].any()
        return torch.bmm(x[..., :3], consequents[members])

    sizes_of = {"inputs": inputs, "width": width, "window": 1}
    judged = PartLosses(parts, loss=loss, classifies=True, **sizes_of, ask=lambda: asked.append(len(seen)))
    for number, (mean, accuracy) in enumerate(judged.judge(forward)):
        matrix, samples = parts[number]
        scores = matrix.gather(samples.starts) @ consequents[number]
        losses = torch.nn.functional.cross_entropy(scores, samples.labels, reduction="none").double()
        weights = torch.ones(len(losses)) if samples.weights is None else samples.weights
        assert mean == pytest.approx(float((losses * weights).sum() / weights.double().sum()), rel=1e-5)
        assert accuracy == pytest.approx(float((scores.argmax(1) == samples.labels).double().mean()))
    assert asked == list(range(len(seen)))
    assert all(members * rows * width <= max(part_losses._TOGETHER, rows * width) for members, rows, _ in seen)


@given(places=st.lists(st.lists(st.floats(-2.0, 2.0), min_size=9, max_size=9), min_size=2, max_size=4))
def test_the_order_of_memberships_of_a_member_does_not_depend_on_the_others(places):
    functions = (
        ("a", "gaussian", (-1.0, 0.5)),
        ("b", "triangular", (-1.0, 0.0, 1.0)),
        ("c", "trapezoidal", (0.0, 0.5, 1.0, 1.5)),
        ("d", "bell", (0.5, 2.0, 1.0)),
        ("e", "sigmoid", (1.0, 4.0)),
    )
    made = Memberships([FuzzyVariable(name=str(n), column=n, functions=functions[n:]) for n in range(2)], learn=True)
    made.start([0.0, 0.0], [1.0, 1.0])
    initial = {name: tensor.detach().clone() for name, tensor in made.state_dict().items()}

    def restored(members):
        start = {name: torch.stack([tensor.unsqueeze(0)] * len(members)) for name, tensor in initial.items()}
        order = MembershipOrder(MembershipStack(made, start), [-3.0] * 2 * len(members), [3.0] * 2 * len(members))
        moved = {name: tensor.clone() for name, tensor in start.items()}
        for row, member in enumerate(members):
            shifts = iter(places[member])
            for name in sorted(moved):
                if name.endswith("place"):
                    for at in range(moved[name].shape[-1]):
                        moved[name][row, 0, at] += next(shifts)
        order.restore(MembershipStack(made, moved))
        return moved

    numbers = list(range(len(places)))
    together = restored(numbers)
    for number in numbers:
        for name, tensor in restored([number]).items():
            assert torch.equal(tensor[0], together[name][number]), name


def members_of(problems):
    return [Member(one.task, one.data) for one in problems]


def train_all(problems, memory=10**9, checkpoint=None, cancellation=None, cores=1):
    return TorchTrainer().train_many(
        members_of(problems),
        progress=NO_PROGRESS,
        cancellation=cancellation or Cancellation(),
        checkpoint=checkpoint,
        resources=Resources(memory=memory, cores=cores),
    )


def sizes_of(problems, device=CPU, resources=None):
    return [len(plan.members) for plan in plan_stacks(members_of(problems), device, resources)]


def test_what_shares_a_stack(problem):
    def of(seed, architecture=None, **settings):
        return problem(architecture=architecture, settings=settings, seed=seed)

    free = [of(1), of(2, learning_rate=0.5), of(3, epochs=9), of(4, class_weights="balanced"), of(5, batch_size=32)]
    assert sizes_of(free) == [5]
    kept = [of(1), of(2, optimizer="sgd"), of(3, gradient_clip=1.0), of(4, batch_size=16), of(5, weight_decay=0.1)]
    assert sizes_of(kept) == [1] * 5
    assert sizes_of([of(1), of(2, {"dropout": 0.1}), of(3, {"dropout": 0.5})]) == [1, 2]
    assert sizes_of([of(seed) for seed in range(130)]) == [64, 64, 2]


def test_where_stacks_do_not_pay_or_are_not_known_to_be_equal_members_are_alone(problem):
    pairs = [
        ("lstm", {}, CPU),
        ("gru", {}, CPU),
        ("anfis", {"learning": "hybrid"}, CPU),
        ("mlp", {"precision": "bfloat16"}, CPU),
        ("mlp", {"hidden_layers": [3000, 3000]}, CPU),
        ("mlp", {}, torch.device("cuda", 0)),
    ]
    for name, architecture, device in pairs:
        assert sizes_of([problem(name, architecture=architecture, seed=seed) for seed in range(2)], device) == [1, 1]
    assert sizes_of([problem("anfis", architecture={"learning": "gradient"}, seed=seed) for seed in range(2)]) == [2]


def test_a_stack_fits_its_memory(problem):
    many = [problem(seed=seed, architecture={"hidden_layers": [400, 400]}) for seed in range(20)]
    whole = plan_stacks(members_of(many), CPU, None)
    assert [len(plan.members) for plan in whole] == [20]
    cut = plan_stacks(members_of(many), CPU, Resources(memory=80_000_000, cores=1))
    assert 1 < len(cut) < 20
    assert [number for plan in cut for number in plan.members] == list(range(20))


def test_cores_train_smaller_stacks_at_once_if_the_memory_allows_it(problem):
    many = [problem(seed=seed) for seed in range(130)]

    def planned(cores, memory=10**9):
        plans = plan_stacks(members_of(many), CPU, Resources(memory=memory, cores=cores))
        return [len(plan.members) for plan in plans], {plan.at_once for plan in plans}

    assert planned(1) == ([64, 64, 2], {1})
    assert planned(3) == ([44, 44, 42], {3})
    assert planned(20) == ([16] * 8 + [2], {20})
    assert planned(20, 90_000_000)[1] == {2}
    assert planned(20, 40_000_000)[1] == {1}
    assert sizes_of(many[:10], resources=Resources(memory=10**9, cores=4)) == [10]


@pytest.mark.parametrize("name", ["mlp", "lstm", "anfis"])
def test_members_in_threads_are_as_alone(problem, train, same, name, monkeypatch):
    monkeypatch.setattr(stack_plan, "_FEW_MEMBERS", 1)
    problems = [problem(name, settings={"epochs": 2 + seed % 2}, seed=seed) for seed in range(6)]
    for outcome, one in zip(train_all(problems, cores=3), problems, strict=True):
        alone = train(one)
        assert same(outcome, alone)
        assert outcome.history == alone.history


def test_an_error_in_a_thread_ends_the_population(problem, tmp_path, monkeypatch):
    monkeypatch.setattr(stack_plan, "_FEW_MEMBERS", 1)

    class Full(DirectoryCheckpoint):
        def save(self, epoch, write):
            raise DiskFullError("the disk is full; free some space")

    problems = [problem(settings={"epochs": 10_000}, seed=seed) for seed in range(6)]
    with pytest.raises(DiskFullError, match="free some space"):
        train_all(problems, cores=2, checkpoint=Full(tmp_path))


def test_least_squares_are_in_the_budget(problem):
    """Solutions in several threads at once have a matrix of all coefficients each."""
    functions = {str(number): ("gaussian", (number / 6, 0.1)) for number in range(6)}
    given = problem("anfis", architecture={"learning": "hybrid", "max_rules": 256})
    crisp = tuple(CrispInput(f"x{number}", number, functions) for number in range(3))
    task = dataclasses.replace(given.task, crisp_inputs=crisp)
    members = [Member(task, given.data)] * 8
    # 216 rules of four features and a constant: a matrix of 1,080 by 1,080 in float64 and its copies take 47 MB.
    (first, *_) = plan_stacks(members, CPU, Resources(memory=300_000_000, cores=16))
    assert 1 < first.at_once <= 300 // 47
    with pytest.raises(BadInputError, match="KTRDR_POPULATION_MEMORY"):
        plan_stacks(members, CPU, Resources(memory=60_000_000, cores=16))


def test_a_budget_too_small_for_one_member_is_refused_in_a_sentence(problem):
    wide = problem(architecture={"hidden_layers": [2000, 2000]})
    with pytest.raises(
        BadInputError, match=r"^member 1 of the population takes about [\d,]+ bytes of memory"
    ) as caught:
        train_all([wide], memory=50_000_000)
    needed = int(re.search(r"KTRDR_POPULATION_MEMORY to (\d+),", str(caught.value))[1])
    assert len(train_all([wide], memory=needed)) == 1
    assert len(train_all([problem()], memory=50_000_000)) == 1


@given(
    share=st.sampled_from([1e-6, 0.2, 0.5, 0.75, 0.999_999]),
    samples=st.integers(1, 64),
    values=st.integers(1, 90),
    stop=st.integers(0, 40),
)
def test_masks_are_the_same_wherever_a_run_is_resumed(share, samples, values, stop):
    def masks():
        return Masks(share, torch.Generator().manual_seed(5), samples, values)

    def epoch(own, first, last):
        return [own.kept(batch, batch + 1)[0] for batch in range(first, last)]

    whole = masks()
    expected = [epoch(whole, 0, 40)]
    whole.end_epoch()
    expected.append(epoch(whole, 0, 40))
    begun = masks()
    epoch(begun, 0, stop)
    resumed = masks()
    resumed.resume(begun.state_at(stop).clone(), stop)
    found = epoch(resumed, stop, 40)
    assert all(map(torch.equal, found, expected[0][stop:]))
    resumed.end_epoch()
    assert all(map(torch.equal, epoch(resumed, 0, 40), expected[1]))


@pytest.mark.parametrize("share", [0.3, 0.7, 1 / 3])
def test_masks_set_their_share_to_zero_and_keep_the_mean(share):
    masks = Masks(share, torch.Generator().manual_seed(1), 1000, 60)
    kept = torch.stack([masks.kept(batch, batch + 1)[0] for batch in range(16)]).double()
    error = math.sqrt(share * (1 - share) / kept.numel())
    assert float(kept.mean()) == pytest.approx(1 - share, abs=5 * error)
    assert float(kept.mean(dim=(0, 1)).std()) == pytest.approx(math.sqrt(share * (1 - share) / 16_000), rel=0.5)
    assert masks.scale == pytest.approx(1 / (1 - share), rel=1e-4)


def test_members_of_their_own_matrices_and_sizes_are_as_alone(problem, train, same):
    """Last batches of 1, of other sizes and of none; other epochs, rates, patience; own matrices and no weights."""
    problems = []
    for seed, size in enumerate((251, 217, 250, 64, 180)):
        one = problem(
            architecture={"hidden_layers": [7, 13], "dropout": 0.2, "batch_norm": True},
            settings={
                "epochs": 3 + seed,
                "batch_size": 31,
                "learning_rate": 0.01 * (seed + 1),
                "class_weights": "balanced" if seed % 2 else "none",
                "early_stopping": {"patience": 1 + seed % 2, "min_delta": 0.0, "monitor": "val_loss"},
            },
            seed=seed,
        )
        split = one.data.train
        rows = np.random.default_rng(seed).permutation(len(split))[:size]
        part = Split(split.rows[rows], split.labels[rows], split.weights[rows])
        features = one.data.features + np.float32(0.01 * seed)
        problems.append(dataclasses.replace(one, data=dataclasses.replace(one.data, features=features, train=part)))
    for outcome, one in zip(train_all(problems), problems, strict=True):
        alone = train(one)
        assert same(outcome, alone)
        assert outcome.history == alone.history
        assert outcome.best_epoch == alone.best_epoch


def test_a_member_that_overflows_ends_alone(problem, train, same):
    calm, wild = problem(seed=1), problem(seed=2, settings={"learning_rate": 1e30, "optimizer": "sgd"})
    outcomes = train_all([wild, calm, wild])
    with pytest.raises(BadInputError) as caught:
        train(wild)
    assert [str(outcomes[number]) for number in (0, 2)] == [str(caught.value)] * 2
    assert same(outcomes[1], train(calm))
    assert math.isfinite(outcomes[1].history[-1].metrics["val_loss"])
