"""An authority, a server's and a client's certificate, made by openssl."""

import ssl
from pathlib import Path

from tests.programs import must, need


class Authority:
    """Certificates in a folder: ``ca.pem``, ``server.pem`` (localhost), ``client.pem`` …, each with its ``.key``."""

    def __init__(self, folder: Path, *names: str) -> None:
        need("openssl")
        self.folder = folder
        folder.mkdir()
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
        self._openssl(
            "req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test authority"
        )
        for name, more in (
            ("server", "DNS:localhost"),
            ("client", "DNS:device"),
            ("stranger", "DNS:elsewhere"),
            *((name, f"DNS:{name}") for name in names),
        ):
            self._openssl(
                "req", "-x509", *curve, "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}",
                "-CA", "ca.pem", "-CAkey", "ca.key", "-addext", f"subjectAltName={more}",
                "-addext", "basicConstraints=critical,CA:FALSE",
            )  # fmt: skip

    def _openssl(self, *words: str) -> None:
        must(["openssl", *words], cwd=self.folder)

    def path(self, name: str) -> str:
        """A file of the folder."""
        return str(self.folder / name)

    def context(self, name: str = "server", *, ask_client: bool = False) -> ssl.SSLContext:
        """TLS for a server."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.path(f"{name}.pem"), self.path(f"{name}.key"))
        if ask_client:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.path("ca.pem"))
        return context
