"""What the holder of a register keeps of an exchange: noted when it is made, destroyed when its time is over.

    FOLDER/kinlink-kept.json      which files belong to which exchange, and until when; nothing of anybody
    FOLDER/kinlink-holder.key     signs certificates
    FOLDER/certificates/          of what was destroyed; public-key beside them

The rules this module keeps:

- Each file that is opened, made or sent is noted before it is there; its time ends with the exchange, and at
  the latest as many days after receipt as the schedule says.
- What is due is destroyed whenever one of the holder's commands runs in the folder: the key first, then the
  rest, each overwritten and then deleted.
- What a crash cuts off is finished by the next command: the note goes last, after the certificate.
- Neither notes nor certificates tell who was in a file, nor how many, nor anything made of it.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pseudonym import certificates, clock, registers
from pseudonym.files import canonical, destroy_file, locked, parse, read_secret_file, replace_file
from pseudonym.retention.schedules import Schedules, Store, read

FORMAT: Final = "kinlink-holder/1"
NOTES: Final = "kinlink-kept.json"
SIGNING: Final = "kinlink-holder.key"
HOW: Final = (
    "The key was overwritten and deleted; without it the file to match by opens nothing.",
    "Then the other files were overwritten and deleted.",
)


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of one exchange.

    Attributes:
        project, recipient: of the exchange.
        register: its code, or empty where only what was sent is known.
        until: the last day on which it is kept.
        files: absolute paths, the key first.
    """

    project: str
    recipient: str
    register: str
    until: date
    files: tuple[str, ...]


class Premises:
    """One folder of a holder's; one command at a time.

    Args:
        folder: where the notes are.
        schedules: how long files to match by are kept at holders.
    """

    def __init__(self, folder: Path, schedules: Schedules | None = None) -> None:
        self.folder, self._schedules = folder.absolute(), schedules or read()

    def keep(
        self,
        project: str,
        recipient: str,
        files: Sequence[Path],
        register: str = "",
        ends: date | None = None,
    ) -> date:
        """Note files of an exchange, before they are made or sent.

        Args:
            project, recipient: of the exchange.
            files: the key first, where it is known.
            register: the register's code, where it is known.
            ends: when the exchange ends, where it is known.

        Returns:
            The last day on which they may be kept.
        """
        with locked(self.folder):
            noted = {(one.project, one.recipient): one for one in self.kept()}
            known = noted.get((project, recipient))
            until = clock.today() + timedelta(days=self._days(register or (known.register if known else "")))
            until = min([until, *([ends] if ends else []), *([known.until] if known else [])])
            paths = [*(known.files if known else ()), *(str(path.absolute()) for path in files)]
            kept = Kept(
                project, recipient, register or (known.register if known else ""), until, tuple(paths)
            )
            noted[project, recipient] = replace(kept, files=tuple(dict.fromkeys(paths)))
            self._write(list(noted.values()))
            return until

    def kept(self) -> list[Kept]:
        """What is noted, the first to go first."""
        path = self.folder / NOTES
        if not path.exists():
            return []
        content: dict[str, Any] = parse(read_secret_file(path, "holder's notes"), "holder's notes")
        found = [
            Kept(**{**one, "until": date.fromisoformat(one["until"]), "files": tuple(one["files"])})
            for one in content["exchanges"]
        ]
        return sorted(found, key=lambda one: (one.until, one.project, one.recipient))

    def sweep(self) -> list[bytes]:
        """Destroy what is due; the certificates of it."""
        with locked(self.folder):
            made = []
            for one in self.kept():
                if clock.today() <= one.until:
                    continue
                for path in one.files:
                    destroy_file(Path(path))
                made.append(self._certify(one))
                self._write([left for left in self.kept() if left != one])
            return made

    def _certify(self, one: Kept) -> bytes:
        """Sign that the files of an exchange are destroyed, unless that was done before a crash."""
        name = f"{one.project}-{one.recipient}-{one.until.isoformat()}.json"
        path = self.folder / "certificates" / name
        if path.exists():
            return path.read_bytes()
        made = certificates.Certificate(
            role="holder",
            project=one.project,
            what=f"Everything of the exchange {one.recipient} that was noted here.",
            when=clock.now().isoformat(timespec="seconds"),
            how=HOW,
            who=(f"holder/{pwd.getpwuid(os.geteuid()).pw_name}",),
            counts={"file": len(one.files)},
        )
        path.parent.mkdir(mode=0o700, exist_ok=True)
        signed = certificates.sign(made, self._key())
        replace_file(path, signed)
        return signed

    def _key(self) -> Ed25519PrivateKey:
        path = self.folder / SIGNING
        if not path.exists():
            replace_file(path, os.urandom(32).hex().encode() + b"\n")
        secret = read_secret_file(path, "key of the holder's certificates").decode().strip()
        key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secret))
        public = key.public_key().public_bytes_raw().hex().encode() + b"\n"
        replace_file(self.folder / "certificates" / "public-key", public)
        return key

    def _days(self, register: str) -> int:
        """How long files are kept: that of the register, or the shortest where it is not known."""
        names = [register] if register else registers.NAMES
        return min(self._schedules.kept(Store.HOLDER, name).days for name in names)

    def _write(self, kept: Sequence[Kept]) -> None:
        exchanges = [
            {
                "project": one.project,
                "recipient": one.recipient,
                "register": one.register,
                "until": one.until.isoformat(),
                "files": list(one.files),
            }
            for one in kept
        ]
        replace_file(self.folder / NOTES, canonical({"format": FORMAT, "exchanges": exchanges}))
