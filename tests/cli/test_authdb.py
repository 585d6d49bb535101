"""``swagent authdb``: the generator and what examines its results."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from swagent.authdb.reader import open_database
from swagent.cli.main import main
from swagent.crypto import schemes
from tests.authdb.databases import records
from tests.programs import exit_and_peak, measured, must

AES_KEY = "00" * 32 + " " + "00" * 16


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def build(*words: str) -> int:
    return main(["authdb", "build", *words])


def content(path: str = "x.db") -> list[tuple[str, str, str, list[bytes]]]:
    with open_database(path) as database:
        return [
            (section.effect, section.name, section.matching.name, records(database, number))
            for number, section in enumerate(database.sections)
        ]


def test_the_document_s_own_example(tmp_path: Path) -> None:
    Path("msn.txt").write_text("SN1\r\n\nSN22\n  SN333 \n")
    Path("model_number.txt").write_text("M1\n")
    Path("sw-description").write_text(
        'software = { version = "v02p48"; bootenv: ( { name = "a"; value = "b"; } ); };'
    )
    assert main(["make", "-s", "sw-description", "-o", "image.swu", "--unsigned"]) == 0
    words = "--project g4_bba --allow --msn-list msn.txt --image image.swu --deny --model_number-list model_number.txt"
    assert build(*words.split(), "-o", "UniAuth.db") == 0
    assert content("UniAuth.db") == [
        ("allow", "msn", "RAW", [b"SN1", b"SN22", b"SN333"]),
        ("allow", "image_version", "RAW", [b"v02p48"]),
        ("deny", "model_number", "RAW", [b"M1"]),
    ]
    with open_database("UniAuth.db") as database:
        assert database.header.project == "g4_bba"
        assert database.sections[0].entity_size == 5  # padded to the longest


def test_the_order_of_options_matters() -> None:
    words = "--msn A --deny --msn B --glob --msn C* --allow --msn D* --raw --msn E --anything=-x -o x.db"
    assert build(*words.split()) == 0
    assert content() == [
        ("allow", "msn", "RAW", [b"A", b"E"]),
        ("deny", "msn", "RAW", [b"B"]),
        ("deny", "msn", "GLOB", [b"C*"]),
        ("allow", "msn", "GLOB", [b"D*"]),
        ("allow", "anything", "RAW", [b"-x"]),
    ]


def test_a_type_that_nobody_knows_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert build("--msn", "A", "--projet", "x", "-o", "x.db") == 0
    assert "the list type projet is not known here" in capsys.readouterr().out
    assert build("--msn", "A", "-o", "x.db") == 0
    assert "warning" not in capsys.readouterr().out


def test_an_empty_file_is_an_empty_list() -> None:
    Path("none.txt").write_text("\n")
    assert build("--msn-list", "none.txt", "-o", "x.db") == 0
    assert content() == [("allow", "msn", "RAW", [])]


def test_tables() -> None:
    Path("a.csv").write_text('\ufeffowner,msn\n"Smith, J.",SN1\nJones,"SN2"\n,\n')
    Path("b.csv").write_text("M1,x\nM2,y\n")
    assert build("--msn-list", "a.csv", "--model_number-list", "b.csv", "-o", "x.db") == 0
    assert [one[3] for one in content()] == [[b"SN1", b"SN2"], [b"M1", b"M2"]]


@pytest.mark.parametrize(
    "words",
    [
        "",
        "-o x.db",
        "--empty --msn A -o x.db",
        "--msn",
        "--msn --deny -o x.db",
        "--msn A",
        "msn A -o x.db",
        "--deny=yes --msn A -o x.db",
        "--msn A --abi lp32 -o x.db",
    ],
)
def test_command_lines_that_make_no_sense(words: str) -> None:
    assert build(*words.split()) == 2
    assert not Path("x.db").exists()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("--msn-list missing -o x.db", 70),
        ("--msn-list /dev/null -o x.db", 70),
        ("--a_name_that_is_too_long A -o x.db", 12),
        ("--signature A -o x.db", 12),
        ("--cipher rot13 --msn A -o x.db", 71),
        ("--cipher aes-256-gcm --msn A -o x.db", 70),
        ("--image x.db -o x.db", 41),
    ],
)
def test_what_cannot_be_built_leaves_the_old_file(words: str, code: int) -> None:
    if "--image" not in words:
        Path("x.db").write_text("old")
    assert build(*words.split()) == code
    assert not Path("x.db").exists() or Path("x.db").read_text() == "old"


def test_help_and_the_other_name() -> None:
    program = Path(sys.executable).parent / "UniDBGenerator"
    told = subprocess.run([program, "-h"], capture_output=True, text=True, check=True).stdout
    assert "--XXX-list FILE" in told
    subprocess.run([program, "--empty", "-o", "x.db"], check=True, capture_output=True)
    assert content() == []


def test_examining(capsys: pytest.CaptureFixture[str]) -> None:
    key = schemes.generate(schemes.ECDSA_P256)
    Path("db.pem").write_text(key.public)
    for name, data in (("db.key", key.pem()), ("aes.key", AES_KEY.encode())):
        Path(name).write_bytes(data)
        Path(name).chmod(0o600)
    words = "--msn A --cipher aes-256-gcm --model_number M -K aes.key"
    assert build(*words.split(), "-o", "old.db") == 0
    assert build(*words.split(), "--cipher", "none", "--msn", "B", "-o", "x.db") == 0
    assert main(["authdb", "sign", "x.db", "-k", "db.key"]) == 0
    capsys.readouterr()

    assert main(["authdb", "show", "x.db", "-k", "db.pem"]) == 0
    assert "signed (ecdsa)\n" in capsys.readouterr().out
    assert main(["authdb", "show", "x.db", "--records", "-K", "aes.key"]) == 0
    assert capsys.readouterr().out == "allow msn A\nallow msn B\nallow model_number M\n"
    assert main(["authdb", "show", "old.db", "-k", "db.pem"]) == 20

    assert main(["authdb", "verify", "x.db", "-k", "db.pem"]) == 0
    assert "1 encrypted list not looked into" in capsys.readouterr().out
    assert main(["authdb", "verify", "x.db", "-k", "db.pem", "-K", "aes.key"]) == 0

    assert main(["authdb", "diff", "old.db", "x.db", "-K", "aes.key"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "+ allow msn raw B"

    assert (
        main(["authdb", "check", "x.db", "-k", "db.pem", "-K", "aes.key", "--as", "msn=B,model_number=M"])
        == 0
    )
    assert capsys.readouterr().out.endswith("msn B\nmodel_number M\nAuthorized.\n")
    assert main(["authdb", "check", "x.db", "-K", "aes.key", "--as", "msn=C,model_number=M"]) == 32
    assert "msn C is not in the allow list" in capsys.readouterr().err
    assert main(["authdb", "check", "x.db", "--as", "msn=B,model_number=M"]) == 32
    assert main(["authdb", "check", "x.db", "-K", "aes.key", "--as", "msn=B"]) == 32
    assert main(["authdb", "check", "x.db", "--as", "msn"]) == 2


def test_expressions_are_verified() -> None:
    pytest.importorskip("re2")
    assert build("--regular", "--msn", "SN(", "-o", "x.db") == 0
    assert main(["authdb", "verify", "x.db"]) == 12


@pytest.mark.slow
def test_a_million_serials_take_no_memory() -> None:
    with open("msn.txt", "w") as file:
        file.writelines(f"SERIAL-{number:09}\n" for number in range(1_000_000))
    program = "import sys; from swagent.cli.main import main; sys.exit(main(sys.argv[1:]))"
    words = ["authdb", "build", "--msn-list", "msn.txt", "-o", "x.db"]
    command = [*measured(Path("usage")), sys.executable, "-c", program, *words]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    code, peak_kib = exit_and_peak(Path("usage"))
    assert code == 0
    assert peak_kib < 80 * 1024
    assert main(["authdb", "check", "x.db", "--as", "msn=SERIAL-000999999"]) == 0
    assert main(["authdb", "check", "x.db", "--as", "msn=SERIAL-001000000"]) == 32


# -- activation codes


def codes(capsys: pytest.CaptureFixture[str], *words: str) -> list[list[str]]:
    """What `authdb code` prints, line by line: code and serial."""
    capsys.readouterr()
    assert main(["authdb", "code", *words]) == 0
    return [line.split("  ", 1) for line in capsys.readouterr().out.splitlines()]


def unlocks(code: str, serial: str, *words: str) -> bool:
    given = f"msn={serial},activation_code={code}"
    return main(["authdb", "check", "x.db", "--as", given, *words]) == 0


def test_codes_by_a_key(capsys: pytest.CaptureFixture[str]) -> None:
    must(["openssl", "genpkey", "-algorithm", "ed25519", "-out", "sales.key"])
    os.chmod("sales.key", 0o600)
    Path("sold.csv").write_text("customer,msn\nJones,SN2\nSmith, SN 3 \n")
    made = codes(capsys, "-k", "sales.key", "SN1", "--msn-list", "sold.csv")
    assert [serial for _, serial in made] == ["SN1", "SN2", "SN 3"]
    ((record,),) = codes(capsys, "-k", "sales.key", "--record")
    assert build("--activation_code", record, "-o", "x.db") == 0
    for code, serial in made:
        assert unlocks(code, serial)
    assert not unlocks(made[0][0], "SN2")
    must(["sh", "-c", r"printf 'swagent activation v1\0%s' SN1 > m"])
    must(["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", "sales.key", "-in", "m", "-out", "signature"])
    assert Path("signature").read_bytes().hex() == made[0][0], "as the page says"


def test_codes_by_a_secret(capsys: pytest.CaptureFixture[str]) -> None:
    Path("secret").write_text("5a" * 32 + "\n")
    os.chmod("secret", 0o600)
    Path("aes").write_text(f"{'77' * 32} {'00' * 16}\n")
    os.chmod("aes", 0o600)
    ((code, serial),) = codes(capsys, "--secret", "secret", "SN1")
    assert len(code) == 64
    ((record,),) = codes(capsys, "--secret", "secret", "--record")
    assert build("--cipher", "aes-256-gcm", "-K", "aes", "--activation_code", record, "-o", "x.db") == 0
    assert unlocks(code, serial, "-K", "aes")
    assert not unlocks(code, "SN2", "-K", "aes")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ((), 2),
        (("SN1",), 2),
        (("--secret", "secret"), 2),
        (("--secret", "secret", "-k", "secret", "SN1"), 2),
        (("--secret", "secret", "--record", "SN1"), 2),
        (("--secret", "missing", "SN1"), 70),
        (("--secret", "short", "SN1"), 70),
        (("--secret", "odd", "SN1"), 70),
        (("--secret", "open", "SN1"), 70),
        (("-k", "ec.key", "SN1"), 70),
        (("--secret", "secret", "\n"), 70),
        (("--secret", "secret", "S" * 257), 70),
        (("--secret", "secret", "--msn-list", "missing"), 70),
    ],
)
def test_codes_that_nobody_makes(
    words: tuple[str, ...], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in (("secret", "5a" * 32), ("short", "5a"), ("odd", "zz" * 32), ("open", "5a" * 32)):
        Path(name).write_text(text)
        os.chmod(name, 0o644 if name == "open" else 0o600)
    must(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "ec.key"])
    os.chmod("ec.key", 0o600)
    assert main(["authdb", "code", *words]) == code
    shown = capsys.readouterr()
    assert "5a5a" not in shown.out + shown.err
