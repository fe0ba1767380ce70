"""Questions to one partner about one check, as they leave the council: signed by an operator, sealed to it.

    file = "kinlink-partner-questions/1", a newline, HPKE to the partner's key (padded):
           64 bytes of signature, then canonical JSON

The rules this module keeps:

- A question is a random reference and the fields of its check: no family, no reason, no order that tells who
  belongs together, and nothing for a field that is not known.
- Whoever opens it checks that an operator of the council signed it, that it is for this partner, and that it
  has not expired; a field that the check does not have is refused there too.
- A question about adults or a family cannot be made, or opened, with a child in it.
- It expires after `LONGEST_DAYS` at most.
"""

from __future__ import annotations

import calendar
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, Self

import polars as pl

from pseudonym.errors import InputError, PartnerLateError, PseudonymError, SealedError
from pseudonym.files import canonical, parse
from pseudonym.hpke import PUBLIC_BYTES, OpeningKey, seal
from pseudonym.padding import padded, unpadded
from pseudonym.partners.checks import About, Check, check_named
from pseudonym.partners.operator_key import OperatorKey
from pseudonym.partners.register import PartnerRegister
from pseudonym.partners.rows import ADULT_AT, FAMILY
from pseudonym.urn import check_label, enc

LONGEST_DAYS: Final = 31
REFERENCE_BYTES: Final = 16
_HEAD: Final = b"kinlink-partner-questions/1\n"
_LABEL: Final = "partner-questions/1"
_SIGNATURE_BYTES: Final = 64
_FORM = "%Y-%m-%dT%H:%M:%SZ"
_REFERENCE = re.compile("[0-9a-f]{32}")
_SKEW = timedelta(minutes=5)

Fields = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Questions:
    """One set of questions.

    Attributes:
        id: of the set, 16 random bytes.
        check: what is asked.
        council: who asks.
        partner: who is asked.
        made: when, in whole seconds.
        expires: from when on nobody answers or reads answers.
        answer_key: X25519, 32 bytes, made for this set; answers are sealed to it.
        asked: by random reference, the fields of each person or home asked about; of a family its adults.

    Raises:
        InputError: a part has not its form, or a field is none of the check's.
    """

    id: bytes
    check: Check
    council: str
    partner: str
    made: datetime
    expires: datetime
    answer_key: bytes
    asked: Mapping[str, tuple[Fields, ...]]

    def __post_init__(self) -> None:
        check_label(self.council, "council")
        check_label(self.partner, "partner")
        if len(self.id) != REFERENCE_BYTES or len(self.answer_key) != PUBLIC_BYTES or not self.asked:
            raise InputError("This is no set of questions: its id, its key or its questions are missing.")
        if not timedelta(0) < self.expires - self.made <= timedelta(days=LONGEST_DAYS):
            raise InputError(f"Questions expire after 1 to {LONGEST_DAYS} days.")
        known, needed = set(self.check.fields), set(self.check.needed)
        several = self.check.about is About.FAMILY
        adults = self.check.about in (About.ADULT, About.FAMILY)
        for reference, subjects in self.asked.items():
            if not _REFERENCE.fullmatch(reference) or not subjects or (len(subjects) > 1 and not several):
                raise InputError("A question has not the form of one.")
            for fields in subjects:
                if not needed <= set(fields) <= known or not all(
                    isinstance(value, str) and value for value in fields.values()
                ):
                    raise InputError("A question has other fields than its check asks.")
                if adults and not _adult(fields["date_of_birth"], self.made.date()):
                    raise InputError("A question of this check is about adults only.")

    def __repr__(self) -> str:
        return f"Questions({self.check.name}, {len(self.asked)} asked)"

    def frame(self) -> pl.DataFrame:
        """Columns question and the fields of the check, null for what is not known; one row a subject."""
        names = ("question", *self.check.fields)
        rows = [{"question": reference, **fields} for reference, all in self.asked.items() for fields in all]
        return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String))

    def sealed(self, key: OperatorKey, public: bytes) -> bytes:
        """The file for the partner: signed with the operator's key, sealed to the partner's."""
        body = canonical(self._content())
        signed = key.sign(enc(_LABEL, body)) + body
        return _HEAD + seal(public, padded(signed), _LABEL)

    def _content(self) -> dict[str, Any]:
        return {
            "id": self.id.hex(),
            "check": self.check.name,
            "council": self.council,
            "partner": self.partner,
            "made": f"{self.made:{_FORM}}",
            "expires": f"{self.expires:{_FORM}}",
            "answer_key": self.answer_key.hex(),
            "asked": {reference: [dict(one) for one in all] for reference, all in self.asked.items()},
        }

    @classmethod
    def open(cls, data: bytes, key: OpeningKey, council: PartnerRegister, now: datetime) -> Self:
        """Open a file of questions at the partner.

        Args:
            data: the file.
            key: the partner's.
            council: what the council said of itself: its operators, and its partners with their keys.
            now: the time.

        Raises:
            SealedError: it is none, for another partner, altered, or no operator of the council signed it.
            PartnerLateError: it has expired.
        """
        if not data.startswith(_HEAD):
            raise SealedError("This is no file of questions of a form that is known here.")
        signed = unpadded(key.open(data[len(_HEAD) :], _LABEL), "file of questions")
        signature, body = signed[:_SIGNATURE_BYTES], signed[_SIGNATURE_BYTES:]
        if not any(_signed(operator.public_key, signature, body) for operator in council.operators):
            raise SealedError(
                "No operator of the council signed these questions.", "Nothing is answered: ask the council."
            )
        try:
            found = cls._read(parse(body, "questions"))
        except (PseudonymError, ValueError, TypeError, KeyError, AttributeError):
            raise SealedError("The questions open, and are not of the form that they should have.") from None
        addressed = {one.name for one in council.partners if one.public_key == key.public}
        if found.council != council.council or found.partner not in addressed:
            raise SealedError("The questions are of another council, or for another partner.")
        if not found.made - _SKEW <= now < found.expires:
            raise PartnerLateError("The questions have expired.", "Delete them; the council may ask again.")
        return found

    @classmethod
    def _read(cls, content: Mapping[str, Any]) -> Self:
        found = cls(
            bytes.fromhex(content["id"]),
            check_named(content["check"]),
            content["council"],
            content["partner"],
            _time(content["made"]),
            _time(content["expires"]),
            bytes.fromhex(content["answer_key"]),
            {reference: tuple(all) for reference, all in content["asked"].items()},
        )
        if found._content() != content:
            raise ValueError
        return found


def make(
    check: Check, subjects: pl.DataFrame, council: str, partner: str, now: datetime, days: int
) -> tuple[Questions, bytes, dict[str, list[str]]]:
    """Make questions of what `rows.pick` took; what would be asked twice in the same words is asked once.

    Args:
        check: what is asked.
        subjects: family and the fields of the check.
        council: who asks.
        partner: who is asked.
        now: the time.
        days: after how many they expire.

    Returns:
        The questions, the secret that opens their answers, and by reference the families that each is about.
    """
    fields = [name for name in subjects.columns if name != FAMILY]
    if check.about is About.FAMILY:
        each = subjects.group_by(FAMILY).agg(pl.struct(fields).sort().alias("all"))
    else:
        each = subjects.select(FAMILY, pl.concat_list(pl.struct(fields)).alias("all"))
    grouped = each.group_by("all").agg(pl.col(FAMILY).unique().sort())
    # By reference, which is random: the order says nothing of who belongs together.
    drawn = sorted(os.urandom(REFERENCE_BYTES).hex() for _ in range(grouped.height))
    order = grouped.sample(fraction=1.0, shuffle=True, seed=int.from_bytes(os.urandom(8), "big"))
    asked = {
        reference: tuple({name: value for name, value in one.items() if value is not None} for one in all)
        for reference, all in zip(drawn, order["all"].to_list(), strict=True)
    }
    opening, secret = OpeningKey.generate()
    made = now.replace(microsecond=0)
    id = os.urandom(REFERENCE_BYTES)
    expires = made + timedelta(days=days)
    questions = Questions(id, check, council, partner, made, expires, opening.public, asked)
    return questions, secret, dict(zip(drawn, order[FAMILY].to_list(), strict=True))


def _signed(public: bytes, signature: bytes, body: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, enc(_LABEL, body))
    except (InvalidSignature, ValueError):
        return False
    return True


def _adult(born: str, day: date) -> bool:
    """Whether somebody is adult on a day, as `rows.pick` reckons it: after 29 February from the 28th."""
    try:
        first = date.fromisoformat(born)
    except ValueError:
        return False
    last = calendar.monthrange(first.year + ADULT_AT, first.month)[1]
    return date(first.year + ADULT_AT, first.month, min(first.day, last)) <= day


def _time(text: str) -> datetime:
    return datetime.strptime(text, _FORM).replace(tzinfo=UTC)
