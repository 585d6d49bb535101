"""Vehicles, ECUs, what they report and what they shall run."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

NAME = sa.String(length=256).with_variant(sa.String(length=256, collation="C"), "postgresql")


def upgrade() -> None:
    """To this step."""
    op.create_table(
        "images",
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("path", sa.String(length=1024), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("length_bytes", sa.BigInteger(), nullable=False),
        sa.Column("hashes", sa.JSON(), nullable=False),
        sa.Column("hardware_ids", sa.JSON(), nullable=False),
        sa.Column("release_counter", sa.BigInteger(), nullable=True),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("requires", sa.JSON(), nullable=False),
        sa.Column("conflicts", sa.JSON(), nullable=False),
        sa.Column("added_s", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_images")),
        sa.UniqueConstraint("path", "digest", name=op.f("uq_images_path_digest")),
    )
    op.create_table(
        "operators",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("password", sa.String(length=256), nullable=False),
        sa.Column("token", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_operators")),
        sa.UniqueConstraint("token", name=op.f("uq_operators_token")),
    )
    op.create_table(
        "roots",
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("expires_s", sa.BigInteger(), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_roots")),
    )
    op.create_table(
        "vehicles",
        sa.Column("vin", NAME, nullable=False),
        sa.Column("primary_serial", NAME, nullable=True),
        sa.Column("created_s", sa.BigInteger(), nullable=False),
        sa.Column("contact_s", sa.BigInteger(), nullable=True),
        sa.Column("manifests", sa.Integer(), server_default="0", nullable=False),
        sa.Column("alerts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("version", sa.Integer(), server_default="0", nullable=False),
        sa.Column("targets_version", sa.Integer(), server_default="0", nullable=False),
        sa.Column("root_version", sa.Integer(), server_default="0", nullable=False),
        sa.Column("expires_s", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("vin", name=op.f("pk_vehicles")),
    )
    op.create_index(op.f("ix_vehicles_alerts"), "vehicles", ["alerts"], unique=False)
    op.create_index(op.f("ix_vehicles_contact_s"), "vehicles", ["contact_s"], unique=False)
    op.create_table(
        "alerts",
        sa.Column("vin", NAME, nullable=False),
        sa.Column("serial", NAME, nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("first_s", sa.BigInteger(), nullable=False),
        sa.Column("last_s", sa.BigInteger(), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("is_open", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["vin"], ["vehicles.vin"], name=op.f("fk_alerts_vin"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("vin", "serial", "kind", name=op.f("pk_alerts")),
    )
    op.create_table(
        "assignments",
        sa.Column("vin", NAME, nullable=False),
        sa.Column("serial", NAME, nullable=False),
        sa.Column("wanted", sa.Integer(), nullable=True),
        sa.Column("wanted_s", sa.BigInteger(), nullable=False),
        sa.Column("signed", sa.Integer(), nullable=True),
        sa.Column("held_back", sa.Text(), nullable=False),
        sa.Column("correlation_id", sa.String(length=256), nullable=False),
        sa.ForeignKeyConstraint(["signed"], ["images.number"], name=op.f("fk_assignments_signed")),
        sa.ForeignKeyConstraint(
            ["vin"], ["vehicles.vin"], name=op.f("fk_assignments_vin"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["wanted"], ["images.number"], name=op.f("fk_assignments_wanted")),
        sa.PrimaryKeyConstraint("vin", "serial", name=op.f("pk_assignments")),
    )
    op.create_table(
        "ecus",
        sa.Column("serial", NAME, nullable=False),
        sa.Column("vin", NAME, nullable=False),
        sa.Column("hardware_id", sa.String(length=256), nullable=False),
        sa.Column("is_primary", sa.Boolean(), nullable=False),
        sa.Column("keyid", sa.String(length=256), nullable=False),
        sa.Column("key_kind", sa.String(length=32), nullable=False),
        sa.Column("key_scheme", sa.String(length=64), nullable=False),
        sa.Column("key_public", sa.Text(), nullable=False),
        sa.Column("image_key", sa.Text(), nullable=False),
        sa.Column("counter", sa.BigInteger(), nullable=True),
        sa.Column("time_s", sa.BigInteger(), nullable=True),
        sa.Column("report", sa.LargeBinary(), nullable=True),
        sa.Column("report_digest", sa.String(length=64), nullable=False),
        sa.Column("report_s", sa.BigInteger(), nullable=True),
        sa.Column("installed_path", sa.String(length=1024), nullable=False),
        sa.Column("installed_length", sa.BigInteger(), nullable=False),
        sa.Column("installed_hashes", sa.JSON(), nullable=False),
        sa.Column("distrust", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["vin"], ["vehicles.vin"], name=op.f("fk_ecus_vin"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("serial", name=op.f("pk_ecus")),
    )
    op.create_index(op.f("ix_ecus_vin"), "ecus", ["vin"], unique=False)
    op.create_table(
        "events",
        sa.Column("vin", NAME, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("taken_s", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["vin"], ["vehicles.vin"], name=op.f("fk_events_vin"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("vin", "number", name=op.f("pk_events")),
    )
    op.create_table(
        "facts",
        sa.Column("vin", NAME, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column("taken_s", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["vin"], ["vehicles.vin"], name=op.f("fk_facts_vin"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("vin", "name", name=op.f("pk_facts")),
    )
    op.create_table(
        "files",
        sa.Column("vin", NAME, nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("expires_s", sa.BigInteger(), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["vin"], ["vehicles.vin"], name=op.f("fk_files_vin"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("vin", "role", "version", name=op.f("pk_files")),
    )
    op.create_table(
        "manifests",
        sa.Column("vin", NAME, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("taken_s", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["vin"], ["vehicles.vin"], name=op.f("fk_manifests_vin"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("vin", "number", name=op.f("pk_manifests")),
    )
    op.create_table(
        "sealed",
        sa.Column("vin", NAME, nullable=False),
        sa.Column("serial", NAME, nullable=False),
        sa.Column("image", sa.Integer(), nullable=False),
        sa.Column("form", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["image"], ["images.number"], name=op.f("fk_sealed_image")),
        sa.ForeignKeyConstraint(["vin"], ["vehicles.vin"], name=op.f("fk_sealed_vin"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("vin", "serial", "image", name=op.f("pk_sealed")),
    )
    op.create_table(
        "sessions",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("operator", sa.String(length=64), nullable=False),
        sa.Column("until_s", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["operator"], ["operators.name"], name=op.f("fk_sessions_operator"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_sessions")),
    )
    op.create_index(op.f("ix_sessions_until_s"), "sessions", ["until_s"], unique=False)
