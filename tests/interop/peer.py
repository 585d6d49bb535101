"""Runs parties of the reference implementation's demo, as lines on standard input say; with the reference's Python.

Started by ``reference.py`` in a working folder of its own that has ``demo/keys``. The first line is a JSON object:
``paths`` (the two checkouts), ``format`` (``der`` or ``json``) and ``ports``. Each further line calls, reads or sets
something by its dotted name; each is answered by one line.
"""

import importlib
import json
import os
import shutil
import sys
from typing import Any
from xmlrpc.client import ServerProxy

BANNERS: list[str] = []


def begin(settings: dict[str, Any]) -> None:
    """Import the demo as it is, with its encoding and addresses set from outside."""
    sys.path[:0] = settings["paths"]
    importlib.import_module("uptane")
    conf: Any = importlib.import_module("tuf.conf")
    conf.METADATA_FORMAT = settings["format"]
    conf.GENERAL_CRYPTO_LIBRARY = "pyca-cryptography"  # opens a key file in a moment; the other takes seconds
    conf.SLOW_START_GRACE_PERIOD = 1  # s that it waits for the end of each file; usually 3
    demo = importlib.import_module("demo")
    demo.__path__.insert(0, os.path.join(os.getcwd(), "demo"))
    for name, value in settings["ports"].items():
        setattr(demo, name, value)
    for name in settings["parties"]:
        module: Any = importlib.import_module(name)
        words = {id(value): word for word, value in vars(module).items() if word.startswith("BANNER_")}

        def show(banner: Any, words: dict[int, str] = words, **how: Any) -> None:
            BANNERS.append(words[id(banner)].removeprefix("BANNER_"))

        module.print_banner = show


def found(name: str) -> tuple[Any, str]:
    """What holds the last word of a dotted name, and that word."""
    words = name.split(".")
    for n in range(len(words) - 1, 0, -1):
        try:
            holder = importlib.import_module(".".join(words[:n]))
        except ImportError:
            continue
        for word in words[n:-1]:
            holder = getattr(holder, word)
        return holder, words[-1]
    raise AttributeError(name)


def obey(order: dict[str, Any]) -> Any:
    """Do what one line says."""
    if "banners" in order:
        shown = list(BANNERS)
        BANNERS.clear()
        return shown
    holder, word = found(order["name"])
    if "value" in order:
        setattr(holder, word, order["value"])
        return None
    if "args" in order:
        return getattr(holder, word)(*order["args"], **order["how"])
    return getattr(holder, word)


def partial_cycle(targets_key: str) -> str:
    """A cycle of the demo's Secondary as a partial one, which the reference names but leaves to be done.

    The Director's targets are decoded and verified by the reference's functions, and so is the image.
    """
    demo: Any = importlib.import_module("demo")
    party: Any = importlib.import_module("demo.demo_secondary")
    signatures: Any = importlib.import_module("tuf.sig")
    ecu = party.secondary_ecu
    ecu.partial_verifying, ecu.director_public_key = True, demo.import_public_key(targets_key)
    primary: Any = ServerProxy(f"http://{party._primary_host}:{party._primary_port}")
    file = f"director_targets{demo.METADATA_EXTENSION}"
    with open(file, "wb") as stream:
        stream.write(primary.get_metadata(ecu.ecu_serial, True).data)
    found = importlib.import_module("tuf.util").load_file(file)
    (signature,) = found["signatures"]
    if not signatures.verify_signature_over_metadata(ecu.director_public_key, signature, found["signed"]):
        raise ValueError("bad signature")
    ecu.validated_targets_for_this_ecu = [
        {"filepath": path, "fileinfo": facts}
        for path, facts in found["signed"]["targets"].items()
        if facts["custom"]["ecu_serial"] == ecu.ecu_serial
    ]
    result = "no update"
    if ecu.validated_targets_for_this_ecu and primary.update_exists_for_ecu(ecu.ecu_serial):
        name, image = primary.get_image(ecu.ecu_serial)
        os.makedirs(os.path.join(party.CLIENT_DIRECTORY, "unverified_targets"), exist_ok=True)
        with open(os.path.join(party.CLIENT_DIRECTORY, "unverified_targets", name), "wb") as stream:
            stream.write(image.data)
        ecu.validate_image(name)
        ecu.firmware_fileinfo = ecu.validated_targets_for_this_ecu[0]
        result = "updated"
    party.generate_signed_ecu_manifest()
    party.submit_ecu_manifest_to_primary()
    return result


def delegate(role: str, pattern: str, name: str) -> None:
    """Let a role of its own, with the key that the demo has for one, describe an image of the Image repository."""
    demo: Any = importlib.import_module("demo")
    repository = importlib.import_module("demo.demo_image_repo").repo
    targets = os.path.join(repository._repository_directory, "targets")
    shutil.copy(name, targets)
    key, paths = demo.import_public_key("mainrole1"), [os.path.join(targets, pattern)]
    repository.targets.delegate(role, [key], [os.path.join(targets, name)], restricted_paths=paths)
    repository.targets(role).load_signing_key(demo.import_private_key("mainrole1"))


def main() -> None:
    """Obey until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # the demo prints: that is for the log
    begin(json.loads(sys.stdin.readline()))
    print(json.dumps({"value": None}), file=answers, flush=True)
    for line in sys.stdin:
        try:
            answer = {"value": obey(json.loads(line))}
        except Exception as exc:  # noqa: BLE001 - whatever the reference raises is the answer
            answer = {"error": f"{type(exc).__name__}: {exc}"}
        print(json.dumps(answer, default=str), file=answers, flush=True)


if __name__ == "__main__":
    main()
