"""The lab's server: reads its configuration, starts providers and devices, and listens."""

import asyncio
import ipaddress
import os
from collections.abc import Callable
from typing import Any

from swagent.clock import SystemClock
from swagent.errors import RegistrationError, SettingsError, SwagentError

from .access import Access
from .auth import Authenticator, key_set
from .config import LabConfig, Oidc
from .lab import Lab
from .leasing import Leasing
from .oidc import REFRESH_S, IssuerKeys
from .records import keep_records, make_folder
from .running import Running
from .service import Service
from .wire import PORT, head, year_2023

DEFAULT_LISTEN = "[::1]"
MESSAGE_BYTES_MAX = 4 * 1024 * 1024
PINGS_MS = 5_000
"""How often clients may ask whether the server is still there."""
_OPTIONS = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.so_reuseport", 0),  # a port that another server has is an error, not a lottery
    # clients send no keepalive: who is gone must be found from here, or their consoles and volumes stay taken
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    # and clients may look for us as often: gRPC hangs up by itself on who does so in a quiet lab
    ("grpc.http2.min_ping_interval_without_data_ms", PINGS_MS),
)
_GRACE_S = 2.0


def address_of(listen: str) -> str:
    """Where to listen, as ``[::1]:6683``; an address without a port gets the lab's.

    Raises:
        SettingsError: it is no address; names are not taken.
    """
    text = listen or DEFAULT_LISTEN
    host, port = text, str(PORT)
    if text.startswith("["):
        inner, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise _no_address(text)
        host, port = inner, rest[1:] or port
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise _no_address(text) from None
    if not (port.isascii() and port.isdecimal() and int(port) <= 65535):
        raise _no_address(text)
    return f"[{address}]:{int(port)}" if address.version == 6 else f"{address}:{int(port)}"


def _no_address(text: str) -> SettingsError:
    return SettingsError(
        f"{text[:80]!r} is no address to listen on", hint="write 127.0.0.1, [::1]:6683 or 0.0.0.0:6683"
    )


class LabServer:
    """A lab that is served.

    Args:
        config: what it is made of.
        listen: overrides the configuration's address; "" does not.
        legacy: speak the wire of 2023.
        log: takes sentences for people.

    Raises:
        SettingsError: something in the configuration cannot be.
        RegistrationError: a library is missing.

    Attributes:
        lab: the registries.
        port: where it listens, once it has started.
    """

    def __init__(
        self, config: LabConfig, *, listen: str = "", legacy: bool = False, log: Callable[[str], None]
    ) -> None:
        self._config = config
        self._address = address_of(listen or config.server.listen)
        self._log = log
        self.lab = Lab()
        self.port = 0
        self._sets = [key_set(method) for method in config.server.authentication]
        self._judge = Authenticator(self._sets)
        self._access = Access(config.server.roles, self.lab, SystemClock(), utc)
        self._leasing = Leasing(self.lab, authenticator=self._judge, access=self._access, log=log)
        self._service = Service(
            self.lab,
            year_2023() if legacy else head(),
            authenticator=self._judge,
            access=self._access,
            logins=_logins(config),
            log=log,
        )
        self._running = Running(self.lab, self._access, log)
        self._ready = self._running.prepare(config)
        self._tasks = asyncio.TaskGroup()
        self._refreshing: list[asyncio.Task[None]] = []
        self._reloading = asyncio.Lock()

    async def run(self, started: Callable[[], None] = lambda: None) -> None:
        """Serve until it is cancelled.

        Args:
            started: called when clients can come.

        Raises:
            SettingsError: it cannot listen there, or its certificate cannot be used.
        """
        try:
            if self._config.server.logs:
                make_folder(self._config.server.logs)
            server = self._listen()
        except SettingsError:
            self.forget()
            raise
        await server.start()
        try:
            async with self._tasks as tasks:
                await self._running.apply(self._ready, tasks)
                if self._config.server.logs:
                    tasks.create_task(
                        keep_records(self._config.server.logs, self.lab.consoles, SystemClock(), self._log)
                    )
                self._refresh_keys()
                started()
                await server.wait_for_termination()
        finally:
            await server.stop(_GRACE_S)
            for item in self.lab.consoles.items():
                await item.what.close()

    @property
    def address(self) -> str:
        """Where clients find it, once it has started."""
        scheme = "https" if self._config.server.chain else "http"
        return f"{scheme}://{self._address.rpartition(':')[0]}:{self.port}"

    def forget(self) -> None:
        """It will not run; what was made ready is given up."""
        self._ready.forget()

    async def reload(self, config: LabConfig) -> None:
        """Go on with another configuration; what is the same in it goes on undisturbed.

        Args:
            config: its ``listen``, ``certificate`` and ``logs`` count at the next start only.

        Raises:
            SettingsError: something in it cannot be; nothing has changed then.
        """
        async with self._reloading:
            methods = config.server.authentication
            sets = await asyncio.to_thread(lambda: [key_set(method) for method in methods])
            ready = self._running.prepare(config)
            old, new = self._config.server, config.server
            if (old.listen, old.chain, old.key, old.logs) != (new.listen, new.chain, new.key, new.logs):
                self._log("listen, certificate and logs count when the server is started again")
            self._config, self._sets = config, sets
            self._judge.replace(sets)
            self._access.replace(config.server.roles)
            self._service.logins = _logins(config)
            self._refresh_keys()
            await self._running.apply(ready, self._tasks)

    def _refresh_keys(self) -> None:
        for task in self._refreshing:
            task.cancel()
        issuers = [keys for keys in self._sets if isinstance(keys, IssuerKeys)]
        self._refreshing = [self._tasks.create_task(self._refresh(keys)) for keys in issuers]

    async def _refresh(self, keys: IssuerKeys) -> None:
        while True:
            await asyncio.sleep(REFRESH_S)
            try:
                await asyncio.to_thread(keys.refresh)
            except SwagentError as exc:
                self._log(f"the issuer's keys stay as they are: {exc.message}")

    def _listen(self) -> Any:
        import grpc

        server = grpc.aio.server(options=_OPTIONS)
        server.add_generic_rpc_handlers((self._service.handlers(), self._leasing.handlers()))
        try:
            if self._config.server.chain:
                self.port = server.add_secure_port(self._address, self._credentials())
            else:
                self.port = server.add_insecure_port(self._address)
        except RuntimeError as exc:
            raise SettingsError(
                f"cannot listen on {self._address}", hint="does another server have it?"
            ) from exc
        if not self.port:
            raise SettingsError(f"cannot listen on {self._address}", hint="does another server have it?")
        return server

    def _credentials(self) -> Any:
        import grpc

        from swagent.crypto.keys import read_secret_file

        rule = self._config.server
        try:
            with open(rule.chain, "rb") as file:
                chain = file.read()
        except OSError as exc:
            raise SettingsError(f"cannot read the certificate chain {rule.chain}: {exc.strerror}") from exc
        return grpc.ssl_server_credentials([(read_secret_file(rule.key, "key file"), chain)])


def _logins(config: LabConfig) -> tuple[Oidc, ...]:
    return tuple(one for one in config.server.authentication if isinstance(one, Oidc))


def utc(time_s: float) -> str:
    """A time as people read it."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def needs_grpc() -> None:
    """See that the libraries are there.

    Raises:
        RegistrationError: they are not.
    """
    os.environ.setdefault(
        "GRPC_VERBOSITY", "NONE"
    )  # its own complaints repeat ours, with places in its source
    try:
        import grpc  # noqa: F401 - only whether it is there
    except ImportError as exc:
        raise RegistrationError("the lab needs grpcio", hint="pip install 'swagent[lab]'") from exc
