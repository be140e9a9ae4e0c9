"""The training step returns the model of the backend, and reports when it resumes from a checkpoint."""

from __future__ import annotations

import pytest

from ktrdr.core.testing.learning_problems import make_problem
from ktrdr.core.training.checkpoint import DirectoryCheckpoint
from ktrdr.core.training.task import fit_model
from ktrdr.core.work import Cancellation


@pytest.fixture
def fit(example_plugins, tmp_path):
    info, offered = example_plugins.backend_for("softmax_regression")
    problem = make_problem(offered, "classification")

    def run(checkpoint):
        events = []
        model = fit_model(
            example_plugins.trainer(info.name),
            problem.task,
            problem.data,
            progress=events.append,
            cancellation=Cancellation(),
            checkpoint=checkpoint,
        )
        return model, events

    return run


def test_progress_has_the_number_of_epochs_before_the_first(fit, tmp_path):
    model, events = fit(DirectoryCheckpoint(tmp_path / "run"))
    assert (events[0].step, events[0].done, events[0].total, events[0].message) == ("training", 0, 4, "")
    assert len(model.history) == 4


def test_progress_says_that_a_run_resumes(fit, tmp_path):
    checkpoint = DirectoryCheckpoint(tmp_path / "run")
    first, _ = fit(checkpoint)
    again, events = fit(checkpoint)
    assert events[0].message == "resuming from the checkpoint"
    assert again.history == first.history
