"""What all tests of the conformance kit share: the plugin under test, and trainings, models and checkpoints of it."""

from __future__ import annotations

import functools
import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ktrdr.core.plugins import ModelStorage, ModelTrainer, ModelType, PluginInfo, TrainedModel
from ktrdr.core.plugins.contract import OutputKind
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.testing.learning_problems import Problem, make_problem
from ktrdr.core.training.checkpoint import DirectoryCheckpoint
from ktrdr.core.work import NO_PROGRESS, Cancellation, ProgressEvent

__all__ = ["BackendUnderTest", "CancelsWhenAsked", "CheckpointRecorder"]


class BackendUnderTest:
    """A plugin under test, which is called as KTRDR does: through its entry point, by :class:`PluginManager`.

    :class:`~ktrdr.core.testing.MLBackendConformance` describes the attributes.
    """

    plugin: ClassVar[str]
    model_types: ClassVar[tuple[str, ...]] = ()
    architectures: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    population_architectures: ClassVar[Mapping[str, Sequence[Mapping[str, Any]]]] = {}
    populations: ClassVar[int] = 200
    settings: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    seedless: ClassVar[frozenset[str]] = frozenset()
    restarted: ClassVar[frozenset[str]] = frozenset()

    _trained: ClassVar[dict[tuple[type, str, str], tuple[Problem, TrainedModel]]] = {}

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Parametrize a test by the model types, outputs and parameters that its arguments name."""
        types = self._types()
        if "parameter" in metafunc.fixturenames:
            parameters = [(offered, parameter) for offered in types for parameter in offered.architecture]
            metafunc.parametrize(
                ("model_type", "parameter"),
                parameters,
                ids=[f"{offered.name}-{parameter.name}" for offered, parameter in parameters],
            )
        elif "output" in metafunc.fixturenames:
            pairs = [(offered, output) for offered in types for output in offered.outputs]
            metafunc.parametrize(
                ("model_type", "output"), pairs, ids=[f"{offered.name}-{output}" for offered, output in pairs]
            )
        elif "model_type" in metafunc.fixturenames:
            metafunc.parametrize("model_type", types, ids=[offered.name for offered in types])

    @classmethod
    @functools.cache
    def _plugins(cls) -> PluginManager:
        return PluginManager()

    @classmethod
    def _info(cls) -> PluginInfo:
        return cls._plugins().info(cls.plugin)

    @classmethod
    def _types(cls) -> list[ModelType]:
        offered = {model_type.name: model_type for model_type in cls._info().model_types}
        return [offered[name] for name in cls.model_types or offered]

    def _trainer(self) -> ModelTrainer:
        return self._plugins().trainer(self.plugin)

    def _storage(self) -> ModelStorage:
        return self._plugins().storage(self.plugin)

    def _problem(self, model_type: ModelType, output: OutputKind, **changes: Any) -> Problem:
        architecture = {**self.architectures.get(model_type.name, {}), **changes.pop("architecture", {})}
        settings = {**self.settings.get(model_type.name, {}), **changes.pop("settings", {})}
        return make_problem(model_type, output, architecture=architecture, settings=settings, **changes)

    def _train(
        self,
        problem: Problem,
        *,
        progress: Callable[[ProgressEvent], None] = NO_PROGRESS,
        cancellation: Cancellation | None = None,
        checkpoint: DirectoryCheckpoint | None = None,
    ) -> TrainedModel:
        return self._trainer().train(
            problem.task,
            problem.data,
            progress=progress,
            cancellation=cancellation or Cancellation(),
            checkpoint=checkpoint,
        )

    def _once(self, model_type: ModelType, output: OutputKind) -> tuple[Problem, TrainedModel]:
        """Return a problem and its trained model; train once per class, model type and output."""
        key = (type(self), model_type.name, output)
        if key not in self._trained:
            problem = self._problem(model_type, output)
            self._trained[key] = (problem, self._train(problem))
        return self._trained[key]

    def _save(self, model: TrainedModel, directory: Path) -> dict[str, str]:
        """Save the model and return file name -> sha256."""
        directory.mkdir()
        self._storage().save(model, directory)
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(directory.iterdir())}


class CancelsWhenAsked(Cancellation):
    """Cancels when it was asked a number of times, which does not depend on the speed of the machine.

    Args:
        times: number of questions before the one that is answered with yes; never for ``None``.
    """

    def __init__(self, times: int | None) -> None:
        super().__init__()
        self._times = times
        self.asked = 0
        self.asked_after = 0

    @property
    def told(self) -> bool:
        """True if a question was answered with yes."""
        return self._times is not None and self.asked >= self._times

    def _ask(self) -> None:
        if super().requested:
            self.asked_after += 1
        self.asked += 1
        if self._times is not None and self.asked == self._times:
            self.cancel("in the middle")

    @property
    def requested(self) -> bool:
        """Whether it is cancelled now; counts as a question."""
        self._ask()
        return super().requested

    def raise_if_requested(self) -> None:
        """Raise the error if it is cancelled now; counts as a question."""
        self._ask()
        super().raise_if_requested()


class CheckpointRecorder(DirectoryCheckpoint):
    """Keeps a copy of every checkpoint, as a killed process leaves it."""

    def __init__(self, directory: Path, kept: Path) -> None:
        super().__init__(directory)
        self._kept = kept
        self.kept: list[Path] = []

    def save(self, epoch: int, write: Callable[[Path], None]) -> None:
        """Save a checkpoint, and keep a copy of it."""
        super().save(epoch, write)
        copy = self._kept / str(len(self.kept))
        shutil.copytree(self.directory, copy)
        self.kept.append(copy)
