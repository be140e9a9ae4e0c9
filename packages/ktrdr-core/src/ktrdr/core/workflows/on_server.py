"""Work on a KTRDR server, with the progress, the errors and the results of a local run."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ktrdr.core.backtesting.results import BacktestResult, read_result
from ktrdr.core.client import Client, follow
from ktrdr.core.errors import BadInputError
from ktrdr.core.files.result_archive import unpack_result
from ktrdr.core.files.temporary import temporary_directory
from ktrdr.core.jobs.job_settings import (
    BacktestSettings,
    EvaluationSettings,
    SweepSettings,
    TrainingSettings,
    VerdictSettings,
)
from ktrdr.core.jobs.kinds import BacktestJob, EvaluationJob, SweepJob, TrainingJob, VerdictJob
from ktrdr.core.jobs.refusals import read_settings
from ktrdr.core.models.bundle import Bundle
from ktrdr.core.models.manifest import Manifest
from ktrdr.core.plugins.contract import Device, EpochRecord
from ktrdr.core.training.result import TrainingResult
from ktrdr.core.trials.trial_count import TrialCount
from ktrdr.core.validation.evaluation_parts import Evaluation
from ktrdr.core.validation.stored_evaluation import read_evaluation
from ktrdr.core.verdicts.stored_verdict import read_verdict
from ktrdr.core.verdicts.verdict_parts import Verdict
from ktrdr.core.work.cancellation import Cancellation
from ktrdr.core.work.progress import NO_PROGRESS, Progress

__all__ = ["ServerRuns", "training_on_server"]


def _discard(sentence: str) -> None:
    pass


class ServerRuns:
    """Runs jobs on the server that ``client`` speaks to.

    Args:
        client: open connection to the server.
        progress: receives the progress of the operation.
        say: receives one sentence whenever the operation has to wait.
        cancellation: cancels the operation on the server.
    """

    def __init__(
        self,
        client: Client,
        *,
        progress: Progress = NO_PROGRESS,
        say: Callable[[str], object] = _discard,
        cancellation: Cancellation | None = None,
    ) -> None:
        self._client = client
        self._progress = progress
        self._say = say
        self._cancellation = cancellation

    def train(self, strategy_text: str | None, settings: TrainingSettings, *, resume: bool = False) -> dict[str, Any]:
        """Train a strategy, and return the result as the server tells it.

        Args:
            strategy_text: YAML of the strategy; ``None`` if the settings name one of the server's evaluations.
            settings: overrides of the strategy, or the evaluation.
            resume: continue the newest cancelled or failed training of the same strategy and settings.

        Raises:
            BadInputError: the server refuses the job, or there is no such training to resume.
            CancelledError: the operation was cancelled; a checkpoint of it is kept on the server.
            RemoteError: it failed there.
            KtrdrError: the server cannot be reached.
        """
        if strategy_text is None:
            return self._train_evaluated(settings, resume=resume)
        return self._run_strategy("training", settings.to(TrainingJob, strategy=strategy_text), resume=resume)

    def evaluate(self, strategy_text: str, settings: EvaluationSettings, *, resume: bool = False) -> Evaluation:
        """Evaluate a strategy, and return the whole result.

        Args:
            strategy_text: YAML of the strategy.
            settings: overrides of the strategy, and the account.
            resume: continue the newest cancelled or failed evaluation of the same strategy and settings.

        Returns:
            The evaluation; ``facts.evaluation`` is its name on the server.

        Raises:
            BadInputError: the server refuses the job, or there is no such evaluation to resume.
            CancelledError: the operation was cancelled; what it has trained is kept on the server.
            RemoteError: it failed there.
            KtrdrError: the server cannot be reached.
        """
        job = settings.to(EvaluationJob, strategy=strategy_text)
        return self._evaluation(self._run_strategy("evaluation", job, resume=resume)["evaluation"])

    def judge(self, strategy_text: str, settings: VerdictSettings, *, resume: bool = False) -> Verdict:
        """Judge whether a strategy has an edge, and return the whole verdict.

        Args:
            strategy_text: YAML of the strategy.
            settings: costs, form of the verdict and overrides of the strategy.
            resume: continue the newest cancelled or failed verdict on the same strategy with the same settings.

        Returns:
            The verdict with its evaluation; ``facts.verdict`` is its name on the server.

        Raises:
            BadInputError: the server refuses the job, or there is no such verdict to resume.
            CancelledError: the operation was cancelled; what it has trained is kept on the server.
            RemoteError: it failed there.
            KtrdrError: the server cannot be reached.
        """
        job = settings.to(VerdictJob, strategy=strategy_text)
        answer = self._run_strategy("verdict", job, resume=resume)
        with self._fetched("verdict", answer["verdict"]) as directory:
            verdict = read_verdict(directory)
        rests_on = verdict.facts.evaluation
        if rests_on is None:
            return verdict
        return dataclasses.replace(verdict, evaluation=self._evaluation(rests_on.evaluation))

    def backtest(self, model: str, settings: BacktestSettings) -> BacktestResult:
        """Backtest the model ``name`` or ``name/3`` of the server, and return the whole result.

        Raises:
            BadInputError: ``model`` names none of the server's models, or the server refuses the job.
            CancelledError: the operation was cancelled.
            RemoteError: it failed there.
            KtrdrError: the server cannot be reached.
        """
        if Path(model).suffix.lower() in (".yaml", ".yml"):
            raise BadInputError(f"with a server, name one of its models, such as `name` or `name/3`, not {model}")
        job = read_settings(BacktestJob, {**settings.model_dump(), "model": model})
        operation_id, _ = self._run("backtest", job.model_dump(mode="json"))
        with temporary_directory("ktrdr-run-") as directory:
            archive = self._client.fetch(f"/backtests/{operation_id}/archive", directory / "run.zip")
            unpack_result(archive, directory / "run", "run")
            return read_result(directory / "run")

    def sweep(self, model: str, settings: SweepSettings) -> dict[str, Any]:
        """Sweep the model ``name`` or ``name/3`` of the server, and return the result as the server tells it.

        Raises:
            BadInputError: ``model`` names none of the server's models, or the server refuses the job.
            CancelledError: the operation was cancelled.
            RemoteError: it failed there.
            KtrdrError: the server cannot be reached.
        """
        job = read_settings(SweepJob, {**settings.model_dump(), "model": model})
        return self._run("sweep", job.model_dump(mode="json"))[1]

    def _evaluation(self, name: str) -> Evaluation:
        with self._fetched("evaluation", name) as directory:
            return read_evaluation(directory)

    @contextmanager
    def _fetched(self, kind: str, name: str) -> Iterator[Path]:
        """Yield a directory with the files of a stored result of the server."""
        with temporary_directory(f"ktrdr-{kind}-") as directory:
            archive = self._client.fetch(f"/{kind}s/{name}/archive", directory / f"{kind}.zip")
            unpack_result(archive, directory / kind, kind)
            yield directory / kind

    def _train_evaluated(self, settings: TrainingSettings, *, resume: bool) -> dict[str, Any]:
        """Train from an evaluation of the server, which knows the strategy and the number of the latest evaluation."""
        request = settings.model_dump(mode="json")
        stopped = None
        if resume:
            if "/" not in str(settings.evaluation):
                raise BadInputError(
                    f"to continue, name the evaluation with its number, such as {settings.evaluation}/1: there may be a"
                    " later one by now"
                )
            stopped = self._client.last_stopped("training", request)
            if stopped is None:
                raise BadInputError(
                    f"there is no interrupted training from evaluation {settings.evaluation} on {self._client.url};"
                    " leave out --resume"
                )
        return self._run("training", request, resume=None if stopped is None else stopped["id"])[1]

    def _run_strategy(
        self, kind: str, job: TrainingJob | EvaluationJob | VerdictJob, *, resume: bool
    ) -> dict[str, Any]:
        """Start a job on a strategy, or continue the newest stopped one that is the same."""
        asked = job.model_dump(mode="json")
        stopped = self._client.last_stopped(kind, asked) if resume else None
        if resume and stopped is None:
            raise BadInputError(
                f"there is no interrupted {kind} of this strategy with these settings on {self._client.url};"
                " leave out --resume"
            )
        request = {**asked, "strategy_text": asked["strategy"]}
        del request["strategy"]
        return self._run(kind, request, resume=None if stopped is None else stopped["id"])[1]

    def _run(self, kind: str, request: dict[str, Any], *, resume: str | None = None) -> tuple[str, dict[str, Any]]:
        client = self._client
        operation = client.start(kind, request) if resume is None else client.resume(resume)
        result = follow(
            client, operation["id"], progress=self._progress, say=self._say, cancellation=self._cancellation
        )
        return operation["id"], result


def training_on_server(client: Client, answer: dict[str, Any]) -> tuple[TrainingResult, tuple[EpochRecord, ...]]:
    """Return what :meth:`ServerRuns.train` returned as the result of a local training, and the history of its epochs.

    The bundle of the result has the manifest of the model alone: the files are on the server.
    """
    count = answer.get("trial_count")
    model = client.model(answer["model"])
    result = TrainingResult(
        bundle=Bundle(Path(answer["model"]), Manifest.model_validate(model["manifest"])),
        device=Device(answer["device"], "cpu"),
        samples=answer["samples"],
        epochs=answer["epochs"],
        best_epoch=answer["best_epoch"],
        resumed=answer["resumed"],
        trial_count=None if count is None else TrialCount.from_json(count),
    )
    return result, tuple(
        EpochRecord(
            record["epoch"],
            {key: math.nan if value is None else value for key, value in record.items() if key != "epoch"},
        )
        for record in model["history"]
    )
