"""A backend nobody here knows of, in its own wheel, through the public contract alone."""

from __future__ import annotations

import json

LIST = """
import json
from ktrdr.core.plugins.manager import default_manager
from ktrdr.core.errors import PluginError
manager = default_manager()
try:
    chosen = manager.backend_for("softmax_regression")[0].name
except PluginError as error:
    chosen = str(error)
print(json.dumps([[record.name for record in manager.records()], sorted(manager.infos()), chosen]))
"""

TRAIN = """
import datetime as dt, json, platform
from pathlib import Path

import numpy as np

from ktrdr.core.features.columns import feature_columns
from ktrdr.core.models.manifest import DataReference, Environment, ManifestFields, PluginReference
from ktrdr.core.models.model_store import default_model_store
from ktrdr.core.work import Cancellation
from ktrdr.core.parameters import validate_parameters
from ktrdr.core.plugins import Split, TrainingData, TrainingTask
from ktrdr.core.plugins.manager import default_manager
from ktrdr.core.strategy.loader import load_strategy_text
from ktrdr.core.strategy.model import CLASSES

text = '''
name: foreign
training_data:
  symbols: {mode: single, symbol: EURUSD}
  timeframes: {mode: single, timeframe: 1h}
indicators: {rsi_14: {type: rsi, period: 14}, roc_5: {type: roc, period: 5}}
nn_inputs: [{raw_indicator: rsi_14, timeframes: all}, {raw_indicator: roc_5, timeframes: all}]
model: {type: softmax_regression, architecture: {l2: 0.01}}
decisions: {output_format: classification}
training: {labels: {source: direction, horizon: 4, threshold: 0.001}, epochs: 15, learning_rate: 0.3, seed: 5}
'''
strategy = load_strategy_text(text).strategy
manager = default_manager()
info, offered = manager.backend_for(strategy.model.type, strategy.model.backend)
manager.validate(info.name)
architecture, problems = validate_parameters(strategy.model.architecture, offered.architecture)
assert not problems, problems
random = np.random.default_rng(0)
features = random.normal(size=(600, 2)).astype(np.float32)
labels = np.digitize(features[:, 0] + random.normal(0, 0.2, 600), [-0.5, 0.5]).astype(np.int64)

def split(start, stop):
    return Split(np.arange(start, stop), labels[start:stop], np.ones(stop - start, dtype=np.float32))

ids = tuple(column.id for column in feature_columns(strategy))
task = TrainingTask(offered.name, architecture, "classification", CLASSES, ids,
                    strategy.training.model_dump(exclude={"labels", "data_split", "given"}), seed=5)
events = []
model = manager.trainer(info.name).train(
    task, TrainingData(features, split(0, 450), split(450, 600)),
    progress=events.append, cancellation=Cancellation(), checkpoint=None)
assert events[-1].fraction == 1
with default_model_store().create(strategy.name) as writer:
    writer.write_strategy(text)
    scaling = {"method": "zscore", "offset": 0.0, "scale": 1.0}
    writer.write_normalizers({"EURUSD": dict.fromkeys(ids, scaling)})
    writer.write_history(model.history)
    facts = manager.storage(info.name).save(model, writer.directory)
    bundle = writer.commit(ManifestFields(
        plugin=PluginReference(name=info.name, version=info.version, contract=info.contract,
                               distribution=manager.record(info.name).distribution),
        model_type=offered.name, architecture=architecture, input_size=len(ids), feature_ids=ids,
        output="classification", classes=CLASSES, strategy=strategy, facts=facts, seed=task.seed,
        data=DataReference(fingerprint="0" * 64, symbols=("EURUSD",), timeframes=("1h",), base_timeframe="1h",
                           start=dt.datetime(2017, 1, 1, tzinfo=dt.UTC), end=dt.datetime(2017, 2, 1, tzinfo=dt.UTC),
                           rows={"EURUSD": 600}),
        environment=Environment(python=platform.python_version(), platform=platform.system())))
np.save(Path.home() / "features.npy", features)
np.save(Path.home() / "expected.npy", model.predictor().predict(features))
accuracy = np.mean(model.predictor().predict(features).argmax(axis=1) == labels)
print(json.dumps([bundle.ref, float(accuracy)]))
"""

PREDICT = """
from pathlib import Path
import numpy as np
from ktrdr.core.models.model_store import default_model_store
from ktrdr.core.plugins.manager import default_manager
predictor = default_model_store().get("foreign").load_predictor(default_manager())
answer = predictor.predict(np.load(Path.home() / "features.npy"))
np.testing.assert_array_equal(answer, np.load(Path.home() / "expected.npy"))
print(answer.shape)
"""


def ask(environment, code):
    answer = environment.run("-I", "-c", code)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.splitlines()[-1]


def test_it_is_found_trains_stores_loads_predicts_and_disappears(environment, example_wheel):
    records, infos, chosen = json.loads(ask(environment, LIST))
    assert (records, infos) == ([], [])
    assert "no installed plugin trains model type `softmax_regression`" in chosen

    environment.pip("install", example_wheel)
    assert json.loads(ask(environment, LIST)) == [["example"], ["example"], "example"]
    checked = environment.run("-I", "-m", "ktrdr.core.cli.main", "plugins", "--check", "--json")
    assert [(row["name"], row["state"]) for row in json.loads(checked.stdout)] == [("example", "works")]

    ref, accuracy = json.loads(ask(environment, TRAIN))
    assert ref == "foreign/1"
    assert accuracy > 0.7
    assert ask(environment, PREDICT) == "(600, 3)"

    environment.pip("uninstall", "ktrdr-ml-example")
    assert json.loads(ask(environment, LIST))[0] == []
    # Its models are still there to list and verify, and say what they need.
    listed = environment.run("-I", "-m", "ktrdr.core.cli.main", "models", "list", "--json")
    assert [(row["model"], row["state"]) for row in json.loads(listed.stdout)] == [("foreign/1", "ok")]
    assert environment.run("-I", "-m", "ktrdr.core.cli.main", "models", "verify", "foreign").returncode == 0
    orphan = environment.run("-I", "-c", PREDICT)
    assert "PluginError: no plugin `example` is installed" in orphan.stderr


def test_it_passes_the_conformance_kit_in_an_environment_of_its_own(environment, example_wheel, tmp_path):
    environment.pip("install", example_wheel, "pytest>=9")
    # Its author's own settings, not those of a checkout that the temporary directory may be part of.
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    suite = tmp_path / "test_conformance.py"
    source = example_wheel.parents[1] / "source" / "tests" / "test_conformance.py"
    suite.write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    answer = environment.run(
        "-I", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--strict-markers", "-m", "not slow", suite
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "failed" not in answer.stdout
    assert int(answer.stdout.split(" passed")[0].split()[-1]) > 20
    environment.pip("uninstall", "ktrdr-ml-example")
