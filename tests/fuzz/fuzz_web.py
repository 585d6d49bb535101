"""Any bytes as what a browser says of itself: logins, hosts, origins, file names, words of ``-w``."""

from contextlib import suppress

from swagent.errors import SwagentError
from swagent.web.auth import Digest, Tokens, Verdict, read_pairs
from swagent.web.guard import host_is_ours, host_name, same_origin
from swagent.web.options import from_words, web_options
from swagent.web.upload import NAME_BYTES_MAX, clean_name

_DIGEST = Digest("r", {"anna": "0" * 32}, lambda: 1000.0)
_TOKENS = Tokens({"ci": "0" * 64})


def one_input(data: bytes) -> None:
    """Nobody gets in, nothing is taken for ours that is not, and names are names."""
    text = data.decode("utf-8", "surrogateescape")
    pairs = read_pairs(text)
    assert pairs is None or 0 < len(pairs) <= 20
    assert _DIGEST.check("GET", "/", text) is not Verdict.GOOD
    assert not _TOKENS.check(text)
    if host_is_ours(text, frozenset(("localhost",))):
        assert host_name(text) is not None
        assert not same_origin("http://evil.example", text)
    name = clean_name(text)
    assert len(name.encode()) <= NAME_BYTES_MAX
    assert "/" not in name and "\\" not in name and name.isprintable()
    with suppress(SwagentError):
        web_options({"allow-anonymous": True, **from_words(text)})


def seeds() -> list[bytes]:
    """What browsers say, and what they should not."""
    return [
        b'username="anna", realm="r", nonce="'
        + b"0" * 56
        + b'", uri="/", qop=auth, nc=00000001, cnonce="c", '
        b'response="00000000000000000000000000000000"',
        b"localhost:8080",
        b"[fe80::1%25eth0]:80",
        b"127.0.0.1.evil.example",
        b"http://127.0.0.1:8080",
        b"-p 8080 -r /www --auth-domain U --global-auth-file /etc/p -t 30 -l",
        b"-p https://[::1]:8443 -s -C a -K b",
        b"C:\\fakepath\\up.swu",
        "../aktualisierung ä\u202e.swu".encode(),
    ]
