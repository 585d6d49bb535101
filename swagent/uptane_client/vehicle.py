"""What a vehicle remembers between cycles: its ECUs, what they run, what is under way, what to report.

One database in the state folder; metadata lies beside it as plain files (``files.FileStore``).
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from swagent.errors import SettingsError
from swagent.store.sqlite import Database
from swagent.uptane.reports import InstalledImage

HISTORY = 200
NONCES_MAX = 1024
EVENTS_MAX = 1000
OK, VERIFICATION_FAILED, INSTALL_FAILED, DOWNLOAD_FAILED, NEEDS_COMPLETION, CANCELLED = 0, 3, 4, 5, 21, 23
"""aktualizr's result codes (uptane §6)."""
_STEPS = (
    """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE ecus (
    serial TEXT PRIMARY KEY, hardware_id TEXT NOT NULL, installed TEXT NOT NULL, release_counter INTEGER
);
CREATE TABLE pending (
    serial TEXT PRIMARY KEY, image TEXT NOT NULL, release_counter INTEGER, correlation_id TEXT NOT NULL,
    boot_id TEXT NOT NULL
);
CREATE TABLE nonces (nonce INTEGER NOT NULL, sent INTEGER NOT NULL);
CREATE TABLE reports (number INTEGER PRIMARY KEY AUTOINCREMENT, serial TEXT NOT NULL, raw BLOB NOT NULL);
CREATE TABLE attacks (number INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT NOT NULL);
CREATE TABLE results (
    number INTEGER PRIMARY KEY AUTOINCREMENT, time_s INTEGER NOT NULL, serial TEXT NOT NULL, path TEXT NOT NULL,
    code INTEGER NOT NULL, message TEXT NOT NULL, correlation_id TEXT NOT NULL, told INTEGER NOT NULL DEFAULT 0
);
""",
    "ALTER TABLE pending ADD COLUMN mark TEXT NOT NULL DEFAULT ''",
    "CREATE TABLE events (number INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL)",
)


class Ecu(NamedTuple):
    """One ECU, as the Primary knows it.

    Attributes:
        release_counter: of what it runs, None where that has none.
    """

    serial: str
    hardware_id: str
    installed: InstalledImage
    release_counter: int | None = None


class Pending(NamedTuple):
    """An installation that a reboot must complete.

    Attributes:
        boot_id: names the boot in which it was made.
        mark: what the installer named before.
    """

    serial: str
    image: InstalledImage
    release_counter: int | None
    correlation_id: str
    boot_id: str
    mark: str = ""


class Result(NamedTuple):
    """What became of one installation."""

    time_s: int
    serial: str
    path: str
    code: int
    message: str
    correlation_id: str


class Waiting(NamedTuple):
    """An event that no back end has yet, as JSON."""

    number: int
    body: str


class Vehicle:
    """The memory of one vehicle.

    Args:
        path: of the database.

    Raises:
        DeviceError: it cannot be used. Its methods raise the same.
    """

    def __init__(self, path: str) -> None:
        self._db = Database(path, _STEPS)

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    # -- single facts

    def fact(self, name: str) -> Any:
        """A JSON value, None when there is none."""
        with self._db.transaction() as db:
            row = db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return json.loads(row[0]) if row else None

    def keep_fact(self, name: str, value: Any) -> None:
        """Remember a JSON value."""
        with self._db.transaction() as db:
            db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, json.dumps(value)))

    def next_counter(self) -> int:
        """The report counter, raised by one (aktualizr's ``report_counter``)."""
        with self._db.transaction() as db:
            row = db.execute("SELECT value FROM facts WHERE name = 'report_counter'").fetchone()
            counter = (json.loads(row[0]) if row else 0) + 1
            db.execute("INSERT OR REPLACE INTO facts VALUES ('report_counter', ?)", (json.dumps(counter),))
        return int(counter)

    def identify(self, identity: Mapping[str, str]) -> None:
        """Remember who this vehicle is; from then on it is nobody else.

        Raises:
            SettingsError: it was somebody else before.
        """
        known = self.fact("identity")
        if known is None:
            self.keep_fact("identity", dict(identity))
        elif known != dict(identity):
            changed = [name for name in {*known, *identity} if known.get(name) != identity.get(name)]
            raise SettingsError(
                f"this state folder belongs to another unit: {', '.join(sorted(changed))} is not the same",
                hint="give what it was provisioned with, or use another folder",
            )

    # -- ECUs

    def ecus(self) -> dict[str, Ecu]:
        """By serial."""
        with self._db.transaction() as db:
            rows = db.execute("SELECT serial, hardware_id, installed, release_counter FROM ecus").fetchall()
        return {row[0]: Ecu(row[0], row[1], _image(row[2]), row[3]) for row in rows}

    def add_ecu(self, serial: str, hardware_id: str, installed: InstalledImage) -> bool:
        """Remember an ECU; returns whether it was new. One that is known keeps what it runs.

        Raises:
            SettingsError: it is known with another hardware id.
        """
        with self._db.transaction() as db:
            row = db.execute("SELECT hardware_id FROM ecus WHERE serial = ?", (serial,)).fetchone()
            if row is None:
                db.execute("INSERT INTO ecus VALUES (?, ?, ?, NULL)", (serial, hardware_id, _text(installed)))
                return True
        if row[0] != hardware_id:
            raise SettingsError(f"the ECU {serial} has the hardware id {row[0]!r}, not {hardware_id!r}")
        return False

    def installed(self, serial: str, image: InstalledImage, release_counter: int | None) -> None:
        """An ECU runs something new; nothing is pending for it any more."""
        with self._db.transaction() as db:
            db.execute(
                "UPDATE ecus SET installed = ?, release_counter = ? WHERE serial = ?",
                (_text(image), release_counter, serial),
            )
            db.execute("DELETE FROM pending WHERE serial = ?", (serial,))

    def pending(self) -> dict[str, Pending]:
        """What reboots must complete, by serial."""
        with self._db.transaction() as db:
            rows = db.execute(
                "SELECT serial, image, release_counter, correlation_id, boot_id, mark FROM pending"
            ).fetchall()
        return {row[0]: Pending(row[0], _image(row[1]), *row[2:]) for row in rows}

    def keep_pending(self, pending: Pending) -> None:
        """A reboot must complete this."""
        with self._db.transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO pending VALUES (?, ?, ?, ?, ?, ?)",
                (pending.serial, _text(pending.image), *pending[2:]),
            )

    def drop_pending(self, serial: str) -> None:
        """The reboot did not complete it."""
        with self._db.transaction() as db:
            db.execute("DELETE FROM pending WHERE serial = ?", (serial,))

    # -- nonces of ECUs, for the Time server

    def queue_nonce(self, nonce: int) -> None:
        """Remember a nonce until it has been answered; the oldest go when there are too many."""
        with self._db.transaction() as db:
            if not db.execute("SELECT 1 FROM nonces WHERE nonce = ? AND sent = 0", (nonce,)).fetchone():
                db.execute("INSERT INTO nonces VALUES (?, 0)", (nonce,))
            db.execute(
                "DELETE FROM nonces WHERE rowid NOT IN (SELECT rowid FROM nonces ORDER BY rowid DESC LIMIT ?)",
                (NONCES_MAX,),
            )

    def take_nonces(self) -> tuple[int, ...]:
        """The nonces that wait, which from now on count as sent; those sent before are forgotten."""
        with self._db.transaction() as db:
            db.execute("DELETE FROM nonces WHERE sent = 1")
            db.execute("UPDATE nonces SET sent = 1")
            rows = db.execute("SELECT nonce FROM nonces").fetchall()
        return tuple(row[0] for row in rows)

    # -- reports

    def keep_report(self, serial: str, raw: bytes, *, most: int = 16) -> None:
        """Remember an ECU's signed report until it has been handed on; of each ECU the newest ``most``."""
        with self._db.transaction() as db:
            db.execute("INSERT INTO reports (serial, raw) VALUES (?, ?)", (serial, raw))
            db.execute(
                "DELETE FROM reports WHERE serial = ? AND number NOT IN "
                "(SELECT number FROM reports WHERE serial = ? ORDER BY number DESC LIMIT ?)",
                (serial, serial, most),
            )

    def reports(self) -> tuple[int, dict[str, tuple[bytes, ...]]]:
        """The reports that wait, by serial, and the number of the last one, for ``forget_reports``."""
        with self._db.transaction() as db:
            rows = db.execute("SELECT number, serial, raw FROM reports ORDER BY number").fetchall()
        found: dict[str, tuple[bytes, ...]] = {}
        for _, serial, raw in rows:
            found[serial] = (*found.get(serial, ()), bytes(raw))
        return (rows[-1][0] if rows else 0), found

    def forget_reports(self, last: int) -> None:
        """Reports up to this one have been handed on."""
        with self._db.transaction() as db:
            db.execute("DELETE FROM reports WHERE number <= ?", (last,))

    def note_attack(self, text: str) -> None:
        """Remember what was noticed, for the next report."""
        with self._db.transaction() as db:
            db.execute("INSERT INTO attacks (text) VALUES (?)", (_plain(text),))
            db.execute(
                "DELETE FROM attacks WHERE number NOT IN "
                "(SELECT number FROM attacks ORDER BY number DESC LIMIT 16)"
            )

    def attacks(self) -> tuple[int, str]:
        """What was noticed, one line each, and the number of the last, for ``forget_attacks``."""
        with self._db.transaction() as db:
            rows = db.execute("SELECT number, text FROM attacks ORDER BY number").fetchall()
        return (rows[-1][0] if rows else 0), "\n".join(row[1] for row in rows)

    def forget_attacks(self, last: int) -> None:
        """These have been reported."""
        with self._db.transaction() as db:
            db.execute("DELETE FROM attacks WHERE number <= ?", (last,))

    # -- events for a back end

    def keep_event(self, body: str) -> None:
        """Remember an event until it has been handed in; the oldest go when there are too many."""
        with self._db.transaction() as db:
            db.execute("INSERT INTO events (body) VALUES (?)", (body,))
            db.execute(
                "DELETE FROM events WHERE number <= (SELECT max(number) FROM events) - ?", (EVENTS_MAX,)
            )

    def events(self, most: int) -> tuple[Waiting, ...]:
        """The oldest that wait, ``most`` of them."""
        with self._db.transaction() as db:
            rows = db.execute("SELECT number, body FROM events ORDER BY number LIMIT ?", (most,)).fetchall()
        return tuple(Waiting(*row) for row in rows)

    def forget_events(self, last: int) -> None:
        """Events up to this one have been handed in."""
        with self._db.transaction() as db:
            db.execute("DELETE FROM events WHERE number <= ?", (last,))

    # -- results

    def keep_result(self, result: Result) -> None:
        """Remember what became of an installation, and that it must be reported."""
        with self._db.transaction() as db:
            db.execute(
                "INSERT INTO results (time_s, serial, path, code, message, correlation_id) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                result._replace(message=_plain(result.message)),
            )
            db.execute(
                "DELETE FROM results WHERE number NOT IN "
                "(SELECT number FROM results ORDER BY number DESC LIMIT ?)",
                (HISTORY,),
            )

    def results(self, *, untold: bool = False) -> tuple[int, tuple[Result, ...]]:
        """The newest first, and the number of the newest; with ``untold`` those that nobody has been told."""
        with self._db.transaction() as db:
            rows = db.execute(
                "SELECT number, time_s, serial, path, code, message, correlation_id FROM results "
                "WHERE told <= ? ORDER BY number DESC",
                (0 if untold else 1,),
            ).fetchall()
        return (rows[0][0] if rows else 0), tuple(Result(*row[1:]) for row in rows)

    def told_results(self, last: int) -> None:
        """Results up to this one have been reported."""
        with self._db.transaction() as db:
            db.execute("UPDATE results SET told = 1 WHERE number <= ?", (last,))


def _text(image: InstalledImage) -> str:
    return json.dumps({"path": image.path, "length": image.length_bytes, "hashes": dict(image.hashes)})


def _image(text: str) -> InstalledImage:
    tree = json.loads(text)
    return InstalledImage(tree["path"], tree["length"], tree["hashes"])


def _plain(text: str) -> str:
    """Text for people, cut, and spelled as every way to a Director can carry it: it must not stop a report."""
    return "".join(char if char.isprintable() or char == "\n" else "?" for char in text[:512])
