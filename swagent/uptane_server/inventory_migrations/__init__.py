"""Steps from one schema of the inventory to the next, run by alembic; one that was shipped is never changed."""
