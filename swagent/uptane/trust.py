"""Whether enough of the right keys signed a file (Standard §5.2.1; §5.4.4.3 to §5.4.4.6 step "signatures")."""

from collections.abc import Mapping

from swagent.crypto import schemes

from .errors import IllegalThreshold, NonUniqueSignatures, UnmetThreshold
from .metadata import Key, RoleKeys, Root, Signature, Targets

THRESHOLD_MIN, THRESHOLD_MAX = 1, 1000


def judge_signatures(
    message: bytes,
    signatures: tuple[Signature, ...],
    keys: Mapping[str, Key],
    who: RoleKeys,
    *,
    repository: str,
    role: str,
) -> None:
    """Ask for ``who.threshold`` good signatures by different keys of ``who``.

    A key counts once, whatever identifiers it has; an identifier without a key, or with one that cannot be used,
    counts as none. How identifiers were computed plays no part.

    Raises:
        IllegalThreshold: the threshold is not within 1 and 1000.
        NonUniqueSignatures: one identifier signed twice.
        UnmetThreshold: there are not enough.
    """
    judge_threshold(who, repository=repository, role=role)
    seen = [signature.keyid for signature in signatures]
    if len(set(seen)) != len(seen):
        raise NonUniqueSignatures(
            f"{_of(repository, role)} is signed twice by one key",
            repository=repository,
            role=role,
            expected="one signature by each key",
            found=next(keyid for keyid in seen if seen.count(keyid) > 1),
        )
    good: set[bytes] = set()
    reasons = []
    for signature in signatures:
        if signature.keyid not in who.keyids:
            reasons.append(f"{signature.keyid[:8]} is not a key of this role")
            continue
        reason = _why_not(message, signature, keys.get(signature.keyid), good)
        if reason:
            reasons.append(f"{signature.keyid[:8]} {reason}")
    if len(good) < who.threshold:
        raise UnmetThreshold(
            f"{_of(repository, role)} has {len(good)} good signatures, and needs {who.threshold}",
            repository=repository,
            role=role,
            expected=f"{who.threshold} of {len(who.keyids)} keys",
            found="; ".join(reasons[:8]) or "no signature",
        )


def judge_threshold(who: RoleKeys, *, repository: str, role: str) -> None:
    """Ask for a threshold that means something.

    Raises:
        IllegalThreshold: it is not within 1 and 1000.
    """
    if not THRESHOLD_MIN <= who.threshold <= THRESHOLD_MAX:
        raise IllegalThreshold(
            f"the threshold of {_of(repository, role)} is {who.threshold}",
            repository=repository,
            role=role,
            expected=f"{THRESHOLD_MIN} to {THRESHOLD_MAX}",
            found=str(who.threshold),
        )


def judge_thresholds(body: Root | Targets, *, repository: str) -> None:
    """All thresholds of a file, whether they are used or not.

    Raises:
        IllegalThreshold: one is not within 1 and 1000.
    """
    if isinstance(body, Root):
        for name, who in body.roles.items():
            judge_threshold(who, repository=repository, role=name)
        return
    for entry in body.delegations.entries:
        for role in entry.roles:
            judge_threshold(role.keys, repository=repository, role=role.name)
    if body.delegations.bins is not None:
        judge_threshold(body.delegations.bins.keys, repository=repository, role=body.delegations.bins.prefix)


def _why_not(message: bytes, signature: Signature, key: Key | None, good: set[bytes]) -> str:
    """Why a signature does not count; "" when it does, and then the key is in ``good``."""
    if key is None:
        return "is not among the keys"
    if signature.method and signature.method != key.scheme:
        return f"signed by {signature.method[:24]}, its key is for {key.scheme[:24]}"
    try:
        public = schemes.load(key.scheme, key.public)
    except ValueError as exc:
        return f"cannot be used: {exc}"
    if not public.made(signature.value, message):
        return "did not make its signature"
    if public.identity in good:
        return "is a key that signed already"
    good.add(public.identity)
    return ""


def _of(repository: str, role: str) -> str:
    return f"{repository} {role}".strip()
