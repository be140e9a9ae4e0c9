"""Check that the tasks of a population fit together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ktrdr.core.errors import BadInputError

if TYPE_CHECKING:
    from ktrdr.core.plugins.contract import Member, ModelType, TrainingTask

__all__ = ["check_members"]

# In these fields of a task members may differ: they do not change the shape of the model.
_FREE = frozenset({"architecture", "settings", "seed"})
_MOST_SHOWN = 60


def check_members(model_type: ModelType, members: Sequence[Member]) -> None:
    """Raise an error unless all members have one architecture, and samples to train with.

    Members may differ in seed, settings of the training, data, and those parameters of the architecture that are
    :attr:`~ktrdr.core.plugins.ModelType.member_parameters`.

    Raises:
        BadInputError: there is no member, or two members differ in the architecture, the features, the classes, the
            membership functions or the device, or a member has no training samples; the message names it.
    """
    if not members:
        raise BadInputError("the population has no members; give at least one")
    first = members[0].task
    for number, member in enumerate(members, 1):
        if difference := _difference(first, member.task, model_type.member_parameters):
            raise BadInputError(
                f"member {number} of the population has {difference}, and a population has one architecture; train it "
                "in another population"
            )
        if not len(member.data.train):
            raise BadInputError(
                f"member {number} of the population has no training samples; leave it out, or give it more data"
            )


def _difference(first: TrainingTask, other: TrainingTask, free: frozenset[str]) -> str:
    """Return the first difference that a population must not have, or an empty string."""
    for name in type(first).__dataclass_fields__:
        here, there = getattr(other, name), getattr(first, name)
        if name not in _FREE and here != there:
            return f"`{name}: {_short(here)}` where the first has `{_short(there)}`"
    for name in sorted({*first.architecture, *other.architecture} - free):
        here, there = other.architecture.get(name), first.architecture.get(name)
        if here != there:
            return f"`architecture.{name}: {_short(here)}` where the first has `{_short(there)}`"
    return ""


def _short(value: Any) -> str:
    text = str(list(value) if isinstance(value, tuple) else value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."
