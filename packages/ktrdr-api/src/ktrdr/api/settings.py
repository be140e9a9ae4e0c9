"""Settings of the API, from ``KTRDR_API_*`` environment variables."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from ktrdr.core.errors import BadInputError
from ktrdr.core.home import home_directory
from ktrdr.core.jobs.refusals import message_of

__all__ = ["ApiSettings", "Tokens", "is_loopback", "load_settings"]

_PREFIX = "KTRDR_API_"


class Tokens:
    """The tokens of clients: ``write`` allows everything, ``read`` only what changes nothing. ``None``: not set."""

    __slots__ = ("read", "write")

    def __init__(self, write: str | None, read: str | None) -> None:
        self.write = write
        self.read = read


class ApiSettings(BaseSettings):
    """Settings of the server: address, tokens, limits, ledger and workers.

    ``token_file`` and ``read_token_file`` contain a token on their first line and are read when the server starts; a
    token that is given directly takes precedence. ``database`` is a SQLAlchemy URL, by default a SQLite file below
    ``KTRDR_HOME``. ``max_body`` and ``max_upload`` are in bytes, ``rate_limit`` in requests per second and client
    address (0: no limit), ``cors_origins`` are separated by commas.

    Operations run on the cluster whose Dask scheduler is at ``scheduler``, or on workers that join the server's own
    scheduler at ``listen_workers``; with neither they stay queued. ``certificates`` is the directory of mutual
    certificates for an address that begins with ``tls://``. A cancelled operation has ``grace`` seconds to stop by
    itself.
    """

    model_config = SettingsConfigDict(env_prefix=_PREFIX, extra="forbid")

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    token: SecretStr | None = None
    token_file: Path | None = None
    read_token: SecretStr | None = None
    read_token_file: Path | None = None
    database: str | None = None
    max_body: Annotated[int, Field(gt=0)] = 1024 * 1024
    max_upload: Annotated[int, Field(gt=0)] = 256 * 1024 * 1024
    rate_limit: Annotated[float, Field(ge=0)] = 100.0
    cors_origins: Annotated[tuple[str, ...], NoDecode] = ()
    scheduler: str | None = None
    listen_workers: str | None = None
    certificates: Path | None = None
    grace: Annotated[float, Field(ge=0, le=3600)] = 30.0

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("cors_origins")
    @classmethod
    def _named(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if not origin.startswith(("http://", "https://")) or origin.count("/") != 2:
                raise ValueError(f"`{origin}` is not an origin such as https://research.example.org")
        return value

    def tokens(self) -> Tokens:
        """Return the tokens of clients. Raises ``BadInputError`` for a file that does not contain one."""
        write = _token(self.token, self.token_file, "TOKEN_FILE")
        read = _token(self.read_token, self.read_token_file, "READ_TOKEN_FILE")
        if read is not None and write is None:
            raise BadInputError(f"{_PREFIX}READ_TOKEN is set without {_PREFIX}TOKEN: nobody could change anything")
        if read is not None and read == write:
            raise BadInputError(f"{_PREFIX}READ_TOKEN and {_PREFIX}TOKEN are the same; give each its own")
        return Tokens(write, read)

    def database_url(self) -> str:
        """Return the URL of the ledger's database."""
        return self.database or f"sqlite:///{home_directory() / 'ledger.sqlite'}"

    def check_exposure(self) -> None:
        """Raise ``BadInputError`` if the address is not loopback and there is no token."""
        if self.tokens().write is not None or is_loopback(self.host):
            return
        raise BadInputError(
            f"refusing to listen on {self.host} without a token: set KTRDR_API_TOKEN (or KTRDR_API_TOKEN_FILE), "
            "or listen on 127.0.0.1"
        )


def load_settings(given: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None) -> ApiSettings:
    """Return the settings from the environment; values in ``given`` take precedence.

    Raises ``BadInputError`` for a value that is not valid, and for an unknown ``KTRDR_API_*`` variable.
    """
    environ = os.environ if environ is None else environ
    known = {_PREFIX + name.upper() for name in ApiSettings.model_fields}
    for name in sorted(environ):
        if name.upper().startswith(_PREFIX) and name.upper() not in known:
            from ktrdr.core.parameters import did_you_mean

            names = {each.lower(): each for each in known}
            hint = did_you_mean(name, names)
            for lower, upper in names.items():
                hint = hint.replace(f"`{lower}`", f"`{upper}`")
            raise BadInputError(f"there is no setting {name}{hint or f'; known: {chr(44).join(sorted(known))}'}")
    try:
        return ApiSettings(**(given or {}))
    except ValidationError as error:
        first = error.errors()[0]
        name = _PREFIX + "_".join(str(part) for part in first["loc"][:1]).upper()
        raise BadInputError(f"{name} is not valid: {message_of(first)}") from None


def _token(direct: SecretStr | None, file: Path | None, name: str) -> str | None:
    if direct is not None and direct.get_secret_value():
        return _usable(direct.get_secret_value(), name.removesuffix("_FILE"))
    if file is None:
        return None
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise BadInputError(f"{_PREFIX}{name} cannot be read: {error.strerror}; name a readable file") from None
    except UnicodeDecodeError:
        raise BadInputError(f"the file named by {_PREFIX}{name} is not text; put the token on its first line") from None
    if not lines or not lines[0].strip():
        raise BadInputError(f"the file named by {_PREFIX}{name} is empty; put the token on its first line")
    return _usable(lines[0].strip(), name)


def _usable(token: str, name: str) -> str:
    if not token.isascii() or not token.isprintable() or " " in token:
        raise BadInputError(f"{_PREFIX}{name} must be printable ASCII without spaces, as it is sent in a header")
    return token


def is_loopback(host: str) -> bool:
    """Return True if ``host`` names this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
