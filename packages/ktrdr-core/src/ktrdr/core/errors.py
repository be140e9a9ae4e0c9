"""Errors meant for a person: one sentence that says what is wrong, where, and the remedy."""

from __future__ import annotations

__all__ = [
    "BadInputError",
    "CancelledError",
    "DiskFullError",
    "KtrdrError",
    "MissingPluginError",
    "NotFoundError",
    "PluginError",
    "StoreError",
]


class KtrdrError(Exception):
    """Base of every error KTRDR raises on purpose.

    The command line prints the message alone and exits with ``exit_status``; the API turns it into a problem detail.
    """

    exit_status = 1


class BadInputError(KtrdrError):
    """The user's input (file, key, argument, environment variable) is wrong; the message names it and the remedy."""

    exit_status = 2


class NotFoundError(BadInputError):
    """What was asked for by name is not stored here; the message says what is."""


class PluginError(BadInputError):
    """A plugin is missing, broken, outdated or in conflict with another one."""


class MissingPluginError(PluginError):
    """A plugin that exists is not installed here; elsewhere, on a worker say, it may be."""


class StoreError(KtrdrError):
    """The system did not let something be read or written (full disk, permissions, a lock held too long).

    The work may be right, and succeed later or on another machine.
    """


class DiskFullError(StoreError):
    """There is no room for what was to be written: on the disk, in a quota, or below the limit on a file's size."""


class CancelledError(KtrdrError):
    """The work was cancelled on request; what it left behind is whole and can be resumed."""

    exit_status = 130
