"""``swagent authdb``: databases of update authorization."""

from .options import Group, Option

COMMAND = Group(
    name="authdb",
    summary="make and examine UniAuth.db: which units may be updated to what",
    verbs=(
        ("build", "authdb_build", "make a database of lists (also as `UniDBGenerator`)"),
        ("show", "authdb_show", "say what is in a database"),
        ("check", "authdb_check", "say whether a unit may be updated"),
        ("verify", "authdb_verify", "check structure, checksum, signature and every record"),
        ("code", "authdb_code", "make activation codes for serial numbers"),
        ("sign", "authdb_sign", "sign or re-sign a database"),
        ("diff", "authdb_diff", "say which records two databases do not share"),
    ),
)

KEY_OPTION = Option(
    "key-aes", short="K", metavar="FILE", help="key of encrypted records, in SWUpdate's form: KEY IV"
)
TRUST_OPTION = Option(
    "key",
    short="k",
    metavar="FILE",
    help="public key in PEM of who may have signed it; may be given several times",
    repeat=True,
)
