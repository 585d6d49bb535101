"""hawkBit's Management API, as a person's console uses it: of ours for tests, or of the real one."""

import base64
import json
import os
import urllib.error
import urllib.request
from typing import Any


class Management:
    """Calls of one server.

    Args:
        url: of the server.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._login = "Basic " + base64.b64encode(b"admin:admin").decode()

    def call(
        self, method: str, path: str, tree: object = None, *, form: tuple[str, bytes] | None = None
    ) -> Any:
        """One call; what it answers.

        Args:
            method: of HTTP.
            path: below ``/rest/v1/``.
            tree: to send as JSON.
            form: a file to send, its name and content.
        """
        headers = {"Authorization": self._login, "Accept": "application/json"}
        body = None
        if form is not None:
            boundary = os.urandom(8).hex()
            head = (
                f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{form[0]}"\r\n\r\n'
            )
            body = head.encode() + form[1] + f"\r\n--{boundary}--\r\n".encode()
            headers["Content-Type"] = f"multipart/form-data; boundary={boundary}"
        elif tree is not None:
            body = json.dumps(tree).encode()
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(f"{self.url}/rest/v1/{path}", body, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                text = answer.read()
        except urllib.error.HTTPError as exc:
            raise AssertionError(f"{method} {path}: {exc.code} {exc.read()[:500]!r}") from exc
        return json.loads(text) if text else None

    def add_target(self, name: str, token: str) -> None:
        """A unit."""
        self.call("POST", "targets", [{"controllerId": name, "name": name, "securityToken": token}])

    def add_set(self, version: str, *modules: dict[str, bytes]) -> int:
        """A distribution set; one mapping of file names to contents a module. Of type ``os_app`` if there are two."""
        found = []
        for number, files in enumerate(modules):
            kind = "os" if number == 0 else "application"
            (module,) = self.call(
                "POST", "softwaremodules", [{"name": f"module{number}", "version": version, "type": kind}]
            )
            for name, content in files.items():
                self.call("POST", f"softwaremodules/{module['id']}/artifacts", form=(name, content))
            found.append({"id": module["id"]})
        kind = "os" if len(found) == 1 else "os_app"
        (made,) = self.call(
            "POST",
            "distributionsets",
            [{"name": "release", "version": version, "type": kind, "modules": found}],
        )
        return int(made["id"])

    def assign(self, target: str, set_id: int, kind: str = "forced", **more: object) -> int:
        """Returns the number of the action."""
        self.call("POST", f"targets/{target}/assignedDS", {"id": set_id, "type": kind, **more})
        actions = self.call("GET", f"targets/{target}/actions?limit=50")["content"]
        return max(int(action["id"]) for action in actions)

    def state(self, target: str, action: int) -> str:
        """``pending`` or ``finished``."""
        return str(self.call("GET", f"targets/{target}/actions/{action}")["status"])

    def history(self, target: str, action: int) -> list[tuple[str, list[str]]]:
        """Kinds of status and their messages, newest first."""
        found = self.call("GET", f"targets/{target}/actions/{action}/status?limit=50")["content"]
        found.sort(key=lambda one: -int(one["id"]))
        return [(one["type"], one["messages"]) for one in found]

    def cancel(self, target: str, action: int) -> None:
        """A wish; the unit must agree."""
        self.call("DELETE", f"targets/{target}/actions/{action}")
