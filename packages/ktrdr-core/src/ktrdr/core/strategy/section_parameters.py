"""Declaration of a section's keys as parameters, with the defaults of the section's model."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from ktrdr.core.parameters import Parameter, ParameterKind

__all__ = ["parameter_of"]


def parameter_of(section: type[BaseModel], name: str, kind: ParameterKind, **more: Any) -> Parameter:
    """Return the parameter ``name`` with its default in ``section``.

    Args:
        section: model of the section.
        name: field of the model.
        kind: kind of the value.
        **more: further fields of :class:`~ktrdr.core.parameters.Parameter`.
    """
    return Parameter(name, kind, section.model_fields[name].default, **more)
