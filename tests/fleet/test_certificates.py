"""Certificates of a fleet."""

import stat
import sys

import pytest

from ovtool.core.errors import InputError
from ovtool.fleet.certificates import AUTHORITY, ROLES, create_certificates, load_security
from tests.fleet.conftest import needs_dask

pytest.importorskip("cryptography", reason="needs the extra fleet")


def test_keys_are_for_this_user_only(tmp_path):
    paths = create_certificates(tmp_path / "c")
    assert {p.name for p in paths} >= {AUTHORITY, *(f"{role}.pem" for role in ROLES)}
    if sys.platform != "win32":
        modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in paths}
        assert {mode for name, mode in modes.items() if "key" in name} == {0o600}


def test_certificates_are_signed_by_the_authority(tmp_path):
    from cryptography import x509

    create_certificates(tmp_path)
    authority = x509.load_pem_x509_certificate((tmp_path / AUTHORITY).read_bytes())
    for role in ROLES:
        own = x509.load_pem_x509_certificate((tmp_path / f"{role}.pem").read_bytes())
        own.verify_directly_issued_by(authority)


def test_certificates_are_not_replaced(tmp_path):
    create_certificates(tmp_path)
    before = (tmp_path / AUTHORITY).read_bytes()
    with pytest.raises(InputError):
        create_certificates(tmp_path)
    assert (tmp_path / AUTHORITY).read_bytes() == before


@pytest.mark.slow
@needs_dask
def test_certificates_that_cannot_be_used_are_errors(tmp_path):
    with pytest.raises(InputError):
        load_security(tmp_path, "client")
    create_certificates(tmp_path)
    assert load_security(tmp_path, "client").require_encryption
    key = tmp_path / "client-key.pem"
    if sys.platform != "win32":
        key.chmod(0o644)
        with pytest.raises(InputError):
            load_security(tmp_path, "client")
        key.chmod(0o600)
    key.write_bytes((tmp_path / "worker-key.pem").read_bytes())
    with pytest.raises(InputError):
        load_security(tmp_path, "client")
