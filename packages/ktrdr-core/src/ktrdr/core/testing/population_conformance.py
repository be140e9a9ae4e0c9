"""Tests of populations that every backend inherits: a member's model is, byte for byte, that of a training alone.

A backend without :class:`~ktrdr.core.plugins.PopulationTrainer` is tested too, as core trains its members one after
another.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest

from ktrdr.core.errors import BadInputError, CancelledError
from ktrdr.core.limits import POPULATION_MEMORY
from ktrdr.core.plugins import Member, MemberOutcome, ModelType, PopulationTrainer, Resources
from ktrdr.core.testing.backend_under_test import BackendUnderTest, CancelsWhenAsked, CheckpointRecorder
from ktrdr.core.testing.learning_problems import Problem, other_value
from ktrdr.core.testing.population_problems import NEVER, DrawnMember, Population, draw_population
from ktrdr.core.training.checkpoint import DirectoryCheckpoint
from ktrdr.core.training.population import train_members
from ktrdr.core.work import NO_PROGRESS, Cancellation, Progress, ProgressEvent

__all__ = ["Ending", "PopulationConformance"]

Ending: TypeAlias = dict[str, Any]
"""How a training ended, in a form to compare: hashes of the files, history and best epoch, or the error."""

_QUICK, _AT_ONCE = 6, 20
_RESOURCES = Resources(memory=POPULATION_MEMORY, cores=2)


class PopulationConformance(BackendUnderTest):
    """The tests of populations; part of :class:`~ktrdr.core.testing.MLBackendConformance`."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Parametrize a test of ``populations`` by model types and numbers: six quick ones, and the rest."""
        if "populations" not in metafunc.fixturenames:
            super().pytest_generate_tests(metafunc)
            return
        if not any(line.startswith("slow") for line in metafunc.config.getini("markers")):
            metafunc.config.addinivalue_line("markers", "slow: takes more than ten seconds of CPU")
        quick = min(_QUICK, self.populations)
        ends = [*range(1, quick + 1), *range(_AT_ONCE, self.populations, _AT_ONCE), self.populations]
        chunks = [range(first, last) for first, last in itertools.pairwise([0, *ends]) if first < last]
        metafunc.parametrize(
            ("model_type", "populations"),
            [
                pytest.param(
                    offered,
                    chunk,
                    id=f"{offered.name}-{chunk[0]}" + (f"-{chunk[-1]}" if len(chunk) > 1 else ""),
                    marks=[] if chunk[0] < quick else [pytest.mark.slow],
                )
                for offered in self._types()
                for chunk in chunks
            ],
        )

    # Helpers.

    def _draw(self, model_type: ModelType, number: int, **changes: Any) -> Population:
        return draw_population(
            model_type,
            number,
            architecture={**self.architectures.get(model_type.name, {}), **changes.pop("architecture", {})},
            alternatives=self.population_architectures.get(model_type.name, ()),
            settings=self.settings.get(model_type.name, {}),
            **changes,
        )

    def _lucky(self, model_type: ModelType, number: int, size: int) -> Population:
        """Return a population in which no member fails, to test all other promises with."""
        return self._draw(model_type, number, size=size, unlucky=False)

    def _partly_alike(
        self, model_type: ModelType, number: int, size: int, *, plain: bool, unlucky: bool
    ) -> list[DrawnMember]:
        """Return ``size`` random members, and three that a backend can train in one program.

        The three differ in samples, seed, learning rate and the parameters in which members may differ. If the
        architecture is ``plain``, its choices are the default ones.
        """
        members = self._draw(model_type, number, size=size + 20, unlucky=unlucky).members
        # Members that are cancelled at a question of their own would be asked other questions in a resumed run.
        drawn = [dataclasses.replace(each, cancelled_at=min(each.cancelled_at, 0)) for each in members[:size]]
        first, fixed = members[0].task, self.architectures.get(model_type.name, {})
        architecture, own = dict(first.architecture), []
        for parameter in model_type.architecture:
            if parameter.name in model_type.member_parameters:
                own.append(parameter)
            elif plain and parameter.choices and parameter.name not in fixed:
                architecture[parameter.name] = parameter.default
        alike = [
            _with(each, **{**first.settings, "batch_size": 8, "learning_rate": 0.01 / (number + 1)})
            for number, each in enumerate([each for each in members[size:] if _is_sound(each)][:3])
        ]
        assert len(alike) == 3
        found = []
        for each in _long([*drawn, *alike]):
            # Never a default that switches something off, and another value than that of the member before.
            others = {one.name: other_value(dataclasses.replace(one, default=architecture[one.name])) for one in own}
            architecture = {**architecture, **others}
            found.append(dataclasses.replace(each, task=dataclasses.replace(each.task, architecture=architecture)))
        return found

    def _train_members(
        self,
        model_type: ModelType,
        members: Sequence[Member],
        *,
        progress: Progress = NO_PROGRESS,
        cancellation: Cancellation | None = None,
        checkpoint: DirectoryCheckpoint | None = None,
        resources: Resources = _RESOURCES,
    ) -> Sequence[MemberOutcome]:
        return train_members(
            self._trainer(),
            model_type,
            members,
            progress=progress,
            cancellation=cancellation or Cancellation(),
            checkpoint=checkpoint,
            resources=resources,
        )

    def _alone(self, member: DrawnMember, directory: Path) -> Ending:
        """Train a member with ``train``, without its own cancellation."""
        try:
            return self._ending(self._train(Problem(member.task, member.data)), directory)
        except BadInputError as error:
            return self._ending(error, directory)

    def _ending(self, outcome: MemberOutcome, directory: Path) -> Ending:
        if isinstance(outcome, Exception):
            return {"error": type(outcome).__name__, "message": str(outcome)}
        return {
            "files": self._save(outcome, directory),
            # The hexadecimal form tells every bit of a number, and a NaN equals a NaN.
            "history": [
                (record.epoch, {name: float(value).hex() for name, value in record.metrics.items()})
                for record in outcome.history
            ],
            "best epoch": outcome.best_epoch,
        }

    def _endings(self, outcomes: Sequence[MemberOutcome], directory: Path) -> list[Ending]:
        directory.mkdir()
        return [self._ending(outcome, directory / str(number)) for number, outcome in enumerate(outcomes)]

    def _all_alone(self, members: Sequence[DrawnMember], directory: Path) -> list[Ending]:
        directory.mkdir()
        return [self._alone(member, directory / str(number)) for number, member in enumerate(members)]

    @property
    def _has_ability(self) -> bool:
        return isinstance(self._trainer(), PopulationTrainer)

    # A member is as alone.

    def test_members_of_random_populations_are_as_alone(
        self, model_type: ModelType, populations: range, tmp_path: Path
    ) -> None:
        """Files, history and best epoch of each member are those of a training alone, and so are errors."""
        for number in populations:
            self._compare_with_alone(model_type, self._draw(model_type, number), tmp_path / str(number))

    def _compare_with_alone(self, model_type: ModelType, population: Population, directory: Path) -> None:
        directory.mkdir()
        before = [json.dumps(dataclasses.asdict(drawn.task), default=list) for drawn in population.members]
        members = [_member(drawn) for drawn in population.members]
        outcomes = self._train_members(model_type, members, resources=population.resources)
        assert len(outcomes) == len(members)
        found = self._endings(outcomes, directory / "together")
        expected = self._all_alone(population.members, directory / "alone")
        for number, (member, drawn) in enumerate(zip(members, population.members, strict=True)):
            own = member.cancellation
            if isinstance(own, CancelsWhenAsked):
                assert own.asked, f"the cancellation of member {number} was never looked at"
                if own.told:
                    expected[number] = {"error": "CancelledError", "message": own.reason}
            assert drawn.cancelled_at != 0 or expected[number].get("error") == "CancelledError"
        assert _difference(found, expected) == "", f"population {population.number}: not as alone"
        after = [json.dumps(dataclasses.asdict(drawn.task), default=list) for drawn in population.members]
        assert after == before, "training changed a task"

    def test_a_member_that_ends_early_does_not_touch_the_others(self, model_type: ModelType, tmp_path: Path) -> None:
        """Members that are cancelled, or whose loss is not finite, leave the models of the others as they are."""
        lucky = _long(self._lucky(model_type, 2, 4).members)
        diverging = _with(lucky[1], learning_rate=1e30, lr_scheduler=None, gradient_clip=None)
        never_started = dataclasses.replace(lucky[2], cancelled_at=0)
        stopped = dataclasses.replace(lucky[0], cancelled_at=2)
        population = Population(2, (never_started, lucky[0], diverging, stopped, lucky[3]), _RESOURCES)
        self._compare_with_alone(model_type, population, tmp_path / "with unlucky ones")
        # One that ends before the start raises the same error alone.
        own = _member(never_started).cancellation
        with pytest.raises(CancelledError, match="before the start"):
            self._train(Problem(never_started.task, never_started.data), cancellation=own)

    def test_order_neighbours_and_resources_have_no_effect(self, model_type: ModelType, tmp_path: Path) -> None:
        """A member gives the same model at any place, beside a copy of itself, and with any cores and memory."""
        members = self._lucky(model_type, 3, 5).members
        expected = self._all_alone(members, tmp_path / "alone")
        orders = ((4, 2, 0, 3, 1), (1, 1, 4), (3,))
        resources = (
            Resources(memory=POPULATION_MEMORY, cores=1),
            Resources(memory=POPULATION_MEMORY // 10, cores=3),
            Resources(memory=POPULATION_MEMORY * 4, cores=64),
        )
        for number, (order, given) in enumerate(zip(orders, resources, strict=True)):
            outcomes = self._train_members(model_type, [_member(members[place]) for place in order], resources=given)
            found = self._endings(outcomes, tmp_path / str(number))
            assert _difference(found, [expected[place] for place in order]) == "", f"order {order}, {given}"

    def test_a_population_trains_in_a_thread(self, model_type: ModelType, tmp_path: Path) -> None:
        """A population can be trained in another thread than the main thread, as on a worker."""
        members = self._lucky(model_type, 4, 3).members
        found: list[Sequence[MemberOutcome]] = []
        thread = threading.Thread(
            target=lambda: found.append(self._train_members(model_type, [_member(member) for member in members]))
        )
        thread.start()
        thread.join()
        assert found, "training raised in the thread"
        expected = self._all_alone(members, tmp_path / "alone")
        assert _difference(self._endings(found[0], tmp_path / "thread"), expected) == ""

    # Refusals.

    def test_a_budget_for_no_member_is_refused(self, model_type: ModelType, tmp_path: Path) -> None:
        """A backend that trains populations refuses a budget of one byte; any larger one gives the same models.

        The fallback of core trains one member at a time, and takes no more than that does alone.
        """
        members = self._lucky(model_type, 5, 2).members
        expected = self._all_alone(members, tmp_path / "alone")
        refused = []
        for memory in (1, 10_000, 1_000_000, 30_000_000, POPULATION_MEMORY):
            try:
                outcomes = self._train_members(
                    model_type, [_member(member) for member in members], resources=Resources(memory=memory, cores=2)
                )
            except BadInputError as error:
                refused.append(memory)
                message = str(error)
                assert "memory" in message, "the message names what is too small"
                assert not message.endswith(".")
                assert "\n" not in message
            else:
                assert _difference(self._endings(outcomes, tmp_path / str(memory)), expected) == "", memory
        assert (1 in refused) == self._has_ability
        assert POPULATION_MEMORY not in refused
        assert refused == sorted(refused)

    def test_members_of_other_architectures_are_refused(self, model_type: ModelType) -> None:
        """Core refuses members that differ in their features, or in a parameter not among `member_parameters`."""
        (drawn,) = self._lucky(model_type, 6, 1).members
        assert model_type.member_parameters <= {parameter.name for parameter in model_type.architecture}
        wider = dataclasses.replace(drawn.task, feature_ids=(*drawn.task.feature_ids, "1h_another_value"))
        with pytest.raises(BadInputError, match="member 2 .*`feature_ids: "):
            self._train_members(model_type, [_member(drawn), _member(dataclasses.replace(drawn, task=wider))])
        for parameter in model_type.architecture:
            if parameter.name in model_type.member_parameters:
                continue
            value = other_value(parameter)
            if value == drawn.task.architecture[parameter.name]:
                value = parameter.default
            architecture = {**drawn.task.architecture, parameter.name: value}
            other = dataclasses.replace(drawn, task=dataclasses.replace(drawn.task, architecture=architecture))
            with pytest.raises(BadInputError, match=rf"member 2 .*`architecture\.{parameter.name}: "):
                self._train_members(model_type, [_member(drawn), _member(other)])

    # Progress, cancellation, checkpoints.

    def test_progress_counts_members(self, model_type: ModelType) -> None:
        """Reports have the number of finished members of all, and a fraction that ascends to 1."""
        events: list[tuple[float, ProgressEvent]] = []
        members = [_member(drawn) for drawn in self._lucky(model_type, 7, 12).members]
        self._train_members(model_type, members, progress=lambda event: events.append((time.monotonic(), event)))
        assert {(event.total, event.unit) for _, event in events} == {(12, "members")}
        for values in ([event.fraction for _, event in events], [event.done for _, event in events]):
            assert values == sorted(values)
        assert all(0 <= event.fraction <= 1 and event.done <= 12 for _, event in events)
        assert events[-1][1].done == 12
        assert events[-1][1].fraction == pytest.approx(1)
        # Without the ability, each training reports its own end.
        times = [at for at, _ in events] if self._has_ability else []
        for first in range(len(times)):
            within = sum(1 for at in times[first:] if at - times[first] < 1)
            assert within <= 11, f"{within} reports within a second"

    def test_a_population_that_is_cancelled_before_it_starts(self, model_type: ModelType) -> None:
        """A population that is cancelled before it starts raises an error with the reason."""
        cancellation = Cancellation()
        cancellation.cancel("no longer wanted")
        members = [_member(drawn) for drawn in self._lucky(model_type, 8, 3).members]
        with pytest.raises(CancelledError, match="no longer wanted"):
            self._train_members(model_type, members, cancellation=cancellation)

    @pytest.mark.parametrize(("share", "plain"), [(0.1, True), (0.4, False), (0.7, True), (0.95, False)])
    def test_a_cancelled_population_resumes(
        self, model_type: ModelType, share: float, plain: bool, tmp_path: Path
    ) -> None:
        """Cancellation stops a population at once, and the resumed population gives the same bytes."""
        drawn = self._partly_alike(model_type, 9, 4, plain=plain, unlucky=True)
        counting = CancelsWhenAsked(None)
        outcomes = self._train_members(model_type, [_member(each) for each in drawn], cancellation=counting)
        expected = self._endings(outcomes, tmp_path / "expected")
        assert counting.asked >= 2, "training never looks at its cancellation"
        cancellation = CancelsWhenAsked(max(1, int(counting.asked * share)))
        checkpoint = DirectoryCheckpoint(tmp_path / "checkpoints")
        ended = ""
        try:
            self._train_members(
                model_type, [_member(each) for each in drawn], cancellation=cancellation, checkpoint=checkpoint
            )
        except CancelledError as error:
            ended = str(error)
        assert ended == ("in the middle" if cancellation.told else ""), "training went on after it was told to stop"
        assert cancellation.asked_after <= 2 * (len(drawn) + 1), "training went on after it was told to stop"
        if ended and share > 0.3 and self._has_ability and model_type.name not in self.restarted:
            assert checkpoint.latest() is not None, "no checkpoint; if that is meant, name it in `restarted`"
        resumed = self._train_members(
            model_type, [_member(each) for each in drawn], checkpoint=DirectoryCheckpoint(tmp_path / "checkpoints")
        )
        assert _difference(self._endings(resumed, tmp_path / "resumed"), expected) == ""

    @pytest.mark.parametrize("plain", [True, False])
    def test_a_population_resumes_from_any_checkpoint(self, model_type: ModelType, plain: bool, tmp_path: Path) -> None:
        """A population that is resumed from any of its checkpoints, as after a kill, gives the same bytes."""
        members = self._partly_alike(model_type, 10, 1, plain=plain, unlucky=False)
        recorder = CheckpointRecorder(tmp_path / "live", tmp_path / "kept")
        outcomes = self._train_members(model_type, [_member(each) for each in members], checkpoint=recorder)
        expected = self._all_alone(members, tmp_path / "alone")
        assert _difference(self._endings(outcomes, tmp_path / "whole"), expected) == ""
        if not self._has_ability or model_type.name in self.restarted:
            assert recorder.kept == [], "a checkpoint that no population resumes from"
            return
        assert recorder.kept, "no checkpoint; if that is meant, name it in `restarted`"
        chosen = np.random.default_rng(0).permutation(len(recorder.kept))[:3]
        for number in chosen:
            resumed = self._train_members(
                model_type,
                [_member(each) for each in members],
                checkpoint=DirectoryCheckpoint(recorder.kept[number]),
                resources=Resources(memory=POPULATION_MEMORY // 2, cores=1),
            )
            assert _difference(self._endings(resumed, tmp_path / f"resumed {number}"), expected) == "", number
        others = (members[:3], [*members[:3], dataclasses.replace(members[3], task=_reseeded(members[3].task))])
        for wrong in others:
            with pytest.raises(BadInputError):
                self._train_members(
                    model_type,
                    [_member(each) for each in wrong],
                    checkpoint=DirectoryCheckpoint(recorder.kept[chosen[0]]),
                )


def _member(drawn: DrawnMember) -> Member:
    """Return a member with a cancellation that has not been asked yet."""
    own = None if drawn.cancelled_at == NEVER else CancelsWhenAsked(drawn.cancelled_at)
    if own is not None and drawn.cancelled_at == 0:
        own.cancel("before the start")
    return Member(drawn.task, drawn.data, own)


def _long(drawn: Sequence[DrawnMember]) -> list[DrawnMember]:
    """Give the members six, five and four epochs in turns, so that they are still trained when another ends."""
    return [_with(each, epochs=6 - number % 3, early_stopping=None) for number, each in enumerate(drawn)]


def _with(drawn: DrawnMember, **settings: Any) -> DrawnMember:
    return dataclasses.replace(
        drawn, task=dataclasses.replace(drawn.task, settings={**drawn.task.settings, **settings})
    )


def _is_sound(drawn: DrawnMember) -> bool:
    """Return True if the samples of a member suffice for a model, with validation."""
    return drawn.cancelled_at == NEVER and len(set(drawn.data.train.labels)) > 1 and len(drawn.data.validation) > 0


def _reseeded(task: Any) -> Any:
    return dataclasses.replace(task, seed=(task.seed + 1) % 2**32)


def _difference(found: Sequence[Ending], expected: Sequence[Ending]) -> str:
    """Return in words which members differ, and in what; an empty string if none does."""
    assert len(found) == len(expected)
    parts = []
    for number, (here, there) in enumerate(zip(found, expected, strict=True)):
        names = [name for name in {**there, **here} if here.get(name) != there.get(name)]
        if names:
            what = ", ".join(f"{name}: {here.get(name)} instead of {there.get(name)}" for name in names)
            parts.append(f"member {number}: {what}")
    return "\n".join(parts)
