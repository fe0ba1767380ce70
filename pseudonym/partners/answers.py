"""Answers of one partner to one set of questions: a reference and one word each, and nothing else.

    file = "kinlink-partner-answers/1 ", the set's id in hexadecimal digits, a newline,
           HPKE to the set's answer key (padded): lines "reference answer", sorted

Only whoever opened the questions knows the key and the references: that an answer fits proves whose it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from pseudonym.errors import PartnerAnswerError, SealedError
from pseudonym.hpke import OpeningKey, seal
from pseudonym.padding import padded, unpadded
from pseudonym.partners.checks import Answer
from pseudonym.partners.questions import Questions

_HEAD = re.compile(rb"kinlink-partner-answers/1 ([0-9a-f]{32})\n")
_LABEL: Final = "partner-answers/1"
_LINE = re.compile(r"([0-9a-f]{32}) (yes|no|not_found)")


def seal_answers(questions: Questions, answers: Mapping[str, Answer]) -> bytes:
    """The file for the council.

    Raises:
        PartnerAnswerError: an answer is to no question of the set.
    """
    if not set(answers) <= set(questions.asked):
        raise PartnerAnswerError("An answer is to no question of the set.")
    lines = "".join(f"{reference} {answers[reference].value}\n" for reference in sorted(answers))
    id = questions.id
    head = b"kinlink-partner-answers/1 " + id.hex().encode() + b"\n"
    return head + seal(questions.answer_key, padded(lines.encode()), _LABEL, id)


def set_of(data: bytes) -> bytes:
    """The id of the set that a file answers, as it claims.

    Raises:
        SealedError: it is no file of answers.
    """
    found = _HEAD.match(data)
    if found is None:
        raise SealedError("This is no file of answers of a form that is known here.")
    return bytes.fromhex(found[1].decode())


def open_answers(data: bytes, key: OpeningKey) -> dict[str, Answer]:
    """The answers in a file, by reference.

    Raises:
        SealedError: it is sealed to another key or set, or was altered.
        PartnerAnswerError: it holds something else, or two different answers to one question.
    """
    id = set_of(data)
    head = _HEAD.match(data)
    assert head is not None
    plain = unpadded(key.open(data[head.end() :], _LABEL, id), "file of answers")
    answers: dict[str, Answer] = {}
    for line in plain.decode("ascii", "replace").splitlines():
        found = _LINE.fullmatch(line)
        if found is None:
            raise PartnerAnswerError("The file holds what is no answer.", "Ask the partner for another.")
        word = Answer(found[2])
        if answers.setdefault(found[1], word) is not word:
            raise PartnerAnswerError(
                "The file answers a question twice, and differently.", "Ask the partner which holds."
            )
    return answers
