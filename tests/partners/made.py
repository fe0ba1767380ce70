"""A made-up council: families, a desk, two operators, one partner."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pseudonym.hpke import OpeningKey
from pseudonym.lawful.records import read_purpose
from pseudonym.partners import desk as desks
from pseudonym.partners.checks import CHECKS
from pseudonym.partners.operator_key import OperatorKey
from pseudonym.partners.register import Operator, Partner, PartnerRegister

NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
COLUMNS = ("family", "forename", "surname", "date_of_birth", "nino", "address", "postcode", "uprn")
FAMILIES = pl.DataFrame(
    [
        ("F1", "Jon", "Smith", "1990-04-03", "AB123456C", "14 High Street", "CB7 4AB", None),
        ("F1", "Mia", "Smith", "2015-01-02", None, "14 High Street", "CB7 4AB", None),
        ("F2", "Kate", "Long", "1985-12-04", None, None, None, "100090000001"),
        ("F2", "Sam", "Long", "1979-05-06", None, None, None, "100090000001"),
    ],
    schema=dict.fromkeys(COLUMNS, pl.String),
    orient="row",
)


@dataclass(frozen=True)
class Council:
    """A desk with two operators and one partner that is asked everything."""

    folder: Path
    register: PartnerRegister
    alice: OperatorKey
    bob: OperatorKey
    stranger: OperatorKey
    partner: OpeningKey
    log: str

    def opened(self, key=None, now=NOW, register=None):
        return desks.opened(self.folder, register or self.register, key or self.alice, lambda: now)


def purposes():
    """What the checks stand on, as the governance file says it."""
    checks: dict[str, dict] = {one.purpose: {} for one in CHECKS.values()}
    for code, said in checks.items():
        mine = [one.name for one in CHECKS.values() if one.purpose == code]
        said |= {"words": "to find out whether a family qualifies", "basis": "6(1)(e)", "datasets": mine}
        said |= {"sharing": "statutory-function"}
    checks["police-check"] |= {"criminal_offence": "10", "schedule_1": "DPA 2018 Schedule 1 paragraph 6"}
    return checks


PURPOSES = {code: read_purpose("partner_checks", code, one) for code, one in purposes().items()}


def operator_key():
    return OperatorKey(Ed25519PrivateKey.generate())


def adults():
    return FAMILIES.filter(pl.col("date_of_birth") < "2008-11-23")


def council_at(tmp_path):
    alice, bob, stranger = operator_key(), operator_key(), operator_key()
    partner, _ = OpeningKey.generate()
    operators = (Operator("alice", "alice", alice.public), Operator("bob", "bob", bob.public))
    register = PartnerRegister(
        "e10000003", 12, operators, (Partner("jcp-ely", frozenset(CHECKS), partner.public),), PURPOSES
    )
    officer = X25519PrivateKey.generate()
    pem = tmp_path / "officer.pem"
    pem.write_bytes(officer.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    (tmp_path / "watcher").mkdir()
    log = desks.create(tmp_path / "desk", "council.example/checks", pem, tmp_path / "watcher")
    return Council(tmp_path / "desk", register, alice, bob, stranger, partner, log)
