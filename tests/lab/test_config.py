"""The lab's YAML: what it may say, and how what makes no sense is refused."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swagent.errors import SettingsError
from swagent.lab.config import Jwks, Oidc, parse_config
from swagent.lab.server import address_of

PATH = "/etc/lab.yaml"
GOOD = """
server:
  listen: 127.0.0.1
  certificate: { chain: chain.pem, key: key.pem }
  authentication:
    - { type: oidc, description: Staff, uri: "https://id.example", client: lab }
    - { type: jwks, path: keys.json }
providers:
  - name: serial
    provider: serial
  - name: pdu
    provider: pdudaemon
    parameters: &pdu
      uri: http://pdu:16421
      pdus: [ { name: rack, ports: 8 } ]
  - { name: pdu2, provider: pdudaemon, parameters: { <<: *pdu, uri: other } }
devices:
  - name: rpi
    consoles:
      - name: main
        parameters: { rate: 115200 }
        match:
          udev.ID_VENDOR_ID: 0403
          udev.ID_MODEL_ID: 6e10
    volumes:
      - { name: usb, match: { udev.ID_PATH: "pci-0:1" } }
    modes:
      - name: off
        sequence: [ { match: { boardswarm.name: pdu.rack.port-1 }, parameters: { mode: off } } ]
      - name: on
        depends: off
        sequence:
          - match: { boardswarm.name: pdu.rack.port-1 }
            parameters: { mode: on }
            stabilisation: 1m 30s
    color: red
"""


def test_a_whole_file() -> None:
    config = parse_config(GOOD.encode(), PATH)
    assert config.server[:3] == ("127.0.0.1", "chain.pem", "key.pem")
    assert config.server.authentication == (
        Oidc("Staff", "https://id.example", "lab"),
        Jwks("/etc/keys.json"),
    )
    assert config.providers[0].parameters is None
    assert config.providers[2].parameters == {"uri": "other", "pdus": [{"name": "rack", "ports": 8}]}
    (device,) = config.devices
    assert device.consoles[0].match == {"udev.ID_VENDOR_ID": "0403", "udev.ID_MODEL_ID": "6e10"}
    assert device.consoles[0].parameters == {"rate": 115200}
    off, on = device.modes
    assert (off.name, off.depends, off.sequence[0].parameters) == ("off", None, {"mode": "off"})
    assert (on.name, on.depends, on.sequence[0].stabilisation_s) == ("on", "off", 90.0)
    assert config.ignored == ("/etc/lab.yaml: devices[0]: 'color' is not used",)


def test_a_number_that_udev_never_writes_so_is_told() -> None:
    config = parse_config(GOOD.replace("6e10", "6E10").encode(), PATH)
    assert any("udev writes ID_MODEL_ID small, and 6E10 fits nothing" in line for line in config.ignored)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("providers:", "provider:", "providers is missing"),
        ("    - { type: jwks, path: keys.json }\n", "    - { type: password }\n", "known are oidc and jwks"),
        ("type: jwks, path: keys.json", "type: jwks", "path is missing"),
        ("chain: chain.pem, ", "", "chain is missing"),
        ("depends: off", "depends: of", "no mode of this device"),
        ("name: on\n", "name: off\n", "stands there twice"),
        ("stabilisation: 1m 30s", "stabilisation: soon", "write 500ms"),
        ("stabilisation: 1m 30s", "stabilisation: 25h", "up to 24h"),
        ('match: { udev.ID_PATH: "pci-0:1" }', "match: [a]", "match must be there"),
        ('match: { udev.ID_PATH: "pci-0:1" }', "match: { a: [b] }", "match must be there"),
        ("parameters: { rate: 115200 }\n", "\n", "parameters must be there"),
        ("modes:\n", "modes: 5\n    x:\n", "modes must be a list"),
        ("name: rpi", "name: rpi\n    name: rpi", "stands there twice"),
        ("name: rpi", "name: [rpi", "is no YAML"),
        ("name: rpi", "? [a]\n    : b\n    name: rpi", "a key must be a text"),
        (GOOD, "", "must be a mapping"),
        (GOOD, "a: &a [*a]", "recursive|nested|no YAML|alias"),
        (GOOD, "[" * 400, "no YAML|nested"),
    ],
)
def test_what_makes_no_sense_is_named(old: str, new: str, complaint: str) -> None:
    assert old in GOOD
    with pytest.raises(SettingsError) as caught:
        parse_config(GOOD.replace(old, new).encode(), PATH)
    import re

    assert re.search(complaint, f"{caught.value.message} {caught.value.hint}")


def test_aliases_cannot_make_a_small_file_large() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    with pytest.raises(SettingsError, match="nested or repeated"):
        parse_config("\n".join(lines).encode(), PATH)


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(SettingsError):
        parse_config(data, PATH)


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("", "[::1]:6683"),
        ("127.0.0.1", "127.0.0.1:6683"),
        ("0.0.0.0:80", "0.0.0.0:80"),
        ("::1", "[::1]:6683"),
        ("[::1]", "[::1]:6683"),
        ("[fe80::1]:99", "[fe80::1]:99"),
    ],
)
def test_addresses(given: str, address: str) -> None:
    assert address_of(given) == address


@pytest.mark.parametrize(
    "given", ["localhost", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:70000", "[::1", "[::1]x", ":1"]
)
def test_what_is_no_address(given: str) -> None:
    with pytest.raises(SettingsError, match="no address to listen on"):
        address_of(given)


def test_the_file_must_be_there(tmp_path: Path) -> None:
    from swagent.lab.config import read_config

    with pytest.raises(SettingsError, match="cannot read"):
        read_config(str(tmp_path / "none.yaml"))
