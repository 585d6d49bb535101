"""Ours and the reference implementation, as recorded and, where it is checked out, live."""

from base64 import b64decode
from pathlib import Path
from typing import Any
from xmlrpc.client import ServerProxy

import pytest

from swagent.errors import UptaneError
from tests.programs import run_swagent

from . import our_secondaries, our_vehicle, their_secondaries, their_vehicle
from .ecus import replay
from .office import PORTS, servers
from .reference import HOST, PRIMARY, VARIABLE, VIN, Checkouts, checkouts
from .wire import Transcript, read

HERE = Path(__file__).parent / "transcripts"
DIALECTS = ("ref-der", "ref-json")
PAGE = "docs/reference/uptane-interop.md"


@pytest.fixture
def reference() -> Checkouts:
    found = checkouts()
    if found is None:
        pytest.skip(f"needs the reference implementation: set {VARIABLE} as {PAGE} says")
    return found


def recorded(scene: str, dialect: str) -> Transcript:
    return read(HERE / f"{scene}-{dialect}.json")


@pytest.mark.parametrize("dialect", DIALECTS)
class TestOurVehicle:
    """Our Primary, full and partial Secondary, with the reference's Director, Image repository and Time server."""

    def test_as_recorded(self, dialect: str, quick_path: Path) -> None:
        replay(recorded("our-vehicle", dialect), quick_path, our_vehicle.play)

    def test_another_byte_is_noticed(self, dialect: str, quick_path: Path) -> None:
        transcript = recorded("our-vehicle", dialect)
        at = next(n for n, each in enumerate(transcript.exchanges) if b"submit_vehicle" in each.request.body)
        exchange = transcript.exchanges[at]
        other = exchange.request._replace(body=exchange.request.body.replace(b"democar", b"domecar"))
        transcript.exchanges[at] = exchange._replace(request=other)
        with pytest.raises(AssertionError, match="domecar"):
            replay(transcript, quick_path, our_vehicle.play)

    def test_another_answer_is_noticed(self, dialect: str, quick_path: Path) -> None:
        transcript = recorded("our-vehicle", dialect)
        at = next(n for n, each in enumerate(transcript.exchanges) if "/targets." in each.request.head[0])
        exchange = transcript.exchanges[at]
        last = exchange.answer.body.rindex(b"\x04\x40" if dialect == "ref-der" else b'"sig"')
        other = bytearray(exchange.answer.body)
        other[last + 10] ^= 1
        transcript.exchanges[at] = exchange._replace(answer=exchange.answer._replace(body=bytes(other)))
        with pytest.raises(AssertionError) as caught:
            replay(transcript, quick_path, our_vehicle.play)
        assert isinstance(caught.value.__cause__, UptaneError)

    @pytest.mark.slow
    def test_live(self, dialect: str, quick_path: Path, reference: Checkouts) -> None:
        assert our_vehicle.record(reference, quick_path, dialect).exchanges


@pytest.mark.parametrize("dialect", DIALECTS)
class TestOurSecondaries:
    """Our full and partial Secondary with the reference's Primary."""

    def test_as_recorded(self, dialect: str, quick_path: Path) -> None:
        replay(recorded("our-secondaries", dialect), quick_path, our_secondaries.play)

    @pytest.mark.slow
    def test_live(self, dialect: str, quick_path: Path, reference: Checkouts) -> None:
        assert our_secondaries.record(reference, quick_path, dialect).exchanges


@pytest.mark.parametrize("dialect", DIALECTS)
class TestTheirSecondaries:
    """The reference's full and partial Secondary with our Primary."""

    def test_as_recorded(self, dialect: str, quick_path: Path) -> None:
        their_secondaries.replay(recorded("their-secondaries", dialect), quick_path)

    def test_another_answer_is_noticed(self, dialect: str, quick_path: Path) -> None:
        transcript = recorded("their-secondaries", dialect)
        exchange = transcript.exchanges[-1]
        other = exchange.answer._replace(body=exchange.answer.body.replace(b"nil", b"lin"))
        transcript.exchanges[-1] = exchange._replace(answer=other)
        with pytest.raises(AssertionError, match="RPC2"):
            their_secondaries.replay(transcript, quick_path)

    @pytest.mark.slow
    def test_live(self, dialect: str, quick_path: Path, reference: Checkouts) -> None:
        assert their_secondaries.record(reference, quick_path, dialect).exchanges


@pytest.mark.parametrize("dialect", DIALECTS)
class TestTheirVehicle:
    """The reference's Primary, full and partial Secondary with our Director, Image repository and Time server."""

    def test_as_recorded(self, dialect: str, quick_path: Path) -> None:
        their_vehicle.replay(recorded("their-vehicle", dialect), quick_path)

    def test_another_answer_is_noticed(self, dialect: str, quick_path: Path) -> None:
        transcript = recorded("their-vehicle", dialect)
        at = next(n for n, each in enumerate(transcript.exchanges) if "/targets." in each.request.head[0])
        exchange = transcript.exchanges[at]
        other = exchange.answer._replace(body=exchange.answer.body[:-1] + b"!")
        transcript.exchanges[at] = exchange._replace(answer=other)
        with pytest.raises(AssertionError, match=r"/targets\."):
            their_vehicle.replay(transcript, quick_path)

    @pytest.mark.slow
    def test_live(self, dialect: str, quick_path: Path, reference: Checkouts) -> None:
        assert their_vehicle.record(reference, quick_path, dialect).exchanges


@pytest.mark.slow
@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_commands_live(dialect: str, quick_path: Path, reference: Checkouts) -> None:
    """``provision`` and ``update --once``, as they are typed, with the reference's servers."""
    back, front = quick_path / "reference", quick_path / "ours"
    back.mkdir()
    front.mkdir()
    swu, key = our_vehicle.make_swu(front)
    (front / "swu_key").write_bytes(key)
    (front / "settings.cfg").write_text('globals: { public-key-file = "swu_key"; };')
    (front / "disk").write_bytes(b"")
    with servers(reference, back, dialect, {"info.swu": swu}) as begun:
        for name, text in begun.facts["given"].items():
            (front / name).write_bytes(b64decode(text))
        url = {name: f"http://{HOST}:{begun.place.ports[port]}" for name, port in PORTS.items()}
        common = ["--state", "state", "--dialect", dialect]
        given = ["--director-root", "director_root", "--image-root", "image_root", "--time-key", "time_key"]
        assert run_swagent(["uptane", "provision", *common, *given], front).ok
        words = [
            "uptane", "update", "--once", *common, "--ecu-serial", PRIMARY, "--hardware-id", "x", "--vin", VIN,
            "--director", f"{url['director']}/{VIN}", "--image-repo", url["image"], "--time-server", url["time"],
            "--director-service", url["service"], "--installer", "swu", "--file", "settings.cfg",
        ]  # fmt: skip
        first = run_swagent(words, front)
        assert first.ok, first.text
        begun.office.order(**{PRIMARY: "info.swu"})
        second = run_swagent(words, front)
        assert second.ok, second.text
        assert (front / "disk").read_bytes() == our_vehicle.DISK
        rpc = ServerProxy(url["service"])
        report: Any = rpc.get_last_ecu_manifest(PRIMARY)
        assert report["signed"]["installed_image"]["filepath"] == "/info.swu"
