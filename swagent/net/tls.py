"""TLS towards servers, as the settings want it, and towards clients."""

import os
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING

from swagent.errors import SettingsError

from .options import HttpOptions

if TYPE_CHECKING:
    import ssl


def client_context(options: HttpOptions, *, own: bool = True) -> "ssl.SSLContext":
    """A context for connections to a server; those that show no certificate are shared.

    Args:
        options: whom to believe, what to show.
        own: whether it is the server itself; others are not shown our certificate.

    Raises:
        SettingsError: a certificate, key or cipher list cannot be used.
    """
    if not (own and options.certificate_file):
        changed_ns = 0
        if options.ca_file:
            with suppress(OSError):  # whoever reads it says why
                changed_ns = os.stat(options.ca_file).st_mtime_ns
        return _believing(options.ca_file, changed_ns, options.ciphers, options.verify)
    context = _new(options.ca_file, options.ciphers, options.verify)
    try:
        context.load_cert_chain(options.certificate_file, options.key_file or None, options.key_password)
    except (OSError, ValueError) as exc:
        raise SettingsError(
            f"certificate {options.certificate_file} and key {options.key_file or 'in it'} "
            f"cannot be used: {exc}"
        ) from exc
    return context


@lru_cache(maxsize=16)
def _believing(ca_file: str, changed_ns: int, ciphers: str, verify: bool) -> "ssl.SSLContext":
    """To read all of a system's authorities takes tens of milliseconds, and a daemon has many connections."""
    return _new(ca_file, ciphers, verify)


def _new(ca_file: str, ciphers: str, verify: bool) -> "ssl.SSLContext":
    import ssl

    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ValueError) as exc:
        raise SettingsError(f"{ca_file}: no certificates that can be read: {exc}") from exc
    if ciphers:
        try:
            context.set_ciphers(ciphers)
        except ssl.SSLError as exc:
            raise SettingsError(f"ciphers: OpenSSL knows none of {ciphers!r}") from exc
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def server_context(certificate: str, key: str, client_ca: str, *, required: bool = True) -> "ssl.SSLContext":
    """TLS 1.2 or newer.

    Args:
        certificate: to serve with.
        key: its private key, "" when it is in the same file.
        client_ca: whose clients may come, "" to ask for no certificate.
        required: whether those without a certificate are turned away.

    Raises:
        SettingsError: a file cannot be used.
    """
    import ssl

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key or None)
        if client_ca:
            context.load_verify_locations(client_ca)
            context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
    except (OSError, ValueError) as exc:
        raise SettingsError(f"TLS: {certificate}, its key or {client_ca or 'no CA'}: {exc}") from exc
    return context
