"""How to talk to a server."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class HttpOptions(NamedTuple):
    """What a client is told; the names of SWUpdate's keys are in docs/howto/install-from-a-server.md.

    Attributes:
        ca_file: certificates to believe instead of the system's, "" for the system's.
        certificate_file: certificate (chain) to show to the server, "" for none.
        key_file: its private key, "" when it is in the same file.
        key_password: opens the key.
        ciphers: of TLS 1.2 and below, as OpenSSL names them, "" for Python's choice.
        verify: whether the server must prove who it is.
        proxy: ``http://`` or ``https://`` URL of a proxy, "" for none; may carry ``user:password@``.
        authentication: ``user:password`` for the server, "" for none.
        authorization: the header of that name for the server, instead of ``authentication``; "" for none.
        retries: how often to try again in a row without having got anything worth mentioning.
        retry_wait_s: seconds before the first further attempt; later ones wait longer.
        timeout_s: seconds in which a server must bring something.
        connect_s: seconds in which it must be connected.
        speed_max: bytes per second, 0 for as many as come.
        interface: network device, or address of one, that connections leave by; "" for the system's choice.
        headers: sent to the server with every request, by name; they may be secret.
        speed_least: bytes per second that a small file must come with on average, once it takes longer than 10 s; 0 for
            no such limit. Streams are watched by whoever reads them.
    """

    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""
    key_password: str = ""
    ciphers: str = ""
    verify: bool = True
    proxy: str = ""
    authentication: str = ""
    authorization: str = ""
    retries: int = 3
    retry_wait_s: float = 5.0
    timeout_s: float = 300.0
    connect_s: float = 30.0
    speed_max: int = 0
    interface: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    speed_least: int = 0


def options_from(given: Mapping[str, Any]) -> HttpOptions:
    """From the keys of a group of the settings, by SWUpdate's names."""
    defaults = HttpOptions()
    key_header = given.get("api_key_header", "").rstrip(":")
    return HttpOptions(
        ca_file=given.get("cafile", ""),
        certificate_file=given.get("sslcert", ""),
        key_file=given.get("sslkey", ""),
        key_password=given.get("sslkeypassword", ""),
        ciphers=given.get("ciphers", ""),
        verify=not given.get("nocheckcert", False),
        proxy=given.get("proxy", ""),
        authentication=given.get("authentication", ""),
        retries=given.get("retries", given.get("retry", defaults.retries)),
        retry_wait_s=given.get("retrywait", defaults.retry_wait_s),
        timeout_s=given.get("timeout", defaults.timeout_s),
        connect_s=given.get("connection-timeout", defaults.connect_s),
        speed_max=given.get("max-download-speed", 0),
        interface=given.get("interface", ""),
        headers=((key_header, given.get("api_key", "")),) if key_header else (),
    )
