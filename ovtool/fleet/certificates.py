"""Certificates of a fleet: an authority of its own, which signs scheduler, hosts and clients.

Every connection is encrypted, and both sides show a certificate of the authority (mutual TLS).
"""

from __future__ import annotations

import datetime
import os
import sys
from typing import TYPE_CHECKING, Any

from ovtool.core import files, places
from ovtool.core.errors import InputError
from ovtool.core.registry import missing_package
from ovtool.core.system_errors import writing

if TYPE_CHECKING:
    from pathlib import Path

    from distributed.security import Security

ROLES = ("scheduler", "worker", "client")
AUTHORITY, AUTHORITY_KEY = "authority.pem", "authority-key.pem"
DAYS = 825
"""Days for which certificates are valid."""


def default_folder() -> Path:
    """Return the folder of certificates that commands use without ``--certificates``."""
    return places.user_folder() / "fleet-certificates"


def create_certificates(folder: Path) -> list[Path]:
    """Write the authority and a certificate with its key for each role; return the files.

    Keys are readable by this user only.

    Raises:
        InputError: The folder has certificates already, or is not writable.
        MissingDependencyError: The extra ``fleet`` is not installed.
    """
    if (folder / AUTHORITY).exists():
        raise InputError(
            f"{folder} has certificates already", "remove them, or use another folder: --out"
        )
    authority_key, authority = _sign("ovtool fleet authority", None, None)
    contents = {AUTHORITY_KEY: _key_pem(authority_key)}
    for role in ROLES:
        key, certificate = _sign(f"ovtool fleet {role}", authority_key, authority)
        contents[f"{role}.pem"] = _pem(certificate)
        contents[f"{role}-key.pem"] = _key_pem(key)
    contents[AUTHORITY] = _pem(authority)  # the last file: its folder is complete
    with writing(folder):
        files.make_folder(folder)
        for name, content in contents.items():
            mode = 0o600 if "key" in name else 0o644
            target = folder / name
            target.unlink(missing_ok=True)
            descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(content)
    return [folder / name for name in contents]


def load_security(folder: Path | None, role: str) -> Security:
    """Return the TLS settings of a role; without a folder, no encryption: for loopback only.

    Raises:
        InputError: A file is missing, is not a certificate, or others can read a key.
        MissingDependencyError: The extra ``fleet`` is not installed.
    """
    import ssl

    from distributed.security import Security

    if folder is None:
        return Security(require_encryption=False)
    paths = [folder / name for name in (AUTHORITY, f"{role}.pem", f"{role}-key.pem")]
    for path in paths:
        if not path.is_file():
            raise InputError(
                f"certificate not found: {path}",
                "ovtool fleet certs makes them; --certificates FOLDER names another folder",
            )
    if sys.platform != "win32" and paths[2].stat().st_mode & 0o077:
        raise InputError(f"others can read the key {paths[2]}", f"chmod 600 {paths[2]}")
    try:
        context = ssl.create_default_context(cafile=paths[0])
        context.load_cert_chain(paths[1], paths[2])
    except (ssl.SSLError, ValueError) as error:
        raise InputError(
            f"certificates of {folder} are not valid: {error}", "ovtool fleet certs --out FOLDER"
        ) from error
    authority, certificate, key = map(str, paths)
    return Security(
        require_encryption=True,
        tls_ca_file=authority,
        **{f"tls_{role}_cert": certificate, f"tls_{role}_key": key},
    )


def _sign(name: str, authority_key: Any, authority: Any) -> tuple[Any, Any]:
    """Return a key and its certificate, signed by the authority; without one, by itself."""
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
    except ModuleNotFoundError as error:
        raise missing_package("ovtool fleet", error, "fleet") from error
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    own = authority is None
    issuer_key = key if own else authority_key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if own else authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))  # clocks of hosts differ
        .not_valid_after(now + datetime.timedelta(days=DAYS))
        .add_extension(x509.BasicConstraints(ca=own, path_length=0 if own else None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
        .add_extension(_usage(x509, own), critical=True)
    )
    if not own:
        uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        alternative = x509.SubjectAlternativeName([x509.DNSName("ovtool-fleet")])
        builder = builder.add_extension(alternative, critical=False)
    return key, builder.sign(issuer_key, hashes.SHA256())


def _usage(x509: Any, own: bool) -> Any:
    names = [
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
        *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    ]
    used = {"key_cert_sign", "crl_sign"} if own else {"digital_signature"}
    return x509.KeyUsage(**{name: name in used for name in names})


def _pem(certificate: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return bytes(certificate.public_bytes(Encoding.PEM))


def _key_pem(key: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
