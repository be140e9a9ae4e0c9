"""The trials of a result that a worker tells of: recorded here, in the server's ledger, and counted by it.

A worker that shares no directory with the server has a ledger that knows of nothing but its own operation, and one that
shares the directory may have another than a server whose ledger is in PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ktrdr.api.engine.port import EngineListener

__all__ = ["counted", "keep_count"]


async def counted(listener: EngineListener, result: Mapping[str, Any]) -> dict[str, Any]:
    """Record the looks in a result of :func:`ktrdr.core.workflows.run_job.run_job`, and return it without them, its
    figures among the trials that are known then.

    Raises:
        StoreError: the ledger of trials cannot be written now.
        BadInputError: the worker tells of them in a form that is not known here.
    """
    from ktrdr.core.trials.look import LOOKS, Look

    own = dict(result)
    looks = [Look.from_json(look) for look in own.pop(LOOKS, ())]
    if not looks:
        return own
    traded = "run" in own
    count = await listener.judge(looks, own["model"] if traded else "")
    if traded:
        from ktrdr.core.backtesting.metrics import deflate

        count = count.with_elsewhere(own["settings"]["trials"])
        own["metrics"] = deflate(own["metrics"], count.number, count.spread)
    return {**own, "trial_count": count.to_json()}


def keep_count(result: Mapping[str, Any]) -> None:
    """Write the figures of a counted backtest into its files, where they are here.

    Raises:
        StoreError: they cannot be written now.
    """
    directory = result.get("directory")
    if "run" not in result or result.get("trial_count") is None or not directory:
        return
    from ktrdr.core.backtesting.results import recount
    from ktrdr.core.runs.run_store import RESULT_FILE
    from ktrdr.core.trials.trial_count import TrialCount

    if (Path(directory) / RESULT_FILE).is_file():
        recount(Path(directory), result["metrics"], TrialCount.from_json(result["trial_count"]))
