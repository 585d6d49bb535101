"""The loop: it goes on after errors, listens while it works, and ends when it is asked to."""

from collections.abc import Callable

import pytest

from swagent.errors import Cancelled, TransportError
from swagent.suricatta.agent import Agent
from swagent.suricatta.api import Order, Reply

SECOND = 1.0


class Time:
    """A clock that orders move on."""

    def __init__(self) -> None:
        self.s = 0.0

    def now_s(self) -> float:
        return self.s

    def monotonic_s(self) -> float:
        return self.s


class Desk:
    """Orders that come at certain times, and their answers."""

    def __init__(self, time: Time, *orders: tuple[float, Order]) -> None:
        self.time = time
        self.waiting = list(orders)
        self.answers: list[Reply] = []

    def take(self, wait_s: float) -> Order | None:
        until_s = self.time.s + min(wait_s, 1000)
        if self.waiting and self.waiting[0][0] <= until_s:
            at_s, order = self.waiting.pop(0)
            self.time.s = max(self.time.s, at_s)
            return order
        self.time.s = until_s
        return None

    def answer(self, reply: Reply) -> None:
        self.answers.append(reply)


class Steps:
    """A backend that does one thing after the other."""

    def __init__(self, time: Time, *steps: float | Exception | Callable[[], float]) -> None:
        self.time = time
        self.steps = list(steps)
        self.at: list[float] = []
        self.between: list[Order] = []

    def step(self) -> float:
        self.at.append(round(self.time.s, 3))
        if not self.steps:
            raise Cancelled("the end")
        found = self.steps.pop(0)
        if isinstance(found, Exception):
            raise found
        return found() if callable(found) else found

    def order(self, order: Order) -> Reply | None:
        return Reply(is_ack=True, data=b"at once") if order.number == 1 else None

    def order_between(self, order: Order) -> Reply:
        self.between.append(order)
        return Reply(is_ack=True, data=b"between", wakes=order.number == 4)


def run(
    *steps: float | Exception | Callable[[], float],
    orders: tuple[tuple[float, Order], ...] = (),
    enabled: bool = True,
) -> tuple[Steps, Desk, Agent, list[str]]:
    time = Time()
    desk = Desk(time, *orders)
    backend = Steps(time, *steps)
    log: list[str] = []
    agent = Agent(
        desk,
        time,
        lambda level, line: log.append(line),
        lambda: time.s > 10_000 or (not backend.steps and len(backend.at) > len(steps)),
        enabled=enabled,
    )
    agent.run(backend)
    return backend, desk, agent, log


def test_it_waits_as_long_as_it_is_told() -> None:
    backend, *_ = run(5.0, 7.0)
    assert backend.at == [0, 5, 12]


def test_errors_lead_to_later_attempts() -> None:
    lost = TransportError("gone", hint="look")
    backend, _, _, log = run(lost, lost, lost, *[lost] * 4, 5.0, lost)
    assert backend.at == [0, 10, 30, 70, 150, 310, 630, 950, 955, 965]
    assert log[0] == "gone (look); the next attempt follows in 10 s"


def test_a_trigger_and_an_enable_wake_it() -> None:
    backend, desk, *_ = run(
        100.0,
        100.0,
        orders=(
            (3.0, Order(2, b'{"trigger": true}')),
            (4.0, Order(2, b'{"enable": true}')),  # it was on already
            (5.0, Order(2, b"{")),
            (6.0, Order(2, b"[1]")),
        ),
    )
    assert backend.at == [0, 3, 103]
    assert [answer.is_ack for answer in desk.answers] == [True, True, False, True]


def test_while_it_is_off_nothing_is_asked() -> None:
    backend, *_ = run(
        1.0,
        1000.0,
        1000.0,
        enabled=False,
        orders=(
            (5.0, Order(2, b'{"trigger": true}')),
            (9.0, Order(2, b'{"enable": true}')),
            (9.5, Order(2, b'{"enable": false}')),
            (50.0, Order(2, b'{"enable": true}')),
        ),
    )
    assert backend.at[:3] == [5, 9, 50]


def test_orders_are_answered_meanwhile_or_kept() -> None:
    agent_of: list[Agent] = []
    time = Time()
    desk = Desk(time, (0.0, Order(1, b"")), (0.0, Order(0, b"kept")), (0.0, Order(2, b"{}")))

    def long_step() -> float:
        agent_of[0].waiting()
        assert [answer.data for answer in desk.answers] == [b"at once", None]
        return 3.0

    backend = Steps(time, long_step)
    agent = Agent(desk, time, lambda level, line: None, lambda: len(backend.at) > 1, enabled=True)
    agent_of.append(agent)
    agent.run(backend)
    assert [order.data for order in backend.between] == [b"kept"]
    assert desk.answers[-1].data == b"between"


def test_what_there_is_to_do_now_is_done_now() -> None:
    backend, *_ = run(1000.0, orders=((2.0, Order(4, b"")),))
    assert backend.at == [0, 2]


def test_waiting_ends_when_it_is_to_end() -> None:
    agent = Agent(Desk(Time()), Time(), lambda level, line: None, lambda: True, enabled=True)
    with pytest.raises(Cancelled):
        agent.waiting()
