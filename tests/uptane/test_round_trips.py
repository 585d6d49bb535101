"""Whatever a role says, each encoding gives it back, signed and byte for byte the same when it is written again."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swagent.crypto.schemes import from_seed, load
from swagent.uptane import canonical
from swagent.uptane.codecs import NAMES, codec
from swagent.uptane.codecs.base import NotUnderstood
from swagent.uptane.metadata import (
    TOP_LEVEL,
    FileFacts,
    RoleKeys,
    Root,
    Snapshot,
    Target,
    Targets,
    Timestamp,
)
from swagent.uptane.reports import UNKNOWN_IMAGE, EcuReport
from swagent.uptane.signing import Signer

VERSIONS = st.integers(1, 2**31 - 1)
LENGTHS = st.integers(0, 2**31 - 1)
WORDS = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters='/\\"'), min_size=1, max_size=20
)
HASHES = st.fixed_dictionaries(
    {
        "sha256": st.binary(min_size=32, max_size=32).map(bytes.hex),
        "sha512": st.binary(min_size=64, max_size=64).map(bytes.hex),
    }
)
SHA256 = st.fixed_dictionaries({"sha256": st.binary(min_size=32, max_size=32).map(bytes.hex)})
LISTED = st.builds(FileFacts, VERSIONS, LENGTHS, SHA256)


def roots(dialect: str) -> st.SearchStrategy[Root]:
    def made(seeds: list[bytes]) -> Root:
        keys = [Signer(from_seed(seed), codec(dialect)).key for seed in seeds]
        roles = {role: RoleKeys((key.keyid,), 1) for role, key in zip(TOP_LEVEL, keys, strict=True)}
        return Root({key.keyid: key for key in keys}, roles)

    seed = st.binary(min_size=32, max_size=32)
    return st.lists(seed, min_size=4, max_size=4, unique=True).map(made)


def targets(*, hardware: bool) -> st.SearchStrategy[Targets]:
    def made(items: list[tuple[str, int, dict[str, str], str, int | None]]) -> Targets:
        return Targets(
            {
                path: Target(
                    path, length, hashes, {serial: ""}, frozenset((path,)) if hardware else None, counter
                )
                for path, length, hashes, serial, counter in items
            }
        )

    path = st.lists(WORDS, min_size=1, max_size=3).map("/".join)
    item = st.tuples(path, LENGTHS, HASHES, WORDS, st.none() | st.integers(0, 2**31 - 1))
    return st.lists(item, max_size=5, unique_by=lambda item: item[0]).map(made)


@st.composite
def bodies(draw: st.DrawFn, dialect: str) -> Any:
    kind = draw(st.sampled_from(TOP_LEVEL))
    if kind == "root":
        return draw(roots(dialect))
    if kind == "timestamp":
        return Timestamp(draw(LISTED))
    if kind == "snapshot":
        files = {"targets": FileFacts(draw(VERSIONS)), draw(WORDS) + "-role": FileFacts(draw(VERSIONS))}
        return Snapshot(files, draw(LISTED) if dialect.startswith("ref") else None)
    return draw(targets(hardware=draw(st.booleans())))


def said(body: Any) -> Any:
    """What a body says; the words of a target's custom part are another spelling of it."""
    if isinstance(body, Targets):
        return body._replace(
            targets={path: target._replace(custom={}) for path, target in body.targets.items()}
        )
    return body


@pytest.mark.parametrize("dialect", NAMES)
@settings(max_examples=60)
@given(data=st.data())
def test_every_role(dialect: str, data: st.DataObject) -> None:
    encoding = codec(dialect)
    body = data.draw(bodies(dialect))
    version, expires_s = data.draw(VERSIONS), data.draw(st.integers(1, 2**31 - 1))
    signer = Signer(from_seed(b"R" * 32), encoding)
    raw = encoding.encode(body, version=version, expires_s=expires_s, signers=(signer,))
    found = encoding.decode(raw)
    assert (said(found.body), found.version, found.expires_s) == (said(body), version, expires_s)
    (signature,) = found.signatures
    assert load(signer.key.scheme, signer.key.public).made(signature.value, found.message)
    assert encoding.encode(found.body, version=version, expires_s=expires_s, signers=(signer,)) == raw


@pytest.mark.parametrize("text", [b'"\\ud800"', b'{"a": ["x\\uDFFF"]}', b'{"\\ud834 ": 1}'])
def test_unpaired_surrogates_are_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="surrogates"):
        canonical.load(text)
    assert canonical.load(b'"\\ud834\\udd1e"') == "\U0001d11e"


@pytest.mark.parametrize("name", [name for name in NAMES if name != "ref-der"])
def test_reports_that_xml_cannot_carry_are_refused(name: str) -> None:
    encoding = codec(name)
    signer = Signer(from_seed(b"R" * 32), encoding)
    facts = EcuReport("TCU", UNKNOWN_IMAGE, 1, 1, "fine:\ttwo\nlines\U0001d11e\\u0001")
    assert (
        encoding.decode_ecu_report(encoding.encode_ecu_report(facts, signer)).content.attacks == facts.attacks
    )
    for text in ("\0", "\b", "\r", "\x1f", "\ufffe"):
        raw = encoding.encode_ecu_report(facts._replace(attacks=text), signer)
        with pytest.raises(NotUnderstood, match="control"):
            encoding.decode_ecu_report(raw)
