"""Which entry is installed how, which is skipped, and what is refused before a byte moves."""

from typing import Any, NamedTuple

import pytest

from swagent.errors import ArchiveError, DescriptionError, RegistrationError, SizeError, SwagentError
from swagent.handlers import registry
from swagent.handlers.api import Context, handler
from swagent.installer.planning import Planner, with_stream_fates
from swagent.model import Artifact, Data, Description, Fate, Kind, Unit
from swagent.plugins import Entry, Registry
from swagent.stream import Member

SHA = bytes(32)
UNIT = Unit(None, {"app": ("1.2",), "boot": ("1.0", "2.0")})


@handler("layout", kinds=Kind.PARTITION, data=False)
class Layout:
    """A partition handler."""

    class Options(NamedTuple):
        """One is mandatory."""

        table: str

    def apply(self, art: Artifact, opt: Any, ctx: Context) -> None:
        """Nothing."""


@handler("sitting", kinds=Kind.IMAGE, streams=False, attributes=("volume",))
class Sitting:
    """It cannot stream."""

    class Options(NamedTuple):
        """None."""

    def install(self, art: Artifact, opt: Any, data: Data, ctx: Context) -> None:
        """Nothing."""


def handlers() -> Registry[Any]:
    shelf = registry()
    shelf.add(Entry("layout", "test", lambda: Layout))
    shelf.add(Entry("sitting", "test", lambda: Sitting))
    shelf.add(Entry("broken", "test", _cannot))
    return shelf


def _cannot() -> Any:
    raise ImportError("needs a library that is not there")


def image(filename: str = "rootfs.img", **facts: Any) -> Artifact:
    return Artifact(
        **{
            "kind": Kind.IMAGE, "type": "raw", "filename": filename, "device": "/dev/x", "sha256": SHA,
            "where": "images[0]", **facts,
        }
    )  # fmt: skip


def members(*names: str, size_bytes: int = 10) -> dict[str, Member]:
    return {name: Member(name, size_bytes, 0, None) for name in names}


def plan(
    *arts: Artifact, signed: bool = True, there: dict[str, Member] | None = None, **sections: Any
) -> Any:
    description = Description("1.0", images=arts, **sections)
    planner = Planner(handlers(), signed=signed)
    return planner.plan(description, UNIT, members("rootfs.img", "script.sh") if there is None else there)


def test_fates() -> None:
    found = plan(
        image(),
        image(installed_directly=True),
        partitions=(
            Artifact(Kind.PARTITION, "layout", properties={"table": ("gpt",)}, where="partitions[0]"),
        ),
        files=(Artifact(Kind.FILE, "rawfile", "rootfs.img", path="/x", sha256=SHA),),
        scripts=(Artifact(Kind.SCRIPT, "shellscript", "script.sh", sha256=SHA),),
    )
    assert [(entry.artifact.kind, entry.fate) for entry in found.entries] == [
        (Kind.PARTITION, Fate.APPLY),
        (Kind.IMAGE, Fate.STAGED),
        (Kind.IMAGE, Fate.DIRECT),
        (Kind.FILE, Fate.STAGED),
    ]
    assert [entry.stored_bytes for entry in found.entries] == [None, 10, 10, 10]
    assert [entry.fate for entry in found.scripts] == [Fate.SCRIPT]
    assert found.steps == 4 + 2


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"name": "app", "version": "1.2", "install_if_different": True}, "app 1.2 is installed"),
        ({"name": "app", "version": "1.2.0", "install_if_different": True}, "app 1.2 is installed"),
        ({"name": "app", "version": "1.1", "install_if_different": True}, ""),
        ({"name": "app", "version": "1.1", "install_if_higher": True}, "1.1 is not higher"),
        ({"name": "app", "version": "1.3", "install_if_higher": True}, ""),
        ({"name": "boot", "version": "1.5", "install_if_higher": True}, "boot 2.0 is installed"),
        ({"name": "app", "version": "1.2"}, ""),
        ({"name": "new", "version": "1.2", "install_if_different": True}, ""),
        ({"version": "1.2", "install_if_different": True}, ""),
    ],
)
def test_what_is_skipped_and_why(facts: dict[str, Any], reason: str) -> None:
    # a skipped entry's member need not be there
    found = plan(image(**facts), there=members() if reason else None).entries[0]
    assert (found.fate is Fate.SKIPPED) == bool(reason)
    assert reason in found.reason and bool(found.reason) == bool(reason)


def test_a_skipped_entry_must_make_sense_all_the_same() -> None:
    skipped: dict[str, Any] = {"name": "app", "version": "1.2", "install_if_different": True}
    with pytest.raises(DescriptionError, match="no handler"):
        plan(image(type="nonsense", **skipped))


@pytest.mark.parametrize(
    ("art", "error", "message"),
    [
        (image(sha256=None), DescriptionError, "sha256 is missing"),
        (image("missing.img"), ArchiveError, "no member 'missing.img'"),
        (image(size_bytes=11), SizeError, "has 10 bytes, sw-description promises 11"),
        (image(""), DescriptionError, "filename is missing"),
        (image(device=""), DescriptionError, "needs the attribute 'device'"),
        (image(type="shellscript"), DescriptionError, "not made for this section"),
        (image(type="layout"), DescriptionError, "not made for this section"),
        (
            image(type="sitting", volume="v", installed_directly=True),
            DescriptionError,
            "cannot install directly",
        ),
        (image(type="sitting"), DescriptionError, "needs the attribute 'volume'"),
        (image(type="broken"), RegistrationError, "needs a library"),
        (image(properties={"allow-mounted": ("maybe",)}), DescriptionError, "allow-mounted"),
    ],
)
def test_what_is_refused(art: Artifact, error: type[SwagentError], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        plan(art)
    assert type(caught.value) is error
    assert "images[0]" in caught.value.message


@pytest.mark.parametrize(
    ("word", "near"), [("rwa", "raw"), ("raw_file", "rawfile"), ("shellscrip", "shellscript")]
)
def test_the_nearest_handler_is_named(word: str, near: str) -> None:
    with pytest.raises(DescriptionError, match=f"no handler named '{word}'") as caught:
        plan(image(type=word))
    assert caught.value.hint == f"did you mean {near!r}?"


def test_no_handler_is_near() -> None:
    with pytest.raises(DescriptionError) as caught:
        plan(image(type="nosuchthing"))
    assert "swagent handlers" in caught.value.hint


def test_unsigned_images_need_no_digest() -> None:
    assert plan(image(sha256=None), signed=False).entries[0].fate is Fate.STAGED


def test_a_mandatory_property() -> None:
    with pytest.raises(DescriptionError, match="needs the property table"):
        plan(partitions=(Artifact(Kind.PARTITION, "layout", where="partitions[0]"),))


def test_unknown_properties_are_told() -> None:
    planner = Planner(handlers(), signed=True)
    art = image(properties={"alow-mounted": ("true",)})
    planner.plan(Description("1.0", images=(art,)), UNIT, members("rootfs.img"))
    assert any("alow-mounted" in warning for warning in planner.warnings)


def test_of_a_stream_shared_members_are_staged() -> None:
    """It passes once: a direct entry that shares its member waits with the others."""
    planner = Planner(handlers(), signed=True)
    shared, alone = image(installed_directly=True), image("other.img", installed_directly=True)
    description = Description("1.0", images=(shared, image(device="/dev/y"), alone))
    from_stream = with_stream_fates(planner.plan(description, UNIT, None))
    assert [entry.fate for entry in from_stream.entries] == [Fate.STAGED, Fate.STAGED, Fate.DIRECT]
    from_file = planner.plan(description, UNIT, members("rootfs.img", "other.img"))
    assert [entry.fate for entry in from_file.entries] == [Fate.DIRECT, Fate.STAGED, Fate.DIRECT]


def test_a_skipped_twin_does_not_count() -> None:
    planner = Planner(handlers(), signed=True)
    skipped = image(name="app", version="1.2", install_if_different=True, device="/dev/y")
    description = Description("1.0", images=(image(installed_directly=True), skipped))
    fates = [entry.fate for entry in with_stream_fates(planner.plan(description, UNIT, None)).entries]
    assert fates == [Fate.DIRECT, Fate.SKIPPED]
