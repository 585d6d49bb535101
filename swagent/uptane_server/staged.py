"""The next state of a repository, on its way: files that are written, signed by one person after the other, then
published. A file that has all its signatures is the one that goes live, byte for byte.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from swagent.errors import DeviceError, SettingsError
from swagent.store.atomic import fsync_folder, make_folders, replace
from swagent.uptane.codecs.base import Codec, NotUnderstood
from swagent.uptane.metadata import (
    ROOT,
    TARGETS,
    TOP_LEVEL,
    Body,
    Document,
    Key,
    RoleKeys,
    Root,
    Targets,
)
from swagent.uptane.signing import Made, Signer

FOLDER = "metadata.staged"
FILE_MAX_BYTES = 64 * 1024 * 1024


class Authority(NamedTuple):
    """Who may sign a role, as one file says it.

    Attributes:
        by: the role whose file says so.
    """

    by: str
    keys: Mapping[str, Key]
    who: RoleKeys


def targets_roles(documents: Mapping[str, Document]) -> tuple[str, ...]:
    """Targets, then the delegated roles."""
    return (TARGETS, *sorted(set(documents) - set(TOP_LEVEL)))


def authorities(documents: Mapping[str, Document], role: str) -> Iterator[Authority]:
    """Who may sign a role, by every file that says so; each of them must be satisfied."""
    root = documents[ROOT].body
    if isinstance(root, Root) and role in root.roles:
        yield Authority(ROOT, root.keys, root.roles[role])
    for delegator in targets_roles(documents):
        body = documents[delegator].body
        for entry in body.delegations.entries if isinstance(body, Targets) else ():
            for each in entry.roles:
                if each.name == role and isinstance(body, Targets):
                    yield Authority(delegator, body.delegations.keys, each.keys)


class Staged:
    """The role files of one repository in a folder, each replaced whole.

    Args:
        folder: holds them under their plain names.
        codec: their encoding.

    Raises:
        SettingsError: a file there cannot be understood.
        DeviceError: one cannot be read.
    """

    def __init__(self, folder: str, codec: Codec) -> None:
        self.folder = folder
        self._codec = codec
        self.documents: dict[str, Document] = {}
        for role, path in self._paths():
            try:
                with open(path, "rb") as file:
                    raw = file.read(FILE_MAX_BYTES)
                self.documents[role] = codec.decode(raw)
            except OSError as exc:
                raise DeviceError(f"cannot read {path}: {exc.strerror}", path=path, errno=exc.errno) from exc
            except NotUnderstood as exc:
                raise SettingsError(f"{path} cannot be understood: {exc}") from exc

    def _paths(self) -> Iterator[tuple[str, str]]:
        ending = f".{self._codec.extension}"
        for name in sorted(os.listdir(self.folder)) if os.path.isdir(self.folder) else ():
            if name.endswith(ending) and not name.startswith("."):
                yield name.removesuffix(ending), os.path.join(self.folder, name)

    # -- what is there

    def root(self) -> Root:
        """Who may sign what, from the next publication on.

        Raises:
            SettingsError: there is no root.
        """
        document = self.documents.get(ROOT)
        if document is None or not isinstance(document.body, Root):
            raise SettingsError(f"there is no root in {self.folder}")
        return document.body

    def targets(self, role: str = TARGETS) -> Targets:
        """What a targets file says.

        Raises:
            SettingsError: there is no such role.
        """
        document = self.documents.get(role)
        if document is None or not isinstance(document.body, Targets):
            known = ", ".join(targets_roles(self.documents))
            raise SettingsError(f"there is no role {role[:60]!r}", hint=f"there are {known}")
        return document.body

    # -- changes

    def draft(self, role: str, body: Body, *, version: int, expires_s: int) -> Document:
        """Write a file that nobody has signed yet.

        Raises:
            SettingsError: the encoding has no words for something in it.
            DeviceError: it cannot be written; the old one is there.
        """
        return self._encode(role, body, version, expires_s, ())

    def put(self, role: str, raw: bytes) -> Document:
        """Write a file as it is.

        Raises:
            DeviceError: it cannot be written; the old one is there.
        """
        document = self._codec.decode(raw)
        try:
            make_folders(self.folder)
        except OSError as exc:
            raise DeviceError(f"cannot make {self.folder}: {exc.strerror}", path=self.folder) from exc
        replace(os.path.join(self.folder, f"{role}.{self._codec.extension}"), raw)
        self.documents[role] = document
        return document

    def drop(self, role: str) -> None:
        """Take a file away.

        Raises:
            DeviceError: it cannot be removed.
        """
        path = os.path.join(self.folder, f"{role}.{self._codec.extension}")
        try:
            os.unlink(path)
            fsync_folder(self.folder)
        except OSError as exc:
            raise DeviceError(f"cannot remove {path}: {exc.strerror}", path=path, errno=exc.errno) from exc
        del self.documents[role]

    def sign(self, role: str, signers: Iterable[Signer], allowed: Iterable[Authority]) -> tuple[str, ...]:
        """Add the signatures that are missing of those that may sign; returns the identifiers of who did.

        Raises:
            SettingsError: a key cannot sign; or the file, written anew, would not be the same.
            DeviceError: it cannot be written; the old one is there.
        """
        document = self.documents[role]
        known: dict[str, Key] = {}
        for each in allowed:
            known |= {keyid: each.keys[keyid] for keyid in each.who.keyids if keyid in each.keys}
        kept = {one.keyid: one for one in document.signatures if one.keyid in known}
        # one public value signs once, under the name that its role gives it
        names = {(key.scheme, key.public.strip()): keyid for keyid, key in known.items()}
        new: dict[str, Signer] = {}
        for signer in signers:
            keyid = names.get((signer.key.scheme, signer.key.public.strip()))
            if keyid is not None and keyid not in kept:
                new[keyid] = signer
        if not new and len(kept) == len(document.signatures):
            return ()
        pairs = [Made(one, known[keyid]) for keyid, one in kept.items()]
        pairs += [_Named(known[keyid], signer) for keyid, signer in new.items()]  # type: ignore[misc]  # both sign
        again = self._encode(role, document.body, document.version, document.expires_s, tuple(pairs))
        if again.message != document.message:
            raise SettingsError(f"{role} cannot be signed here: another program wrote it, in another form")
        return tuple(new)

    def _encode(
        self, role: str, body: Body, version: int, expires_s: int, signers: "tuple[Made | _Named, ...]"
    ) -> Document:
        try:
            raw = self._codec.encode(body, version=version, expires_s=expires_s, signers=signers)
        except NotUnderstood as exc:
            raise SettingsError(f"{role} cannot be written in {self._codec.name}: {exc}") from exc
        return self.put(role, raw)


class _Named:
    """A key under the name that its role gives it; a ``codecs.base.SigningPair``."""

    def __init__(self, key: Key, signer: Signer) -> None:
        self.key = key
        self._signer = signer

    def sign(self, message: bytes) -> bytes:
        """The signature over ``message``."""
        return self._signer.sign(message)
