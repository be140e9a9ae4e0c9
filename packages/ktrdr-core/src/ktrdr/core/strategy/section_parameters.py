"""Parameters that are keys of a section: their defaults stand in the section's model alone."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from ktrdr.core.parameters import Parameter, ParameterKind

__all__ = ["parameter_of"]


def parameter_of(section: type[BaseModel], name: str, kind: ParameterKind, **more: Any) -> Parameter:
    """Return the parameter ``name`` with the default that ``section`` has for it; ``more`` as of a parameter."""
    return Parameter(name, kind, section.model_fields[name].default, **more)
