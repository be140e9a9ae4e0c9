"""Object store that the API and workers share: S3 or a service with the same protocol."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ktrdr.core.errors import BadInputError, one_line

__all__ = ["ObjectStore", "store_url"]

_URL = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._-]+)*/?", re.ASCII)


def store_url(environ: Mapping[str, str] | None = None) -> str | None:
    """Return the value of ``KTRDR_STORE``; ``None`` if it is not set.

    Raises:
        BadInputError: the value is not an address of a store.
    """
    url = (os.environ if environ is None else environ).get("KTRDR_STORE", "")
    if not url:
        return None
    if not _URL.fullmatch(url):
        raise BadInputError(f"KTRDR_STORE: `{url}` is not an object store; write s3://bucket or s3://bucket/prefix")
    return url.rstrip("/")


class ObjectStore:
    """Objects below ``url``. An object is written completely or not at all, and becomes visible to everyone at once.

    Credentials and endpoint come from the usual variables of S3 clients, such as ``AWS_ACCESS_KEY_ID`` and
    ``AWS_ENDPOINT_URL``. Failures of the store or the network raise ``OSError``, as with files.
    """

    def __init__(self, url: str) -> None:
        try:
            import s3fs
        except ImportError:
            raise BadInputError(
                "KTRDR_STORE needs the library s3fs; install it with `pip install 'ktrdr-core[s3]'`"
            ) from None
        self._root = url.removeprefix("s3://")
        # Listings are not cached, because other machines write, too.
        self._files = s3fs.S3FileSystem(use_listings_cache=False, skip_instance_cache=True)

    def put(self, name: str, content: bytes) -> None:
        """Write an object, replacing an existing one."""
        self._call(lambda: self._files.pipe_file(self._path(name), content))

    def put_file(self, name: str, path: Path) -> None:
        """Write an object from a file, replacing an existing one."""
        self._call(lambda: self._files.put_file(str(path), self._path(name)))

    def get(self, name: str) -> bytes | None:
        """Return the content of an object, or ``None`` if there is no such object."""
        try:
            return self._call(lambda: self._files.cat_file(self._path(name)))
        except FileNotFoundError:
            return None

    def get_file(self, name: str, path: Path) -> None:
        """Write an object to a file.

        Raises:
            FileNotFoundError: there is no such object.
        """
        self._call(lambda: self._files.get_file(self._path(name), str(path)))

    def has(self, name: str) -> bool:
        """Return True if there is such an object."""
        return bool(self._call(lambda: self._files.exists(self._path(name))))

    def names(self, prefix: str) -> list[str]:
        """Return the names of the objects directly below ``prefix``, sorted."""
        found = self._call(lambda: self._files.find(self._path(prefix), maxdepth=1))
        return sorted(str(path).removeprefix(f"{self._root}/") for path in found)

    def delete(self, name: str) -> None:
        """Remove an object if it exists."""
        with suppress(FileNotFoundError):
            self._call(lambda: self._files.rm_file(self._path(name)))

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _call(self, work: Callable[[], Any]) -> Any:
        with _as_system_errors():
            return work()


@contextmanager
def _as_system_errors() -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise OSError(one_line(error)) from error
