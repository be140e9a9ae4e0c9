"""Connections of psycopg to the PostgreSQL of the ledger, besides those of SQLAlchemy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, make_url
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from ktrdr.core.errors import BadInputError

if TYPE_CHECKING:
    import psycopg

__all__ = ["NO_DRIVER", "PostgreSQL"]

NO_DRIVER = "PostgreSQL needs its driver: install it with `pip install 'ktrdr-api[postgresql]'`"

_SECONDS_TO_CONNECT = 10


class PostgreSQL:
    """Address and credentials of a PostgreSQL.

    Args:
        url: of SQLAlchemy, as in ``KTRDR_API_DATABASE``.

    Attributes:
        place: the URL for messages, without the password.

    Raises:
        BadInputError: the driver is not installed.
    """

    def __init__(self, url: str | URL) -> None:
        try:
            import psycopg  # noqa: F401
        except ModuleNotFoundError:
            raise BadInputError(NO_DRIVER) from None
        parsed = make_url(url)
        # The arguments with which SQLAlchemy opens the ledger: hosts, ports and the options in the query of the URL.
        _, given = PGDialect_psycopg().create_connect_args(parsed)
        self._arguments = {"connect_timeout": _SECONDS_TO_CONNECT, **given}
        self.place = parsed.set(query={}).render_as_string(hide_password=True)

    def connect(self, **more: Any) -> psycopg.Connection[tuple[Any, ...]]:
        """Return a connection; ``more`` are arguments of ``psycopg.connect``. Raises ``psycopg.Error``."""
        import psycopg

        return psycopg.connect(**{**self._arguments, **more})
