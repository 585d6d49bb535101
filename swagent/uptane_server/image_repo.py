"""The Image repository: what images there are, by whom they were signed; run by people, served as static files.

Changes are made in ``metadata.staged``, need no key, and are signed there, by one person after the other where a role
needs several; root, targets and delegated roles with keys that come from elsewhere, on a stick or in a token. Only what
a client of the present state would accept goes live, and all of it at once (uptane §1, §5.4).
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from swagent.clock import Clock
from swagent.errors import SettingsError
from swagent.uptane.codecs import codec
from swagent.uptane.metadata import (
    IMAGE,
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    TOP_LEVEL,
    Body,
    DelegatedRole,
    Delegation,
    Delegations,
    Document,
    Key,
    RoleKeys,
    Root,
    Target,
    Targets,
)
from swagent.uptane.paths import judge as judge_path
from swagent.uptane.paths import speaks_of
from swagent.uptane.rules import BY_DIALECT
from swagent.uptane.signing import Signer

from .image_check import judge
from .image_settings import SETTINGS, Settings, read_settings, write_settings
from .image_store import ImageStore
from .publish import Site
from .repository import RoleFiles
from .staged import FOLDER, Authority, Staged, authorities, targets_roles

STORE = "images"
_ROLE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z", re.ASCII)


class RoleState(NamedTuple):
    """How one role stands.

    Attributes:
        live: version that is served, None before the first publication.
        staged: version that is next; the same where nothing is to be published.
        signatures: good ones on the staged file, by the authority that needs most of them.
        needed: how many it takes.
    """

    role: str
    live: int | None
    staged: int
    expires_s: int
    signatures: int
    needed: int
    keyids: tuple[str, ...]


class ImageRepository:
    """One Image repository, in a folder.

    Args:
        folder: where ``create`` made it.
        clock: the time.

    Attributes:
        settings: what it was made with.
        site: what is served.
        images: the bytes of all images.
        staged: what is next.

    Raises:
        SettingsError: there is none, or it cannot be understood.
        DeviceError: it cannot be read.
    """

    def __init__(self, folder: str, clock: Clock) -> None:
        self.folder = folder
        self.settings = read_settings(folder)
        self.codec = codec(self.settings.dialect)
        self._rules = BY_DIALECT[self.settings.dialect]
        self._clock = clock
        self.site = Site(folder)
        self.images = ImageStore(os.path.join(folder, STORE))
        self.staged = Staged(os.path.join(folder, FOLDER), self.codec)
        self._live = self._live_documents()

    # -- contents

    def add(
        self,
        source: str,
        path: str,
        *,
        role: str = TARGETS,
        hardware_ids: Iterable[str] | None = None,
        release_counter: int | None = None,
        uri: str = "",
        custom: Mapping[str, object] | None = None,
    ) -> Target:
        """Take an image in; one of the same name is replaced. A role describes what was delegated to it, nothing else.

        Args:
            source: the file.
            path: its name in the repository.
            role: who describes it.
            hardware_ids: what it is for.
            release_counter: below that of no image of the same name that is described already.
            uri: where else it can be had.
            custom: what else its description says.

        Raises:
            InvalidTarget: the name cannot be used.
            SettingsError: there is no such role, or the name is not its business; or what is said cannot be written.
            DeviceError: the image cannot be read or kept.
        """
        judge_path(path, repository=IMAGE)
        before = self.staged.targets(role).targets.get(path)
        if before is not None and (before.release_counter or 0) > (release_counter or 0):
            raise SettingsError(
                f"{path} is at release counter {before.release_counter}, clients refuse a lower one",
                hint="give a higher --release-counter",
            )
        hardware = frozenset(hardware_ids) if hardware_ids is not None else None
        if role != TARGETS and not any(self._may_describe(role, path, one) for one in hardware or {""}):
            raise SettingsError(
                f"{path} has not been delegated to {role}", hint="the patterns: `… repo show`"
            )
        length_bytes, hashes = self.images.keep(source)
        target = Target(
            path,
            length_bytes,
            hashes,
            hardware_ids=hardware,
            release_counter=release_counter,
            uri=uri,
            custom=dict(custom or {}),
        )
        self._edit(role, lambda old: old._replace(targets={**old.targets, path: target}))
        return target

    def remove(self, path: str, *, role: str = TARGETS) -> None:
        """Describe an image no longer.

        Raises:
            SettingsError: the role has none of this name.
        """
        if path not in self.staged.targets(role).targets:
            raise SettingsError(f"{role} describes no {path[:80]}")
        self._edit(
            role,
            lambda old: old._replace(
                targets={name: one for name, one in old.targets.items() if name != path}
            ),
        )

    # -- delegations

    def delegate(
        self,
        roles: Mapping[str, Sequence[Key]],
        *,
        paths: Sequence[str] | None = None,
        hash_prefixes: Sequence[str] | None = None,
        by: str = TARGETS,
        threshold: int = 1,
        agreement: int = 0,
        terminating: bool = False,
        hardware_ids: Iterable[str] | None = None,
        first: bool = False,
    ) -> None:
        """Let others describe some images; a delegation to the same roles is replaced where it stands.

        Args:
            roles: name to keys; several must agree (TAP 3).
            paths: patterns of names.
            hash_prefixes: beginnings of the SHA-256 of names, instead of ``paths``.
            by: the role that delegates.
            threshold: how many keys of a role must sign.
            agreement: how many of several roles must say the same; 0 for all of them.
            terminating: whether the search ends there.
            hardware_ids: for which hardware only.
            first: before all others, instead of behind them.

        Raises:
            SettingsError: a name cannot be used, or the dialect has no words for this.
        """
        for name, keys in roles.items():
            if not _ROLE_NAME.match(name) or name in TOP_LEVEL:
                raise SettingsError(f"a role cannot be called {name[:40]!r}", hint="letters, digits, - and _")
            if not 1 <= threshold <= len({key.public for key in keys}):
                raise SettingsError(f"{name} has {len(keys)} keys, {threshold} of them cannot sign")
        entry = Delegation(
            tuple(
                DelegatedRole(name, RoleKeys(tuple(key.keyid for key in keys), threshold))
                for name, keys in roles.items()
            ),
            agreement or len(roles),
            tuple(paths) if paths is not None else None,
            tuple(hash_prefixes) if hash_prefixes is not None else None,
            terminating,
            frozenset(hardware_ids) if hardware_ids is not None else None,
        )
        named = {key.keyid: key for keys in roles.values() for key in keys}

        def change(old: Targets) -> Targets:
            entries, there = list(old.delegations.entries), _names(entry)
            at = next((i for i, one in enumerate(entries) if _names(one) == there), None)
            if at is not None:
                entries[at] = entry
            else:
                entries.insert(0 if first else len(entries), entry)
            return old._replace(delegations=_tidy({**old.delegations.keys, **named}, entries))

        self._edit(by, change)
        for name in roles:
            if name not in self.staged.documents:
                self._draft(name, Targets({}))
            else:
                self._renew(name)

    def withdraw(self, name: str, *, by: str = TARGETS) -> None:
        """Take back a delegation. A role that was published stays listed: to clients its loss would be an attack.

        Raises:
            SettingsError: there is none.
        """
        old = self.staged.targets(by).delegations
        left = [entry for entry in old.entries if name not in _names(entry)]
        if len(left) == len(old.entries):
            raise SettingsError(f"{by} delegates nothing to {name[:60]}")
        self._edit(by, lambda body: body._replace(delegations=_tidy(old.keys, left)))
        if next(authorities(self.staged.documents, name), None) is None and name not in self._live:
            self.staged.drop(name)

    # -- keys

    def rotate(self, role: str, keys: Sequence[Key], threshold: int = 1) -> None:
        """Other keys for a role; root must be signed by its old keys too, the role's own file anew.

        Raises:
            SettingsError: there is no such role, or the threshold cannot be met.
        """
        if not 1 <= threshold <= len({key.public for key in keys}):
            raise SettingsError(f"{role} would have {len(keys)} keys, {threshold} of them cannot sign")
        who = RoleKeys(tuple(key.keyid for key in keys), threshold)
        named = {key.keyid: key for key in keys}
        if role in TOP_LEVEL:
            root = self.staged.root()
            roles = {**root.roles, role: who}
            used = {keyid for each in roles.values() for keyid in each.keyids}
            listed = {keyid: key for keyid, key in {**root.keys, **named}.items() if keyid in used}
            self._draft(ROOT, root._replace(keys=listed, roles=roles))
            if role == TARGETS:
                self._renew(TARGETS)
            return
        owners = [each.by for each in authorities(self.staged.documents, role)]
        if not owners:
            raise SettingsError(f"there is no role {role[:60]!r}")
        for owner in dict.fromkeys(owners):
            old = self.staged.targets(owner).delegations
            entries = [
                entry._replace(
                    roles=tuple(one._replace(keys=who) if one.name == role else one for one in entry.roles)
                )
                for entry in old.entries
            ]
            delegations = _tidy({**old.keys, **named}, entries)
            self._edit(owner, lambda body, new=delegations: body._replace(delegations=new))  # type: ignore[misc]  # bound now
        self._renew(role)

    def sign(self, signers: Iterable[Signer]) -> dict[str, tuple[str, ...]]:
        """Sign what is staged, as far as these keys may; returns role to the keys that did.

        Raises:
            SettingsError: a key cannot sign.
            DeviceError: a file cannot be written.
        """
        keys = tuple(signers)
        done = {}
        for role in (ROOT, *targets_roles(self.staged.documents)):
            if role in self._live and self._live[role].raw == self.staged.documents[role].raw:
                continue  # what is served stays as it is, byte for byte
            allowed = self._authorities(role)
            if allowed and (by := self.staged.sign(role, keys, allowed)):
                done[role] = by
        return done

    # -- going live

    def publish(self, signers: Iterable[Signer]) -> None:
        """Make what is staged what is served, with a new snapshot and timestamp.

        Args:
            signers: the keys of snapshot and timestamp; others are not used.

        Raises:
            UptaneError: a client would refuse it, such as for want of signatures; nothing has changed.
            SettingsError: a key of snapshot or timestamp is not at hand.
            Busy: somebody else publishes.
            DeviceError: it cannot be written; what was served still is.
        """
        self._go_live(self.staged.documents, tuple(signers))

    def refresh(self, signers: Iterable[Signer], *, within_s: int) -> tuple[str, ...]:
        """Write anew what is served and expires soon, sign it with these keys and publish; timestamp in any case.

        What else is staged waits, so that a change that is not signed yet keeps no client from being served.

        Returns:
            The roles that expire soon, and that could not be signed or have a change waiting.

        Raises:
            UptaneError, SettingsError, Busy, DeviceError: as ``publish``.
        """
        if not self._live:
            raise SettingsError(
                "nothing has been published yet", hint="`swagent uptane repo publish` comes first"
            )
        keys, left, documents = tuple(signers), [], dict(self._live)
        for role in (ROOT, *targets_roles(self._live)):
            old = self._live[role]
            if old.expires_s - self.now_s() > within_s or next(authorities(documents, role), None) is None:
                continue
            if self.staged.documents[role].raw != old.raw:
                left.append(role)
                continue
            self._renew(role)
            self.staged.sign(role, keys, self._authorities(role))
            state = self.state(role)
            if state.signatures < state.needed:
                self.staged.put(role, old.raw)
                left.append(role)
            else:
                documents[role] = self.staged.documents[role]
        self._go_live(documents, keys)
        return tuple(left)

    def _go_live(self, documents: Mapping[str, Document], keys: Sequence[Signer]) -> None:
        root = documents[ROOT].body
        assert isinstance(root, Root)  # noqa: S101 - its role says so
        files = RoleFiles(self.codec, self.now_s(), lifetime_s=dict(self.settings.lifetime_s))
        for role in (SNAPSHOT, TIMESTAMP):
            known = {root.keys[keyid].public.strip() for keyid in root.roles[role].keyids}
            files.signers[role] = [each for each in keys if each.key.public.strip() in known]
            if len(files.signers[role]) < root.roles[role].threshold:
                raise SettingsError(
                    f"{len(files.signers[role])} keys of {role} are at hand, {root.roles[role].threshold} must sign",
                    hint="--keys names the folder that has them",
                )
            files.versions[role] = self._live[role].version if role in self._live else 0
        for role in (ROOT, *targets_roles(documents)):
            files.files[role] = documents[role].raw
            files.versions[role] = documents[role].version
        live = self.site.metadata()
        files.roots = self._roots(live, documents[ROOT])
        files.renew_lists()
        named = files.named()
        judge(named, live, documents, self.codec, self._rules, self.now_s())
        images = self.images.named(documents)
        self.site.publish(named, images)
        for role in (SNAPSHOT, TIMESTAMP):
            self.staged.put(role, files.files[role])
        self._live = self._live_documents()

    # -- how it stands

    def state(self, role: str) -> RoleState:
        """How a role stands.

        Raises:
            SettingsError: there is no such role.
        """
        from swagent.errors import MetadataTrustError
        from swagent.uptane.trust import judge_signatures

        document = self.staged.documents.get(role)
        if document is None:
            raise SettingsError(f"there is no role {role[:60]!r}")
        live = self._live.get(role)
        worst: tuple[int, int] | None = None
        keyids: tuple[str, ...] = ()
        for each in self._authorities(role):
            good = 0
            for one in document.signatures:
                try:
                    judge_signatures(
                        document.message,
                        (one,),
                        each.keys,
                        each.who._replace(threshold=1),
                        repository="",
                        role=role,
                    )
                except MetadataTrustError:
                    continue
                good += 1
            keyids = keyids or each.who.keyids
            if worst is None or each.who.threshold - good > worst[1] - worst[0]:
                worst = good, each.who.threshold
        good, needed = worst or (0, 1)
        return RoleState(
            role, live.version if live else None, document.version, document.expires_s, good, needed, keyids
        )

    def states(self) -> tuple[RoleState, ...]:
        """How all roles stand."""
        roles = (ROOT, *targets_roles(self.staged.documents), SNAPSHOT, TIMESTAMP)
        return tuple(self.state(role) for role in roles if role in self.staged.documents)

    def now_s(self) -> int:
        """Its time."""
        return int(self._clock.now_s())

    # -- inside

    def _authorities(self, role: str) -> list[Authority]:
        """Who may sign a role; root is signed by the keys of the root that is live, too."""
        found = list(authorities(self.staged.documents, role))
        live = self._live.get(ROOT)
        if role == ROOT and live is not None and live.raw != self.staged.documents[ROOT].raw:
            body = live.body
            found.append(Authority("the root before", body.keys, body.roles[ROOT]))  # type: ignore[union-attr]  # a root
        return found

    def _edit(self, role: str, change: Callable[[Targets], Targets]) -> None:
        self._draft(role, change(self.staged.targets(role)))

    def _renew(self, role: str) -> None:
        self._draft(role, self.staged.documents[role].body)

    def _draft(self, role: str, body: Body) -> None:
        """The version behind the live one, however often it is changed before it is published."""
        live = self._live.get(role)
        lifetime_s = self.settings.lifetime_s.get(role, self.settings.lifetime_s[TARGETS])
        self.staged.draft(
            role, body, version=live.version + 1 if live else 1, expires_s=self.now_s() + lifetime_s
        )

    def _live_documents(self) -> dict[str, Document]:
        found, ending = {}, f".{self.codec.extension}"
        for name, raw in self.site.metadata().items():
            role = name.removesuffix(ending)
            if role != name and "." not in role and "/" not in role:
                found[role] = self.codec.decode(raw)
        return found

    def _roots(self, live: Mapping[str, bytes], document: Document) -> list[bytes]:
        """Every root up to this one."""
        names = (f"{number}.{ROOT}.{self.codec.extension}" for number in range(1, document.version))
        return [*(live[name] for name in names if name in live), document.raw]

    def _may_describe(self, role: str, path: str, hardware_id: str) -> bool:
        """Whether delegations lead to a role for this name and hardware."""
        reached, left = {TARGETS}, [TARGETS]
        while left:
            for entry in self.staged.targets(left.pop()).delegations.entries:
                if entry.hardware_ids is not None and hardware_id not in entry.hardware_ids:
                    continue
                if not speaks_of(entry, path, wildcards_cross_slash=self._rules.wildcards_cross_slash):
                    continue
                new = [
                    name for name in _names(entry) if name not in reached and name in self.staged.documents
                ]
                reached.update(new)
                left += new
        return role in reached


def create(
    folder: str,
    settings: Settings,
    keys: Mapping[str, Sequence[Key]],
    clock: Clock,
    thresholds: Mapping[str, int] | None = None,
) -> ImageRepository:
    """A new repository without images, to be signed and published.

    Args:
        folder: where; nothing else may be there.
        settings: what it is made with.
        keys: of each top-level role.
        clock: the time.
        thresholds: role to how many of its keys must sign; 1 where nothing is said.

    Raises:
        SettingsError: there is one already, or the dialect has no words for this.
        DeviceError: it cannot be written.
    """
    path = os.path.join(folder, SETTINGS)
    if os.path.lexists(path):
        raise SettingsError(f"there is a repository in {folder} already")
    needed = thresholds or {}
    for role in TOP_LEVEL:
        if not 1 <= needed.get(role, 1) <= len(keys[role]):
            raise SettingsError(f"{role} has {len(keys[role])} keys, {needed.get(role)} of them cannot sign")
    root = Root(
        {key.keyid: key for role in TOP_LEVEL for key in keys[role]},
        {role: RoleKeys(tuple(key.keyid for key in keys[role]), needed.get(role, 1)) for role in TOP_LEVEL},
        settings.consistent_snapshot,
    )
    staged = Staged(os.path.join(folder, FOLDER), codec(settings.dialect))
    now_s = int(clock.now_s())
    for role, body in ((ROOT, root), (TARGETS, Targets({}))):
        staged.draft(role, body, version=1, expires_s=now_s + settings.lifetime_s[role])
    write_settings(folder, settings)
    return ImageRepository(folder, clock)


def _names(entry: Delegation) -> tuple[str, ...]:
    return tuple(role.name for role in entry.roles)


def _tidy(keys: Mapping[str, Key], entries: Sequence[Delegation]) -> Delegations:
    """Delegations without keys that nobody has any more."""
    used = {keyid for entry in entries for role in entry.roles for keyid in role.keys.keyids}
    return Delegations({keyid: key for keyid, key in keys.items() if keyid in used}, tuple(entries))


__all__ = ["SETTINGS", "ImageRepository", "RoleState", "Settings", "create"]
