"""`ktrdr cluster certificates`: what it writes, and what it refuses."""

from __future__ import annotations

import datetime as dt
import ssl
import stat
import sys

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from ktrdr.api.commands import cluster
from ktrdr.core.cluster.dask_settings import CERTIFICATE_FILES, tls_security
from ktrdr.core.errors import BadInputError


def make(directory, *options):
    answer = CliRunner().invoke(cluster, ["certificates", str(directory), *options], standalone_mode=False)
    if answer.exception is not None:
        raise answer.exception
    return answer


def test_the_files_are_their_owners_alone_and_fit_each_other(tmp_path):
    place = tmp_path / "new" / "certificates"
    answer = make(place, "--days", "30")
    assert str(place) in answer.output
    assert sorted(path.name for path in place.iterdir()) == sorted(CERTIFICATE_FILES)
    assert {stat.S_IMODE(path.stat().st_mode) for path in place.iterdir()} == {0o600}
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    authority, own = (x509.load_pem_x509_certificate((place / name).read_bytes()) for name in ("ca.pem", "cert.pem"))
    key = serialization.load_pem_private_key((place / "key.pem").read_bytes(), None)
    own.verify_directly_issued_by(authority)
    assert own.public_key() == key.public_key()
    # The authority's key is gone: nobody can make more certificates of this authority.
    assert authority.public_key() != key.public_key()
    assert own.not_valid_after_utc - dt.datetime.now(dt.UTC) < dt.timedelta(days=30)
    context = ssl.create_default_context(cafile=str(place / "ca.pem"))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.load_cert_chain(place / "cert.pem", place / "key.pem")
    assert tls_security(place).require_encryption


@pytest.mark.parametrize("name", CERTIFICATE_FILES)
def test_what_exists_is_not_overwritten(tmp_path, name):
    (tmp_path / name).write_text("precious")
    with pytest.raises(BadInputError, match=f"has {name} already"):
        make(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "precious"


def test_without_the_library_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "ktrdr.api.engine.certificates", raising=False)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(BadInputError, match=r"pip install 'ktrdr-api\[tls\]'"):
        make(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_an_incomplete_set_is_refused_with_the_command_that_makes_one(tmp_path):
    make(tmp_path)
    (tmp_path / "key.pem").unlink()
    with pytest.raises(BadInputError, match=r"lacks key.pem; .*`ktrdr cluster certificates"):
        tls_security(tmp_path)
