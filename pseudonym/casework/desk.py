"""A council's desk for its own records: the book sealed, its audit log, certificates of what was destroyed.

    DESK/desk.json  log.key  officer.pem    made once
        /audit                              the audit log; its checkpoints lie where another party keeps them
        /book.sealed  keys/ID               the book, and the key that opens it
        /certificates/                      signed with the key of the log

The rules this module keeps:

- Whatever is changed, deleted or asked is in the log before it is done; whose record it was is for the data
  protection officer alone.
- With each deletion the book gets a new key, and the former one is overwritten: copies of the book from
  before cannot be read, as long as nobody copied the keys. Keys are not backed up.
- After a crash at any moment the book is the one before the change or the one after it, whole.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pseudonym import certificates, clock
from pseudonym.audit import Event, Log, Signer
from pseudonym.casework import written
from pseudonym.casework.book import PROFESSIONAL, Book, Right
from pseudonym.errors import InputError, PseudonymError, SealBrokenError
from pseudonym.files import canonical, destroy_file, locked, parse, read_secret_file, replace_file
from pseudonym.log_keys import read_officer
from pseudonym.requests import check_name
from pseudonym.retention.schedules import Kind, Schedules
from pseudonym.retention.schedules import read as read_schedules
from pseudonym.seal import NONCE_BYTES, SCHEME
from pseudonym.urn import enc

FORMAT: Final = "kinlink-casework-desk/1"
PURPOSE: Final = "casework"
ID_BYTES: Final = 8
HOW: Final = (
    "The book was written without it under a new key.",
    "The former key was overwritten and deleted: copies of the book from before open nothing.",
)


def create(folder: Path, name: str, officer: Path, checkpoints: Path, schedules: Path | None) -> str:
    """Make a desk, with an empty book, an audit log and a key for it.

    Args:
        folder: of the desk; there is none yet.
        name: the log's, such as `council.example/casework`.
        officer: the data protection officer's public key, in PEM.
        checkpoints: a folder that another party keeps.
        schedules: the council's own, or None for the ready-made ones.

    Returns:
        The log's public key, as `kinlink audit verify` takes it.

    Raises:
        InputError: there is something at the place, or the schedules cannot be read.
        AuditError: the log cannot be made.
    """
    public = read_officer(officer)
    kept = read_schedules(schedules.absolute()) if schedules else read_schedules()
    try:
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise InputError(f"{folder} cannot be made: {os.strerror(error.errno or 0)}.") from None
    secret = os.urandom(32)
    signer = Signer(name, Ed25519PrivateKey.from_private_bytes(secret))
    try:
        with Log.create(folder / "audit", checkpoints.absolute(), signer, public):
            pass
    except PseudonymError:  # no half of a desk stands in the way of the next try
        shutil.rmtree(folder)
        raise
    for part in ("keys", "certificates"):
        (folder / part).mkdir(mode=0o700)
    replace_file(folder / "log.key", secret.hex().encode())
    replace_file(folder / "officer.pem", officer.read_bytes())
    _seal(folder, Book(kept))
    about = {
        "format": FORMAT,
        "log": name,
        "checkpoints": str(checkpoints.absolute()),
        "schedules": str(schedules.absolute()) if schedules else "",
    }
    replace_file(folder / "desk.json", canonical(about))  # last: the desk is whole once it is there
    return str(signer.verifier)


class Desk:
    """A desk, opened by somebody. Not to be made: use `opened`.

    Attributes:
        book: as it is now.
    """

    def __init__(self, folder: Path, book: Book, log: Log, signer: Ed25519PrivateKey, who: str) -> None:
        self._folder, self._log, self._signer, self._who = folder, log, signer, who
        self.book = book

    def change(self, book: Book, action: str, about: str, **details: object) -> None:
        """Write the book as it is from now on.

        Args:
            book: changed.
            action: what was done, such as `lead.set`.
            about: whose record it is: for the officer alone.
            details: more for the officer.
        """
        self._tell(action, {"about": about, **details})
        _seal(self._folder, book)
        self.book = book

    def enquire(self, family: str, by: str) -> str | None:
        """Answer who leads for a family with the name alone.

        Args:
            family: its reference.
            by: who enquires, and for whom they work.
        """
        answer = self.book.enquire(family)
        self._tell("lead.enquired", {"about": family, "by": by, "answered": answer is not None})
        return answer

    def delete(self, family: str, category: str, right: Right | None, law: str) -> bytes:
        """Delete a record; the certificate of it.

        Raises:
            RetentionError, NotFoundError: see `Book.delete`.
        """
        book = self.book.delete(family, category, clock.today(), right, law)
        why = f"for the right of {right}" if right else f"by {law}" if law else "after its time"
        return self._destroy(book, category, why, family)

    def sweep(self) -> list[bytes]:
        """Destroy what is kept for a time at most, and over; the certificates of it."""
        made = []
        today = clock.today()
        for one in self.book.over(today):
            if one.kind is Kind.MAXIMUM:
                if one.category == PROFESSIONAL:
                    book = self.book.forget_professional(one.of)
                else:
                    book = self.book.delete(one.of, one.category, today)
                made.append(self._destroy(book, one.category, "after its time", one.of))
        return made

    def _destroy(self, book: Book, category: str, why: str, about: str) -> bytes:
        self._tell("record.destroyed", {"about": about, "category": category, "why": why})
        made = certificates.Certificate(
            role="council",
            project=self._log.origin,
            what=f"One {category}, {why}.",
            when=clock.now().isoformat(timespec="seconds"),
            how=HOW,
            who=(self._who,),
            counts={category: 1},
        )
        _seal(self._folder, book, renew=True)
        self.book = book
        signed = certificates.sign(made, self._signer)
        name = f"{re.sub(r'[^0-9]', '', made.when)[:14]}-{os.urandom(4).hex()}.json"
        replace_file(self._folder / "certificates" / name, signed)
        return signed

    def _tell(self, action: str, details: dict[str, object]) -> None:
        sealed = json.dumps(details, default=str, sort_keys=True).encode()
        self._log.append([Event(self._who, action, PURPOSE, count=1, details=sealed)])


@contextmanager
def opened(folder: Path, who: str) -> Iterator[Desk]:
    """Open a desk; one at a time.

    Args:
        folder: of the desk.
        who: who works there, as the log calls them.

    Raises:
        InputError: there is no desk, or the name is none.
        SealBrokenError: the book does not open.
        AuditError: its log cannot be written.
    """
    check_name(who, "who works at the desk")
    if not (folder / "desk.json").exists():
        raise InputError(f"There is no desk at {folder}.", "Make one: kinlink lead desk.")
    with locked(folder):
        about = parse(read_secret_file(folder / "desk.json", "desk"), "desk")
        if about.get("format") != FORMAT:
            raise InputError("This is no desk of a council's own records.", "Make one: kinlink lead desk.")
        schedules = read_schedules(Path(about["schedules"])) if about["schedules"] else read_schedules()
        secret = bytes.fromhex(read_secret_file(folder / "log.key", "key of the desk's log").decode())
        key = Ed25519PrivateKey.from_private_bytes(secret)
        officer = read_officer(folder / "officer.pem")
        with Log.open(
            folder / "audit", Path(about["checkpoints"]), Signer(about["log"], key), officer
        ) as log:
            yield Desk(folder, _open(folder, schedules), log, key, f"council/{who}")


def _seal(folder: Path, book: Book, *, renew: bool = False) -> None:
    """Write the book; under a new key where something was deleted, or there is none yet."""
    path = folder / "book.sealed"
    name = path.read_bytes()[1 : 1 + ID_BYTES] if path.exists() and not renew else os.urandom(ID_BYTES)
    key = folder / "keys" / name.hex()
    if not key.exists():
        replace_file(key, os.urandom(32).hex().encode())
    secret = bytes.fromhex(read_secret_file(key, "key of the book").decode())
    nonce = os.urandom(NONCE_BYTES)
    sealed = AESGCM(secret).encrypt(nonce, written.to_bytes(book), enc("casework/1", name))
    replace_file(path, SCHEME + name + nonce + sealed)
    _forget_others(folder, name)


def _open(folder: Path, schedules: Schedules) -> Book:
    data = (folder / "book.sealed").read_bytes()
    name, body = data[1 : 1 + ID_BYTES], data[1 + ID_BYTES :]
    try:
        secret = bytes.fromhex(read_secret_file(folder / "keys" / name.hex(), "key of the book").decode())
        plain = AESGCM(secret).decrypt(body[:NONCE_BYTES], body[NONCE_BYTES:], enc("casework/1", name))
    except (InvalidTag, ValueError):
        raise SealBrokenError("The book was altered, or this is not its key.", "Restore both.") from None
    _forget_others(folder, name)  # what a crash left of a deletion
    return written.from_bytes(plain, schedules)


def _forget_others(folder: Path, name: bytes) -> None:
    for key in (folder / "keys").iterdir():
        if key.name != name.hex():
            destroy_file(key)
