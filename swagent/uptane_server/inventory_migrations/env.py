"""What alembic runs; the connection, with its transaction, comes from ``Inventory``."""

from alembic import context

from swagent.uptane_server.inventory_schema import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
context.run_migrations()
