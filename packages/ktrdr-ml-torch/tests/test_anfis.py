"""Rules: memberships that begin as the strategy's, bounded in number, readable."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given as hypothesis_given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ktrdr.core.errors import BadInputError
from ktrdr.core.fuzzy.definition import MembershipFunction
from ktrdr.core.fuzzy.membership import membership
from ktrdr.core.plugins import CrispInput, RuleBased
from ktrdr.core.testing.learning_problems import Problem
from ktrdr.ml.torch.memberships import Memberships
from ktrdr.ml.torch.model_description import FuzzyVariable
from ktrdr.ml.torch.torch_loader import TorchLoader
from ktrdr.ml.torch.torch_storage import TorchStorage

EVERY_KIND = {
    "triangle": ("triangular", (20.0, 50.0, 80.0)),
    "shoulder": ("triangular", (20.0, 20.0, 60.0)),
    "other_shoulder": ("triangular", (40.0, 90.0, 90.0)),
    "table": ("trapezoidal", (10.0, 30.0, 60.0, 90.0)),
    "left_table": ("trapezoidal", (0.0, 0.0, 30.0, 45.0)),
    "block": ("trapezoidal", (30.0, 30.0, 60.0, 60.0)),
    "bump": ("gaussian", (50.0, 12.0)),
    "rising": ("sigmoid", (50.0, 0.3)),
    "falling": ("sigmoid", (50.0, -0.3)),
    "bell": ("bell", (15.0, 2.5, 50.0)),
}


def layer(functions, *, learn=False, center=0.0, scale=1.0, dtype=torch.float64):
    variable = FuzzyVariable(
        name="rsi", column=0, functions=tuple((name, kind, numbers) for name, (kind, numbers) in functions.items())
    )
    made = Memberships([variable], learn=learn).to(dtype)
    made.start([center], [scale])
    return made.to(dtype)


def degrees(made, values, center=0.0, scale=1.0):
    z = (torch.tensor(values, dtype=torch.float64)[:, None] - center) / scale
    (answer,) = made(z)
    return answer.detach().numpy()


def expected(functions, values):
    columns = [
        membership(MembershipFunction(type=kind, parameters=numbers), values) for kind, numbers in functions.values()
    ]
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("learn", [False, True])
@pytest.mark.parametrize(("center", "scale"), [(0.0, 1.0), (48.3, 17.2), (-5.0, 300.0)])
def test_memberships_start_as_core_computes_them(learn, center, scale):
    values = np.concatenate([np.linspace(-20, 120, 2001), np.nextafter([20, 60, 90, 30], [0, 100, 100, 0])])
    made = layer(EVERY_KIND, learn=learn, center=center, scale=scale)
    # float32 parameters move a steep side by a hair.
    found, wanted = degrees(made, values, center, scale), expected(EVERY_KIND, values)
    corners = np.isin(values, [20, 30, 60, 90])
    np.testing.assert_allclose(found[~corners], wanted[~corners], atol=2e-5)


ordered = st.lists(st.floats(-50, 50), min_size=4, max_size=4, unique=True).map(sorted)


@hypothesis_given(
    corners=ordered, center=st.floats(-20, 20), scale=st.floats(0.1, 50), values=st.lists(st.floats(-99, 99))
)
@hypothesis_settings(max_examples=80, deadline=None)
def test_any_corners_in_any_units(corners, center, scale, values):
    functions = {"one": ("trapezoidal", tuple(corners)), "two": ("triangular", tuple(corners[:3]))}
    steepest = max(1 / (b - a) for a, b in pairwise(corners))
    if steepest > 100:
        return
    found = degrees(layer(functions, center=center, scale=scale), np.array(values, dtype=float), center, scale)
    np.testing.assert_allclose(found, expected(functions, np.array(values, dtype=float)), atol=1e-4 * max(steepest, 1))


def test_what_is_read_back_is_what_was_given():
    made = layer(EVERY_KIND, learn=True, center=48.3, scale=17.2)
    for (kind, numbers), (found_kind, found) in zip(EVERY_KIND.values(), made.functions([48.3], [17.2]), strict=True):
        assert found_kind == kind
        np.testing.assert_allclose(found, numbers, rtol=1e-5, atol=1e-4)


def test_no_step_can_put_corners_out_of_order():
    made = layer({**EVERY_KIND}, learn=True, center=50.0, scale=15.0, dtype=torch.float32)
    optimizer = torch.optim.SGD(made.parameters(), lr=5.0)
    generator = torch.Generator().manual_seed(0)
    for _ in range(60):
        optimizer.zero_grad()
        (answer,) = made(torch.randn(64, 1, generator=generator))
        (answer @ torch.randn(len(EVERY_KIND), generator=generator)).sum().backward()
        torch.nn.utils.clip_grad_norm_(made.parameters(), 1.0)
        optimizer.step()
        for kind, numbers in made.functions([50.0], [15.0]):
            assert np.isfinite(numbers).all()
            if kind in ("triangular", "trapezoidal"):
                assert list(numbers) == sorted(numbers)
            elif kind in ("gaussian", "bell"):
                assert min(numbers[1] if kind == "gaussian" else numbers[0], 1) >= 0


@pytest.mark.parametrize("learn", [False, True])
def test_learning_moves_memberships_only_if_asked(problem, train, tmp_path, learn):
    given = problem("anfis", architecture={"learn_memberships": learn}, settings={"epochs": 5})
    model = train(given)
    network = model.predictor()._network
    center, scale = network.center.tolist(), network.scale.tolist()
    found = network.memberships.functions(center, scale)
    given_functions = [function for crisp in given.task.crisp_inputs for function in crisp.functions.values()]
    moved = max(
        np.abs(np.subtract(numbers, start)).max()
        for (_, numbers), (_, start) in zip(found, given_functions, strict=True)
    )
    assert moved > 1e-3 if learn else moved < 1e-6
    facts = TorchStorage().save(model, tmp_path)
    text = model.predictor().rules()[0].text
    if learn:
        assert facts["learned_memberships"]["set0"]["low"] == ["gaussian", pytest.approx(list(found[0][1]))]
        assert "set0 is low (gaussian" in text or "set0 is middle (gaussian" in text or "set0 is high (gaussian" in text
    else:
        assert "learned_memberships" not in facts
        assert "(" not in text


def test_there_is_one_rule_for_each_combination(problem, train):
    given = problem("anfis")
    predictor = train(given).predictor()
    assert isinstance(predictor, RuleBased)
    rules = predictor.rules()
    assert len(rules) == 3**4 == len({rule.conditions for rule in rules})
    assert sum(rule.weight for rule in rules) == pytest.approx(1, abs=1e-5)
    assert [rule.weight for rule in rules] == sorted((rule.weight for rule in rules), reverse=True)
    for rule in rules:
        assert [name for name, _ in rule.conditions] == ["set0", "set1", "set2", "set3"]
        assert set(rule.outputs) == {"BUY", "HOLD", "SELL"}
        assert sum(rule.outputs.values()) == pytest.approx(1)
        assert rule.text.startswith("if set0 is ")
        assert max(rule.outputs, key=rule.outputs.get) in rule.text.partition(" then ")[2].split(",")[0]


def test_rules_say_what_was_to_be_learned(problem, train):
    """Labels are BUY where the first value is high and the second low, SELL the other way around."""
    given = problem("anfis", settings={"epochs": 30, "learning_rate": 0.05})
    found = {rule.conditions: rule.outputs for rule in train(given).predictor().rules()}
    rest = (("set2", "middle"), ("set3", "middle"))
    buy = found[(("set0", "high"), ("set1", "low"), *rest)]
    sell = found[(("set0", "low"), ("set1", "high"), *rest)]
    assert buy["BUY"] > sell["BUY"]
    assert sell["SELL"] > buy["SELL"]


def test_a_rules_weight_is_the_share_of_samples_it_decides(problem, train):
    given = problem("anfis", settings={"epochs": 1})
    x = given.data.features[given.data.train.rows].astype(np.float64)
    functions = given.task.crisp_inputs[0].functions
    single = [expected(functions, x[:, column]).astype(np.float64) for column in range(4)]
    firing = np.einsum("na,nb,nc,nd->nabcd", *single).reshape(len(x), -1)
    shares = (firing / firing.sum(axis=1, keepdims=True)).mean(axis=0)
    model = train(given)
    np.testing.assert_allclose(model.tensors["network.shares"], shares, atol=1e-5)


def test_its_output_is_takagi_and_sugenos(problem, train):
    """The mean of linear functions, weighted by firing strengths: written out rule by rule."""
    given = problem("anfis", "regression")
    model = train(given)
    w = {name.removeprefix("network."): tensor.double().numpy() for name, tensor in model.tensors.items()}
    functions = given.task.crisp_inputs[0].functions
    row = given.data.features[17].astype(np.float64)
    z = (row - w["center"]) / w["scale"]
    total = weight = 0.0
    rule = 0
    for a in functions:
        for b in functions:
            for c in functions:
                for d in functions:
                    fired = np.prod(
                        [
                            float(expected({name: functions[name]}, row[i : i + 1])[0, 0])
                            for i, name in enumerate((a, b, c, d))
                        ]
                    )
                    coefficients = w["consequents"][rule]
                    total += fired * (coefficients[:4] @ z + coefficients[4])
                    weight += fired
                    rule += 1
    scaling = model.description.scaling
    answer = model.predictor().predict(given.data.features)[17]
    assert answer == pytest.approx(total / weight * scaling.scale + scaling.mean, rel=1e-4, abs=1e-7)


def test_too_many_rules_are_refused_with_the_count(problem, train):
    with pytest.raises(
        BadInputError,
        match=r"would have 81 rules \(3 x 3 x 3 x 3 memberships of 4 fuzzy inputs\), more than `max_rules: 80`; use",
    ):
        train(problem("anfis", architecture={"max_rules": 80}))
    train(problem("anfis", architecture={"max_rules": 81}, settings={"epochs": 1}))


def test_without_fuzzy_inputs_there_are_no_rules(problem, train):
    given = problem("anfis")
    with pytest.raises(BadInputError, match="anfis: there are 0 fuzzy inputs"):
        train(Problem(dataclasses.replace(given.task, crisp_inputs=()), given.data))


def test_a_regressions_rules_are_in_units_of_the_labels(problem, train):
    given = problem("anfis", "regression", settings={"epochs": 30, "learning_rate": 0.05})
    rules = train(given).predictor().rules()
    assert set(rules[0].outputs) == {"value"}
    assert max(abs(rule.outputs["value"]) for rule in rules[:20]) < 0.1
    assert "then +" in rules[0].text or "then -" in rules[0].text


def test_columns_without_fuzzy_sets_count_in_the_consequents(problem, train, tmp_path):
    given = problem("anfis")
    task = dataclasses.replace(given.task, crisp_inputs=given.task.crisp_inputs[2:])
    model = train(Problem(task, given.data))
    assert model.tensors["network.consequents"].shape == (9, (4 + 1) * 3)
    p = model.predictor().predict(given.data.features)[given.data.train.rows]
    assert np.corrcoef(p[:, 0], given.data.train.labels == 0)[0, 1] > 0.2
    TorchStorage().save(model, tmp_path)
    loaded = TorchLoader().load(tmp_path, "cpu")
    assert [rule.text for rule in loaded.rules()] == [rule.text for rule in model.predictor().rules()]


def test_every_kind_of_function_trains(problem, train):
    given = problem("anfis", architecture={"learn_memberships": True})
    scaled = {
        name: (kind, tuple(n if (kind, i) in (("sigmoid", 1), ("bell", 1)) else n / 100 for i, n in enumerate(numbers)))
        for name, (kind, numbers) in EVERY_KIND.items()
    }
    crisp = (CrispInput("rsi", 0, scaled), CrispInput("macd", 1, dict(list(scaled.items())[:3])))
    model = train(Problem(dataclasses.replace(given.task, crisp_inputs=crisp), given.data))
    assert np.isfinite(model.predictor().predict(given.data.features)).all()
    assert len(model.predictor().rules()) == 30
