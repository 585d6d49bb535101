import pytest

from swagent.errors import DescriptionError
from swagent.parser import outline

TEXT = b"""
software = {
    version = "2.1"; description = "for all";
    hardware-compatibility: [ "1.0" ];
    stable = { copy1 = { images: (); }; copy2 = { ref = "#./copy1"; }; broken = { ref = "#./nothing"; } };
    fast = { main = { scripts: (); }; };
    bd = { files: (); stable = { copy1 = { images: (); }; }; };
    empty = { text = "x"; };
};
"""


def test_the_choices_of_an_image() -> None:
    found = outline(TEXT)
    assert (found.version, found.description) == ("2.1", "for all")
    assert found.boards == ("bd",)
    assert found.selections == ("stable,copy1", "stable,copy2", "fast,main")
    assert found.board_selections == {
        "": ("stable,copy1", "stable,copy2", "fast,main"),
        "bd": ("stable,copy1",),
    }


def test_an_entry_that_is_wrong_does_not_matter() -> None:
    assert outline(b'software = { images: ( { size = "x"; } ); bd = { images = 7; }; };').boards == ("bd",)
    assert outline(b'{ "software": { "version": 7 } }').version == ""


@pytest.mark.parametrize("text", [b"", b"software = 1;", b"soft = { };", b"{"])
def test_what_is_no_description_has_no_outline(text: bytes) -> None:
    with pytest.raises(DescriptionError):
        outline(text)
