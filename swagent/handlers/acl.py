"""POSIX ACLs: from the text in tar archives to the attribute that Linux wants (upstream: acl(5), posix_acl_xattr.h)."""

import struct

from swagent.errors import ArchiveError

ENTRIES_MAX = 1024
_TAGS = {"user": (1, 2), "group": (4, 8), "mask": (16, 16), "other": (32, 32)}  # without and with a name
_SHORT = {"u": "user", "g": "group", "m": "mask", "o": "other"}
_BITS = {"r": 4, "w": 2, "x": 1, "-": 0}
_NO_ID = 0xFFFFFFFF


def encode_acl(text: bytes, label: str) -> bytes:
    """Such as ``user::rw-,user:app:r--:1000,group::r--,mask::r--,other::---``.

    An entry's number counts, in the fourth field or in the second; a bare name is looked up on this machine.

    Args:
        text: entries separated by commas or line ends.
        label: the archive, for messages.

    Raises:
        ArchiveError: it is no such text, or names somebody whom this machine does not know.
    """
    entries = []
    for line in text.replace(b"\n", b",").split(b","):
        entry = line.split(b"#", 1)[0].strip()
        if not entry:
            continue
        try:
            entries.append(_entry(entry.decode("ascii")))
        except (ValueError, KeyError) as exc:
            shown = entry[:80].decode("ascii", "backslashreplace")
            raise ArchiveError(
                f"the archive {label} has an ACL entry that cannot be used: {shown}",
                artifact=label,
                handler="archive",
                hint="make it with --numeric-owner",
            ) from exc
        if len(entries) > ENTRIES_MAX:
            raise ArchiveError(f"the archive {label} has an ACL that is too long", artifact=label)
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in sorted(entries))


def _entry(text: str) -> tuple[int, int, int]:
    fields = text.removeprefix("default:").split(":")
    word = _SHORT.get(fields[0], fields[0])
    plain, named = _TAGS[word]
    if len(fields) == 2 and word in ("mask", "other"):
        fields.insert(1, "")
    if not 3 <= len(fields) <= 4:
        raise ValueError("it has too few or too many fields")
    permissions = 0
    for letter in fields[2]:
        permissions |= _BITS[letter]
    if not fields[1]:
        return plain, permissions, _NO_ID
    if plain == named:
        raise ValueError("mask and other have no name")
    number = fields[3] if len(fields) == 4 and fields[3] else fields[1]
    if number.isdigit() and len(number) <= 10:
        identity = int(number)
    elif word == "user":
        from pwd import getpwnam

        identity = getpwnam(number).pw_uid
    else:
        from grp import getgrnam

        identity = getgrnam(number).gr_gid
    if identity >= _NO_ID:
        raise ValueError("it is no number of a user or group")
    return named, permissions, identity
