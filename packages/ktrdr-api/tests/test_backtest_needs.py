"""What a worker must have for a backtest: the plugin of the model, or nothing but core if its twin predicts."""

from __future__ import annotations

import pytest

from ktrdr.api.operations.requirements import backtest_needs
from ktrdr.core.errors import BadInputError
from ktrdr.core.jobs.kinds import BacktestJob, SweepJob
from ktrdr.core.models.manifest import TwinRecord
from ktrdr.core.models.model_store import ModelStore

TWINS = {
    "a twin": TwinRecord(rows=600, difference=2e-7),
    "a twin that failed": TwinRecord(missing="its predictions differ by 0.01"),
    "none": None,
}
WITH_PLUGIN = ["backtest", "ml-example"]


@pytest.fixture
def manifest(made_home):
    """The manifest of a model of the plugin `example`."""
    return ModelStore(made_home.path / "models").get("waves").manifest


@pytest.fixture(params=["backtest", "sweep"])
def job(request):
    """Return ``job(**settings)``: a backtest or a sweep."""

    def make(**settings):
        if request.param == "backtest":
            return BacktestJob(model="waves/1", **settings)
        return SweepJob(model="waves/1", settings={"decisions.confidence_threshold": (0.4, 0.5)}, **settings)

    return make


@pytest.mark.parametrize(
    ("twin", "settings", "needs"),
    [
        ("a twin", {}, ["backtest"]),
        ("a twin", {"device": "cpu"}, ["backtest"]),
        ("a twin", {"inference": "portable"}, ["backtest"]),
        ("a twin", {"inference": "native"}, WITH_PLUGIN),
        ("a twin", {"device": "cuda"}, WITH_PLUGIN),
        ("a twin that failed", {}, WITH_PLUGIN),
        ("none", {}, WITH_PLUGIN),
        ("none", {"inference": "native", "device": "cuda:1"}, WITH_PLUGIN),
    ],
)
def test_a_plugin_is_needed_only_where_its_framework_predicts(manifest, job, twin, settings, needs):
    assert backtest_needs(manifest.model_copy(update={"twin": TWINS[twin]}), job(**settings)) == needs


@pytest.mark.parametrize(
    ("twin", "settings", "said"),
    [
        ("none", {}, "model waves/1 has no portable twin; `ktrdr models twin waves/1` adds one where ktrdr-ml-example"),
        ("a twin that failed", {}, "has no portable twin (its predictions differ by 0.01)"),
        ("a twin", {"device": "cuda:1"}, "a portable twin predicts on the CPU, not on `cuda:1`"),
    ],
)
def test_a_twin_that_cannot_predict_is_refused(manifest, job, twin, settings, said):
    with pytest.raises(BadInputError) as refused:
        backtest_needs(manifest.model_copy(update={"twin": TWINS[twin]}), job(inference="portable", **settings))
    assert said in str(refused.value)
