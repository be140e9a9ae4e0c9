"""Settings of the API, from ``KTRDR_API_*`` environment variables."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from ktrdr.core.errors import BadInputError

__all__ = ["ApiSettings"]


class ApiSettings(BaseSettings):
    """Where to listen, who may ask, where the ledger is.

    ``token_file`` holds a token on its first line and is read when the server starts; ``token`` wins over it.
    ``database`` is a SQLAlchemy URL, by default a SQLite file below ``KTRDR_HOME``. ``max_body`` is in bytes.

    Operations run on the cluster whose Dask scheduler is at ``scheduler``, or on workers that join a scheduler of our
    own at ``listen_workers``; with neither they stay queued. ``certificates`` is the directory of mutual certificates
    for an address that begins with ``tls://``, and ``grace`` the seconds that a cancelled operation is given.
    """

    model_config = SettingsConfigDict(env_prefix="KTRDR_API_", extra="ignore")

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    token: SecretStr | None = None
    token_file: Path | None = None
    database: str | None = None
    max_body: Annotated[int, Field(gt=0)] = 256 * 1024 * 1024
    scheduler: str | None = None
    listen_workers: str | None = None
    certificates: Path | None = None
    grace: Annotated[float, Field(ge=0, le=3600)] = 30.0

    def resolved_token(self) -> str | None:
        """Return the token clients must send, or ``None`` for no authentication."""
        if self.token is not None:
            return self.token.get_secret_value() or None
        if self.token_file is None:
            return None
        try:
            lines = self.token_file.read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise BadInputError(
                f"KTRDR_API_TOKEN_FILE cannot be read: {error.strerror}; name a readable file"
            ) from None
        if not lines or not lines[0].strip():
            raise BadInputError("the file named by KTRDR_API_TOKEN_FILE is empty; put the token on its first line")
        return lines[0].strip()

    def check_exposure(self) -> None:
        """Raise ``BadInputError`` if the address is not loopback and there is no token."""
        if is_loopback(self.host) or self.resolved_token():
            return
        raise BadInputError(
            f"refusing to listen on {self.host} without a token: set KTRDR_API_TOKEN (or KTRDR_API_TOKEN_FILE), "
            "or listen on 127.0.0.1"
        )


def is_loopback(host: str) -> bool:
    """Return True if ``host`` names this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
