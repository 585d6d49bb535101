"""The inventory's tables, in SQLAlchemy Core; ``inventory_migrations`` makes them, and a test holds the two together.

Every query of a request finds its rows by a primary key or an index: what it costs does not grow with the fleet.
"""

from swagent.errors import RegistrationError

try:
    from sqlalchemy import (
        JSON,
        BigInteger,
        Boolean,
        Column,
        ForeignKey,
        ForeignKeyConstraint,
        Index,
        Integer,
        LargeBinary,
        MetaData,
        String,
        Table,
        Text,
        UniqueConstraint,
    )
except ImportError as missing:
    raise RegistrationError("a Director needs swagent[server]") from missing

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
NAME = String(256).with_variant(String(256, collation="C"), "postgresql")
"""Serials and VINs; ordered by code point in both databases, so that a prefix is a range of the index."""
PATH = String(1024)

VEHICLES = Table(
    "vehicles",
    METADATA,
    Column("vin", NAME, primary_key=True),
    Column("primary_serial", NAME),  # NULL until it is known
    Column("created_s", BigInteger, nullable=False),
    Column("contact_s", BigInteger),  # when its last manifest was taken
    Column("manifests", Integer, nullable=False, server_default="0"),  # how many were taken
    Column("alerts", Integer, nullable=False, server_default="0"),  # how many are open
    Column("version", Integer, nullable=False, server_default="0"),  # of its snapshot and timestamp
    Column("targets_version", Integer, nullable=False, server_default="0"),
    Column("root_version", Integer, nullable=False, server_default="0"),  # that its files were signed under
    Column("expires_s", BigInteger),  # when the first of its files does
    Index(None, "contact_s"),
    Index(None, "alerts"),
)
ECUS = Table(
    "ecus",
    METADATA,
    Column("serial", NAME, primary_key=True),
    Column("vin", NAME, ForeignKey("vehicles.vin", ondelete="CASCADE"), nullable=False),
    Column("hardware_id", String(256), nullable=False),
    Column("is_primary", Boolean, nullable=False),
    Column("keyid", String(256), nullable=False),
    Column("key_kind", String(32), nullable=False),
    Column("key_scheme", String(64), nullable=False),
    Column("key_public", Text, nullable=False),
    Column("image_key", Text, nullable=False),  # what its images are encrypted with, "" for nothing
    Column("counter", BigInteger),  # of its last report, where reports have one
    Column("time_s", BigInteger),  # the latest time that it could verify
    Column("report", LargeBinary),  # its last good one, as it came
    Column("report_digest", String(64), nullable=False),
    Column("report_s", BigInteger),  # when that was taken
    Column("installed_path", PATH, nullable=False),
    Column("installed_length", BigInteger, nullable=False),
    Column("installed_hashes", JSON, nullable=False),
    Column("distrust", Text, nullable=False),  # why it is assigned nothing new, "" when it is
    Index(None, "vin"),
)
MANIFESTS = Table(
    "manifests",
    METADATA,
    Column("vin", NAME, ForeignKey("vehicles.vin", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),  # of that vehicle's
    Column("taken_s", BigInteger, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("raw", LargeBinary, nullable=False),
)
ALERTS = Table(
    "alerts",
    METADATA,
    Column("vin", NAME, ForeignKey("vehicles.vin", ondelete="CASCADE"), primary_key=True),
    Column("serial", NAME, primary_key=True),
    Column("kind", String(32), primary_key=True),
    Column("text", Text, nullable=False),
    Column("first_s", BigInteger, nullable=False),
    Column("last_s", BigInteger, nullable=False),
    Column("times", Integer, nullable=False),
    Column("is_open", Boolean, nullable=False),
)
IMAGES = Table(
    "images",
    METADATA,
    Column("number", Integer, primary_key=True),
    Column("path", PATH, nullable=False),
    Column("digest", String(64), nullable=False),  # of all that is said of it
    Column("length_bytes", BigInteger, nullable=False),
    Column("hashes", JSON, nullable=False),
    Column("hardware_ids", JSON, nullable=False),  # NULL in it where nothing is said
    Column("release_counter", BigInteger),
    Column("uri", Text, nullable=False),
    Column("requires", JSON, nullable=False),
    Column("conflicts", JSON, nullable=False),
    Column("added_s", BigInteger, nullable=False),
    UniqueConstraint("path", "digest"),
)
ASSIGNMENTS = Table(
    "assignments",
    METADATA,
    Column("vin", NAME, ForeignKey("vehicles.vin", ondelete="CASCADE"), primary_key=True),
    Column("serial", NAME, primary_key=True),  # it need not be registered yet
    Column("wanted", Integer, ForeignKey("images.number")),  # what somebody ordered; NULL to withdraw
    Column("wanted_s", BigInteger, nullable=False),
    Column("signed", Integer, ForeignKey("images.number")),  # what its targets say
    Column("held_back", Text, nullable=False),  # why the two differ, "" when they need not
    Column("correlation_id", String(256), nullable=False),
)
SEALED = Table(  # the forms in which images travel encrypted
    "sealed",
    METADATA,
    Column("vin", NAME, ForeignKey("vehicles.vin", ondelete="CASCADE"), primary_key=True),
    Column("serial", NAME, primary_key=True),
    Column("image", Integer, ForeignKey("images.number"), primary_key=True),
    Column("form", JSON, nullable=False),
)
FILES = Table(
    "files",
    METADATA,
    Column("vin", NAME, ForeignKey("vehicles.vin", ondelete="CASCADE"), primary_key=True),
    Column("role", String(16), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("expires_s", BigInteger, nullable=False),
    Column("raw", LargeBinary, nullable=False),
)
ROOTS = Table(
    "roots",
    METADATA,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("expires_s", BigInteger, nullable=False),
    Column("raw", LargeBinary, nullable=False),
)
EVENTS = Table(
    "events",
    METADATA,
    Column("vin", NAME, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("taken_s", BigInteger, nullable=False),
    Column("kind", String(64), nullable=False),  # as the vehicle calls it
    Column("body", JSON, nullable=False),
    ForeignKeyConstraint(["vin"], ["vehicles.vin"], ondelete="CASCADE"),
)
FACTS = Table(
    "facts",
    METADATA,
    Column("vin", NAME, ForeignKey("vehicles.vin", ondelete="CASCADE"), primary_key=True),
    Column("name", String(64), primary_key=True),  # system_info and the like
    Column("value", LargeBinary, nullable=False),
    Column("taken_s", BigInteger, nullable=False),
)
OPERATORS = Table(
    "operators",
    METADATA,
    Column("name", String(64), primary_key=True),
    Column("password", String(256), nullable=False),
    Column("token", String(64), nullable=False, unique=True),  # SHA-256 of it
)
SESSIONS = Table(
    "sessions",
    METADATA,
    Column("digest", String(64), primary_key=True),
    Column("operator", String(64), ForeignKey("operators.name", ondelete="CASCADE"), nullable=False),
    Column("until_s", BigInteger, nullable=False),
    Index(None, "until_s"),
)
