"""Actuators that are outlets of power distribution units, switched by a pdudaemon (boardswarm §4.4)."""

import asyncio
from collections.abc import Coroutine, Mapping
from contextlib import closing
from typing import Any
from urllib.parse import quote, urlsplit

from swagent.clock import SystemClock
from swagent.errors import SettingsError, SwagentError
from swagent.lab.errors import Failed, InvalidRequest
from swagent.lab.lab import Provision
from swagent.net.exchange import HttpExchange
from swagent.net.options import HttpOptions

from .parameters import Parameters

_OPTIONS = HttpOptions(retries=0, timeout_s=60.0)
"""It answers when it has switched, which takes a while where a relay must settle."""
_ANSWER_BYTES_MAX = 64 * 1024
_PORTS_MAX = 1024


class Outlet:
    """One port of a unit.

    Args:
        uri: of the pdudaemon.
        pdu: name of the unit, as the pdudaemon knows it.
        port: of the unit.
    """

    def __init__(self, uri: str, pdu: str, port: str) -> None:
        self._uri = uri
        self._pdu = pdu
        self._port = port

    async def change(self, parameters: Mapping[str, object]) -> None:
        """``{mode: on}`` or ``{mode: off}``. Raises InvalidRequest or Failed."""
        mode = parameters.get("mode")
        if mode not in ("on", "off"):
            raise InvalidRequest(f"mode is {str(mode)[:40]!r}", hint="known are on and off")
        where = f"hostname={quote(self._pdu, safe='')}&port={quote(self._port, safe='')}"
        url = f"{self._uri}/power/control/{mode}?{where}"
        try:
            status = await asyncio.to_thread(self._ask, url)
        except SwagentError as exc:
            raise Failed(f"pdudaemon at {self._uri}: {exc.message}", hint=exc.hint) from exc
        if status != 200:
            raise Failed(
                f"pdudaemon at {self._uri} refused to switch {self._pdu} port {self._port} {mode} ({status})",
                hint="its log says why; does it know this unit?",
            )

    def _ask(self, url: str) -> int:
        with closing(HttpExchange(self._uri, _OPTIONS, SystemClock())) as exchange:
            return exchange.ask("GET", url, max_bytes=_ANSWER_BYTES_MAX).status


def provide(provision: Provision) -> Coroutine[Any, Any, None]:
    """``uri``, and ``pdus``: a list, each with ``name`` and ``ports``: how many there are, or a list of names."""
    found = Parameters.of(provision.rule, "uri", "pdus")
    uri = found.text("uri").rstrip("/")
    if urlsplit(uri).scheme not in ("http", "https"):
        raise SettingsError(f"{found.where}: uri must be an http or https address, not {uri[:80]!r}")
    outlets = [
        (pdu.text("name"), port)
        for pdu in found.each("pdus", "name", "ports")
        for port in pdu.numbered("ports", most=_PORTS_MAX)
    ]

    async def run() -> None:
        for pdu, port in outlets:
            properties = provision.properties(
                f"{provision.rule.name}.{pdu}.port-{port}", {"pdudaemon.pdu": pdu, "pdudaemon.port": port}
            )
            provision.lab.actuators.add(properties, Outlet(uri, pdu, port))
        await asyncio.Event().wait()

    return run()
