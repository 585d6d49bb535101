"""Both wires to the byte; the bytes are written down from the protocol's tables, not made by what is tested."""

import pytest

from swagent.lab.wire import head, year_2023

NEW, OLD = head(), year_2023()


@pytest.mark.parametrize(
    ("message", "encoded"),
    [
        (NEW.LoginInfo(description="d", oidc=NEW.OidcInfo(url="u", clientId="c")), "0a0164 1206 0a0175 120163"),
        (NEW.ItemTypeRequest(type=3), "0803"),
        (NEW.Item(id=0, name="x"), "120178"),
        (NEW.Item(id=7, name="x", instance=""), "0807 120178 1a00"),
        (NEW.ItemEvent(add=NEW.ItemList()), "0a00"),
        (NEW.ItemEvent(remove=0), "1000"),
        (NEW.ItemPropertiesRequest(type=1, item=2), "0801 1002"),
        (NEW.Console(name="c", id=0), "0a0163 1000"),
        (NEW.Console(name="c"), "0a0163"),
        (NEW.Mode(name="on", depends="off", available=True), "0a026f6e 12036f6666 1801"),
        (NEW.Device(current_mode="on"), "22026f6e"),
        (NEW.DeviceModeRequest(device=1, mode="on"), "0801 12026f6e"),
        (NEW.ConsoleInputRequest(console=0), "0800"),
        (NEW.ConsoleInputRequest(data=b""), "1200"),
        (NEW.ConsoleOutput(data=b"\xff"), "0a01ff"),
        (NEW.VolumeTarget(name="t", writable=True, seekable=True, size=0, blocksize=512), "0a0174 18012001 2800308004"),
        (NEW.VolumeInfoMsg(exhaustive=True), "1001"),
        (NEW.VolumeIoTarget(volume=0, target="t", length=5), "120174 1805"),
        (NEW.VolumeIoRequest(read=NEW.VolumeIoRead(length=1, offset=2)), "1204 0801 1002"),
        (NEW.VolumeIoRequest(write=NEW.VolumeIoWrite(data=b"d", offset=2)), "1a05 0a0164 1002"),
        (NEW.VolumeIoRequest(shutdown=NEW.VolumeIoShutdown()), "2a00"),
        (NEW.VolumeIoReply(target=NEW.VolumeIoTargetReply(target=NEW.VolumeTarget(name="t"))), "0a05 0a03 0a0174"),
        (NEW.VolumeIoReply(read=NEW.VolumeIoReadReply(data=b"d")), "1203 0a0164"),
        (NEW.VolumeIoReply(write=NEW.VolumeIoWriteReply(written=5)), "1a02 0805"),
        (NEW.VolumeIoReply(flush=NEW.VolumeIoFlushReply()), "2200"),
        (NEW.VolumeIoReply(shutdown=NEW.VolumeIoShutdownReply()), "2a00"),
        (OLD.VolumeIoReply(read=OLD.VolumeIoReadReply(data=b"d")), "0a03 0a0164"),
        (OLD.VolumeIoReply(write=OLD.VolumeIoWriteReply(written=5)), "1202 0805"),
        (OLD.VolumeIoReply(flush=OLD.VolumeIoFlushReply()), "1a00"),
        (OLD.VolumeIoRequest(flush=OLD.VolumeIoFlush()), "2200"),
    ],
)  # fmt: skip
def test_bytes(message: object, encoded: str) -> None:
    wanted = bytes.fromhex(encoded)
    assert message.SerializeToString() == wanted  # type: ignore[attr-defined]  # classes made at run time
    assert type(message).FromString(wanted) == message  # type: ignore[attr-defined]


def test_a_struct_has_doubles() -> None:
    request = NEW.ActuatorModeRequest(actuator=1)
    request.parameters.update({"rate": 115200})
    doubles = "0801 1213 0a11 0a0472617465 1209 11000000000020fc40"
    assert request.SerializeToString() == bytes.fromhex(doubles)


def test_what_the_old_wire_does_not_have() -> None:
    assert not hasattr(OLD, "VolumeEraseRequest")
    assert "VolumeErase" not in [method.name for method in OLD.methods]
    assert len(NEW.methods) == 14
    assert [field.name for field in OLD.VolumeInfoMsg.DESCRIPTOR.fields] == ["target"]


def test_an_old_client_would_take_a_new_reply_for_another() -> None:
    new = NEW.VolumeIoReply(write=NEW.VolumeIoWriteReply(written=5)).SerializeToString()
    assert OLD.VolumeIoReply.FromString(new).WhichOneof("Reply") == "flush"
