"""Answers: one word each, to open questions only, once, in time."""

from datetime import timedelta

import polars as pl
import pytest

from pseudonym.errors import InputError, PartnerAnswerError, PartnerLateError, SealedError
from pseudonym.hpke import seal
from pseudonym.padding import padded
from pseudonym.partners.answers import open_answers, seal_answers, set_of
from pseudonym.partners.checks import CHECKS, Answer
from pseudonym.partners.indicators import COLUMNS, indicators
from pseudonym.partners.questions import make
from pseudonym.partners.rows import FAMILY, pick
from tests.partners.made import FAMILIES, NOW, adults

YES, NO, NOT_FOUND = Answer


def asked(council, check="out-of-work-benefits", frame=None, key=None, now=NOW):
    found = pick(CHECKS[check], adults() if frame is None else frame, NOW.date())
    with council.opened(key, now) as desk:
        questions, _ = desk.ask(CHECKS[check], "jcp-ely", found.frame, 14)
    return questions


def all_of(questions, word=YES):
    return dict.fromkeys(questions.asked, word)


def forged(questions, text):
    """A file of a partner that writes what it likes."""
    head = b"kinlink-partner-answers/1 " + questions.id.hex().encode() + b"\n"
    return head + seal(questions.answer_key, padded(text.encode()), "partner-answers/1", questions.id)


def read(council, data, key=None, now=NOW):
    with council.opened(key, now) as desk:
        return desk.read(data)


def test_r15_answers_are_a_reference_and_a_word_and_nothing_else(council):
    subjects = pick(CHECKS["out-of-work-benefits"], adults(), NOW.date())
    questions, secret, _ = make(
        CHECKS["out-of-work-benefits"], subjects.frame, "e10000003", "jcp-ely", NOW, 14
    )
    words = dict(zip(sorted(questions.asked), (YES, NO, NOT_FOUND), strict=True))
    data = seal_answers(questions, words)
    from pseudonym.hpke import OpeningKey
    from pseudonym.padding import unpadded

    key = OpeningKey(secret)
    plain = unpadded(key.open(data.partition(b"\n")[2], "partner-answers/1", questions.id), "file").decode()
    first, second, third = sorted(questions.asked)
    assert plain == f"{first} yes\n{second} no\n{third} not_found\n"
    assert open_answers(data, key) == words
    assert set_of(data) == questions.id
    assert len(data) == len(seal_answers(questions, {}))  # its length does not tell how many


def test_r15_a_family_gets_one_answer_by_all_who_were_asked_about(council):
    questions = asked(council)
    who = {one["forename"]: reference for reference, (one,) in questions.asked.items()}
    some = {who["Jon"]: NO, who["Kate"]: NO}
    kept, told = read(council, seal_answers(questions, some))
    assert (kept.asked, kept.answered, told) == (3, 2, {"F1": NO})  # of F2 not all is known
    _, told = read(council, seal_answers(questions, {who["Sam"]: NOT_FOUND}))
    assert told == {"F1": NO, "F2": NOT_FOUND}


def test_r15_one_yes_is_the_familys(council):
    questions = asked(council)
    who = {one["forename"]: reference for reference, (one,) in questions.asked.items()}
    assert read(council, seal_answers(questions, {who["Sam"]: YES}))[1] == {"F2": YES}


def test_r15_an_answer_is_every_familys_that_it_is_about(council):
    frame = pl.concat([adults(), adults().head(1).with_columns(pl.lit("F9").alias("family"))])
    questions = asked(council, frame=frame)
    assert len(questions.asked) == 3
    who = {one["forename"]: reference for reference, (one,) in questions.asked.items()}
    assert read(council, seal_answers(questions, {who["Jon"]: YES}))[1] == {"F1": YES, "F9": YES}


def test_answers_are_read_again_and_contradictions_refused(council):
    questions = asked(council)
    data = seal_answers(questions, all_of(questions))
    assert read(council, data)[1] == read(council, data)[1] == {"F1": YES, "F2": YES}
    with pytest.raises(PartnerAnswerError, match="answered before"):
        read(council, seal_answers(questions, all_of(questions, NO)))
    assert read(council, data)[1] == {"F1": YES, "F2": YES}  # nothing of the refused file was kept


def test_answers_that_do_not_belong_are_refused(council):
    questions = asked(council)
    reference = next(iter(questions.asked))
    for text, why in (
        (f"{'0' * 32} yes\n", "no question"),
        (f"{reference} yes\n{reference} no\n", "twice"),
        (f"{reference} maybe\n", "no answer"),
        (f"{reference} yes, because\n", "no answer"),
        ("é\n", "no answer"),
    ):
        with pytest.raises(PartnerAnswerError, match=why):
            read(council, forged(questions, text))
    assert read(council, forged(questions, f"{reference} yes\n" * 2))[0].answered == 1
    with pytest.raises(PartnerAnswerError):
        seal_answers(questions, {"0" * 32: YES})


def test_answers_to_another_set_or_key_are_refused(council):
    one, other = asked(council), asked(council)
    data = seal_answers(one, all_of(one))
    exchanged = data.replace(one.id.hex().encode(), other.id.hex().encode())
    for wrong in (exchanged, data[:-1] + bytes([data[-1] ^ 1]), b"else"):
        with pytest.raises(SealedError):
            read(council, wrong)


def test_late_answers_are_refused_and_the_set_is_gone(council):
    questions = asked(council)
    data = seal_answers(questions, all_of(questions))
    read(council, data, now=questions.expires - timedelta(seconds=1))
    with pytest.raises(PartnerLateError):
        read(council, data, now=questions.expires)
    assert not list((council.folder / "kept").iterdir())


def test_r19_answers_are_read_by_whoever_asked_and_nobody_else(council):
    questions = asked(council)
    data = seal_answers(questions, all_of(questions))
    with pytest.raises(SealedError, match="Whoever asked"):
        read(council, data, council.bob)
    assert read(council, data)[0].operator == "alice"


def test_what_is_kept_of_questions_names_nobody(council):
    """No value of a person, and no family, stands in any file of the desk."""
    for check in CHECKS:
        asked(council, check, FAMILIES if check not in ("out-of-work-benefits",) else None)
    values = {
        value.encode() for row in FAMILIES.drop(FAMILY).rows() for value in row if value is not None
    } | {b"F1", b"F2"}
    long = {value for value in values if len(value) > 3}
    files = [path for path in council.folder.rglob("*") if path.is_file()]
    assert len(files) > len(CHECKS)
    for path in files:
        data = path.read_bytes()
        assert not [value for value in long if value in data], path.name
        if path.parent.name == "kept":
            assert b'"F1"' not in data


def test_r18_indicators_hold_the_declared_answer_and_nothing_else():
    told = {"F2": NO, "F1": YES}
    frame = indicators(told, "out-of-work-benefits", "tf-2015", NOW)
    assert tuple(frame.columns) == COLUMNS
    assert frame.rows() == [
        ("F1", "out-of-work-benefits", "yes", "tf-2015", "WORK_FIN", "2026-11-23"),
        ("F2", "out-of-work-benefits", "no", "tf-2015", "", "2026-11-23"),
    ]
    call_out = indicators(told, "call-out", "tf-2015", NOW)
    assert set(call_out["problem"]) == {""}  # "for any reason": a call-out is a sign of nothing by itself
    with pytest.raises(InputError):
        indicators(told, "call-out", "tf-1999", NOW)
