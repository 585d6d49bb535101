"""Certificates: from a signer's to a root that the device trusts, and whether the way is allowed (RFC 5280 §6).

The rules are those SWUpdate asks of OpenSSL (swu format §5.3): the chain ends at a self-signed certificate of the key
files, purposes as in openssl-verification-options(1). Refused on top of them: chains with SHA-1 or weak keys, issuers
without basicConstraints, name constraints (nobody here evaluates them) and unknown critical extensions.
"""

from collections.abc import Sequence

from swagent.errors import CertificateTimeError, SignatureError

from .certificate import Certificate, RevocationList

DEPTH_MAX = 8
CHECKS_MAX = 64

_EKU = {"emailProtection": "1.3.6.1.5.5.7.3.4", "codeSigning": "1.3.6.1.5.5.7.3.3"}
_ACCEPTED_HASHES = ("sha256", "sha384", "sha512")


def trusted_path(
    leaf: Certificate,
    trusted: Sequence[Certificate],
    carried: Sequence[Certificate],
    *,
    purpose: str,
    crls: Sequence[RevocationList] | None,
    now_s: float,
) -> tuple[Certificate, ...]:
    """The way from a signer's certificate to a trusted root.

    Args:
        leaf: the signer's certificate.
        trusted: certificates of the key files; only a self-signed one of them ends the way.
        carried: certificates of the signature, which may only stand between.
        purpose: ``emailProtection`` or ``codeSigning``.
        crls: lists that ``leaf`` is looked up in; None for no check.
        now_s: seconds since 1970.

    Returns:
        The certificates from ``leaf`` to the root.

    Raises:
        SignatureError: there is no way that the rules allow; says why the last one tried was refused.
    """
    reason = _unusable(leaf, now_s) or _unfit_leaf(leaf, purpose)
    if reason:
        raise _refusal(f"certificate {leaf.name} {reason}", reason)
    search = _Search(trusted, carried, purpose, now_s)
    path = search.extend((leaf,))
    if path is None:
        raise _refusal(search.reason, search.reason)
    if crls is not None:
        _check_revocation(leaf, path[1] if len(path) > 1 else leaf, crls, now_s)
    return path


def check_forced_name(certificate: Certificate, wanted: str) -> None:
    """Demand that every common name of a signer is ``wanted``.

    Raises:
        SignatureError: another one, or none.
    """
    if not certificate.common_names or any(name != wanted for name in certificate.common_names):
        has = certificate.name if certificate.common_names else "none"
        raise SignatureError(f"the signer's common name must be {wanted!r}, the certificate has {has}")


class _Search:
    """Depth-first, and bounded: a signature may carry certificates that are made to branch."""

    def __init__(
        self, trusted: Sequence[Certificate], carried: Sequence[Certificate], purpose: str, now_s: float
    ) -> None:
        self._trusted = {certificate.encoded for certificate in trusted}
        self._known = list({c.encoded: c for c in (*trusted, *carried)}.values())
        self._purpose = purpose
        self._now_s = now_s
        self._checks = 0
        self.reason = ""

    def extend(self, path: tuple[Certificate, ...]) -> tuple[Certificate, ...] | None:
        last = path[-1]
        if last.self_issued and self._signed_by(last, last):
            if last.encoded in self._trusted:
                return path
            self.reason = self.reason or f"the root {last.name} is not among the trusted certificates"
            return None
        if last.hash_name not in _ACCEPTED_HASHES:  # the signature of a trusted root does not matter
            self.reason = f"certificate {last.name} is signed with {last.hash_name or 'an unknown digest'}"
            return None
        if len(path) == DEPTH_MAX:
            self.reason = f"the chain of {path[0].name} is longer than {DEPTH_MAX} certificates"
            return None
        for issuer in self._known:
            if issuer.subject_der != last.issuer_der or issuer in path:
                continue
            if None not in (last.issuer_key_id, issuer.key_id) and last.issuer_key_id != issuer.key_id:
                continue
            below = sum(not certificate.self_issued for certificate in path[1:])
            reason = _unusable(issuer, self._now_s) or _unfit_issuer(issuer, self._purpose, below)
            if reason:
                self.reason = f"certificate {issuer.name}, which issued {last.name}, {reason}"
            elif self._signed_by(last, issuer):
                found = self.extend((*path, issuer))
                if found:
                    return found
            else:
                self.reason = f"certificate {last.name} was not signed by {issuer.name}, though it says so"
        if not self.reason:
            self.reason = (
                f"the chain of {path[0].name} is incomplete: no certificate of the issuer "
                f"{last.issuer_name} is known"
            )
        return None

    def _signed_by(self, certificate: Certificate, issuer: Certificate) -> bool:
        from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

        self._checks += 1
        if self._checks > CHECKS_MAX:
            raise SignatureError(f"more than {CHECKS_MAX} certificate signatures to check")
        try:
            certificate.parsed.verify_directly_issued_by(issuer.parsed)
        except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
            return False
        return True


def _unusable(certificate: Certificate, now_s: float) -> str:
    """Why a certificate may stand nowhere in a chain, "" if it may."""
    if not now_s >= certificate.not_before_s:  # written so that NaN is refused
        return f"is not valid before {_date(certificate.not_before_s)}, and it is {_date(now_s)}"
    if not now_s <= certificate.not_after_s:
        return f"has expired on {_date(certificate.not_after_s)}, and it is {_date(now_s)}"
    return certificate.problem


def _unfit_leaf(certificate: Certificate, purpose: str) -> str:
    if certificate.purposes is None:
        if purpose == "codeSigning":
            return "lacks the extended key usage codeSigning"
    elif _EKU[purpose] not in certificate.purposes:
        return f"is not made for {purpose}"
    if certificate.usages is not None and not certificate.usages & {
        "digital_signature",
        "content_commitment",
    }:
        return "may not sign (its key usage has neither digitalSignature nor nonRepudiation)"
    return ""


def _unfit_issuer(certificate: Certificate, purpose: str, authorities_below: int) -> str:
    if not certificate.is_ca:
        return "is no authority (basicConstraints does not say CA:TRUE)"
    if certificate.usages is not None and "key_cert_sign" not in certificate.usages:
        return "may not sign certificates (its key usage lacks keyCertSign)"
    if certificate.purposes is not None and _EKU[purpose] not in certificate.purposes:
        return f"is not made for {purpose}"
    if certificate.path_length is not None and authorities_below > certificate.path_length:
        return f"allows {certificate.path_length} authorities below it, there are {authorities_below}"
    return ""


def _check_revocation(
    leaf: Certificate, issuer: Certificate, crls: Sequence[RevocationList], now_s: float
) -> None:
    """Every list of the issuer that is in force must be silent about ``leaf``, and there must be one."""
    reason = f"no revocation list of {issuer.name} is known"
    in_force = False
    for crl in crls:
        if crl.issuer != issuer.parsed.subject or not _crl_signed_by(crl, issuer):
            continue
        if crl.parsed.get_revoked_certificate_by_serial_number(leaf.serial) is not None:
            raise SignatureError(f"certificate {leaf.name} is revoked (revocation list {crl.label})")
        if issuer.usages is not None and "crl_sign" not in issuer.usages:
            reason = f"{issuer.name} may not sign revocation lists (its key usage lacks cRLSign)"
        elif now_s < crl.last_update_s:
            reason = f"the revocation list of {issuer.name} is not valid before {_date(crl.last_update_s)}"
        elif crl.next_update_s is not None and now_s > crl.next_update_s:
            reason = f"the revocation list of {issuer.name} has expired on {_date(crl.next_update_s)}"
        else:
            in_force = True
    if not in_force:
        hint = "deliver a new revocation list"
        if _is_of_time(reason):
            raise CertificateTimeError(reason, hint=f"{hint}; {_CLOCK}")
        raise SignatureError(reason, hint=hint)


def _crl_signed_by(crl: RevocationList, issuer: Certificate) -> bool:
    from cryptography.exceptions import UnsupportedAlgorithm

    public = issuer.key.rsa or issuer.key.ec
    try:
        return public is not None and crl.parsed.is_signature_valid(public)
    except (UnsupportedAlgorithm, ValueError, TypeError):
        return False


_CLOCK = "if the date is wrong, set the clock"


def _is_of_time(reason: str) -> bool:
    return "expired" in reason or "not valid before" in reason


def _refusal(message: str, reason: str) -> SignatureError:
    return CertificateTimeError(message, hint=_CLOCK) if _is_of_time(reason) else SignatureError(message)


def _date(time_s: float) -> str:
    import time

    try:
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(time_s))
    except (OverflowError, ValueError, OSError):
        return f"{time_s:.0f} s after 1970"
