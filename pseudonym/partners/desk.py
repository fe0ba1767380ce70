"""A council's desk for partner checks: the open questions, who may touch them, and the log of it.

    DESK/desk.json  log.key  officer.pem   made once
        /audit                             the audit log; its checkpoints lie where another party keeps them
        /known.json                        the operators that the log has told of
        /kept/ID.json                      a set of questions until it expires

The rules this module keeps:

- Nothing is made or read but by an operator of the register, who has their key; whoever else tries is refused
  and written down.
- Operators that come or go, and another number of how many there may be, are in the log before anything else
  is done.
- What leaves and what is read is in the log first, with its lawful basis and why it may be shared.
- A set that has expired is destroyed when the desk is opened next, and its answers are refused.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import polars as pl
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pseudonym.audit import Event, Log, Signer
from pseudonym.errors import InputError, LawError, OperatorError, PartnerLateError, PseudonymError
from pseudonym.files import canonical, locked, parse, read_secret_file, replace_file
from pseudonym.lawful.cover import sharing_of
from pseudonym.lawful.sharing import Sharing
from pseudonym.log_keys import read_officer
from pseudonym.partners.answers import set_of
from pseudonym.partners.checks import CHECKS, Answer, Check
from pseudonym.partners.kept import Kept
from pseudonym.partners.operator_key import OperatorKey
from pseudonym.partners.questions import Questions, make
from pseudonym.partners.register import Operator, PartnerRegister

FORMAT: Final = "kinlink-partner-desk/1"
PURPOSE: Final = "partner-checks"
Now = Callable[[], datetime]


def now_in_utc() -> datetime:
    """The time."""
    return datetime.now(UTC)


def create(folder: Path, name: str, officer: Path, checkpoints: Path) -> str:
    """Make a desk, with an audit log and a key for it.

    Args:
        folder: of the desk; there is none yet.
        name: the log's, such as `council.example/partner-checks`.
        officer: the data protection officer's public key, in PEM.
        checkpoints: a folder that another party keeps.

    Returns:
        The log's public key, as `kinlink audit verify` takes it.

    Raises:
        InputError: there is something at the place.
        AuditError: the log cannot be made.
    """
    public = read_officer(officer)
    try:
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise InputError(f"{folder} cannot be made: {os.strerror(error.errno or 0)}.") from None
    secret = os.urandom(32)
    try:
        signer = Signer(name, Ed25519PrivateKey.from_private_bytes(secret))
        with Log.create(folder / "audit", checkpoints.absolute(), signer, public):
            pass
    except PseudonymError:  # no half of a desk stands in the way of the next try
        shutil.rmtree(folder)
        raise
    (folder / "kept").mkdir(mode=0o700)
    replace_file(folder / "log.key", secret.hex().encode())
    replace_file(folder / "officer.pem", officer.read_bytes())
    replace_file(folder / "known.json", canonical({"most": 0, "operators": {}}))
    about = {"format": FORMAT, "log": name, "checkpoints": str(checkpoints.absolute())}
    replace_file(folder / "desk.json", canonical(about))  # last: the desk is whole once it is there
    return str(signer.verifier)


class Desk:
    """A desk, opened by one operator. Not to be made: use `opened`."""

    def __init__(
        self,
        folder: Path,
        register: PartnerRegister,
        operator: Operator,
        key: OperatorKey,
        log: Log,
        now: Now,
    ) -> None:
        self._folder, self._register, self._log, self._now = folder, register, log, now
        self._operator, self._key = operator, key

    def ask(
        self,
        check: Check,
        partner: str,
        subjects: pl.DataFrame,
        days: int,
        reason: Sharing | None = None,
        wishes: Mapping[str, int] | None = None,
    ) -> tuple[Questions, bytes]:
        """Make questions, keep what reading their answers takes, and seal them to the partner.

        Args:
            check: what is asked.
            partner: the partner's name.
            subjects: what `rows.pick` took.
            days: after how many the questions expire.
            reason: why this may be shared, where it is another reason than the purpose's.
            wishes: what shows that a service was requested, as `rows.pick` counted it.

        Returns:
            The questions, and the file for the partner.

        Raises:
            InputError: the partner is not asked this, or the days are too many.
            LawError: the check has no basis, there is no reason to share, or nothing shows it.
        """
        addressee = self._register.partner(partner, check)
        purpose = self._register.purpose(check)
        shared = sharing_of(purpose, reason)
        if shared.needs_evidence and not wishes:
            raise LawError(
                "EVIDENCE_MISSING", "Nothing shows that a service was requested.", "Look at what does first."
            )
        questions, secret, families = make(
            check, subjects, self._register.council, partner, self._now(), days
        )
        kept = Kept.of(questions, secret, families, self._operator.name, self._key)
        told = {"set": kept.id, "check": check.name, "partner": partner, "expires": f"{questions.expires}"}
        told |= {"basis": purpose.basis, "sharing": str(shared)}
        told |= {f"wishes {name}": str(count) for name, count in (wishes or {}).items()}
        self._tell("partner.ask", check.purpose, len(families), told)
        replace_file(self._folder / "kept" / f"{kept.id}.json", kept.to_file())
        return questions, questions.sealed(self._key, addressee.public_key)

    def read(self, data: bytes) -> tuple[Kept, dict[str, Answer]]:
        """Take the answers of a file, and give all that is known of the set, by family.

        Raises:
            PartnerLateError: the set has expired, or there never was such a one.
            SealedError: the set is another operator's, or the file does not open.
            PartnerAnswerError: an answer has no question, or contradicts another.
        """
        path = self._folder / "kept" / f"{set_of(data).hex()}.json"
        if not path.is_file():
            raise PartnerLateError(
                "These answers are to no open questions: those have expired, or are another desk's.",
                "Delete the answers; ask again if it must be known.",
            )
        kept = Kept.from_file(path.read_bytes()).take(data, self._key)
        told = {"set": kept.id, "check": kept.check, "partner": kept.partner}
        self._tell("partner.read", CHECKS[kept.check].purpose, kept.answered, told)
        replace_file(path, kept.to_file())
        return kept, kept.by_family(self._key)

    def _tell(self, action: str, purpose: str, count: int, details: dict[str, Any]) -> None:
        _append(self._log, self._operator.name, action, purpose, count, details)


@contextmanager
def opened(
    folder: Path, register: PartnerRegister, key: OperatorKey, now: Now = now_in_utc
) -> Iterator[Desk]:
    """Open a desk as the operator whose key is given; one at a time.

    Raises:
        OperatorError: the key is none of an operator's.
        KeysetError: there is no desk, or others can read its files.
        AuditError: its log cannot be written.
    """
    with locked(folder):
        about = parse(read_secret_file(folder / "desk.json", "desk"), "desk")
        if about.get("format") != FORMAT:
            raise InputError("This is no desk for partner checks.", "Make one: kinlink partner desk.")
        secret = bytes.fromhex(read_secret_file(folder / "log.key", "key of the desk's log").decode())
        signer = Signer(about["log"], Ed25519PrivateKey.from_private_bytes(secret))
        officer = read_officer(folder / "officer.pem")
        with Log.open(folder / "audit", Path(about["checkpoints"]), signer, officer) as log:
            _note_register(folder / "known.json", register, log)
            _forget_expired(folder / "kept", now(), log)
            try:
                operator = register.operator(key.public)
            except OperatorError:
                _append(log, "nobody", "partner.refused", PURPOSE, 0, {"public_key": key.public.hex()})
                raise
            yield Desk(folder, register, operator, key, log, now)


def sets(folder: Path) -> list[Kept]:
    """The sets that a desk keeps, the oldest first: what anybody at the desk may see of them.

    Raises:
        InputError: there is no desk.
    """
    if not (folder / "desk.json").exists():
        raise InputError(
            f"There is no desk at {folder}.", "Name the folder that 'kinlink partner desk' made."
        )
    files = [path.read_bytes() for path in (folder / "kept").glob("*.json")]
    return sorted((Kept.from_file(data) for data in files if data), key=lambda one: (one.made, one.id))


def _append(log: Log, actor: str, action: str, purpose: str, count: int, details: dict[str, Any]) -> None:
    event = Event(f"operator/{actor}", action, purpose, count=count, details=json.dumps(details).encode())
    log.append([event])


def _note_register(path: Path, register: PartnerRegister, log: Log) -> None:
    """Write down who came and who went since the desk was opened last."""
    before = parse(read_secret_file(path, "list of operators"), "list of operators")
    present = {one.name: {"person": one.person, "key": one.public_key.hex()} for one in register.operators}
    known: dict[str, Any] = before["operators"]
    for name in sorted({*known, *present}):
        if known.get(name) != present.get(name):
            for action, there in (("removed", known), ("added", present)):
                if name in there:
                    told = {"operator": name, **there[name]}
                    _append(log, name, f"partner.operator-{action}", PURPOSE, len(present), told)
    if before["most"] != register.most:
        _append(log, "nobody", "partner.operators-most", PURPOSE, register.most, {"before": before["most"]})
    now = {"most": register.most, "operators": present}
    if now != before:
        replace_file(path, canonical(now))


def _forget_expired(folder: Path, now: datetime, log: Log) -> None:
    for path in sorted(folder.glob("*.json")):
        if not (data := path.read_bytes()):  # what a crash left of an expired set
            path.unlink()
            continue
        kept = Kept.from_file(data)
        if kept.expires <= now:
            told = {"set": kept.id, "asked": kept.asked, "answered": kept.answered}
            _append(log, kept.operator, "partner.expired", CHECKS[kept.check].purpose, kept.asked, told)
            replace_file(path, b"")  # its bytes are overwritten
            path.unlink()
