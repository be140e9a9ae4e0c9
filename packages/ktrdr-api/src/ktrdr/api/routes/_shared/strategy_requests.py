"""Requests for work on a strategy, which is stored on the server or in the request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Self, TypeVar

from pydantic import BaseModel, Field, model_validator

from ktrdr.api.routes._shared.stored_symbols import check_stored
from ktrdr.api.routes._shared.strategy_loading import load
from ktrdr.core.jobs.job_settings import Settings
from ktrdr.core.jobs.kinds import StrategyText
from ktrdr.core.names import NAME_PATTERN

if TYPE_CHECKING:
    from collections.abc import Callable

    from ktrdr.api.strategy_files import StrategyStore
    from ktrdr.core.data.bar_store import BarStore
    from ktrdr.core.strategy.model import Strategy

__all__ = ["OneStrategy", "strategy_job"]

J = TypeVar("J", bound=Settings)


_SUBJECTS = ("strategy", "strategy_text", "evaluation")


class OneStrategy(BaseModel):
    """The name of a stored strategy, or the text of one; for a training also the name of an evaluation of one."""

    strategy: Annotated[str, Field(pattern=f"^{NAME_PATTERN}$")] | None = None
    strategy_text: StrategyText | None = None

    @model_validator(mode="after")
    def _one_strategy(self) -> Self:
        known = [name for name in _SUBJECTS if name in type(self).model_fields]
        if sum(getattr(self, name) is not None for name in known) != 1:
            *others, last = (f"`{name}`" for name in known)
            raise ValueError(f"give exactly one of {', '.join(others)} and {last}")
        return self

    def text(self, store: StrategyStore) -> str:
        """Return the text of the strategy, from the store if the request has only its name."""
        if self.strategy is not None:
            return store.get(self.strategy).text
        assert self.strategy_text is not None
        return self.strategy_text


def strategy_job(
    chosen: OneStrategy,
    settings: Settings,
    kind: type[J],
    check: Callable[[Strategy], object],
    store: StrategyStore,
    bars: BarStore,
    known: frozenset[str],
) -> tuple[dict[str, Any], list[str]]:
    """Return a job with a copy of the strategy, and the capabilities that a worker needs to train it.

    The strategy is checked as far as possible here.

    Args:
        chosen: names the strategy.
        settings: what else was asked.
        kind: class of the job.
        check: raises an error if the settings do not fit the strategy.
        store: of the strategies.
        bars: of the server.
        known: capabilities of the connected workers.
    """
    from ktrdr.api.operations.requirements import training_needs

    text = chosen.text(store)
    loaded = load(text, chosen.strategy or "strategy", known)
    check_stored(settings.symbols, bars)
    check(loaded.strategy)
    return settings.to(kind, strategy=text).model_dump(mode="json"), training_needs(loaded.strategy)
