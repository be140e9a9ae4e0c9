"""Training of an ensemble: its members are trainings alone, and the ensemble is evaluated and counted as one model."""

from __future__ import annotations

import dataclasses
import statistics

import numpy as np
import pytest

from ktrdr.core.errors import BadInputError, CancelledError
from ktrdr.core.features.pipeline import FeaturePipeline
from ktrdr.core.limits import LARGEST_SEED
from ktrdr.core.models import bundle as bundle_module
from ktrdr.core.models import twins as twins_module
from ktrdr.core.models.bundle import BundleError
from ktrdr.core.models.member_spread import spread_of
from ktrdr.core.training import executor as executor_module
from ktrdr.core.training.evaluation import log_loss
from ktrdr.core.training.trained_ensemble import trainings_of
from ktrdr.core.work import Cancellation

ALONE = "model: {type: softmax_regression}"
ENSEMBLE = "model: {type: ensemble, of: {type: softmax_regression}, members: {seeds: 3}}"
MAJORITY = ENSEMBLE.replace("members", "vote: majority, members")


@pytest.fixture
def bundle(make_executor, load):
    return make_executor(load(ALONE, ENSEMBLE)).execute().bundle


def of_member(bundle, number):
    """Hash of each file of a member, by its name."""
    place = f"members/{number:02}/"
    return {name.removeprefix(place): digest for name, digest in bundle.manifest.files.items() if place in name}


def alone(make_executor, load, seed):
    """Hash of each file that the training of one model writes with this seed."""
    files = make_executor(load(), seed=seed).execute().bundle.manifest.files
    shared = ("strategy.yaml", "normalizers.json", "probes.safetensors")
    return {name: digest for name, digest in files.items() if name not in shared}


def test_every_member_is_byte_for_byte_a_training_alone_with_its_seed(make_executor, load, bundle):
    assert [member.seed for member in bundle.manifest.members] == [3, 4, 5]
    for number, seed in enumerate((3, 4, 5), 1):
        assert of_member(bundle, number) == alone(make_executor, load, seed)
    assert len({str(of_member(bundle, number)) for number in (1, 2, 3)}) == 3


def test_after_the_largest_seed_comes_zero(make_executor, load):
    bundle = make_executor(load(ALONE, ENSEMBLE), seed=LARGEST_SEED).execute().bundle
    assert [member.seed for member in bundle.manifest.members] == [LARGEST_SEED, 0, 1]
    assert of_member(bundle, 2) == alone(make_executor, load, 0)


def test_the_bundle_is_of_one_piece_and_repeats(make_executor, load, model_store, bundle):
    assert model_store.verify("waves").manifest == bundle.manifest
    again = make_executor(load(ALONE, ENSEMBLE)).execute()
    assert again.bundle.manifest.weights_hash == bundle.manifest.weights_hash
    assert again.to_json()["weights_hash"] == bundle.manifest.weights_hash
    assert (again.best_epoch, again.epochs) == (None, 6)
    assert repr(again) == "<TrainingResult waves/2: 6 epochs on cpu, an ensemble>"


def test_the_manifest_says_of_each_member_what_its_training_alone_does(make_executor, load, bundle):
    for number, member in enumerate(bundle.manifest.members, 1):
        single = make_executor(load(), seed=member.seed).execute()
        manifest = single.bundle.manifest
        assert member.best_epoch == single.best_epoch
        assert member.facts == manifest.facts
        assert member.monitor == "val_loss"
        assert member.monitored == single.bundle.history()[single.best_epoch - 1].metrics["val_loss"]
        assert bundle.history(number) == single.bundle.history()
        for part, metrics in member.metrics.items():
            assert metrics == {
                name: value for name, value in manifest.metrics[part].items() if isinstance(value, int | float)
            }
        assert set(member.metrics) == {"validation", "test"}
    assert bundle.manifest.facts == {}
    assert bundle.manifest.model_type == "softmax_regression"
    assert bundle.manifest.strategy.model.words == "ensemble of 3 softmax_regression"


def test_the_spread_over_the_members_is_theirs(bundle):
    values = [member.metrics["test"]["log_loss"] for member in bundle.manifest.members]
    spread = spread_of(bundle.manifest.members, "test")["log_loss"]
    assert (spread.min, spread.max) == (min(values), max(values))
    assert spread.mean == pytest.approx(statistics.fmean(values))


@pytest.mark.parametrize("model", [ENSEMBLE, MAJORITY])
def test_metrics_are_those_of_the_vote_on_the_rows_of_each_part(make_executor, load, example_plugins, bar_store, model):
    """They are computed again from the predictors of the members, independently of the ensemble's."""
    bundle = make_executor(load(ALONE, model)).execute().bundle
    members = [
        example_plugins.loader("example").load(bundle.directory / place) for place in bundle.manifest.member_directories
    ]
    bars = {"1h": bar_store.read("EURUSD", "1h").between(np.datetime64("2017-01-01"), np.datetime64("2017-04-01"))}
    matrix = FeaturePipeline(bundle.strategy).with_normalizers(bundle.normalizers()).transform(bars)
    outputs = np.stack([member.predict(matrix.values) for member in members])
    if model == ENSEMBLE:
        expected = outputs.mean(axis=0)
    else:
        expected = np.eye(3)[outputs.argmax(axis=2)].mean(axis=0)
        expected[~matrix.warm] = np.nan
    found = bundle.load_predictor(example_plugins).predict(matrix.values)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    metrics = bundle.manifest.metrics["validation"]
    assert metrics["samples"] > 100
    assert bundle.manifest.importance["scores"]["log_loss"] == pytest.approx(metrics["log_loss"])
    assert bundle.manifest.metrics["test"].keys() == metrics.keys()


def test_metrics_and_importance_of_an_average_are_not_those_of_a_member(bundle):
    own = bundle.manifest.metrics["validation"]["log_loss"]
    of_members = [member.metrics["validation"]["log_loss"] for member in bundle.manifest.members]
    assert own not in of_members
    # The log loss is convex: the average is at least as good as the members are on average.
    assert own <= statistics.fmean(of_members)
    assert bundle.manifest.importance["scores"]["log_loss"] == pytest.approx(own)


def test_an_ensemble_is_one_trial(make_executor, load, ledger):
    first = make_executor(load(ALONE, ENSEMBLE)).execute()
    assert first.trial_count.number == 1
    # Another number of members is another choice; the same ensemble again is the same one.
    assert make_executor(load(ALONE, ENSEMBLE)).execute().trial_count.number == 1
    more = make_executor(load(ALONE, ENSEMBLE.replace("3", "2"))).execute()
    assert more.trial_count.number == 2


def test_members_that_are_too_much_for_one_model_are_refused_with_a_remedy(
    make_executor, load, model_store, monkeypatch
):
    for module in (bundle_module, twins_module):
        monkeypatch.setattr(module, "MOST_BUNDLE_FILES", 7)
    with pytest.raises(BundleError) as caught:
        make_executor(load(ALONE, ENSEMBLE)).execute()
    assert str(caught.value) == (
        "it holds 8 files, more than the 7 allowed; the 3 members of an ensemble share the limits of one model: use"
        " fewer members, or smaller ones"
    )
    assert model_store.names() == ()
    assert make_executor(load(ALONE, ENSEMBLE.replace("3", "2"))).execute().bundle.ref == "waves/1"


def failing(monkeypatch, seed, error):
    """Let the training with this seed fail."""
    import ktrdr_ml_example.training as backend

    honest = backend.Trainer.train

    def train(self, task, *given, **more):
        if task.seed == seed:
            raise error
        return honest(self, task, *given, **more)

    monkeypatch.setattr(backend.Trainer, "train", train)


def test_a_member_that_cannot_be_trained_ends_the_training_with_its_number(
    make_executor, load, model_store, monkeypatch, ledger
):
    failing(monkeypatch, 4, BadInputError("the loss is not finite; lower the learning rate"))
    with pytest.raises(BadInputError) as caught:
        make_executor(load(ALONE, ENSEMBLE)).execute()
    assert str(caught.value) == (
        "member 2 of 3 of the ensemble (seed 4) could not be trained: the loss is not finite; lower the learning rate"
    )
    assert model_store.names() == ()


def test_interrupted_between_members_it_resumes_with_the_same_files(make_executor, load, monkeypatch, bundle):
    cancellation = Cancellation()
    import ktrdr_ml_example.training as backend

    honest, trained = backend.Trainer.train, []

    def train(self, task, *given, **more):
        trained.append(task.seed)
        if len(trained) == 2:
            cancellation.cancel()
        return honest(self, task, *given, **more)

    monkeypatch.setattr(backend.Trainer, "train", train)
    executor = make_executor(load(ALONE, ENSEMBLE), cancellation=cancellation)
    with pytest.raises(CancelledError):
        executor.execute()
    assert executor.checkpoint is not None
    resumed = make_executor(load(ALONE, ENSEMBLE), resume=True).execute()
    assert trained == [3, 4, 4, 5]
    assert resumed.resumed
    assert resumed.bundle.manifest.files == bundle.manifest.files


def test_steps_are_those_of_a_model(make_executor, load):
    events = []
    make_executor(load(ALONE, ENSEMBLE), progress=events.append).execute()
    steps = list(dict.fromkeys(event.step for event in events))
    assert steps == [
        "data", "device", "indicators", "fuzzy sets", "labels", "split", "features", "training", "evaluation",
        "importance", "saving",
    ]  # fmt: skip
    assert [event.unit for event in events if event.step == "training"][-1] == "members"


def test_epochs_are_the_most_of_all_members(make_executor, load, monkeypatch):
    """A member that stops early does not hide that another went on."""
    import ktrdr_ml_example.training as backend

    honest = backend.Trainer.train

    def train(self, task, *given, **more):
        if task.seed == 5:
            task = dataclasses.replace(task, settings={**task.settings, "epochs": 2})
        return honest(self, task, *given, **more)

    monkeypatch.setattr(backend.Trainer, "train", train)
    result = make_executor(load(ALONE, ENSEMBLE)).execute()
    assert result.epochs == 6
    assert [len(result.bundle.history(member)) for member in (1, 2, 3)] == [6, 6, 2]


def test_a_warning_that_only_the_first_epoch_helped_needs_all_members(make_executor, load, monkeypatch):
    warned = []
    monkeypatch.setattr(
        executor_module, "too_little_warnings", lambda *given, **more: warned.append(more["best_epoch"]) or ()
    )
    result = make_executor(load(ALONE, ENSEMBLE)).execute()
    assert warned == [max(member.best_epoch for member in result.bundle.manifest.members)]


def test_json_has_the_members(make_executor, load):
    said = make_executor(load(ALONE, ENSEMBLE)).execute().to_json()
    assert said["best_epoch"] is None
    assert [member["seed"] for member in said["members"]] == [3, 4, 5]
    assert said["model_type"] == "softmax_regression"


def test_a_model_of_one_training_is_its_only_training():
    model = object()
    assert trainings_of(model) == (model,)


def test_log_loss_of_a_vote_of_nobody_is_finite():
    assert np.isfinite(log_loss(np.array([1]), np.array([[0.6, 0.0, 0.4]])))
