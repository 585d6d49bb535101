"""Rules that are suggested: they fit their item, no other, and the configuration reads them so."""

from hypothesis import given
from hypothesis import strategies as st

from swagent.lab.config import plain
from swagent.lab.items import INSTANCE, NAME, matches
from swagent.lab.suggest import as_yaml, rule_for

_TEXT = st.text(min_size=1, max_size=6)
_ITEM = st.fixed_dictionaries(
    {NAME: st.sampled_from(["ttyUSB0", "ttyUSB1", "relay", "uart"])},
    optional={
        "udev.ID_SERIAL_SHORT": _TEXT,
        "udev.ID_PATH": _TEXT,
        "udev.ID_VENDOR_ID": st.sampled_from(["0403", "18d1"]),
        INSTANCE: st.sampled_from(["attic", "cellar"]),
    },
)


@given(st.lists(_ITEM, min_size=1, max_size=6))
def test_a_rule_fits_its_item_alone(items: list[dict[str, str]]) -> None:
    for number, item in enumerate(items):
        others = items[:number] + items[number + 1 :]
        rule = rule_for(item, others)
        if rule is None:
            continue
        assert matches(rule, item)
        assert not any(matches(rule, other) for other in others)
        assert plain(as_yaml(rule).encode(), "x") == {"match": rule}


def test_what_stays_is_preferred() -> None:
    port = {
        NAME: "ttyUSB0",
        "udev.ID_SERIAL_SHORT": "FT1",
        "udev.ID_USB_INTERFACE_NUM": "00",
        "udev.ID_VENDOR_ID": "0403",
    }
    second = {**port, NAME: "ttyUSB1", "udev.ID_USB_INTERFACE_NUM": "01"}
    assert as_yaml(rule_for(port, [second]) or {}) == "match: { udev.ID_USB_INTERFACE_NUM: 00 }"
    stranger = {NAME: "ttyUSB2", "udev.ID_SERIAL_SHORT": "FT2", "udev.ID_USB_INTERFACE_NUM": "00"}
    rule = rule_for(port, [second, stranger])
    assert rule == {"udev.ID_SERIAL_SHORT": "FT1", "udev.ID_USB_INTERFACE_NUM": "00"}
    assert rule_for({NAME: "relay"}, [{NAME: "other"}]) == {NAME: "relay"}
    assert rule_for({NAME: "relay"}, [{NAME: "relay"}]) is None
