"""Recording of a worker's trials in the server's ledger, which counts them.

The ledger of a worker is not sufficient: a worker that shares no directory with the server knows only its own
operation, and a worker that shares the directory does not use the ledger of a server on PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ktrdr.api.engine.port import EngineListener

__all__ = ["counted", "keep_count"]


async def counted(listener: EngineListener, result: Mapping[str, Any]) -> dict[str, Any]:
    """Record the looks in a result of a worker as trials, and return the result with the count of trials.

    Args:
        listener: records the looks.
        result: of :func:`ktrdr.core.workflows.run_job.run_job`.

    Returns:
        The result without the looks; its deflated metrics are for the trials that the ledger knows now.

    Raises:
        StoreError: the ledger of trials cannot be written now.
        BadInputError: the worker sent the looks in an unknown form.
    """
    from ktrdr.core.trials.look import LOOKS, Look

    own = dict(result)
    looks = [Look.from_json(look) for look in own.pop(LOOKS, ())]
    if not looks:
        return own
    traded = "run" in own
    count = await listener.judge(looks, own["model"] if traded else "")
    if _is_evaluation(own) or _is_verdict(own):
        # The second look, if there is one, is at an opened reserve.
        opened = await listener.judge(looks[1:], "") if len(looks) > 1 else None
        if _is_verdict(own):
            from ktrdr.core.verdicts.recounted_verdict import recounted_verdict

            return recounted_verdict(own, count, opened)
        from ktrdr.core.validation.stored_evaluation import recounted

        return recounted(own, count, opened)
    if traded:
        from ktrdr.core.backtesting.metrics import deflate

        count = count.with_elsewhere(own["settings"]["trials"])
        own["metrics"] = deflate(own["metrics"], count.number, count.spread)
    return {**own, "trial_count": count.to_json()}


def keep_count(result: Mapping[str, Any]) -> None:
    """Write the counted result of a backtest, an evaluation or a verdict into its files, if they are here.

    Raises:
        StoreError: the files cannot be written now.
    """
    directory = result.get("directory")
    if directory and _is_verdict(result):
        from ktrdr.core.evaluations.evaluation_store import EVALUATIONS
        from ktrdr.core.validation.stored_evaluation import recount_evaluation
        from ktrdr.core.verdicts.stored_verdict import recount_verdict

        recount_verdict(Path(directory), result)
        if (evaluation := result["evaluation"]) is not None:
            # In the same home: the verdict is in <home>/verdicts/<strategy>/<number>.
            home = Path(directory).parents[2]
            recount_evaluation(home / EVALUATIONS.folder / evaluation["evaluation"], evaluation)
        return
    if result.get("trial_count") is None or not directory:
        return
    if _is_evaluation(result):
        from ktrdr.core.validation.stored_evaluation import recount_evaluation

        recount_evaluation(Path(directory), result)
        return
    if "run" not in result:
        return
    from ktrdr.core.backtesting.results import recount
    from ktrdr.core.runs.run_store import RESULT_FILE
    from ktrdr.core.trials.trial_count import TrialCount

    if (Path(directory) / RESULT_FILE).is_file():
        recount(Path(directory), result["metrics"], TrialCount.from_json(result["trial_count"]))


def _is_evaluation(result: Mapping[str, Any]) -> bool:
    """Return True for the facts of an evaluation; results of a worker do not name the kind of their job."""
    return "median_path" in result


def _is_verdict(result: Mapping[str, Any]) -> bool:
    """Return True for the facts of a verdict."""
    return "evidence_hash" in result
