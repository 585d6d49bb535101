"""The calls of hawkBit's DDI API, and how their ends count (runtime interfaces §5.2, §5.4)."""

import json
from collections.abc import Mapping
from time import localtime, strftime
from typing import Any
from urllib.parse import quote

from swagent.clock import Clock
from swagent.errors import DeadlineError, SettingsError, SwagentError, TransportError
from swagent.net import Answer, HttpExchange, HttpOptions, Untrusted

from .ddi import (
    ANSWER_BYTES_MAX,
    BadAnswer,
    Cancel,
    Deployment,
    Visit,
    read_cancel,
    read_deployment,
    read_visit,
)

REQUEST_PENDING = 15
ANSWER_S_MAX = 60.0
FINISHED = ("success", "failure", "none")
EXECUTIONS = ("closed", "proceeding", "canceled", "scheduled", "rejected", "resumed")
_RESULTS = {401: 4, 403: 4, 405: 4, 407: 4, 503: 4, 404: 11, 429: 8, 302: 12}
_OK, _NO_NETWORK, _BAD_MESSAGE = 0, 2, 10
_NO_ANSWER = ((Untrusted, 13), (DeadlineError, 8))


class Rejected(TransportError):
    """The server does not want this, now or ever."""

    retryable = False


class DdiServer:
    """One controller's view of a hawkBit.

    Args:
        given: SWUpdate's keys of the group ``hawkbit``.
        options: how to talk to it; the token is added here.
        clock: for the time in messages.

    Attributes:
        name: for people and for the ledger.
        download_options: how to fetch from it.
        result: number of what the last poll came to.
        result_s: when.

    Raises:
        SettingsError: something is missing, or there is too much.
    """

    def __init__(self, given: Mapping[str, Any], options: HttpOptions, clock: Clock) -> None:
        missing = [key for key in ("url", "tenant", "id") if not given.get(key)]
        if missing:
            raise SettingsError(
                f"hawkBit: {', '.join(missing)} missing in the settings",
                hint="set url, tenant and id in the group hawkbit, or with -u '-u URL -t TENANT -i ID'",
            )
        url, tenant, unit = str(given["url"]).rstrip("/"), given["tenant"], quote(given["id"], safe="")
        tokens = [
            f"{word} {given[key]}"
            for key, word in (("targettoken", "TargetToken"), ("gatewaytoken", "GatewayToken"))
            if given.get(key)
        ]
        if len(tokens) > 1:
            raise SettingsError(
                "hawkBit: targettoken and gatewaytoken are both set", hint="remove one of them"
            )
        with_token = options._replace(authorization=tokens[0] if tokens else "")
        self.download_options = with_token if given.get("usetokentodwl", True) else options
        self.result = REQUEST_PENDING
        self.result_s = clock.now_s()
        self._clock = clock
        self._base = f"{url}/{tenant}/controller/v1/{unit}"
        asking = with_token._replace(timeout_s=min(options.timeout_s, ANSWER_S_MAX))
        self.exchange = HttpExchange(self._base, asking, clock)
        self.exchange.read_keys()
        self.name = f"hawkbit {url.partition('://')[2].rpartition('@')[2]}/{tenant}/{unit}"

    def visit(self) -> Visit:
        """Poll.

        Raises:
            TransportError, DeadlineError: there is no good answer.
        """
        self.result_s = self._clock.now_s()
        try:
            answer = self._get(self._base)
        except SwagentError as exc:
            self.result = next((number for kind, number in _NO_ANSWER if isinstance(exc, kind)), _NO_NETWORK)
            raise
        self.result = _RESULTS.get(answer.status, _OK if answer.is_good else _BAD_MESSAGE)
        try:
            return read_visit(self._good(answer, "the poll"))
        except BadAnswer:
            self.result = _BAD_MESSAGE
            raise

    def cancel(self, url: str) -> Cancel:
        """What is to be cancelled.

        Raises:
            TransportError, DeadlineError: there is no good answer.
        """
        return read_cancel(self._good(self._get(url), "cancelAction"))

    def deployment(self, url: str) -> Deployment:
        """What is to be done.

        Raises:
            BadDeployment: it cannot be done as it is.
            TransportError, DeadlineError: there is no good answer.
        """
        return read_deployment(self._good(self._get(url), "deploymentBase"))

    def identify(self, attributes: Mapping[str, str]) -> None:
        """Tell about the unit.

        Raises:
            TransportError, DeadlineError: the server did not take it.
        """
        body = {
            "id": "",
            "time": self._time(),
            "mode": "replace",
            "status": {"result": {"finished": "success"}, "execution": "closed", "details": [""]},
            "data": dict(attributes),
        }
        self._send("PUT", f"{self._base}/configData", body)

    def feedback(
        self,
        action: str,
        finished: str,
        execution: str,
        details: tuple[str, ...],
        *,
        done: int = 0,
        of: int = 0,
    ) -> None:
        """Tell how a deployment goes on.

        Raises:
            Rejected: the server does not want to hear it.
            TransportError, DeadlineError: it did not hear it.
        """
        result = {"progress": {"cnt": done, "of": of}, "finished": finished}
        self._tell(f"{self._base}/deploymentBase/{action}/feedback", action, result, execution, details)

    def cancel_feedback(
        self, url: str, cancel: Cancel, finished: str, execution: str, details: tuple[str, ...]
    ) -> None:
        """Answer a wish to cancel.

        Raises:
            Rejected: the server does not want to hear it.
            TransportError, DeadlineError: it did not hear it.
        """
        target = url.partition("?")[0].rstrip("/") + "/feedback"
        self._tell(target, cancel.stop_id, {"finished": finished}, execution, details)

    def _tell(
        self, url: str, number: str, result: dict[str, Any], execution: str, details: tuple[str, ...]
    ) -> None:
        body = {
            "id": int(number),
            "time": self._time(),
            "status": {"result": result, "execution": execution, "details": list(details)},
        }
        self._send("POST", url, body)

    def _get(self, url: str) -> Answer:
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        return self.exchange.ask("GET", url, headers=headers, max_bytes=ANSWER_BYTES_MAX)

    def _send(self, method: str, url: str, body: dict[str, Any]) -> None:
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        answer = self.exchange.ask(
            method, url, body=json.dumps(body).encode(), headers=headers, max_bytes=ANSWER_BYTES_MAX
        )
        self._good(answer, url.rpartition("/")[2])

    def _good(self, answer: Answer, what: str) -> bytes:
        if answer.is_good:
            return answer.body
        hint = {
            401: "does it accept this token or certificate?",
            404: "are tenant and id right? a new unit must be known to the server, or come with a gateway token",
        }.get(answer.status, "")
        final = answer.status in (400, 404, 406, 409, 410, 415)
        kind = Rejected if final else TransportError
        raise kind(f"{self.name}: the server answers {answer.status} to {what}", hint=hint)

    def _time(self) -> str:
        return strftime("%Y%m%dT%H%M%S", localtime(self._clock.now_s()))
