"""Conformance kit for portable twins: they predict what their model predicts, and have the same abilities."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ktrdr.core.inference.comparison import compare
from ktrdr.core.inference.portable_predictor import portable_predictor
from ktrdr.core.inference.probes import probe_rows
from ktrdr.core.inference.twin_files import read_twin, write_twin
from ktrdr.core.plugins import Explainable, ModelType, Portable, Predictor, RuleBased, Twin
from ktrdr.core.plugins.contract import OutputKind
from ktrdr.core.testing.backend_under_test import BackendUnderTest
from ktrdr.core.testing.learning_problems import Problem

__all__ = ["TwinConformance"]

_CONTRIBUTION_TOLERANCE = 1e-5
# Contributions take some thirty predictions of each row.
_EXPLAINED = 40


class TwinConformance(BackendUnderTest):
    """Tests of predictors that are :class:`~ktrdr.core.plugins.Portable`.

    Twins are made as when a model is stored: of a predictor that was loaded on the CPU, written and read again. The
    tests of a model type whose predictors offer no twin are skipped.
    """

    def _portable(self, model_type: ModelType, output: OutputKind, directory: Path) -> tuple[Problem, Any, Any]:
        """Return a problem, the predictor of its trained model, and one that was loaded from files on the CPU.

        Both predictors are portable; the test is skipped if the first is not.
        """
        problem, model = self._once(model_type, output)
        trained = model.predictor()
        if not isinstance(trained, Portable):
            pytest.skip(f"the predictor of `{model_type.name}` has no portable twin")
        self._save(model, directory / "saved")
        native = self._plugins().loader(self.plugin).load(directory / "saved", "cpu")
        assert isinstance(native, Portable), "the trained model offers a twin, and the loaded one does not"
        return problem, trained, native

    def test_a_twin_is_the_same_each_time(self, model_type: ModelType, output: OutputKind, tmp_path: Path) -> None:
        """A predictor gives an equal twin each time, and so do a trained model and the loaded one."""
        problem, trained, native = self._portable(model_type, output, tmp_path)
        before = native.predict(problem.data.features)
        first = _content(native.twin())
        assert _content(native.twin()) == first, "the second twin of a predictor differs from the first"
        assert _content(trained.twin()) == first, "the twin of the trained model differs from that of the loaded one"
        after = native.predict(problem.data.features)
        np.testing.assert_array_equal(after, before, "twin() must not change the predictor")

    def test_a_twin_predicts_what_its_model_does(
        self, model_type: ModelType, output: OutputKind, tmp_path: Path
    ) -> None:
        """Predictions are equal to 1e-6, on samples, at the limits of the features, far from them, and beside NaN."""
        problem, _, native = self._portable(model_type, output, tmp_path)
        portable = _stored(native, tmp_path)
        assert (portable.input_size, portable.window) == (native.input_size, native.window)
        data, window = problem.data, native.window
        rows = np.union1d(data.train.rows, data.validation.rows)
        compare(native, portable, probe_rows(data.features, rows, data.validation.rows, window))
        compare(native, portable, data.features)
        compare(native, portable, np.asfortranarray(_with_gaps(data.features, window)))
        for count in range(window + 2):
            start = data.features[:count]
            if count >= window:
                compare(native, portable, start)
            else:  # no window is complete
                np.testing.assert_array_equal(portable.predict(start), native.predict(start), strict=True)

    def test_a_twin_has_the_abilities_of_its_model(
        self, model_type: ModelType, output: OutputKind, tmp_path: Path
    ) -> None:
        """Contributions of the features are equal to 1e-5, rules are equal; what the model lacks the twin lacks."""
        problem, _, native = self._portable(model_type, output, tmp_path)
        portable = _stored(native, tmp_path)
        for ability in (Explainable, RuleBased):
            assert isinstance(portable, ability) == isinstance(native, ability), ability.__name__
        features = _with_gaps(problem.data.features[: _EXPLAINED + native.window], native.window)
        size = 1.0 if output == "classification" else float(np.nanstd(native.predict(problem.data.features)))
        if isinstance(native, Explainable) and isinstance(portable, Explainable):
            expected = native.contributions(features)
            np.testing.assert_allclose(
                portable.contributions(features) / size, expected / size, rtol=0, atol=_CONTRIBUTION_TOLERANCE
            )
        if isinstance(native, RuleBased) and isinstance(portable, RuleBased):
            assert [dataclasses.asdict(rule) for rule in portable.rules()] == [
                dataclasses.asdict(rule) for rule in native.rules()
            ]


def _stored(native: Any, directory: Path) -> Predictor:
    """Return a predictor of the twin, which was written and read as in a bundle."""
    place = directory / "twin"
    place.mkdir()
    write_twin(place, native.twin(), native.rules() if isinstance(native, RuleBased) else ())
    return portable_predictor(*read_twin(place))


def _with_gaps(features: np.ndarray, window: int) -> np.ndarray:
    """Return a copy in which some windows contain a NaN or an infinite number, and others lie between them."""
    changed = features.copy()
    middle = len(features) // 2
    changed[0, 0] = np.nan
    changed[middle] = np.nan
    changed[min(middle + window + 1, len(features) - 1), -1] = np.inf
    return changed


def _content(twin: Twin) -> tuple[str, dict[str, tuple[str, tuple[int, ...], bytes]]]:
    arrays = {name: (array.dtype.str, array.shape, array.tobytes()) for name, array in twin.arrays.items()}
    return json.dumps(twin.graph, sort_keys=True, allow_nan=False), arrays
