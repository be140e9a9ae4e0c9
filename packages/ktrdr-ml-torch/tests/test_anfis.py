"""Rules: memberships that begin as the strategy's, bounded in number, readable."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given as hypothesis_given
from hypothesis import strategies as st

from ktrdr.core.errors import BadInputError
from ktrdr.core.fuzzy.definition import MembershipFunction
from ktrdr.core.fuzzy.membership import membership
from ktrdr.core.plugins import CrispInput, RuleBased
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.strategy.loader import load_strategy_text
from ktrdr.core.testing.learning_problems import Problem
from ktrdr.ml.torch.declaration import MODEL_TYPES
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
    return answer.detach().exp().numpy()


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
        (answer.exp() @ torch.randn(len(EVERY_KIND), generator=generator)).sum().backward()
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


@pytest.mark.parametrize("output", ["classification", "regression"])
@pytest.mark.parametrize("learn", [False, True])
def test_a_rule_says_what_it_puts_out_where_it_fires(problem, train, tmp_path, output, learn):
    """At the mean of the training rows weighted by its firing: recomputed by rows, told by the stored model alone."""
    given = problem("anfis", output, architecture={"learn_memberships": learn}, settings={"learning_rate": 0.05})
    model = train(given)
    TorchStorage().save(model, tmp_path)
    predictor = TorchLoader().load(tmp_path, "cpu")
    w = {name.removeprefix("network."): tensor.double().numpy() for name, tensor in model.tensors.items()}
    x = given.data.features[given.data.train.rows].astype(np.float64)
    learned = predictor.learned_memberships()
    names = list(given.task.crisp_inputs[0].functions)
    given_functions = {crisp.name: crisp.functions for crisp in given.task.crisp_inputs}
    degrees = [
        {name: of_input[name] for name in names}
        for of_input in ((learned or given_functions)[f"set{column}"] for column in range(4))
    ]
    columns = [
        {name: np.exp(-0.5 * ((x[:, column] - mean) / sigma) ** 2) for name, (_, (mean, sigma)) in of_input.items()}
        for column, of_input in enumerate(degrees)
    ]
    combinations = list(product(names, repeat=4))
    fired = np.array([np.prod([columns[i][name] for i, name in enumerate(rule)], axis=0) for rule in combinations])
    fired /= fired.sum(axis=0)
    rules = {tuple(name for _, name in rule.conditions): rule for rule in predictor.rules()}
    averages = 0
    for number, combination in enumerate(combinations):
        center = (fired[number][:, None] * x).sum(axis=0) / fired[number].sum()
        z = np.append((center - w["center"]) / w["scale"], 1.0)
        scores = w["consequents"][number].reshape(5, -1).T @ z
        told = list(rules[combination].outputs.values())
        if output == "classification":
            wanted = np.exp(scores) / np.exp(scores).sum()
        else:
            wanted = scores * model.description.scaling.scale + model.description.scaling.mean
        size = max(np.abs(wanted).max(), model.description.scaling.scale if model.description.scaling else 1)
        assert told == pytest.approx(wanted.tolist(), abs=2e-3 * size)
        constants = w["consequents"][number].reshape(5, -1)[-1]
        averages += np.abs(constants - scores).max() > 0.05
    assert averages > 40, "what rules say where all inputs are average is something else"


@pytest.mark.parametrize("output", ["classification", "regression"])
def test_models_of_format_1_predict_what_they_did_and_say_where_their_rules_are_told(output):
    """What training wrote before rules had centers, and what it predicted then."""
    directory = Path(__file__).parent / "files" / f"older_anfis_{output}"
    then = json.loads((directory / "then.json").read_text(encoding="utf-8"))
    predictor = TorchLoader().load(directory, "cpu")
    features = np.random.default_rng(0).random((12, 4), dtype=np.float32)
    np.testing.assert_allclose(predictor.predict(features), then["predictions"], rtol=0, atol=1e-6)
    rules = predictor.rules()
    assert [rule.text for rule in rules] == [f"{text} (where every input is average)" for text in then["rules"]]


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


def test_a_gradient_draws_its_batches_by_the_seed_and_a_solution_draws_nothing(problem, train, same):
    for learning, alike in (("hybrid", True), ("gradient", False)):
        models = [train(problem("anfis", architecture={"learning": learning}, seed=seed)) for seed in (1, 1, 2)]
        assert same(models[0], models[1])
        assert same(models[0], models[2]) == alike


STRATEGY = """
name: ruled
training_data:
  symbols: {mode: single, symbol: EURUSD}
  timeframes: {mode: single, timeframe: 1h}
indicators: {rsi: {type: rsi}}
fuzzy_sets: {rsi: {indicator: rsi, low: [0, 0, 50], middle: [30, 50, 70], high: [50, 100, 100]}}
nn_inputs: [{fuzzy_set: rsi, timeframes: all, lags: [1, 2, 3]}]
model: {type: anfis, architecture: {max_rules: 80}}
decisions: {output_format: classification}
training: {labels: {source: zigzag}, learning_rate: 0.1}
"""


def test_validate_refuses_in_the_words_of_training_and_without_torch(tmp_path, problem, train):
    with pytest.raises(BadInputError) as caught:
        train(problem("anfis", architecture={"max_rules": 80}))
    (tmp_path / "strategy.yaml").write_text(STRATEGY, encoding="utf-8")
    code = (
        "import sys\n"
        "from ktrdr.core.cli.main import main\n"
        "try:\n    main(['validate', 'strategy.yaml'])\n"
        "finally:\n    print('torch' in sys.modules)\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "KTRDR_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert answer.returncode == 2, answer.stderr
    assert answer.stdout.endswith("\nFalse\n")
    said = str(caught.value).removeprefix("`model`: ")
    assert f"strategy.yaml:9:1: error: model: {said}" in answer.stderr


def test_validate_warns_of_training_keys_that_hybrid_learning_has_no_use_for():
    text = STRATEGY.replace("max_rules: 80", "max_rules: 81")
    plugins = PluginManager(environ={"KTRDR_LOAD_PLUGINS": "torch"})
    (warning,) = load_strategy_text(text, plugins=plugins).warnings
    assert warning.message == (
        "`learning_rate` has no effect with `learning: hybrid` and `learn_memberships: false`; remove it, or "
        "set `learn_memberships: true` or `learning: gradient` under `model.architecture`"
    )
    for change in ("learn_memberships: true", "learning: gradient"):
        assert not load_strategy_text(
            text.replace("max_rules: 81", f"max_rules: 81, {change}"), plugins=plugins
        ).warnings


@pytest.mark.parametrize("idle", MODEL_TYPES["anfis"].idle_keys, ids=lambda idle: str(dict(idle.when)))
def test_keys_that_are_called_idle_are(problem, train, same, idle):
    other = {
        "batch_size": 17,
        "learning_rate": 0.5,
        "optimizer": "sgd",
        "momentum": 0.5,
        "gradient_clip": 1e-3,
        "lr_scheduler": {"type": "exponential", "parameters": {"gamma": 0.5}},
    }
    changed = {key: other[key] for key in idle.keys}
    given = problem("anfis", architecture=dict(idle.when))
    assert same(train(given), train(problem("anfis", architecture=dict(idle.when), settings=changed)))
    # And where the condition does not hold, they are not.
    elsewhere = {"learning": "gradient", "learn_memberships": True}
    one = train(problem("anfis", architecture=elsewhere))
    for key, value in changed.items():
        beside = {"optimizer": "sgd"} if key == "momentum" else {}
        before = one if not beside else train(problem("anfis", architecture=elsewhere, settings=beside))
        assert not same(before, train(problem("anfis", architecture=elsewhere, settings={key: value, **beside}))), key
