"""Mutual TLS certificates for a cluster: a new authority, and one certificate that all processes share."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ktrdr.core.cluster.dask_settings import CERTIFICATE_FILES
from ktrdr.core.errors import BadInputError

__all__ = ["make_certificates"]


def make_certificates(directory: Path, *, days: int = 365) -> None:
    """Write ``ca.pem``, ``cert.pem`` and ``key.pem``, readable by their owner only.

    The key of the authority is not kept. Dask checks that the other side has a certificate of the same authority, but
    not its host name.

    Raises:
        BadInputError: one of the files exists.
    """
    existing = [name for name in CERTIFICATE_FILES if (directory / name).exists()]
    if existing:
        raise BadInputError(
            f"`{directory}` has {', '.join(existing)} already; name another directory, or remove them if no process"
            " uses them"
        )

    start = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=5)
    end = start + dt.timedelta(days=days, minutes=5)

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def build(subject: str, key: ec.EllipticCurvePrivateKey, *, authority: bool) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name("KTRDR cluster authority"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=0 if authority else None), critical=True)
        )

    authority_key, own_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority_id = x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key())
    authority = (
        build("KTRDR cluster authority", authority_key, authority=True)
        .add_extension(authority_id, critical=False)
        .add_extension(_key_usage(sign=True), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    own = (
        build("KTRDR cluster", own_key, authority=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority_id), critical=False)
        .add_extension(_key_usage(sign=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .sign(authority_key, hashes.SHA256())
    )
    key = own_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    contents = (
        authority.public_bytes(serialization.Encoding.PEM),
        own.public_bytes(serialization.Encoding.PEM),
        key,
    )
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    for file, content in zip(CERTIFICATE_FILES, contents, strict=True):
        descriptor = os.open(directory / file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)


def _key_usage(*, sign: bool) -> x509.KeyUsage:
    names = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    granted = {"key_cert_sign", "crl_sign"} if sign else {"digital_signature"}
    return x509.KeyUsage(**{usage: usage in granted for usage in names})
