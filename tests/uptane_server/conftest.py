"""What the back office's tests share."""

from .databases import blank_sqlite, inventory, postgresql, sqlite

__all__ = ["blank_sqlite", "inventory", "postgresql", "sqlite"]
