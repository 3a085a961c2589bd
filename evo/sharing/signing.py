"""Who stands for a bundle: Ed25519 signatures over its name, which is the sha256 of all that it holds."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from evo.files import take_bytes
from evo.sharing.merging import SharingError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

NAME = re.compile(r"([0-9a-f]{64})\.([0-9a-f]{64})\.sig")  # of the bundle, and the public key
PUBLIC = re.compile(r"ed25519:([0-9a-f]{64})")
SIGNED = b"evotrain rows 1\0"  # before what is signed: no signature of ours means anything else
MAX_SIGNATURE_BYTES = 1000
MISSING = "signing needs the package cryptography: pip install 'evotrain[sign]'"


def read_or_make_key(path: Path) -> tuple[Ed25519PrivateKey, bool]:
    """The private key in a file, made where there is none, and whether it was made now.

    SharingError for a file that others may read, or that holds no such key.
    """
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    except ImportError as error:
        raise SharingError(MISSING) from error
    if os.path.lexists(path):
        try:
            raw = take_bytes(path, 10_000)
        except ValueError as error:
            raise SharingError(f"--key {path}: {error}") from None
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise SharingError(f"--key {path}: others may read it; `chmod 600 {path}`")
        try:
            found = serialization.load_pem_private_key(raw, password=None)
        except (ValueError, TypeError):
            found = None
        if not isinstance(found, Ed25519PrivateKey):
            raise SharingError(
                f"--key {path}: holds no Ed25519 key as this command makes them; give another file"
            )
        return found, False
    made = Ed25519PrivateKey.generate()
    text = made.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(text)
    return made, True


def public_key(key: Ed25519PrivateKey) -> str:
    """What others give to --trust: ed25519: and 64 hex digits."""
    return f"ed25519:{key.public_key().public_bytes_raw().hex()}"


def read_trusted(given: str) -> str:
    """The digits of a public key, given as such or as a file that holds it. SharingError."""
    text = given.strip()
    if PUBLIC.fullmatch(text) is None and Path(given).is_file():
        try:
            text = take_bytes(Path(given), 10_000).decode("utf-8", "replace").strip()
        except ValueError as error:
            raise SharingError(f"--trust {given}: {error}") from None
    found = PUBLIC.fullmatch(text)
    if found is None:
        raise SharingError(
            f"--trust {given[:80]}: give a public key, ed25519: and 64 hex digits, as `evo push --key` "
            "prints it, or a file that holds it"
        )
    return found[1]


def sign(key: Ed25519PrivateKey, digest: str) -> tuple[str, bytes]:
    """The signature of a bundle with this sha256: the name of its file, and what that holds."""
    public = key.public_key().public_bytes_raw().hex()
    signature = key.sign(SIGNED + digest.encode()).hex()
    return f"{digest}.{public}.sig", json.dumps({"signature": signature}).encode() + b"\n"


def is_signed(digest: str, public: str, held: bytes) -> bool:
    """Whether a signature file is that key's for the bundle with this sha256.

    SharingError without the package that can tell.
    """
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError as error:
        raise SharingError(MISSING) from error
    try:
        signature = bytes.fromhex(json.loads(held)["signature"])
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
        key.verify(signature, SIGNED + digest.encode())
    except (ValueError, TypeError, KeyError, RecursionError, InvalidSignature):
        return False
    return True
