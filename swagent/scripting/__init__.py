"""Lua: states in processes of their own, with limits. Knows no handler; what Lua asks is answered by ``Services``."""

from .luahost import Answer, LuaState, Services, Setup
from .wire import Value

__all__ = ["Answer", "LuaState", "Services", "Setup", "Value"]
