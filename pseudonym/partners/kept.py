"""What an operator keeps of a set of questions until it expires: which family each is about, and the answers.

    file = canonical JSON: what anybody may see of the set, and the rest sealed under the operator's key

No name, date, number or address is kept: the council has those where they belong, and the questions are
closed to it once they are sealed to the partner.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, Self

from pseudonym.errors import InputError, PartnerAnswerError
from pseudonym.files import canonical, parse
from pseudonym.hpke import OpeningKey
from pseudonym.partners.answers import open_answers
from pseudonym.partners.checks import Answer
from pseudonym.partners.operator_key import OperatorKey
from pseudonym.partners.questions import Questions

FORMAT: Final = "kinlink-partner-kept/1"
_FORM = "%Y-%m-%dT%H:%M:%SZ"
_OPEN = ("id", "check", "partner", "operator", "made", "expires", "asked", "answered")


@dataclass(frozen=True, slots=True)
class Kept:
    """One set, as it is kept.

    Attributes:
        id: the set's, in hexadecimal digits.
        check: the name of what was asked.
        partner: who was asked.
        operator: who asked.
        made: when.
        expires: until when answers are read.
        asked: how many questions.
        answered: how many of them are answered.
        sealed: the rest, which the operator alone can open.
    """

    id: str
    check: str
    partner: str
    operator: str
    made: datetime
    expires: datetime
    asked: int
    answered: int
    sealed: bytes

    @classmethod
    def of(
        cls,
        questions: Questions,
        secret: bytes,
        families: Mapping[str, Sequence[str]],
        operator: str,
        key: OperatorKey,
    ) -> Self:
        """Keep a set that was just made."""
        made = cls(
            questions.id.hex(),
            questions.check.name,
            questions.partner,
            operator,
            questions.made,
            questions.expires,
            len(families),
            0,
            b"",
        )
        return made._with(
            key,
            {
                "secret": secret.hex(),
                "families": {reference: list(all) for reference, all in families.items()},
                "answers": {},
            },
        )

    def to_file(self) -> bytes:
        """The set as a file."""
        return canonical({"format": FORMAT, **self._open(), "sealed": self.sealed.hex()})

    @classmethod
    def from_file(cls, data: bytes) -> Self:
        """Read what `to_file` wrote.

        Raises:
            TamperedError: it is spelt otherwise.
            InputError: it is none.
        """
        content = parse(data, "set of questions")
        if content.get("format") != FORMAT or set(content) != {"format", "sealed", *_OPEN}:
            raise InputError("This is no set of questions that was kept here.")
        parts = {name: content[name] for name in _OPEN}
        for name in ("made", "expires"):
            parts[name] = datetime.strptime(parts[name], _FORM).replace(tzinfo=UTC)
        return cls(**parts, sealed=bytes.fromhex(content["sealed"]))

    def take(self, data: bytes, key: OperatorKey) -> Self:
        """The set with the answers of a file.

        Raises:
            SealedError: the set is another operator's, or the file does not open.
            PartnerAnswerError: an answer is to no question of the set, or another than was given before.
        """
        inner = self._inner(key)
        opening = OpeningKey(bytes.fromhex(inner["secret"]))
        told = {reference: word.value for reference, word in open_answers(data, opening).items()}
        if not set(told) <= set(inner["families"]):
            raise PartnerAnswerError("An answer is to no question that was asked.", "Ask the partner.")
        if any(inner["answers"].get(reference, word) != word for reference, word in told.items()):
            raise PartnerAnswerError(
                "A question was answered before, and differently.", "Ask the partner which holds."
            )
        answers = inner["answers"] | told
        return replace(self, answered=len(answers))._with(key, inner | {"answers": answers})

    def by_family(self, key: OperatorKey) -> dict[str, Answer]:
        """One answer for each family about which all is answered, or a yes is among the answers.

        A family's is yes where one is; else not_found where one is; else no.
        """
        inner = self._inner(key)
        told: dict[str, list[str | None]] = {}
        for reference, families in inner["families"].items():
            for family in families:
                told.setdefault(family, []).append(inner["answers"].get(reference))
        found: dict[str, Answer] = {}
        for family, words in sorted(told.items()):
            if Answer.YES in words:
                found[family] = Answer.YES
            elif None not in words:
                found[family] = Answer.NOT_FOUND if Answer.NOT_FOUND in words else Answer.NO
        return found

    def _open(self) -> dict[str, Any]:
        parts: dict[str, Any] = {name: getattr(self, name) for name in _OPEN}
        return parts | {"made": f"{self.made:{_FORM}}", "expires": f"{self.expires:{_FORM}}"}

    def _inner(self, key: OperatorKey) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(
            key.reopen(self.sealed, bytes.fromhex(self.id), canonical(self._open()))
        )
        return found

    def _with(self, key: OperatorKey, inner: dict[str, Any]) -> Self:
        sealed = key.keep(canonical(inner), bytes.fromhex(self.id), canonical(self._open()))
        return replace(self, sealed=sealed)
