"""Runs a renderer beside the install, so that a slow terminal or reader never slows the update."""

from typing import Protocol

from swagent.events import Event, EventBus


class Renderer(Protocol):
    """Shows events."""

    def show(self, event: Event) -> None:
        """Show one."""
        ...

    def close(self) -> None:
        """No more will come."""
        ...


class Syslog:
    """Shows events to syslog, as SWUpdate's ``-L`` does."""

    def __init__(self) -> None:
        import syslog

        self._syslog = syslog
        self._priorities = {"error": syslog.LOG_ERR, "warn": syslog.LOG_WARNING, "info": syslog.LOG_INFO}
        syslog.openlog("swagent", syslog.LOG_PID, syslog.LOG_USER)

    def show(self, event: Event) -> None:
        """Log lines, notes, and the verdict."""
        if event.event == "log":
            level = str(event.facts.get("level"))
            self._syslog.syslog(self._priorities.get(level, self._syslog.LOG_DEBUG), event.message)
        elif event.event == "update.noted":
            self._syslog.syslog(self._syslog.LOG_WARNING, event.message)
        elif event.event == "update.verdict":
            good = event.facts.get("exit_code") == 0
            text = f"{event.facts.get('result')} {event.message}".rstrip()
            self._syslog.syslog(self._syslog.LOG_INFO if good else self._syslog.LOG_ERR, text)

    def close(self) -> None:
        """End."""
        self._syslog.closelog()


class Screen:
    """A thread that shows what a bus publishes."""

    def __init__(self, bus: EventBus, renderer: Renderer) -> None:
        from queue import SimpleQueue
        from threading import Thread

        self._bus = bus
        self._renderer = renderer
        self._wake: SimpleQueue[bool] = SimpleQueue()
        self._subscription = bus.subscribe(lambda: self._wake.put(True))
        self._thread = Thread(target=self._work, name="screen", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Show what is left and end."""
        self._bus.unsubscribe(self._subscription)
        self._wake.put(False)
        self._thread.join()

    def _work(self) -> None:
        more = True
        while more:
            more = self._wake.get()
            for event in self._subscription.take():
                self._renderer.show(event)
        self._renderer.close()


class LateScreen:
    """Shows everything at the end: for renderers that show the verdict only, which are not worth a thread."""

    def __init__(self, bus: EventBus, renderer: Renderer) -> None:
        self._renderer = renderer
        self._subscription = bus.subscribe(wanted=_is_of_lasting_interest)

    def close(self) -> None:
        """Show all."""
        for event in self._subscription.take():
            self._renderer.show(event)
        self._renderer.close()


def _is_of_lasting_interest(event: Event) -> bool:
    return event.event.startswith(("update.", "description.", "log")) or event.event.endswith(".failed")
