"""Conformance kit for ML backends: tests of the plugin contract that every backend inherits.

See :class:`MLBackendConformance`.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ktrdr.core.errors import BadInputError, CancelledError
from ktrdr.core.models.contents import check_file
from ktrdr.core.models.manifest import WEIGHTS_PREFIX
from ktrdr.core.parameters import Parameter, validate_parameters
from ktrdr.core.plugins import CONTRACT_VERSION, ModelType, Split, TrainedModel
from ktrdr.core.plugins.contract import OutputKind
from ktrdr.core.strategy.model import Training
from ktrdr.core.testing.backend_under_test import CancelsWhenAsked, CheckpointRecorder
from ktrdr.core.testing.learning_problems import FEATURES, NOT_SETTINGS, Problem, other_value
from ktrdr.core.testing.population_conformance import PopulationConformance
from ktrdr.core.testing.twin_conformance import TwinConformance
from ktrdr.core.training.checkpoint import DirectoryCheckpoint
from ktrdr.core.work import Cancellation, ProgressEvent

__all__ = ["MLBackendConformance"]

# The other keys under `training` are handled by core: a backend does not declare them.
_TRAINING_KEYS = frozenset(Training.model_fields) - NOT_SETTINGS


class MLBackendConformance(PopulationConformance, TwinConformance):
    """Tests of an ML backend; subclass it in the backend's tests and name the plugin, which must be installed.

    The tests call the plugin as KTRDR does: through its entry point, by :class:`PluginManager`. Long tests are
    marked ``slow``: ``pytest -m "not slow"`` leaves them out.

    Attributes:
        plugin: name of the entry point.
        model_types: names of the model types to test; by default all that the plugin declares.
        architectures: model type -> parameters that make its tests fast; other parameters keep their defaults.
        population_architectures: model type -> parameters to draw one of for each random population, such as widths of
            layers; a parameter that is in neither map is drawn from its declaration.
        populations: number of random populations for each model type; a quick run has the first six.
        settings: model type -> keys of ``training`` that differ from the kit's (4 epochs, batches of 32).
        seedless: model types whose training has no random choices, so that the seed has no effect.
        restarted: model types that write no checkpoints, because an interrupted training starts again.
    """

    # Declarations of the plugin.

    def test_info_is_complete_and_fits(self) -> None:
        """The info has name, version, contract version and model types, and they are consistent."""
        info = self._info()
        assert info.name == self.plugin
        assert info.version
        assert info.contract.split(".")[0] == CONTRACT_VERSION.split(".")[0]
        assert info.model_types
        names = [model_type.name for model_type in info.model_types]
        assert len(set(names)) == len(names)

    def test_model_types_are_declared_well(self, model_type: ModelType) -> None:
        """The declaration of a model type is complete, so that a strategy can be validated from it."""
        assert model_type.name == model_type.name.lower()
        assert model_type.description
        assert model_type.outputs
        assert set(model_type.outputs) <= {"classification", "regression"}
        assert model_type.training_keys <= _TRAINING_KEYS
        declared = {parameter.name: parameter for parameter in model_type.architecture}
        assert len(declared) == len(model_type.architecture)
        for parameter in model_type.architecture:
            if not parameter.required and parameter.default is not None:
                _, problems = validate_parameters({parameter.name: parameter.default}, [parameter])
                assert problems == [], f"the default of `{parameter.name}` is not allowed by its own declaration"
        if model_type.window_parameter is not None:
            assert declared[model_type.window_parameter].kind == "int"

    def test_an_unknown_parameter_is_refused_by_core(self, model_type: ModelType) -> None:
        """Core reports an error for an architecture parameter that the model type does not declare."""
        _, problems = validate_parameters({"surely_no_such_parameter": 1}, model_type.architecture)
        assert any("surely_no_such_parameter" in problem.message for problem in problems)

    def test_listing_imports_no_framework(self) -> None:
        """Reading the info of a plugin imports neither its framework nor a large dependency of core."""
        code = (
            "import json, sys, importlib_metadata\n"
            "from ktrdr.core.plugins.manager import PluginManager\n"
            f"info = PluginManager().info({self.plugin!r})\n"
            "loaded = {name.partition('.')[0] for name in sys.modules}\n"
            "tops = {name: dists for name, dists in importlib_metadata.packages_distributions().items()}\n"
            "wanted = {name.lower().replace('_', '-') for name in info.requires}\n"
            "own = {top for top, dists in tops.items() if wanted & {d.lower().replace('_', '-') for d in dists}}\n"
            "heavy = own | {'torch', 'tensorflow', 'jax', 'sklearn', 'skops', 'pandas', 'pytest'}\n"
            "print(json.dumps(sorted(loaded & (heavy - {'numpy', 'ktrdr'}))))\n"
        )
        assert json.loads(_fresh_python(code)) == []

    def test_the_environment_is_valid(self) -> None:
        """The framework works in the environment of the tests, also when it is validated twice."""
        manager = self._plugins()
        manager.validate(self.plugin)
        manager.validate(self.plugin)

    def test_devices_include_the_cpu(self) -> None:
        """Names of devices are unique, and ``cpu`` is one of them."""
        devices = self._plugins().devices(self.plugin)
        names = [device.name for device in devices]
        assert "cpu" in names
        assert len(set(names)) == len(names)
        assert all(device.memory is None or device.memory > 0 for device in devices)

    # Training and prediction.

    def test_history_and_best_epoch(self, model_type: ModelType, output: OutputKind) -> None:
        """Epochs ascend, their metrics are finite, and the best epoch is one of them."""
        _, model = self._once(model_type, output)
        epochs = [record.epoch for record in model.history]
        assert epochs
        assert epochs == sorted(set(epochs))
        assert epochs[0] >= 1
        assert model.best_epoch in epochs
        expected = {"train_loss", "val_loss"}
        if output == "classification":
            expected |= {"train_accuracy", "val_accuracy"}
        for record in model.history:
            assert expected <= set(record.metrics)
            for name, value in record.metrics.items():
                assert np.isfinite(value), name
                assert name.endswith("accuracy") is False or 0 <= value <= 1, name
            json.dumps(dict(record.metrics), allow_nan=False)

    def test_prediction_has_the_shape_the_contract_says(self, model_type: ModelType, output: OutputKind) -> None:
        """Outputs are float64: probabilities of every class that sum to 1, or values."""
        problem, model = self._once(model_type, output)
        predictor = model.predictor()
        window = problem.task.architecture[model_type.window_parameter] if model_type.window_parameter else 1
        assert predictor.input_size == FEATURES
        assert predictor.window == window
        features = problem.data.features
        before = features.copy()
        answer = predictor.predict(features)
        np.testing.assert_array_equal(features, before, "predict must not change its input")
        assert not np.shares_memory(answer, predictor.predict(features)), (
            "predict must return a new array for each call"
        )
        assert answer.dtype == np.float64
        classes = len(problem.task.classes)
        assert answer.shape == ((len(features), classes) if output == "classification" else (len(features),))
        assert np.isnan(answer[: window - 1]).all()
        whole = answer[window - 1 :]
        assert np.isfinite(whole).all()
        if output == "classification":
            assert (whole >= 0).all()
            np.testing.assert_allclose(whole.sum(axis=1), 1, atol=1e-6)

    def test_it_learns(self, model_type: ModelType, output: OutputKind) -> None:
        """Predictions on the training data are correlated with the labels."""
        problem, model = self._once(model_type, output)
        split = problem.data.train
        answer = model.predictor().predict(problem.data.features)[split.rows]
        score = answer[:, 0] - answer[:, -1] if output == "classification" else answer
        truth = -split.labels if output == "classification" else split.labels
        assert np.std(score) > 0
        assert np.corrcoef(score, truth)[0, 1] > 0.1

    def test_no_rows_give_no_predictions(self, model_type: ModelType, output: OutputKind) -> None:
        """A prediction from no rows is empty, and from fewer rows than a window it is NaN."""
        problem, model = self._once(model_type, output)
        predictor = model.predictor()
        for rows in {0, predictor.window - 1}:
            answer = predictor.predict(problem.data.features[:rows])
            assert len(answer) == rows
            assert np.isnan(answer).all()
            assert answer.ndim == (2 if output == "classification" else 1)

    def test_a_nan_gives_nan_for_every_window_that_holds_it(self, model_type: ModelType, output: OutputKind) -> None:
        """A NaN in the features makes the prediction NaN for every window that contains it, and for no other row."""
        problem, model = self._once(model_type, output)
        predictor = model.predictor()
        features = problem.data.features.copy()
        row = len(features) // 2
        features[row, 1] = np.nan
        clean, answer = predictor.predict(problem.data.features), predictor.predict(features)
        touched = slice(row, row + predictor.window)
        assert np.isnan(answer[touched]).all()
        untouched = np.ones(len(features), dtype=bool)
        untouched[touched] = False
        np.testing.assert_allclose(answer[untouched], clean[untouched], atol=1e-6)

    def test_a_row_alone_is_as_in_a_batch(self, model_type: ModelType, output: OutputKind) -> None:
        """A prediction does not depend on the size of the batch or the memory layout, to 1e-6."""
        problem, model = self._once(model_type, output)
        predictor = model.predictor()
        features = problem.data.features
        together = predictor.predict(features)
        for row in (predictor.window - 1, len(features) // 2, len(features) - 1):
            alone = predictor.predict(features[row - predictor.window + 1 : row + 1])
            np.testing.assert_allclose(alone[-1], together[row], atol=1e-6)
        many = predictor.predict(np.tile(features, (40, 1)))
        np.testing.assert_allclose(many[-len(features) + predictor.window :], together[predictor.window :], atol=1e-6)
        strided = predictor.predict(np.asfortranarray(features))
        np.testing.assert_allclose(strided, together, atol=1e-6)
        np.testing.assert_array_equal(predictor.predict(features), together, "predict must be deterministic")

    def test_a_wrong_number_of_columns_is_refused(self, model_type: ModelType, output: OutputKind) -> None:
        """A prediction from a wrong number of columns is an error."""
        problem, model = self._once(model_type, output)
        with pytest.raises((BadInputError, ValueError)):
            model.predictor().predict(problem.data.features[:, :-1])

    def test_the_same_seed_gives_the_same_bytes(
        self, model_type: ModelType, output: OutputKind, tmp_path: Path
    ) -> None:
        """Training again or saving again gives equal files; another seed gives different files."""
        problem, model = self._once(model_type, output)
        first = self._save(model, tmp_path / "first")
        assert self._save(model, tmp_path / "again") == first
        assert self._save(self._train(problem), tmp_path / "second") == first
        other = self._save(self._train(self._problem(model_type, output, seed=8)), tmp_path / "other")
        if model_type.name not in self.seedless:
            assert other != first, "the seed has no effect; if that is meant, name the model type in `seedless`"

    def test_training_does_not_change_what_it_is_given(self, model_type: ModelType, output: OutputKind) -> None:
        """Training does not change its task and arrays, which are shared."""
        problem = self._problem(model_type, output)
        parts = (problem.data.train, problem.data.validation)
        arrays = [problem.data.features, *(array for part in parts for array in (part.rows, part.labels, part.weights))]
        for array in arrays:
            array.flags.writeable = False
        task = json.dumps(dataclasses.asdict(problem.task), default=list)
        self._train(problem)
        assert json.dumps(dataclasses.asdict(problem.task), default=list) == task

    def test_weights_of_samples_have_an_effect(self, model_type: ModelType, output: OutputKind) -> None:
        """A larger weight of some samples moves the predictions towards their labels."""
        problem, model = self._once(model_type, output)
        train = problem.data.train
        upper = train.labels > np.median(train.labels) if output == "regression" else train.labels == 0
        weights = np.where(upper, 100, 1).astype(np.float32)
        data = dataclasses.replace(problem.data, train=dataclasses.replace(train, weights=weights))
        weighted = self._train(Problem(problem.task, data)).predictor().predict(problem.data.features)[train.rows]
        plain = model.predictor().predict(problem.data.features)[train.rows]
        difference = weighted - plain if output == "regression" else weighted[:, 0] - plain[:, 0]
        assert difference.mean() > 0

    def test_a_class_that_never_occurs_still_has_its_column(self, model_type: ModelType) -> None:
        """The outputs have a column for every class of the task, also for one without samples."""
        if "classification" not in model_type.outputs:
            assert model_type.outputs == ("regression",)
            return
        problem = self._problem(model_type, "classification")
        without = [
            Split(part.rows[part.labels != 1], part.labels[part.labels != 1], part.weights[part.labels != 1])
            for part in (problem.data.train, problem.data.validation)
        ]
        data = dataclasses.replace(problem.data, train=without[0], validation=without[1])
        predictor = self._train(Problem(problem.task, data)).predictor()
        answer = predictor.predict(problem.data.features)[predictor.window - 1 :]
        assert answer.shape[1] == 3
        np.testing.assert_allclose(answer.sum(axis=1), 1, atol=1e-6)
        assert answer[:, 1].mean() < 1 / 3

    def test_it_trains_without_validation_samples(self, model_type: ModelType, output: OutputKind) -> None:
        """Training works without validation samples, which a strategy may choose."""
        problem = self._problem(model_type, output, settings={"early_stopping": None, "lr_scheduler": None})
        empty = Split(*(array[:0] for array in dataclasses.astuple(problem.data.validation)))
        model = self._train(Problem(problem.task, dataclasses.replace(problem.data, validation=empty)))
        assert "train_loss" in model.history[-1].metrics
        assert np.isfinite(model.predictor().predict(problem.data.features)[-1]).all()

    def test_it_trains_in_a_thread(self, model_type: ModelType) -> None:
        """Training works in another thread than the main thread, as on a worker."""
        problem, reference = self._once(model_type, model_type.outputs[0])
        found: list[TrainedModel] = []
        thread = threading.Thread(target=lambda: found.append(self._train(problem)))
        thread.start()
        thread.join()
        assert found, "training raised in the thread"
        features = problem.data.features
        np.testing.assert_array_equal(found[0].predictor().predict(features), reference.predictor().predict(features))

    def test_every_declared_parameter_is_accepted(self, model_type: ModelType, parameter: Parameter) -> None:
        """Training and prediction work with a value of the parameter that is not its default."""
        value = other_value(parameter)
        _, problems = validate_parameters({parameter.name: value}, [parameter])
        assert problems == []
        problem = self._problem(
            model_type, model_type.outputs[0], architecture={parameter.name: value}, settings={"epochs": 1}
        )
        predictor = self._train(problem).predictor()
        assert np.isfinite(predictor.predict(problem.data.features)[-1]).all()

    def test_a_device_that_is_absent_is_an_error(self, model_type: ModelType, tmp_path: Path) -> None:
        """A device that does not exist is an error in training and loading; ``auto`` and ``cpu`` work."""
        output = model_type.outputs[0]
        with pytest.raises(BadInputError):
            self._train(self._problem(model_type, output, device="cuda:99"))
        _, model = self._once(model_type, output)
        self._save(model, tmp_path / "saved")
        loader = self._plugins().loader(self.plugin)
        with pytest.raises(BadInputError):
            loader.load(tmp_path / "saved", "cuda:99")
        loader.load(tmp_path / "saved", "cpu")
        loader.load(tmp_path / "saved", "auto")

    # Storage.

    def test_a_model_is_data(self, model_type: ModelType, output: OutputKind, tmp_path: Path) -> None:
        """The saved files have names and kinds that a bundle may contain, and the facts are JSON."""
        _, model = self._once(model_type, output)
        directory = tmp_path / "saved"
        directory.mkdir()
        facts = self._storage().save(model, directory)
        json.dumps(facts, allow_nan=False)
        files = sorted(directory.iterdir())
        assert any(path.name.startswith(WEIGHTS_PREFIX) for path in files)
        taken = {"manifest.json", "strategy.yaml", "normalizers.json", "history.json"}
        assert not taken & {path.name for path in files}
        for path in files:
            check_file(path)

    def test_a_fresh_process_predicts_the_same(self, tmp_path: Path) -> None:
        """A new process predicts the same from the saved files.

        All model types share one process, because importing a framework takes seconds.
        """
        pairs = [(model_type, output) for model_type in self._types() for output in model_type.outputs]
        for number, (model_type, output) in enumerate(pairs):
            problem, model = self._once(model_type, output)
            self._save(model, tmp_path / str(number))
            np.save(tmp_path / f"{number}-features.npy", problem.data.features)
        code = (
            "from pathlib import Path; import numpy as np\n"
            "from ktrdr.core.plugins.manager import PluginManager\n"
            f"place = Path({str(tmp_path)!r})\n"
            f"for number in range({len(pairs)}):\n"
            f"    predictor = PluginManager().loader({self.plugin!r}).load(place / str(number), 'cpu')\n"
            "    features = np.load(place / f'{number}-features.npy')\n"
            "    np.save(place / f'{number}-answer.npy', predictor.predict(features))\n"
            "    print(predictor.input_size, predictor.window)\n"
        )
        lines = _fresh_python(code).splitlines()[-len(pairs) :]
        for number, ((model_type, output), line) in enumerate(zip(pairs, lines, strict=True)):
            problem, model = self._once(model_type, output)
            here = model.predictor()
            assert line.split() == [str(here.input_size), str(here.window)], (model_type.name, output)
            answer = np.load(tmp_path / f"{number}-answer.npy")
            expected = here.predict(problem.data.features)
            np.testing.assert_allclose(answer, expected, rtol=0, atol=1e-9, err_msg=f"{model_type.name} {output}")

    def test_what_it_did_not_write_is_refused(self, model_type: ModelType, tmp_path: Path) -> None:
        """A file that is missing, truncated or replaced by a pickle is an error for a person, and no code is run."""
        _, model = self._once(model_type, model_type.outputs[0])
        loader = self._plugins().loader(self.plugin)
        (tmp_path / "empty").mkdir()
        with pytest.raises(BadInputError):
            loader.load(tmp_path / "empty", "cpu")
        self._save(model, tmp_path / "saved")
        canary = tmp_path / "the-code-ran"
        hostile = [pickle.dumps(_Canary(canary), protocol) for protocol in (0, 2, 5)]
        for path in sorted((tmp_path / "saved").iterdir()):
            good = path.read_bytes()
            for bad in (b"", good[: len(good) // 2], b"{}", *hostile):
                path.write_bytes(bad)
                with pytest.raises(BadInputError):
                    loader.load(tmp_path / "saved", "cpu")
            path.write_bytes(good)
        assert not canary.exists()
        loader.load(tmp_path / "saved", "cpu")

    # Progress, cancellation, checkpoints.

    def test_progress_is_reported_and_not_too_often(self, model_type: ModelType) -> None:
        """Progress ascends to 1, contains metrics, and is reported at most ten times per second."""
        events: list[tuple[float, ProgressEvent]] = []
        problem = self._problem(model_type, model_type.outputs[0])
        self._train(problem, progress=lambda event: events.append((time.monotonic(), event)))
        assert events
        fractions = [event.fraction for _, event in events]
        assert fractions == sorted(fractions)
        assert fractions[-1] == pytest.approx(1)
        assert all(0 <= event.done <= event.total or event.total == 0 for _, event in events)
        assert any("train_loss" in event.metrics for _, event in events)
        times = [at for at, _ in events]
        for first in range(len(times)):
            within = sum(1 for at in times[first:] if at - times[first] < 1)
            assert within <= 11, f"{within} reports within a second"

    def test_cancelled_before_it_starts(self, model_type: ModelType) -> None:
        """A training that is cancelled before it starts raises an error with the reason."""
        cancellation = Cancellation()
        cancellation.cancel("no longer wanted")
        with pytest.raises(CancelledError, match="no longer wanted"):
            self._train(self._problem(model_type, model_type.outputs[0]), cancellation=cancellation)

    def test_cancelled_and_resumed_is_as_if_never_interrupted(self, model_type: ModelType, tmp_path: Path) -> None:
        """Cancellation stops the training at once, and the resumed training gives the same bytes."""
        output = model_type.outputs[0]
        settings = {"epochs": 12, "early_stopping": None}
        problem = self._problem(model_type, output, settings=settings)
        expected = self._save(self._train(problem), tmp_path / "expected")
        checkpoint = DirectoryCheckpoint(tmp_path / "checkpoints")
        cancellation = CancelsWhenAsked(times=self._questions(problem) // 2)
        with pytest.raises(CancelledError):
            self._train(problem, cancellation=cancellation, checkpoint=checkpoint)
        # A second question, to raise the error after the checkpoint, is allowed.
        assert cancellation.asked_after <= 2, "training went on after it was told to stop"
        if model_type.name not in self.restarted:
            assert checkpoint.latest() is not None, "no checkpoint; if that is meant, name it in `restarted`"
            for path in checkpoint.latest().rglob("*"):  # type: ignore[union-attr]
                assert not path.is_file() or _is_data(path), f"{path.name} in the checkpoint may hold code"
        resumed = self._train(problem, checkpoint=DirectoryCheckpoint(tmp_path / "checkpoints"))
        assert self._save(resumed, tmp_path / "resumed") == expected
        epochs = [record.epoch for record in resumed.history]
        assert epochs == sorted(set(epochs))

    def test_resuming_from_any_checkpoint_ends_the_same(self, model_type: ModelType, tmp_path: Path) -> None:
        """A training that is resumed from any of its checkpoints gives the same bytes."""
        output = model_type.outputs[0]
        problem = self._problem(model_type, output, settings={"epochs": 6, "early_stopping": None})
        recorder = CheckpointRecorder(tmp_path / "live", tmp_path / "kept")
        expected = self._save(self._train(problem, checkpoint=recorder), tmp_path / "expected")
        assert recorder.kept or model_type.name in self.restarted
        chosen = recorder.kept[:: max(1, len(recorder.kept) // 3)]
        for number, directory in enumerate(chosen):
            resumed = self._train(problem, checkpoint=DirectoryCheckpoint(directory))
            assert self._save(resumed, tmp_path / f"resumed{number}") == expected

    def _questions(self, problem: Problem) -> int:
        counting = CancelsWhenAsked(times=None)
        self._train(problem, cancellation=counting)
        assert counting.asked >= 2, "training never looks at its cancellation"
        return counting.asked


class _Canary:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._path,)


def _is_data(path: Path) -> bool:
    try:
        check_file(path)
    except BadInputError:
        return False
    return True


def _fresh_python(code: str) -> str:
    answer = subprocess.run(
        [sys.executable, "-c", code], env=dict(os.environ), capture_output=True, text=True, timeout=300, check=False
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout
