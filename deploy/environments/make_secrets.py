"""Create the missing secrets of an environment: ``python make_secrets.py DIRECTORY``.

DIRECTORY has one directory per service, so that each service sees only its own secrets:

* ``backend/``: ``token``, ``read-token``, ``pgpass`` (libpq's password file);
* ``postgres/password``, ``grafana/password``;
* ``prometheus/read-token``;
* ``certificates/``: the mutual certificates of the cluster. Whoever has them can run code on its workers.

Existing files are not changed. As root the script makes the user of the image that reads a file its owner. Certificates
need ``ktrdr`` on the path.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from pathlib import Path

# Users of the images: KTRDR, PostgreSQL (which reads its file as root), Prometheus, Grafana.
KTRDR, POSTGRES, PROMETHEUS, GRAFANA = 10001, 0, 65534, 472


def make(directory: Path) -> list[Path]:
    """Create the missing files and return their paths."""
    made: list[Path] = []
    password = _secret(directory / "postgres/password", POSTGRES, made)
    _write(directory / "backend/pgpass", f"*:*:*:*:{password}\n", KTRDR, made)
    _secret(directory / "backend/token", KTRDR, made)
    read = _secret(directory / "backend/read-token", KTRDR, made)
    _write(directory / "prometheus/read-token", read, PROMETHEUS, made)
    _secret(directory / "grafana/password", GRAFANA, made)
    certificates = directory / "certificates"
    if not (certificates / "key.pem").exists():
        subprocess.run(["ktrdr", "cluster", "certificates", str(certificates)], check=True)
        for path in sorted(certificates.iterdir()):
            _own(path, KTRDR)
            made.append(path)
    _own(certificates, KTRDR, 0o700)
    return made


def _secret(path: Path, owner: int, made: list[Path]) -> str:
    """Return the content of ``path``; create it with a random text if it does not exist."""
    if not path.exists():
        _write(path, secrets.token_urlsafe(32), owner, made)
    return path.read_text(encoding="utf-8")


def _write(path: Path, text: str, owner: int, made: list[Path]) -> None:
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    _own(path, owner)
    _own(path.parent, owner, 0o700)
    made.append(path)


def _own(path: Path, owner: int, mode: int | None = None) -> None:
    if os.geteuid() == 0:
        os.chown(path, owner, owner)
    if mode is not None:
        path.chmod(mode)


if __name__ == "__main__":
    for each in make(Path(sys.argv[1])):
        print(f"made {each}")
