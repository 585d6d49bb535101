"""Boardswarm's messages, in both of its wires, made from one table when they are first needed (boardswarm §1).

There is no generated code: descriptors are built at run time, so that any protobuf library of any age will do.
"""

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from swagent.errors import RegistrationError

if TYPE_CHECKING:
    from google.protobuf.descriptor_pb2 import DescriptorProto

PACKAGE = "boardswarm"
SERVICE = f"{PACKAGE}.Boardswarm"
PORT = 6683

EMPTY, STRUCT = "google.protobuf.Empty", "google.protobuf.Struct"

# field: number, type, and "?" for optional, "*" for repeated, or the oneof that it is one of
Fields = Mapping[str, tuple[int, str, str]]

_ENUMS: Mapping[str, tuple[str, ...]] = {
    "ItemType": ("ITEM_TYPE_DEVICE", "ITEM_TYPE_CONSOLE", "ITEM_TYPE_ACTUATOR", "ITEM_TYPE_VOLUME"),
}
_NOTHING: Fields = {}
_HEAD: Mapping[str, Fields] = {
    "OidcInfo": {"url": (1, "string", ""), "clientId": (2, "string", "")},
    "LoginInfo": {"description": (1, "string", ""), "oidc": (2, "OidcInfo", "method")},
    "LoginInfoList": {"info": (1, "LoginInfo", "*")},
    "ItemTypeRequest": {"type": (1, "ItemType", "")},
    "Item": {"id": (1, "uint64", ""), "name": (2, "string", ""), "instance": (3, "string", "?")},
    "ItemList": {"item": (1, "Item", "*")},
    "ItemEvent": {"add": (1, "ItemList", "event"), "remove": (2, "uint64", "event")},
    "ItemPropertiesRequest": {"type": (1, "ItemType", ""), "item": (2, "uint64", "")},
    "Property": {"key": (1, "string", ""), "value": (2, "string", "")},
    "ItemPropertiesMsg": {"property": (1, "Property", "*")},
    "DeviceRequest": {"device": (1, "uint64", "")},
    "Console": {"name": (1, "string", ""), "id": (2, "uint64", "?")},
    "Volume": {"name": (1, "string", ""), "id": (2, "uint64", "?")},
    "Mode": {"name": (1, "string", ""), "depends": (2, "string", "?"), "available": (3, "bool", "")},
    "Device": {
        "consoles": (1, "Console", "*"),
        "volumes": (2, "Volume", "*"),
        "modes": (3, "Mode", "*"),
        "current_mode": (4, "string", "?"),
    },
    "DeviceModeRequest": {"device": (1, "uint64", ""), "mode": (2, "string", "")},
    "ConsoleConfigureRequest": {"console": (1, "uint64", ""), "parameters": (2, STRUCT, "")},
    "ConsoleInputRequest": {"console": (1, "uint64", "TargetOrData"), "data": (2, "bytes", "TargetOrData")},
    "ConsoleOutputRequest": {"console": (1, "uint64", "")},
    "ConsoleOutput": {"data": (1, "bytes", "")},
    "ActuatorModeRequest": {"actuator": (1, "uint64", ""), "parameters": (2, STRUCT, "")},
    "VolumeTarget": {
        "name": (1, "string", ""),
        "readable": (2, "bool", ""),
        "writable": (3, "bool", ""),
        "seekable": (4, "bool", ""),
        "size": (5, "uint64", "?"),
        "blocksize": (6, "uint32", "?"),
    },
    "VolumeInfoMsg": {"target": (1, "VolumeTarget", "*"), "exhaustive": (2, "bool", "")},
    "VolumeRequest": {"volume": (1, "uint64", "")},
    "VolumeEraseRequest": {"volume": (1, "uint64", ""), "target": (2, "string", "")},
    "VolumeIoTarget": {"volume": (1, "uint64", ""), "target": (2, "string", ""), "length": (3, "uint64", "?")},
    "VolumeIoTargetReply": {"target": (1, "VolumeTarget", "")},
    "VolumeIoRead": {"length": (1, "uint64", ""), "offset": (2, "uint64", "")},
    "VolumeIoReadReply": {"data": (1, "bytes", "")},
    "VolumeIoWrite": {"data": (1, "bytes", ""), "offset": (2, "uint64", "")},
    "VolumeIoWriteReply": {"written": (1, "uint64", "")},
    "VolumeIoFlush": _NOTHING,
    "VolumeIoFlushReply": _NOTHING,
    "VolumeIoShutdown": _NOTHING,
    "VolumeIoShutdownReply": _NOTHING,
    "VolumeIoRequest": {
        "target": (1, "VolumeIoTarget", "TargetOrRequest"),
        "read": (2, "VolumeIoRead", "TargetOrRequest"),
        "write": (3, "VolumeIoWrite", "TargetOrRequest"),
        "flush": (4, "VolumeIoFlush", "TargetOrRequest"),
        "shutdown": (5, "VolumeIoShutdown", "TargetOrRequest"),
    },
    "VolumeIoReply": {
        "target": (1, "VolumeIoTargetReply", "Reply"),
        "read": (2, "VolumeIoReadReply", "Reply"),
        "write": (3, "VolumeIoWriteReply", "Reply"),
        "flush": (4, "VolumeIoFlushReply", "Reply"),
        "shutdown": (5, "VolumeIoShutdownReply", "Reply"),
    },
}  # fmt: skip
_ONLY_HEAD = ("VolumeEraseRequest", "VolumeIoTargetReply", "VolumeIoShutdown", "VolumeIoShutdownReply")
_YEAR_2023: Mapping[str, Fields] = {
    **{name: fields for name, fields in _HEAD.items() if name not in _ONLY_HEAD},
    "VolumeInfoMsg": {"target": (1, "VolumeTarget", "*")},
    "VolumeIoRequest": {
        name: field for name, field in _HEAD["VolumeIoRequest"].items() if name != "shutdown"
    },
    "VolumeIoReply": {
        "read": (1, "VolumeIoReadReply", "Reply"),
        "write": (2, "VolumeIoWriteReply", "Reply"),
        "flush": (3, "VolumeIoFlushReply", "Reply"),
    },
}


_EXTRA: Mapping[str, Fields] = {
    "LeaseRequest": {
        "device": (1, "uint64", ""),
        "seconds": (2, "double", ""),
        "reason": (3, "string", ""),
        "force": (4, "bool", ""),
    },
    "LeaseReply": {"owner": (1, "string", ""), "reason": (2, "string", ""), "until": (3, "double", "")},
    "ReleaseRequest": {"device": (1, "uint64", ""), "force": (2, "bool", "")},
}
"""Messages of a service of our own, ``swagent.Lab``, beside Boardswarm's; other servers do not have it."""


class Method(NamedTuple):
    """One rpc: the names of its messages, and which side sends a stream of them."""

    name: str
    request: str
    reply: str
    streams_requests: bool = False
    streams_replies: bool = False


METHODS: tuple[Method, ...] = (
    Method("LoginInfo", EMPTY, "LoginInfoList"),
    Method("List", "ItemTypeRequest", "ItemList"),
    Method("Monitor", "ItemTypeRequest", "ItemEvent", streams_replies=True),
    Method("ItemProperties", "ItemPropertiesRequest", "ItemPropertiesMsg"),
    Method("DeviceInfo", "DeviceRequest", "Device", streams_replies=True),
    Method("DeviceChangeMode", "DeviceModeRequest", EMPTY),
    Method("ActuatorChangeMode", "ActuatorModeRequest", EMPTY),
    Method("ConsoleConfigure", "ConsoleConfigureRequest", EMPTY),
    Method("ConsoleStreamOutput", "ConsoleOutputRequest", "ConsoleOutput", streams_replies=True),
    Method("ConsoleStreamInput", "ConsoleInputRequest", EMPTY, streams_requests=True),
    Method("VolumeInfo", "VolumeRequest", "VolumeInfoMsg"),
    Method("VolumeIo", "VolumeIoRequest", "VolumeIoReply", streams_requests=True, streams_replies=True),
    Method("VolumeCommit", "VolumeRequest", EMPTY),
    Method("VolumeErase", "VolumeEraseRequest", EMPTY),
)


EXTRA_SERVICE = "swagent.Lab"
EXTRA_METHODS: tuple[Method, ...] = (
    Method("Lease", "LeaseRequest", "LeaseReply"),
    Method("Release", "ReleaseRequest", EMPTY),
)


class Wire:
    """The messages of one generation: ``wire.Item(id=3, name="x")``.

    Attributes:
        legacy: whether it is that of 2023: no reply to the target of a volume, no shutdown, no erase.
        methods: the rpcs it has.
    """

    def __init__(self, messages: Mapping[str, Any], methods: tuple[Method, ...], *, legacy: bool) -> None:
        self._messages = messages
        self.legacy = legacy
        self.methods = tuple(method for method in methods if method.request in messages)

    def __getattr__(self, name: str) -> Any:
        try:
            return self._messages[name]
        except KeyError:
            raise AttributeError(name) from None

    def message(self, name: str) -> Any:
        """The class of a message, by the name that ``Method`` has of it."""
        return self._messages[name]


@cache
def head() -> Wire:
    """The protocol as it is today.

    Raises:
        RegistrationError: protobuf is not installed.
    """
    return Wire(_build(_HEAD, "head"), METHODS, legacy=False)


@cache
def extra() -> Wire:
    """What we have beyond the protocol.

    Raises:
        RegistrationError: protobuf is not installed.
    """
    return Wire(_build(_EXTRA, "extra", "swagent"), EXTRA_METHODS, legacy=False)


@cache
def year_2023() -> Wire:
    """The protocol of release 0.0.1 (boardswarm §1.7).

    Raises:
        RegistrationError: protobuf is not installed.
    """
    return Wire(_build(_YEAR_2023, "2023"), METHODS, legacy=True)


def _build(table: Mapping[str, Fields], generation: str, package: str = PACKAGE) -> dict[str, Any]:
    try:
        from google.protobuf import descriptor_pb2, descriptor_pool, empty_pb2, message_factory, struct_pb2
    except ImportError as exc:
        raise RegistrationError(
            "the lab needs grpcio and protobuf", hint="pip install 'swagent[lab]'"
        ) from exc
    file = descriptor_pb2.FileDescriptorProto(
        name=f"swagent/lab/{generation}.proto",
        package=package,
        syntax="proto3",
        dependency=["google/protobuf/empty.proto", "google/protobuf/struct.proto"],
    )
    for name, words in _ENUMS.items():
        enum = file.enum_type.add(name=name)
        for number, word in enumerate(words):
            enum.value.add(name=word, number=number)
    for name, fields in table.items():
        _describe(file.message_type.add(name=name), fields, package)
    pool = descriptor_pool.DescriptorPool()  # one of its own: both generations have the same names
    for known in (empty_pb2, struct_pb2):
        pool.AddSerializedFile(known.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    classes = {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))
        for name in table
    }
    for known in (EMPTY, STRUCT):
        classes[known] = message_factory.GetMessageClass(pool.FindMessageTypeByName(known))
    return classes


def _describe(message: "DescriptorProto", fields: Fields, package: str) -> None:
    from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field

    scalars = {
        "string": Field.TYPE_STRING,
        "bytes": Field.TYPE_BYTES,
        "bool": Field.TYPE_BOOL,
        "uint32": Field.TYPE_UINT32,
        "uint64": Field.TYPE_UINT64,
        "double": Field.TYPE_DOUBLE,
    }
    oneofs: list[str] = []
    optional = [name for name, (_, _, mark) in fields.items() if mark == "?"]
    for _, _, mark in fields.values():
        if mark not in ("", "?", "*") and mark not in oneofs:
            oneofs.append(mark)
    for name in (*oneofs, *(f"_{name}" for name in optional)):
        message.oneof_decl.add(name=name)
    for name, (number, kind, mark) in fields.items():
        field = message.field.add(name=name, number=number)
        field.label = Field.LABEL_REPEATED if mark == "*" else Field.LABEL_OPTIONAL
        if kind in scalars:
            field.type = scalars[kind]
        else:
            field.type = Field.TYPE_ENUM if kind in _ENUMS else Field.TYPE_MESSAGE
            field.type_name = f".{kind}" if "." in kind else f".{package}.{kind}"
        if mark == "?":
            field.proto3_optional = True
            field.oneof_index = len(oneofs) + optional.index(name)
        elif mark in oneofs:
            field.oneof_index = oneofs.index(mark)
