"""The way back: every way in which a request may not be what two people approved, refused by its code."""

from __future__ import annotations

import dataclasses
import json
import pickle
import random
import re
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pseudonym.approvers import Approver, Policy, Register
from pseudonym.errors import InputError, PseudonymError, RequestRefusedError, SealedError, TamperedError
from pseudonym.hpke import OpeningKey
from pseudonym.requests import Approval, Request, approve, digest_of, open_answer, signed
from pseudonym.urn import Kind, UrnKey, enc
from pseudonym.wayback import Alarm, Gate, Granted, Refusal, Spending, check_request, seal_answer

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
DAY = timedelta(days=1)
WORDS = UrnKey(bytes(range(32)), "tf-2026", "nis-analysis", 1).issue_all(
    Kind.PERSON, [random.Random(1).randbytes(16) for _ in range(1)] + [bytes([i]) * 16 for i in range(4)]
)
KEYS = {name: Ed25519PrivateKey.from_private_bytes(name.encode().ljust(32, b".")) for name in
        ("bea", "carl", "dora", "asker", "bea-2", "gone", "nobody")}  # fmt: skip
OPENING = OpeningKey(bytes(range(32)))


class MemoryLedger:
    """What a role remembers, in memory: what a store has to do, and no more."""

    def __init__(self):
        self.lock, self.requests, self.days = threading.Lock(), set(), {}

    def spend(self, request, person, day, count, quota):
        with self.lock:
            if request in self.requests:
                return Spending.USED
            if self.days.get((person, day), 0) + count > quota:
                return Spending.QUOTA
            self.requests.add(request)
            self.days[person, day] = self.days.get((person, day), 0) + count
            return Spending.DONE


def public(name):
    return KEYS[name].public_key().public_bytes_raw()


REGISTER = Register(
    [
        Approver("bea", "bea", public("bea")),
        Approver("bea-2", "bea", public("bea-2")),
        Approver("carl", "carl", public("carl")),
        Approver("dora", "dora", public("dora")),
        Approver("asker-2", "asker", public("asker")),
        Approver("gone", "gone", public("gone"), revoked=True),
    ],
    {"asker": "asker", "dora": "dora", "bea-asks": "bea"},
)


class Scene:
    """A gate with its alarm, and a request that would be granted."""

    def __init__(self, **policy):
        self.alarms: list[Alarm] = []
        self.ledger = MemoryLedger()
        self.gate = Gate(
            "broker",
            REGISTER,
            {"tf-2026": NOW + 30 * DAY},
            self.ledger,
            self.alarms.append,
            Policy(**policy),
        )

    def check(self, request, approvals, now=NOW, words=WORDS, **more):
        return check_request(self.gate, request, approvals, now, words=words, **more)

    def refused(self, reason, request, approvals, now=NOW, words=WORDS, **more):
        spent = len(self.ledger.requests)
        with pytest.raises(RequestRefusedError) as caught:
            self.check(request, approvals, now, words, **more)
        assert caught.value.reason == reason.value
        assert len(self.ledger.requests) == spent
        alarm = self.alarms[-1]
        assert (alarm.granted, alarm.reason, alarm.request) == (False, reason.value, request.name())
        told = f"{caught.value} {alarm}"
        assert not any(word in told for word in WORDS)
        assert "overpayment" not in told


def asked(**changes):
    fields: dict[str, Any] = {
        "id": bytes(range(16)),
        "project": "tf-2026",
        "recipient": "nis-analysis",
        "epoch": 1,
        "count": len(WORDS),
        "digest": digest_of(changes.get("id", bytes(range(16))), WORDS),
        "purpose": "benefit-correction",
        "reason": "An overpayment was found and has to be told to the families.",
        "made": NOW - DAY,
        "expires": NOW + DAY,
        "requester": "asker",
        "public_key": OPENING.public,
    }
    return Request(**(fields | changes))


def yes(request, *names, time=NOW - timedelta(hours=2)):
    return [approve(request, name, KEYS[name], time) for name in names]


def test_r38_two_approvals_grant_a_request_and_the_answer_opens_for_the_requester_alone():
    scene, request = Scene(), asked()
    granted = scene.check(request, yes(request, "carl", "bea"))
    assert granted.approvers == ("bea", "carl")
    assert [(alarm.granted, alarm.reason, alarm.count) for alarm in scene.alarms] == [(True, "", 5)]
    sealed = seal_answer(granted, b"five people")
    assert open_answer(OPENING, request, sealed) == b"five people"
    other, _ = OpeningKey.generate()
    with pytest.raises(SealedError):
        open_answer(other, request, sealed)
    with pytest.raises(SealedError):
        open_answer(OPENING, asked(id=bytes(16)), sealed)
    assert len(sealed) == len(seal_answer(granted, b"x" * 900))


def test_broker_and_identity_each_check_for_themselves():
    request = asked()
    approvals = yes(request, "bea", "carl", "dora")
    broker, identity = Scene(), Scene()
    broker.check(request, approvals)
    # Identity knows no numbers; some were merged since, so that there are fewer people.
    identity.check(request, approvals, words=None, count=4)
    identity.refused(Refusal.REQUEST_USED, request, approvals, words=None, count=4)
    fresh = asked(id=bytes(16))
    identity.refused(Refusal.URNS_DIFFER, fresh, yes(fresh, "bea", "carl"), words=None, count=6)
    # Identity's own register decides, whatever the broker's says.
    stricter = dataclasses.replace(
        identity.gate,
        register=Register([a for a in REGISTER.approvers if a.name != "bea"], {"asker": "asker"}),
    )
    with pytest.raises(RequestRefusedError) as caught:
        check_request(stricter, fresh, yes(fresh, "bea", "carl"), NOW, count=1)
    assert caught.value.reason == "APPROVER_UNKNOWN"
    either: list[dict[str, Any]] = [{}, {"words": WORDS, "count": 1}]
    for both in either:
        with pytest.raises(ValueError, match="Either"):
            check_request(identity.gate, fresh, [], NOW, **both)


def test_a_request_is_granted_once():
    scene, request = Scene(), asked()
    scene.check(request, yes(request, "bea", "carl"))
    scene.refused(Refusal.REQUEST_USED, request, yes(request, "bea", "carl"))
    scene.refused(Refusal.REQUEST_USED, request, yes(request, "carl", "dora", time=NOW))


def test_of_many_at_once_one_is_granted():
    scene, request = Scene(), asked()
    approvals, granted = yes(request, "bea", "carl"), []

    def ask():
        with suppress(RequestRefusedError):
            granted.append(scene.check(request, approvals))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(granted) == 1
    assert sorted(alarm.granted for alarm in scene.alarms) == [False] * 7 + [True]


def test_too_few_or_the_wrong_approvers_are_refused():
    scene, request = Scene(), asked()
    for names in ((), ("bea",)):
        scene.refused(Refusal.APPROVALS_TOO_FEW, request, yes(request, *names))
    scene.refused(Refusal.APPROVER_REPEATED, request, yes(request, "bea", "bea"))
    scene.refused(Refusal.APPROVER_REPEATED, request, yes(request, "bea", "bea-2"))
    scene.refused(Refusal.APPROVER_REPEATED, request, yes(request, "bea", "carl", "bea-2"))
    scene.refused(Refusal.APPROVER_UNKNOWN, request, yes(request, "bea", "nobody"))
    scene.refused(Refusal.APPROVER_REVOKED, request, yes(request, "bea", "gone"))
    scene.refused(Refusal.APPROVER_REVOKED, request, yes(request, "bea", "carl", "gone"))
    own = approve(request, "asker-2", KEYS["asker"], NOW)
    scene.refused(Refusal.APPROVER_IS_REQUESTER, request, [*yes(request, "bea"), own])
    by_dora = asked(requester="dora")
    scene.refused(Refusal.APPROVER_IS_REQUESTER, by_dora, yes(by_dora, "bea", "dora"))
    by_bea = asked(requester="bea-asks")
    scene.refused(Refusal.APPROVER_IS_REQUESTER, by_bea, yes(by_bea, "carl", "bea-2"))
    scene.refused(Refusal.REQUESTER_UNKNOWN, asked(requester="stranger"), [])
    three = Scene(least_approvals=3)
    three.refused(Refusal.APPROVALS_TOO_FEW, request, yes(request, "bea", "carl"))
    three.check(request, yes(request, "bea", "carl", "dora"))


@pytest.mark.parametrize(
    "change",
    [
        {"project": "tf-2027"},
        {"recipient": "dwp-extract"},
        {"epoch": 2},
        {"purpose": "other"},
        {"reason": "Something else."},
        {"expires": NOW + 2 * DAY},
        {"made": NOW - 2 * DAY},
        {"requester": "dora"},
        {"public_key": OpeningKey(bytes(32)).public},
        {"id": bytes(16)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_approvals_hold_for_exactly_the_request_that_was_signed(change):
    scene, altered = Scene(), asked(**change)
    words = UrnKey(bytes(32), "p", "r", altered.epoch).issue_all(
        Kind.PERSON, [bytes([i]) * 16 for i in range(5)]
    )
    altered = dataclasses.replace(altered, digest=digest_of(altered.id, words))
    scene.gate = dataclasses.replace(scene.gate, ends={"tf-2026": NOW + DAY, "tf-2027": NOW + DAY})
    scene.refused(Refusal.APPROVAL_SIGNATURE, altered, yes(asked(), "bea", "carl"), words=words)
    scene.check(altered, yes(altered, "bea", "carl"), words=words)


def test_every_bit_of_a_signature_its_time_and_its_name_count():
    scene, request = Scene(), asked()
    good, other = yes(request, "bea", "carl")
    for place in range(64):
        signature = bytearray(good.signature)
        signature[place] ^= 1 << place % 8
        altered = dataclasses.replace(good, signature=bytes(signature))
        scene.refused(Refusal.APPROVAL_SIGNATURE, request, [altered, other])
    moved = dataclasses.replace(good, time=good.time + timedelta(seconds=1))
    scene.refused(Refusal.APPROVAL_SIGNATURE, request, [moved, other])
    renamed = dataclasses.replace(good, approver="dora")
    scene.refused(Refusal.APPROVAL_SIGNATURE, request, [renamed, other])
    # Each has a time of its own.
    later = yes(request, "carl", time=NOW)[0]
    scene.check(request, [good, later])


def test_times_that_do_not_fit_are_refused():
    scene, request = Scene(), asked()
    approvals = yes(request, "bea", "carl")
    scene.refused(Refusal.REQUEST_EXPIRED, request, approvals, NOW + DAY)
    scene.refused(Refusal.REQUEST_TIME, request, approvals, NOW - DAY - timedelta(seconds=61))
    scene.refused(Refusal.REQUEST_TOO_LONG, asked(expires=NOW + 14 * DAY), [])
    for time in (NOW - DAY - timedelta(seconds=61), NOW + timedelta(seconds=61), NOW + 2 * DAY):
        wrong = [*yes(request, "bea"), *yes(request, "carl", time=time)]
        scene.refused(Refusal.APPROVAL_TIME, request, wrong)
    scene.check(request, approvals, NOW + DAY - timedelta(seconds=1))


def test_nothing_is_granted_after_the_project_s_end_or_without_a_project():
    scene, request = Scene(), asked()
    approvals = yes(request, "bea", "carl")
    scene.gate = dataclasses.replace(scene.gate, ends={"tf-2026": NOW})
    scene.refused(Refusal.PROJECT_ENDED, request, approvals)
    scene.check(request, approvals, NOW - timedelta(seconds=1))
    scene.gate = dataclasses.replace(scene.gate, ends={})
    scene.refused(Refusal.PROJECT_UNKNOWN, request, approvals)


@pytest.mark.parametrize(
    "words",
    [
        WORDS[:-1],
        WORDS[:-1] + WORDS[:1],
        [*WORDS, WORDS[0]],
        [*WORDS[:-1], "P17CR8F91YH19R2CVDVQZTSR"],
        [word.lower() for word in WORDS],
        [*WORDS[:-1], "not one"],
        [],
    ],
    ids=["fewer", "twice", "more", "another", "spelt otherwise", "none", "empty"],
)
def test_numbers_other_than_those_approved_are_refused(words):
    scene, request = Scene(), asked()
    scene.refused(Refusal.URNS_DIFFER, request, yes(request, "bea", "carl"), words=words)


def test_their_order_does_not_matter():
    request = asked()
    assert Scene().check(request, yes(request, "bea", "carl"), words=WORDS[::-1]).request is request


def test_numbers_of_another_epoch_are_refused():
    request = asked(epoch=2)
    Scene().refused(Refusal.URNS_DIFFER, request, yes(request, "bea", "carl"))


def test_a_quota_holds_for_a_person_and_a_day():
    scene = Scene(urns_a_day=11, most_urns=6)
    for number, refused in ((1, False), (2, False), (3, True)):
        request = asked(id=bytes([number]) * 16)
        if refused:
            scene.refused(Refusal.QUOTA, request, yes(request, "bea", "carl"))
            scene.check(request, yes(request, "bea", "carl"), NOW + timedelta(hours=13))
        else:
            scene.check(request, yes(request, "bea", "carl"))
    others = asked(id=bytes(16), requester="dora")
    scene.check(others, yes(others, "bea", "carl"))
    scene.refused(Refusal.URNS_TOO_MANY, asked(count=7), [])


def test_a_grant_that_cannot_be_told_is_none_and_a_refusal_stays_one():
    scene, request = Scene(), asked()

    def broken(alarm):
        raise ConnectionError("no line")

    scene.gate = dataclasses.replace(scene.gate, alarm=broken)
    with pytest.raises(ConnectionError):
        scene.check(request, yes(request, "bea", "carl"))
    # It is spent all the same: nobody can say that nothing went out.
    with pytest.raises(RequestRefusedError) as caught:
        scene.check(request, yes(request, "bea", "carl"))
    assert caught.value.reason == "REQUEST_USED"


def test_nobody_else_grants():
    with pytest.raises(TypeError, match="Only check_request"):
        Granted(asked(), ("bea", "carl"), None)
    request = asked()
    granted = Scene().check(request, yes(request, "bea", "carl"))
    with pytest.raises(TypeError, match="does not leave"):
        pickle.dumps(granted)


@pytest.mark.parametrize(
    "change",
    [
        {"id": bytes(15)},
        {"digest": bytes(31)},
        {"public_key": b""},
        {"count": 0},
        {"count": 2**32},
        {"epoch": 0},
        {"epoch": 32},
        {"project": "A"},
        {"recipient": "a:b"},
        {"purpose": ""},
        {"requester": "Asker"},
        {"requester": "a b"},
        {"requester": ""},
        {"reason": ""},
        {"reason": "   "},
        {"reason": "two\nlines"},
        {"reason": "x" * 501},
        {"reason": "e\u0301"},
        {"made": NOW.replace(tzinfo=None)},
        {"made": NOW.replace(microsecond=1)},
        {"expires": NOW - DAY},
    ],
    ids=str,
)
def test_a_request_with_a_part_of_another_form_is_none(change):
    with pytest.raises(InputError):
        asked(**change)


def test_a_register_holds_everybody_once_with_a_key_of_their_own():
    one = Approver("a", "a", public("bea"))
    for wrong in (
        [one, Approver("a", "b", public("carl"))],
        [one, Approver("b", "b", public("bea"))],
        [Approver("a", "a", b"")],
        [Approver("A", "a", public("bea"))],
    ):
        with pytest.raises(InputError):
            Register(wrong, {})
    for limits in ({"least_approvals": 1}, {"most_urns": 0}, {"urns_a_day": 0}, {"longest": timedelta(0)}):
        with pytest.raises(InputError):
            Policy(**limits)


def test_files_come_back_and_one_spelt_otherwise_does_not():
    request = asked()
    approval = yes(request, "bea")[0]
    pairs: list[tuple[Any, Any]] = [(request, Request), (approval, Approval)]
    for thing, kind in pairs:
        data = thing.to_file()
        assert kind.from_file(data) == thing
        content = json.loads(data)
        for key in content:
            for value in (None, 7, "", "zz", [1], True):
                wrong = json.dumps(content | {key: value}, indent=1, sort_keys=True) + "\n"
                if value != content[key]:
                    try:
                        other = kind.from_file(wrong.encode())
                    except PseudonymError:
                        continue
                    assert other != thing
        for spelt in (data[:-1], data + b" ", b"", b"[]", b"\xff", data.replace(b'": ', b'":', 1)):
            with pytest.raises((TamperedError, InputError)):
                kind.from_file(spelt)
    with pytest.raises(InputError):
        Approval.from_file(request.to_file())


def test_vectors_of_the_page():
    page = (Path(__file__).parents[2] / "docs" / "urn-format.md").read_text()
    part = page[page.index("## The way back") :]
    told = {
        name: re.sub(r"\s", "", value)
        for name, value in re.findall(
            r"^    ([a-z]+(?: [a-z]+)*)  +([0-9a-f]{8}[0-9a-f\s]*)$", part, re.MULTILINE
        )
    }
    words = ["P17CR8F91YH19R2CVDVQZTSR", "P1GXP5Y21Z71EGQCEJSV95DF"]
    request = asked(
        count=2,
        digest=digest_of(bytes(range(16)), words),
        reason="An overpayment has to be told.",
        made=datetime(2026, 11, 21, 12, tzinfo=UTC),
        expires=datetime(2026, 11, 23, 12, tzinfo=UTC),
    )
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    approval = approve(request, "bea", key, datetime(2026, 11, 22, 10, tzinfo=UTC))
    assert told["digest"] == request.digest.hex()
    assert told["request"] == request.canonical().hex()
    assert told["name"] == request.name().hex()
    time = int(approval.time.timestamp()).to_bytes(8, "big")
    assert told["signed"] == enc("way-back-approval/1", request.canonical(), "bea", time).hex()
    assert told["signed"] == signed(request, "bea", approval.time).hex()
    assert told["signature"] == approval.signature.hex()
