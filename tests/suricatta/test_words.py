"""Option strings: SWUpdate's words, laid over the settings."""

from pathlib import Path
from typing import Any

import pytest

from swagent.errors import UsageError
from swagent.settings import InstallSettings
from swagent.suricatta.words import read_download, read_suricatta, server_of


def read(text: str, **groups: Any) -> tuple[InstallSettings, dict[str, Any]]:
    return read_suricatta(text, InstallSettings(**groups), {"https_proxy": "http://proxy:1"})


def test_all_words_of_hawkbit() -> None:
    settings, rest = read(
        "-S hawkbit -t default -u https://host:8443 -i unit-1 -c 2 -p 60 -r 5 -w 9 -x -yhttp://proxy:3128 -k token "
        "-f eth0 -m 20 -s 30 -n 500k -a X-Fleet: north --identify board gateway --cache /tmp/front "
        "--disable-token-for-dwl -d"
    )
    assert settings.hawkbit == {
        "tenant": "default",
        "url": "https://host:8443",
        "id": "unit-1",
        "polldelay": 60,
        "retry": 5,
        "retrywait": 9,
        "nocheckcert": True,
        "proxy": "http://proxy:3128",
        "targettoken": "token",
        "interface": "eth0",
        "initial-report-resend-period": 20,
        "connection-timeout": 30,
        "max-download-speed": 500 * 1024,
        "usetokentodwl": False,
    }
    assert settings.suricatta == {"server": "hawkbit", "enable": False}
    assert settings.identify == (("board", "gateway"),)
    assert settings.custom_http_headers == (("X-Fleet", "north"),)
    assert rest == {"state": "2", "cache": "/tmp/front", "headers": (("X-Fleet", "north"),)}
    assert settings.origins["hawkbit.url"] == "command line -u"


def test_all_words_of_a_general_server() -> None:
    settings, rest = read(
        "-e --server=general --url=https://host/ask -l https://host/log -p 9 -r1 -w 2 -n 1M --cache=/x -y"
    )
    assert settings.gservice == {
        "url": "https://host/ask",
        "logurl": "https://host/log",
        "polldelay": 9,
        "retry": 1,
        "retrywait": 2,
        "max-download-speed": 1024**2,
        "proxy": "http://proxy:1",
    }
    assert settings.suricatta["enable"] is True
    assert rest == {"cache": "/x"}


def test_words_go_over_settings() -> None:
    settings, _ = read("-i other", hawkbit={"url": "http://host", "id": "one", "tenant": "t"})
    assert settings.hawkbit == {"url": "http://host", "id": "other", "tenant": "t"}


@pytest.mark.parametrize(
    ("groups", "server"),
    [
        ({}, ""),
        ({"hawkbit": {"url": "x"}}, "hawkbit"),
        ({"suricatta": {"url": "x"}}, "hawkbit"),
        ({"gservice": {"url": "x"}}, "general"),
        ({"gservice": {"url": "x"}, "hawkbit": {"url": "x"}}, ""),
        ({"suricatta": {"server": "general"}, "hawkbit": {"url": "x"}}, "general"),
    ],
)
def test_which_server(groups: dict[str, Any], server: str) -> None:
    assert server_of(InstallSettings(**groups)) == server


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("-u http://x", "which server"),
        ("-S lua", "'lua' is not there"),
        ("-S nothing", "'nothing' is not there"),
        ("-S", "which server"),
        ("-S hawkbit -c 4", "-c takes one of 0, 1, 2, 3, 6"),
        ("-S hawkbit -q", "unknown option '-q'"),
        ("-S hawkbit --tenants x", "unknown option '--tenants'"),
        ("-S hawkbit left over", "unknown option 'left'"),
        ("-S hawkbit -t", "-t wants 1 value"),
        ("-S hawkbit -a X", "-a wants 2 values"),
        ("-S hawkbit --nocheckcert=1", "takes no value"),
        ("-S hawkbit -p soon", "not a whole number"),
        ("-S hawkbit -n fast", "bytes per second"),
        ("-S hawkbit -a b@d x", "make no header"),
        ("-S general -t x", "unknown option '-t'"),
    ],
)
def test_what_makes_no_sense_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=None) as caught:
        read(text)
    assert message in caught.value.message


def test_a_backend_of_another_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "acme-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[swagent.backends]\nacme = acme:make\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    settings, _ = read("-S acme -e")
    assert settings.suricatta == {"server": "acme", "enable": True}
    with pytest.raises(UsageError, match="unknown option '-t'"):
        read("-S acme -t x")


def test_a_proxy_that_nobody_names() -> None:
    with pytest.raises(UsageError, match="names no proxy"):
        read_suricatta("-S hawkbit -y", InstallSettings(), {})


def test_all_words_of_a_download() -> None:
    settings = read_download("-u http://host/x.swu -r 7 -w 1 -t 60 -a me:secret -n 2M", InstallSettings())
    assert settings.download == {
        "url": "http://host/x.swu",
        "retries": 7,
        "retrywait": 1,
        "timeout": 60,
        "authentication": "me:secret",
        "max-download-speed": 2 * 1024**2,
    }
    for text in ("-x", "-r many", "word"):
        with pytest.raises(UsageError):
            read_download(text, InstallSettings())
