"""The signature container: whatever stands in ``sw-description.sig`` is judged, and nothing else happens."""

import contextlib
import os
from functools import cache

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from swagent.crypto import certificate, chain, cms, keys, signature, signing
from swagent.errors import SwagentError
from tests.crypto.pki import NOW_S, Wish, certify, crl, ec_key, private_pem, public_pem, root_wish, rsa_key

CONTENT = b'software = { version = "1.0"; };\n'


@cache
def _file(data: bytes) -> str:
    """A path that leads to ``data`` as long as the process lives."""
    fd = os.memfd_create("fuzz-signature")
    os.fchmod(fd, 0o600)  # signing keys that others may read are refused
    os.write(fd, data)
    return f"/proc/self/fd/{fd}"


_ROOT = certify(root_wish())
_MIDDLE = certify(root_wish("middle"), _ROOT)
_LEAF = certify(Wish(), _MIDDLE, rsa_key())
_TRUSTED = certificate.load_trusted([("root", _ROOT.encoded)])
_TRUST = signature.Trust((_file(public_pem(rsa_key()) + public_pem(ec_key()) + _ROOT.pem),))


def one_input(data: bytes) -> None:
    """Judge ``data`` as a signature, as a certificate, as a key, as a PEM file."""
    with contextlib.suppress(SwagentError):
        assert signature.verify(CONTENT, data, _TRUST, now_s=NOW_S).label
    with contextlib.suppress(SwagentError):
        assert 1 <= len(cms.parse(data).signers) <= cms.SIGNERS_MAX
    with contextlib.suppress(SwagentError, ValueError):  # ValueError is how load_certificate says malformed
        loaded = certificate.load_certificate("fuzzed", data)
        chain.trusted_path(loaded, _TRUSTED, (), purpose="emailProtection", crls=None, now_s=NOW_S)
    with contextlib.suppress(SwagentError):
        keys.load_public_key("fuzzed", data)
    with contextlib.suppress(ValueError):  # how pem_blocks says malformed
        keys.pem_blocks(data)


@cache
def seeds() -> list[bytes]:
    """Good signatures of every scheme, certificates, keys and a revocation list."""
    rsa, ec = _file(private_pem(rsa_key())), _file(private_pem(ec_key()))
    return [
        signing.sign(CONTENT, key_file=rsa),
        signing.sign(CONTENT, key_file=rsa, scheme="rsa-pss"),
        signing.sign(CONTENT, key_file=ec),
        signing.sign(
            CONTENT,
            key_file=rsa,
            certificate_file=_file(_LEAF.pem),
            extra_certificate_files=(_file(_MIDDLE.pem),),
            signing_time_s=NOW_S,
        ),
        _LEAF.encoded,
        _LEAF.pem,
        crl(_MIDDLE, _LEAF).public_bytes(Encoding.PEM),
        *(
            key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            for key in (rsa_key(), ec_key())
        ),
    ]
