"""A Primary and its Secondary over real sockets, both ways, in every dialect: updates arrive, and nothing else does."""

import socket
import time
import xmlrpc.client
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from swagent.clock import SystemClock
from swagent.errors import (
    EndlessDataError,
    SwagentError,
    TransportError,
)
from swagent.net import HttpOptions
from swagent.net.rpc import RemoteFault
from swagent.net.rpcwords import call_body
from swagent.net.tls import server_context
from swagent.testing.repositories import image_target
from swagent.uptane.codecs import NAMES
from swagent.uptane.errors import InvalidMetadata, TargetHashMismatch, VersionRollback
from swagent.uptane.metadata import ROOT, TARGETS
from swagent.uptane.reports import UNKNOWN_IMAGE, EcuReport
from swagent.uptane_client.desk import ARCHIVE, Desk, HandOver
from swagent.uptane_client.images import ImageStore
from swagent.uptane_client.links import HttpLink, RpcLink
from swagent.uptane_client.secondary import PrimaryLink
from swagent.uptane_client.sources import as_value
from swagent.vehicle.resources import Resources
from swagent.vehicle.rpc import Methods
from swagent.vehicle.server import Answer, Request, VehicleServer
from tests.net.authority import Authority
from tests.uptane_client.world import FIRMWARE, PRIMARY, TCU, VIN, World

QUICK = HttpOptions(retries=0, timeout_s=10.0)


class Torn:
    """A ``Reader`` that fails after so many bytes."""

    def __init__(self, source: Any, bytes_: int) -> None:
        self.source = source
        self.left = bytes_

    def readinto(self, buffer: memoryview) -> int:
        if not self.left:
            raise TransportError("torn")
        n = int(self.source.readinto(buffer[: min(len(buffer), self.left)]))
        self.left -= n
        return n


class Served:
    """A world whose Secondary asks its Primary over the network."""

    def __init__(self, world: World, way: str) -> None:
        self.world = world
        self.lines: list[str] = []
        folder = world.folder / "files" / "primary"
        self.images = ImageStore(str(folder / "targets"), world.clock.monotonic_s)
        self.handover = HandOver(str(folder / "metadata"), world.codec, world.rules.caps)
        self.desk = Desk(VIN, world.codec, world.memory, self.images, self.handover, world.clock)
        self.answers: Any = (
            Methods(self.desk, self.log) if way == "rpc" else Resources(self.desk, self.log, certified=False)
        )
        self.server = VehicleServer(self.answers, "127.0.0.1", (0,), self.log)
        self.url = f"http://127.0.0.1:{self.server.port}"
        self.link: PrimaryLink = (
            RpcLink(self.url, VIN, TCU, world.codec, world.clock)
            if way == "rpc"
            else HttpLink(self.url, VIN, TCU, QUICK, world.clock)
        )

    def log(self, level: str, line: str) -> None:
        self.lines.append(f"{level}: {line}")

    def primary(self) -> None:
        self.world.primary(handover=self.handover).cycle()

    def secondary(self) -> str:
        return self.world.secondary(link=self.link).cycle()

    def round(self) -> str:
        self.primary()
        return self.secondary()

    def started(self) -> "Served":
        self.world.secondary(link=self.link).report()
        self.round()
        return self

    def attacks(self) -> str:
        _, reports = self.world.memory.reports()
        return self.world.codec.decode_ecu_report(reports[TCU][-1]).content.attacks


@pytest.fixture
def serve(quick_path: Path) -> Iterator[Callable[..., Served]]:
    begun: list[Served] = []

    def begin(dialect: str = "tuf1", way: str = "rpc", *, partial: bool = False) -> Served:
        world = World(quick_path, dialect)
        world.partial = partial
        begun.append(Served(world, way))
        return begun[-1]

    yield begin
    for each in begun:
        each.server.close()


@pytest.fixture(params=["rpc", "http"])
def served(request: pytest.FixtureRequest, serve: Callable[..., Served]) -> Served:
    return serve("tuf1", request.param).started()


class TestReportsThatSilenceTheVehicle:
    """One Secondary cannot keep the manifests of its vehicle from the Director."""

    @pytest.mark.parametrize("text", ["\x01", "\r", "\x1f", "\uffff"])
    def test_by_characters_that_xml_has_not(self, serve: Callable[..., Served], text: str) -> None:
        served = serve("ref-json", "http").started()
        report = served.world.codec.encode_ecu_report(
            EcuReport(TCU, UNKNOWN_IMAGE, 1, 1, f"harmless{text}"), served.world.time.signer
        )
        with pytest.raises(TransportError):
            served.link.submit(5, report)
        assert any("control characters" in line for line in served.lines)
        call_body("submit_vehicle_manifest", (VIN, PRIMARY, as_value(manifest(served), served.world.codec)))

    def test_by_much(self, serve: Callable[..., Served]) -> None:
        served = serve("ref-json", "http").started()
        for number in range(20):
            facts = EcuReport(TCU, UNKNOWN_IMAGE, number + 1, 1, "x" * 60_000)
            served.link.submit(5, served.world.codec.encode_ecu_report(facts, served.world.time.signer))
        whole = manifest(served)
        assert len(whole) < 600_000
        found = served.world.codec.decode_vehicle_report(whole).content.ecus[TCU]
        times = [served.world.codec.decode_ecu_report(raw).content.time_s for raw in found]
        assert times[-1] == 20
        assert times == sorted(times)
        with pytest.raises(TransportError):
            served.link.submit(5, b"x" * 70_000)


def manifest(served: Served) -> bytes:
    """The last one that the Director got."""
    served.primary()
    return served.world.service.taken[-1]


class TestUpdates:
    @pytest.mark.parametrize("kind", ["full", "partial"])
    @pytest.mark.parametrize("way", ["rpc", "http"])
    @pytest.mark.parametrize("dialect", NAMES)
    def test_one_for_each(self, serve: Callable[..., Served], dialect: str, way: str, kind: str) -> None:
        served = serve(dialect, way, partial=kind == "partial").started()
        world = served.world
        world.order(PRIMARY, "info.img", b"for the Primary")
        world.order(TCU)
        assert served.round() == "updated"
        assert world.installers[TCU].runs == FIRMWARE
        assert world.installers[PRIMARY].runs == b"for the Primary"
        served.primary()
        assert world.memory.ecus()[TCU].installed.path == "firmware.img", "as its report said"
        report = world.codec.decode_vehicle_report(world.service.taken[-1]).content
        assert world.codec.decode_ecu_report(report.ecus[TCU][-1]).content.installed.path == "firmware.img"
        assert served.secondary() == "no-update-needed"
        assert [line for line in served.lines if not line.startswith("debug")] == []

    def test_a_long_image_is_streamed(self, serve: Callable[..., Served]) -> None:
        served = serve("tuf1", "http").started()
        served.world.order(TCU, data=bytes(range(256)) * 8192)
        assert served.round() == "updated"

    @pytest.mark.parametrize("at", [1, 20_000, 32_767])
    def test_an_image_is_resumed(self, serve: Callable[..., Served], at: int) -> None:
        served = serve("tuf1", "http").started()
        image = bytes(range(256)) * 128
        served.world.order(TCU, data=image)
        answers, asked = served.answers, []

        def cut_once(request: Request) -> Answer:
            answer: Answer = answers(request)
            if request.path.endswith("/image"):
                asked.append(request.range)
                if len(asked) == 1:
                    return answer._replace(body=Torn(answer.body, at))
            return answer

        served.server._server.answers = cut_once
        options = QUICK._replace(retries=2, retry_wait_s=0.01)
        served.link = HttpLink(served.url, VIN, TCU, options, SystemClock())
        assert served.round() == "updated"
        assert served.world.installers[TCU].runs == image
        assert asked[1:] == [f"bytes={at}-"], "the rest, and nothing twice"

    def test_ranges_that_are_not_served(self, serve: Callable[..., Served]) -> None:
        served = serve("tuf1", "http").started()
        served.world.order(TCU)
        served.primary()
        whole = served.answers(Request("GET", f"/ecu/{TCU}/image", b"", ""))
        etag = whole.headers["ETag"]
        for wanted, condition, status in (
            ("bytes=3-", "", 206), ("bytes=3-", etag, 206), ("bytes=3-", '"another"', 200), ("bytes=0-", etag, 200),
            ("bytes=-3", etag, 200), ("bytes=3-5", etag, 200), ("bytes=1-,3-", etag, 200), ("lines=3-", etag, 200),
            (f"bytes={len(FIRMWARE)}-", etag, 416), ("bytes=999999999999999999-", etag, 416),
        ):  # fmt: skip
            answer = served.answers(Request("GET", f"/ecu/{TCU}/image", b"", "", wanted, condition))
            assert answer.status == status, (wanted, condition)
            answer.done()

    def test_a_secondary_hears_why_it_was_refused(self, serve: Callable[..., Served]) -> None:
        served = serve("tuf1", "http")
        stranger = HttpLink(served.url, VIN, "stranger", QUICK, served.world.clock)
        for ask in (stranger.attestation, stranger.register, lambda: stranger.submit(1, b"{}")):
            with pytest.raises(TransportError, match="409: the ECU 'stranger' is not in this vehicle"):
                ask()

    def test_a_secondary_that_is_several_roots_behind(self, served: Served) -> None:
        for _ in range(3):
            served.world.director.rotate(ROOT, TARGETS)
            served.world.publish()
            served.primary()
        served.world.order(TCU)
        assert served.round() == "updated"
        assert served.world.tcu_metadata.load("director", ROOT) == served.world.director.roots[-1]

    def test_delegated_images(self, served: Served) -> None:
        world = served.world
        image = image_target("lib/tcu.img", FIRMWARE)
        world.image.delegate("sup/plier", ("lib/*",), [image], terminating=True)
        world.director.targets["lib/tcu.img"] = image_target("lib/tcu.img", FIRMWARE, TCU)
        world.mirror.images["lib/tcu.img"] = FIRMWARE
        world.publish()
        assert served.round() == "updated"

    def test_what_was_handed_over_survives_a_restart(self, served: Served) -> None:
        served.world.order(TCU)
        served.primary()
        folder = str(served.world.folder / "files" / "primary" / "metadata")
        again = HandOver(folder, served.world.codec, served.world.rules.caps)
        assert again.archive() == served.handover.archive()
        assert again.assigned(TCU) is not None
        Path(folder, ARCHIVE).write_bytes(b"rubbish")
        broken = HandOver(folder, served.world.codec, served.world.rules.caps)
        with pytest.raises(TransportError):
            broken.archive()
        assert broken.assigned(TCU) is None

    def test_nothing_before_the_first_whole_cycle(self, serve: Callable[..., Served]) -> None:
        for way in ("rpc", "http"):
            served = serve("tuf1", way)
            with pytest.raises(TransportError):
                served.link.metadata(partial=False)
            assert served.link.attestation() is None
            assert not served.link.update_exists()
            assert served.link.image() is None

    def test_one_missing_image_hands_over_nothing(self, served: Served) -> None:
        before = served.link.metadata(partial=False)
        served.world.order(TCU)
        served.world.order(PRIMARY, "info.img", b"for the Primary")
        del served.world.mirror.images["firmware.img"]
        with pytest.raises(TransportError):
            served.primary()
        assert served.link.metadata(partial=False) == before
        assert served.secondary() == "no-update"


class TestALyingPrimary:
    """Attack 25: whatever a compromised Primary hands over, the image stays, and the report says why."""

    def test_old_metadata(self, served: Served) -> None:
        old = served.handover.archive()
        served.world.order(TCU)
        served.round()
        runs, kept = served.world.installers[TCU].runs, served.world.kept()
        served.handover._given = served.handover._read(old)
        with pytest.raises(VersionRollback):
            served.secondary()
        assert served.world.installers[TCU].runs == runs
        assert served.world.kept() == kept
        assert "version" in served.attacks()

    @pytest.mark.parametrize(
        ("data", "error"),
        [
            (b"Evil  firmware image", TargetHashMismatch),
            (FIRMWARE[:-1], TargetHashMismatch),
            (FIRMWARE + b"!", EndlessDataError),
        ],
    )
    def test_another_image(self, served: Served, data: bytes, error: type[SwagentError]) -> None:
        world = served.world
        world.order(TCU)
        served.primary()
        target = served.handover.assigned(TCU)
        assert target is not None
        lie = image_target("firmware.img", data, TCU)
        served.desk._handover = Lies(served.handover, lie)  # type: ignore[assignment]  # as much as a desk asks
        Path(served.images.path(target)).write_bytes(data)
        with pytest.raises(error):
            served.secondary()
        assert world.installers[TCU].runs == b""
        assert served.attacks()
        served.desk._handover = served.handover
        assert not served.images.has(target)
        served.images.fetch(target, [(world.mirror, target.path)], lambda n: None)
        assert served.secondary() == "updated"

    def test_another_name(self, served: Served) -> None:
        served.world.order(TCU)
        served.primary()
        lie = image_target("other.img", FIRMWARE, TCU)
        served.desk._handover = Lies(served.handover, lie)  # type: ignore[assignment]  # as much as a desk asks
        Path(served.images.path(lie)).write_bytes(FIRMWARE)
        with pytest.raises(TargetHashMismatch):
            served.secondary()
        assert served.attacks() == "Received unexpected image from Primary with unexpected filename."

    def test_no_image(self, served: Served) -> None:
        served.world.order(TCU)
        served.primary()
        target = served.handover.assigned(TCU)
        assert target is not None
        served.images.remove(target)
        with pytest.raises(TargetHashMismatch):
            served.secondary()
        assert served.attacks() == "Requested image from Primary but received none."

    def test_an_old_attestation(self, served: Served) -> None:
        world = served.world
        old = world.memory.fact("attested")
        world.secondary(link=served.link).report()
        world.clock.passes(3600)
        world.publish()
        served.primary()
        world.memory.keep_fact("attested", old)
        before = world.tcu_memory.fact("attested")
        served.secondary()
        assert world.tcu_memory.fact("attested") == before

    @pytest.mark.parametrize(
        "name", ["../../evil.json", "/etc/evil.json", "director/metadata/../../x.json", "evil.txt"]
    )
    def test_an_archive_that_leads_elsewhere(self, served: Served, name: str) -> None:
        """Attack 26."""
        import io
        import zipfile

        out = io.BytesIO(served.handover.archive())
        with zipfile.ZipFile(out, "a") as archive:
            archive.writestr(name, b"{}")
        given = served.handover._given
        assert given is not None
        served.handover._given = given._replace(archive=out.getvalue())
        kept = served.world.kept()
        with pytest.raises(InvalidMetadata):
            served.secondary()
        assert served.world.kept() == kept
        assert served.attacks()

    def test_an_image_that_rots_on_the_primary(self, served: Served) -> None:
        """The Primary judges what it reads once more: its own disk is nobody to trust."""
        served.world.order(TCU)
        served.primary()
        target = served.handover.assigned(TCU)
        assert target is not None
        Path(served.images.path(target)).write_bytes(b"Rotten firmware img.")
        with pytest.raises(SwagentError):
            served.secondary()
        assert served.world.installers[TCU].runs == b""
        assert any("not the image that was signed" in line for line in served.lines)


class Lies:
    """A hand-over that names another target than the Director does."""

    def __init__(self, honest: HandOver, lie: Any) -> None:
        self._honest = honest
        self._lie = lie
        self.archive = honest.archive

    def assigned(self, serial: str) -> Any:
        return self._lie


class TestReports:
    """Uptane §2.3: what the Primary checks of a report."""

    def report(self, served: Served, serial: str = TCU, seed: bytes = b"S") -> bytes:
        from swagent.crypto.schemes import from_seed
        from swagent.uptane.reports import EcuReport, InstalledImage
        from swagent.uptane.signing import Signer

        image = InstalledImage("a.img", 1, {"sha256": "00" * 32})
        codec = served.world.codec
        return codec.encode_ecu_report(EcuReport(serial, image, 1, 1), Signer(from_seed(seed * 32), codec))

    @pytest.mark.parametrize(
        ("vin", "serial", "signed", "fault"),
        [
            (VIN, "nobody", "nobody", "<class 'uptane.UnknownECU'>:"),
            ("another", TCU, TCU, "<class 'uptane.UnknownVehicle'>:"),
            (VIN, TCU, PRIMARY, "<class 'uptane.Spoofing'>:"),
        ],
    )
    @pytest.mark.parametrize("dialect", ["ref-json", "ref-der"])
    def test_refused(
        self, serve: Callable[..., Served], dialect: str, vin: str, serial: str, signed: str, fault: str
    ) -> None:
        served = serve(dialect)
        link = RpcLink(served.url, vin, serial, served.world.codec, served.world.clock)
        with pytest.raises(RemoteFault) as caught:
            link.submit(7, self.report(served, signed))
        assert caught.value.text.startswith(fault)
        other = HttpLink(self.resources(served), vin, serial, QUICK, served.world.clock)
        with pytest.raises(TransportError):
            other.submit(7, self.report(served, signed))
        assert served.world.memory.reports() == (0, {})
        assert served.world.memory.take_nonces() == ()
        self.second.close()

    def resources(self, served: Served) -> str:
        answers = Resources(served.desk, served.log, certified=False)
        self.second = VehicleServer(answers, "127.0.0.1", (0,), served.log)
        return f"http://127.0.0.1:{self.second.port}"

    def test_a_nonce_is_queued_once(self, served: Served) -> None:
        served.world.memory.take_nonces()
        served.link.submit(7, self.report(served))
        served.link.submit(7, self.report(served))
        assert served.world.memory.take_nonces() == (7,)

    def test_signed_by_another_where_the_key_is_known(self, served: Served) -> None:
        from swagent.crypto.schemes import from_seed
        from swagent.uptane.signing import Signer

        key = Signer(from_seed(b"S" * 32), served.world.codec).key
        served.desk._keys = {TCU: key}
        served.link.submit(7, self.report(served))
        before = served.world.memory.reports()
        with pytest.raises(TransportError):
            served.link.submit(8, self.report(served, seed=b"X"))
        assert served.world.memory.reports() == before

    def test_newcomers(self, served: Served) -> None:
        world = served.world
        served.link.register()
        new = RpcLink(served.url, VIN, "NEW", world.codec, world.clock)
        other = HttpLink(served.url, VIN, "NEW", QUICK, world.clock)
        link: PrimaryLink = new if isinstance(served.link, RpcLink) else other
        with pytest.raises(TransportError):
            link.register()
        served.desk._newcomers = True
        link.register()
        link.register()
        assert "NEW" in world.memory.ecus()


class TestTheServer:
    def call(self, served: Served, data: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", served.server.port), timeout=10) as sock:
            sock.sendall(data)
            found = b""
            while piece := sock.recv(65536):
                found += piece
        return found

    def post(self, served: Served, body: bytes) -> str:
        head = f"POST /RPC2 HTTP/1.0\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        return self.call(served, head + body).decode()

    @pytest.mark.parametrize(
        ("head", "status"),
        [
            (b"POST /RPC2 HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", b" 413 "),
            (b"POST /RPC2 HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b" 411 "),
            (b"POST /RPC2 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b" 411 "),
            (b"GET /RPC2 HTTP/1.1\r\n\r\n", b" 404 "),
            (b"DELETE /RPC2 HTTP/1.1\r\n\r\n", b" 501 "),
            (b"rubbish\r\n\r\n", b"400"),
            (b"GET /" + b"x" * 70000 + b" HTTP/1.1\r\n\r\n", b" 414 "),
        ],
    )
    def test_odd_requests(self, serve: Callable[..., Served], head: bytes, status: bytes) -> None:
        served = serve()
        assert status in self.call(served, head)[:200]

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"rubbish",
            b"<methodCall><methodName>get_image</methodName><params/></methodCall>",
            b"<methodCall><methodName>__init__</methodName><params/></methodCall>",
            b'<!DOCTYPE x [<!ENTITY a "aaaa">]><methodCall><methodName>&a;</methodName></methodCall>',
            xmlrpc.client.dumps((7,), "get_image").encode(),
            xmlrpc.client.dumps((VIN, TCU, True, {}), "submit_ecu_manifest").encode(),
            xmlrpc.client.dumps((VIN, TCU, -1, b"x"), "submit_ecu_manifest").encode(),
            xmlrpc.client.dumps((VIN, TCU, 1, 5), "submit_ecu_manifest").encode(),
            b"<methodCall><methodName>submit_ecu_manifest</methodName><params>"
            + b"".join(
                f"<param><value>{word}</value></param>".encode() for word in (VIN, TCU, "<int>1</int>")
            )
            + b"<param>"
            + b"<value><array><data>" * 20000
            + b"</data></array></value>" * 20000
            + b"</param></params></methodCall>",
            b"<methodCall><methodName>submit_ecu_manifest</methodName><params>"
            + b"".join(
                f"<param><value>{word}</value></param>".encode() for word in (VIN, TCU, "<int>1</int>")
            )
            + b"<param>"
            + b"<value><struct><member><name>a</name>" * 20000
            + b"</member></struct></value>" * 20000
            + b"</param></params></methodCall>",
        ],
        ids=range(11),
    )
    def test_calls_that_make_no_sense(self, serve: Callable[..., Served], body: bytes) -> None:
        served = serve()
        found = self.post(served, body)
        assert "<fault>" in found
        assert "Traceback" not in found
        assert not [line for line in served.lines if line.startswith("error")]
        assert served.world.memory.reports() == (0, {})

    def test_the_first_free_port(self, serve: Callable[..., Served]) -> None:
        served = serve()
        taken = served.server.port
        second = VehicleServer(served.answers, "127.0.0.1", (taken, 0), served.log)
        assert second.port not in (taken, 0)
        second.close()
        with pytest.raises(SwagentError) as caught:
            VehicleServer(served.answers, "127.0.0.1", (taken,), served.log)
        assert str(taken) in caught.value.message

    @pytest.mark.parametrize("sends", [b"", b"POST /RPC2 HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf"])
    def test_who_is_slow_is_cut(self, serve: Callable[..., Served], sends: bytes) -> None:
        served = serve()
        server = VehicleServer(served.answers, "127.0.0.1", (0,), served.log, request_s=0.2)
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as sock:
            sock.sendall(sends)
            assert sock.recv(1) == b""
        server.close()

    def test_no_more_connections_than_threads(self, serve: Callable[..., Served]) -> None:
        served = serve()
        idle = [socket.create_connection(("127.0.0.1", served.server.port)) for _ in range(16)]
        with pytest.raises(SwagentError):
            served.link.update_exists()
        for each in idle:
            each.close()
        while served.server._server._open:
            time.sleep(0.01)
        assert served.link.update_exists() is False

    def test_an_image_too_long_for_one_value(self, serve: Callable[..., Served]) -> None:
        served = serve().started()
        served.world.order(TCU)
        served.primary()
        served.answers._image_max_bytes = 5
        with pytest.raises(RemoteFault):
            served.link.image()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls") / "ca", TCU)


class TestTls:
    @pytest.fixture
    def secure(self, serve: Callable[..., Served], authority: Authority) -> Iterator[tuple[Served, str]]:
        served = serve("tuf1", "http")
        context = server_context(
            authority.path("server.pem"), authority.path("server.key"), authority.path("ca.pem")
        )
        answers = Resources(served.desk, served.log, certified=True)
        server = VehicleServer(answers, "127.0.0.1", (0,), served.log, tls=context)
        yield served, f"https://localhost:{server.port}"
        server.close()

    def options(self, authority: Authority, name: str) -> HttpOptions:
        return QUICK._replace(
            ca_file=authority.path("ca.pem"),
            certificate_file=authority.path(f"{name}.pem") if name else "",
            key_file=authority.path(f"{name}.key") if name else "",
        )

    def test_an_update(self, secure: tuple[Served, str], authority: Authority) -> None:
        served, url = secure
        served.link = HttpLink(url, VIN, TCU, self.options(authority, TCU), served.world.clock)
        served.started()
        served.world.order(TCU)
        assert served.round() == "updated"

    def test_the_certificate_of_another(self, secure: tuple[Served, str], authority: Authority) -> None:
        served, url = secure
        link = HttpLink(url, VIN, TCU, self.options(authority, "client"), served.world.clock)
        for ask in (link.attestation, link.update_exists, link.register, link.image):
            with pytest.raises(TransportError):
                ask()

    def test_without_a_certificate(self, secure: tuple[Served, str], authority: Authority) -> None:
        served, url = secure
        link = HttpLink(url, VIN, TCU, self.options(authority, ""), served.world.clock)
        with pytest.raises(SwagentError):
            link.attestation()

    def test_a_server_that_is_another(self, secure: tuple[Served, str], authority: Authority) -> None:
        served, url = secure
        with pytest.raises(SwagentError):
            HttpLink(url, VIN, TCU, QUICK, served.world.clock).attestation()

    def test_plain_http_to_it(self, secure: tuple[Served, str]) -> None:
        served, url = secure
        with pytest.raises(SwagentError):
            HttpLink(url.replace("https", "http"), VIN, TCU, QUICK, served.world.clock).attestation()
