"""The pluggy markers of the contract. The ``hooks`` module of a plugin uses ``@hookimpl``."""

from __future__ import annotations

import pluggy

__all__ = ["PROJECT", "hookimpl", "hookspec"]

PROJECT = "ktrdr"
"""Name of the project in pluggy."""

hookspec = pluggy.HookspecMarker(PROJECT)
"""Decorator of the hook specifications of core."""

hookimpl = pluggy.HookimplMarker(PROJECT)
"""Decorator of the hooks that a plugin implements."""
