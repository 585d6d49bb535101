"""XML-RPC as a server answers it: one body in, one body out; every call is answered, by a value or by a fault."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from swagent.errors import SwagentError


class Method(NamedTuple):
    """What can be called.

    Attributes:
        call: does it; its SwagentErrors are faults.
        kinds: the types of its arguments.
        least: how many of them there must be.
        guarded: whether only who has shown who they are may call it.
    """

    call: Callable[..., Any]
    kinds: tuple[type, ...]
    least: int
    guarded: bool = False


class RpcMethods:
    """Answers calls.

    Args:
        methods: by name.
        faults: the first class that an error is of names its fault; ``uptane.Error`` where none does.
        log: hears of refused calls: level and line.
    """

    def __init__(
        self,
        methods: Mapping[str, Method],
        faults: Sequence[tuple[type[SwagentError], str]],
        log: Callable[[str, str], None],
    ) -> None:
        self._methods = methods
        self._faults = faults
        self._log = log

    def answer(self, body: bytes, *, trusted: bool = False) -> bytes:
        """The answer to a call.

        Args:
            body: the call.
            trusted: whether who calls may call guarded methods.
        """
        from xml.parsers.expat import ExpatError
        from xmlrpc.client import Error, loads

        from .rpcwords import answer_body

        try:
            if b"<!" in body or b"\0" in body:  # no entities, in no encoding: nobody needs them
                raise ValueError("a declaration")
            params, name = loads(body, use_builtin_types=True)
        except (Error, ExpatError, ValueError, TypeError, IndexError, KeyError, LookupError) as exc:
            return fault("xmlrpc.client.ResponseError", f"the call makes no sense ({type(exc).__name__})")
        name = name or ""
        method = self._methods.get(name)
        if method is None:
            return fault("Exception", f'method "{name[:60]}" is not supported')
        if method.guarded and not trusted:
            self._log("warn", f"{name}: refused, the caller has not shown who it is")
            return fault("Exception", f'method "{name}" is for operators: log in')
        fitting = all(
            isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
            for value, kind in zip(params, method.kinds, strict=False)
        )
        if not (method.least <= len(params) <= len(method.kinds) and fitting):
            return fault("tuf.FormatError", f"{name} takes other arguments")
        try:
            value = method.call(*params)
        except SwagentError as exc:
            self._log("warn", f"{name}: {exc.message}")
            kind = next((word for family, word in self._faults if isinstance(exc, family)), "uptane.Error")
            return fault(kind, exc.message)
        try:
            return answer_body(value)
        except ValueError:  # such as texts that XML cannot hold
            return fault("uptane.Error", f"{name}: XML-RPC has no words for what there is")


def fault(kind: str, text: str) -> bytes:
    """As the reference words it: code 1, the class and what it says."""
    from xmlrpc.client import Fault, dumps

    clean = "".join(char if char.isprintable() else "?" for char in text[:500])
    return dumps(Fault(1, f"<class '{kind}'>:{clean}"), methodresponse=True).encode()
