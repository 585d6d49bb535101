"""The questions that are asked of the inventory: images, assignments, signed files, operators."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam

from swagent.uptane.metadata import EncryptedTarget, Target

from . import inventory_schema as db
from .inventory_records import Assignment, Image, SignedFile, Wish

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row, Table

GENERATIONS_KEPT = 2
"""The files before the present ones stay, for who began with an older timestamp."""


# built once: to build a statement costs more than to execute it
_ASSIGNMENTS = (
    db.ASSIGNMENTS.select()
    .where(db.ASSIGNMENTS.c.vin.in_(bindparam("are", expanding=True)))
    .order_by(db.ASSIGNMENTS.c.vin, db.ASSIGNMENTS.c.serial)
)
_IMAGES = db.IMAGES.select().where(db.IMAGES.c.number.in_(bindparam("are", expanding=True)))
_KEEP_FILE = db.FILES.insert()
_FORGET_FILES = db.FILES.delete().where(
    db.FILES.c.vin == bindparam("is"),
    db.FILES.c.role == bindparam("of"),
    db.FILES.c.version <= bindparam("until"),
)
_FILE = (
    db.FILES.select()
    .where(db.FILES.c.vin == bindparam("is"), db.FILES.c.role == bindparam("of"))
    .order_by(db.FILES.c.version.desc())
    .limit(1)
)
_ROOT = db.ROOTS.select().order_by(db.ROOTS.c.version.desc()).limit(1)


class Orders:
    """One transaction's view of that part.

    Args:
        connection: whose transaction that is.
    """

    def __init__(self, connection: "Connection") -> None:
        self._db = connection

    # -- images

    def add_image(self, image: Image, now_s: int) -> Image:
        """An image; the same one that is there already, when there is."""
        values = _image_columns(image)
        table = db.IMAGES
        known = self._db.execute(
            table.select().where(table.c.path == values["path"], table.c.digest == values["digest"])
        ).one_or_none()
        if known is not None:
            return _image(known)
        done = self._db.execute(table.insert().values(**values, added_s=now_s))
        (number,) = done.inserted_primary_key or (0,)
        return image._replace(number=number, added_s=now_s)

    def image(self, number: int) -> Image | None:
        """By its number."""
        row = self._db.execute(db.IMAGES.select().where(db.IMAGES.c.number == number)).one_or_none()
        return _image(row) if row is not None else None

    def images(self, *paths: str, limit: int = 200) -> list[Image]:
        """The newest first; of these paths only, when some are given."""
        query = db.IMAGES.select().order_by(db.IMAGES.c.number.desc()).limit(limit)
        if paths:
            query = query.where(db.IMAGES.c.path.in_(paths))
        return [_image(row) for row in self._db.execute(query)]

    # -- assignments

    def want(self, vin: str, serial: str, image: Image | None, now_s: int, correlation_id: str = "") -> None:
        """What an ECU shall run from now on; in the place of what it was."""
        table = db.ASSIGNMENTS
        values = {
            "wanted": image.number if image is not None else None,
            "wanted_s": now_s,
            "correlation_id": correlation_id,
        }
        where = (table.c.vin == vin, table.c.serial == serial)
        if not self._db.execute(table.update().where(*where).values(**values)).rowcount:
            self._db.execute(table.insert().values(vin=vin, serial=serial, held_back="", **values))

    def unwant_all(self, vin: str, now_s: int) -> None:
        """No ECU of a vehicle shall run anything in particular."""
        table = db.ASSIGNMENTS
        self._db.execute(table.update().where(table.c.vin == vin).values(wanted=None, wanted_s=now_s))

    def assignments(self, *vins: str) -> list[Assignment]:
        """Of these vehicles, by serial."""
        rows = self._db.execute(_ASSIGNMENTS, {"are": list(vins)}).all()
        numbers = {number for row in rows for number in (row.wanted, row.signed) if number is not None}
        images: dict[int | None, Image] = {}
        if numbers:
            found = self._db.execute(_IMAGES, {"are": sorted(numbers)})
            images = {row.number: _image(row) for row in found}
        return [
            Assignment(
                row.vin, row.serial, images.get(row.wanted), row.wanted_s, images.get(row.signed),
                row.held_back, row.correlation_id,
            )
            for row in rows
        ]  # fmt: skip

    def settle(self, old: Assignment, new: Assignment) -> None:
        """What was signed of an assignment; one that is neither wanted nor signed goes."""
        table = db.ASSIGNMENTS
        where = (table.c.vin == new.vin, table.c.serial == new.serial)
        if new.wanted is None and new.signed is None:
            self._db.execute(table.delete().where(*where))
        elif old != new:
            signed = new.signed.number if new.signed is not None else None
            self._db.execute(table.update().where(*where).values(signed=signed, held_back=new.held_back))

    def keep_sealed(self, vin: str, serial: str, image: Image, form: EncryptedTarget) -> None:
        """The form in which an image travels to an ECU."""
        table = db.SEALED
        where = (table.c.vin == vin, table.c.serial == serial, table.c.image == image.number)
        self._db.execute(table.delete().where(*where))
        tree = {**form._asdict(), "hashes": dict(form.hashes), "key": form.key.hex()}
        self._db.execute(table.insert().values(vin=vin, serial=serial, image=image.number, form=tree))

    def sealed(self, vin: str) -> dict[tuple[str, int], EncryptedTarget]:
        """The forms in which images travel to this vehicle, by serial and the image's number."""
        query = db.SEALED.select().where(db.SEALED.c.vin == vin)
        return {
            (row.serial, row.image): EncryptedTarget(**{**row.form, "key": bytes.fromhex(row.form["key"])})
            for row in self._db.execute(query)
        }

    # -- signed files

    def keep_file(self, vin: str, file: SignedFile) -> None:
        """The next file of a role; the one before it stays, older ones go."""
        self._db.execute(_KEEP_FILE, {"vin": vin, **file._asdict()})
        old = {"is": vin, "of": file.role, "until": file.version - GENERATIONS_KEPT}
        self._db.execute(_FORGET_FILES, old)

    def file(self, vin: str, role: str, version: int | None = None) -> SignedFile | None:
        """A file of a vehicle: the newest, or that of one version."""
        query = _FILE if version is None else _FILE.where(db.FILES.c.version == version)
        row = self._db.execute(query, {"is": vin, "of": role}).one_or_none()
        return SignedFile(*row[1:]) if row is not None else None

    def add_root(self, version: int, expires_s: int, raw: bytes) -> None:
        """The next root of all vehicles."""
        self._db.execute(db.ROOTS.insert().values(version=version, expires_s=expires_s, raw=raw))

    def root(self, version: int | None = None) -> SignedFile | None:
        """The newest root, or that of one version."""
        query = _ROOT if version is None else _ROOT.where(db.ROOTS.c.version == version)
        row = self._db.execute(query).one_or_none()
        return SignedFile("root", *row) if row is not None else None

    def roots(self) -> list[bytes]:
        """All of them, the first one first."""
        return [row.raw for row in self._db.execute(db.ROOTS.select().order_by(db.ROOTS.c.version))]

    # -- operators

    def keep_operator(self, name: str, password: str, token: str) -> None:
        """Somebody who may give orders; replaces what was kept of them, and ends their sessions."""
        self.drop_operator(name)
        self._db.execute(db.OPERATORS.insert().values(name=name, password=password, token=token))

    def drop_operator(self, name: str) -> bool:
        """Whether there was one."""
        self._db.execute(db.SESSIONS.delete().where(db.SESSIONS.c.operator == name))
        return bool(self._db.execute(db.OPERATORS.delete().where(db.OPERATORS.c.name == name)).rowcount)

    def password(self, name: str) -> str:
        """What was kept of an operator's password, "" for nobody."""
        row = self._db.execute(db.OPERATORS.select().where(db.OPERATORS.c.name == name)).one_or_none()
        return row.password if row is not None else ""

    def operator_of_token(self, digest: str) -> str:
        """Whose token that is, "" for nobody's."""
        row = self._db.execute(db.OPERATORS.select().where(db.OPERATORS.c.token == digest)).one_or_none()
        return row.name if row is not None else ""

    def keep_session(self, digest: str, operator: str, until_s: int, now_s: int) -> None:
        """Somebody came in; sessions that are over go."""
        self._db.execute(db.SESSIONS.delete().where(db.SESSIONS.c.until_s < now_s))
        self._db.execute(db.SESSIONS.insert().values(digest=digest, operator=operator, until_s=until_s))

    def operator_of_session(self, digest: str, now_s: int) -> str:
        """Whose session that is, "" for nobody's, or one that is over."""
        table = db.SESSIONS
        query = table.select().where(table.c.digest == digest, table.c.until_s >= now_s)
        row = self._db.execute(query).one_or_none()
        return row.operator if row is not None else ""

    def drop_session(self, digest: str) -> None:
        """Somebody left."""
        self._db.execute(db.SESSIONS.delete().where(db.SESSIONS.c.digest == digest))

    def _forget(self, table: "Table", vin: str, until: int) -> None:
        """Rows of a vehicle up to this number."""
        if until > 0:
            self._db.execute(table.delete().where(table.c.vin == vin, table.c.number <= until))


def _image(row: "Row[Any]") -> Image:
    target = Target(
        row.path,
        row.length_bytes,
        row.hashes,
        hardware_ids=frozenset(row.hardware_ids) if row.hardware_ids is not None else None,
        release_counter=row.release_counter,
        uri=row.uri,
    )
    return Image(row.number, target, _wishes(row.requires), _wishes(row.conflicts), row.added_s)


def _image_columns(image: Image) -> dict[str, Any]:
    from swagent.crypto.digest import sha256
    from swagent.uptane.canonical import encode

    target = image.target
    values: dict[str, Any] = {
        "path": target.path,
        "length_bytes": target.length_bytes,
        "hashes": dict(target.hashes),
        "hardware_ids": sorted(target.hardware_ids) if target.hardware_ids is not None else None,
        "release_counter": target.release_counter,
        "uri": target.uri,
        "requires": [wish._asdict() for wish in image.requires],
        "conflicts": [wish._asdict() for wish in image.conflicts],
    }
    return {**values, "digest": sha256(encode(values)).hexdigest()}


def _wishes(items: Iterable[Mapping[str, Any]]) -> tuple[Wish, ...]:
    return tuple(Wish(**item) for item in items)
