"""SWUpdate's WebSocket messages, to the byte (runtime interfaces §4.1)."""

import json
from collections.abc import Iterator, Mapping

from swagent.ipc import Notification, Progress

STATUS = ("IDLE", "START", "RUN", "SUCCESS", "FAILURE", "DOWNLOAD", "DONE", "SUBPROCESS")
SUCCESS, FAILURE, PROGRESS = 3, 4, 8
SOURCES = ("UNKNOWN", "WEBSERVER", "SURICATTA", "DOWNLOADER", "LOCAL")
WEBSERVER = 1
_LEVELS = {1: "3", 2: "4", 3: "6"}  # of RFC 5424; traces and the rest are 7


class Translator:
    """Remembers what was said, since most things are said only when they change."""

    def __init__(self) -> None:
        self._status = -1
        self._source = -1
        self._step: tuple[object, ...] = ()

    def frames(self, news: Progress) -> Iterator[str]:
        """What a progress message is to those who listen."""
        if news.status != PROGRESS and (news.status != self._status or news.status == FAILURE):
            self._status = news.status
            known = STATUS[news.status] if news.status < len(STATUS) else "UNKNOWN"
            yield frame({"type": "status", "status": known})
        if news.origin != self._source:
            self._source = news.origin
            known = SOURCES[news.origin] if news.origin < len(SOURCES) else "UNKNOWN"
            yield frame({"type": "source", "source": known})
        if news.info:
            yield frame({"type": "info", "source": news.info})
        step = (news.steps, news.step, news.image, news.percent)
        if news.step > 0 and step != self._step:
            self._step = step
            yield frame(
                {
                    "type": "step",
                    "number": str(news.steps),
                    "step": str(news.step),
                    "name": news.image,
                    "percent": str(news.percent),
                }
            )


def message(notice: Notification) -> str:
    """What a log line is to them."""
    return frame({"type": "message", "level": _LEVELS.get(notice.level, "7"), "text": notice.text})


def frame(keys: Mapping[str, str]) -> str:
    """JSON as SWUpdate lays it out."""
    return json.dumps(keys, indent="\t", ensure_ascii=False).replace("\n", "\r\n") + "\r\n"
