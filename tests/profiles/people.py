"""A made-up county in miniature: families of a council, and every register's extract of them, with the truth.

Not the benchmark's generator: plain, small, and written for these tests alone. Record `Lnnn` of the
council and `Rnnn` of a register are of person nnn; registers hold strangers too, from `R5000`.
"""

from __future__ import annotations

import datetime
import random
from dataclasses import dataclass, field, replace

import polars as pl

ON = datetime.date(2024, 12, 31)
_LETTERS = "ABCDEFGHJKLMNPQRTUVWXYZ"
_SYLLABLES = (
    "zan",
    "vor",
    "quil",
    "mab",
    "ter",
    "ish",
    "ol",
    "gwyn",
    "dre",
    "bex",
    "ul",
    "hark",
    "pem",
    "tos",
)


def nhs_number(serial: int) -> str:
    """A number with the right check digit, from the range for tests."""
    while True:
        nine = f"9{serial % 10**8:08d}"
        check = (
            11 - sum(int(digit) * weight for digit, weight in zip(nine, range(10, 1, -1), strict=True)) % 11
        )
        if check != 10:
            return nine + str(check % 11)
        serial += 50_000_000


def upn(serial: int) -> str:
    """A pupil number with the right letter."""
    twelve = f"087{serial:09d}"
    return _LETTERS[sum(int(digit) * place for place, digit in enumerate(twelve, start=2)) % 23] + twelve


def uln(serial: int) -> str:
    """A learner number: its weighted sum leaves ten by eleven."""
    while True:
        nine = f"1{serial % 10**8:08d}"
        rest = sum(int(digit) * weight for digit, weight in zip(nine, range(10, 1, -1), strict=True)) % 11
        last = (10 - rest) % 11
        if last != 10:
            return nine + str(last)
        serial += 50_000_000


def nino(serial: int) -> str:
    """A National Insurance number that is well formed."""
    return f"AB{serial % 10**6:06d}C"


def pncid(serial: int) -> str:
    """A number of the Police National Computer with its letter."""
    letters = "ZABCDEFGHJKLMNPQRTUVWXY"
    return f"2010/{serial:07d}{letters[int(f'10{serial:07d}') % 23]}"


@dataclass(frozen=True)
class Person:
    """One person as the truth knows him."""

    number: int
    family: int
    forename: str
    surname: str
    born: datetime.date
    sex: str
    house: str
    street: str
    postcode: str
    former: dict[str, str] = field(default_factory=dict)

    @property
    def council(self) -> dict[str, str | None]:
        """His row in the council's file."""
        return {
            "record_id": f"L{self.number:04d}",
            "family_id": f"F{self.family:04d}",
            "forename": self.forename,
            "surname": self.surname,
            "date_of_birth": self.born.isoformat(),
            "sex": self.sex,
            "address": f"{self.house} {self.street}, Zanton",
            "postcode": self.postcode,
            "nhs_number": nhs_number(self.number),
            "nino": nino(self.number) if self.born.year < 2009 else None,
            "upn": upn(self.number) if self.born.year > 2003 else None,
            "uln": uln(self.number),
            "pncid": pncid(self.number),
            "arm": "programme" if self.family % 2 else "comparison",
        }

    def register(self, name: str) -> dict[str, str | None]:
        """His row in a register: what that carries and nothing else."""
        mine: dict[str, str | None] = {
            "record_id": f"R{self.number:04d}",
            "forename": self.forename.upper(),
            "surname": self.surname.upper(),
            "given_names": self.forename,
            "family_name": self.surname,
            "date_of_birth": f"{self.born:%d/%m/%Y}",
            "sex": self.sex,
            "gender": {"M": "1", "F": "2"}[self.sex],
            "address": f"{self.house} {self.street}, Zanton",
            "postcode": self.postcode,
            "upn": upn(self.number),
            "uln": uln(self.number),
            "nino": nino(self.number),
            "ni_number": nino(self.number),
            "nhs_number": nhs_number(self.number),
            "pncid": pncid(self.number),
            "cro_number": None,
            "alias_forename": None,
            "alias_surname": None,
            "alias_date_of_birth": None,
            "former_upn": None,
            "preferred_surname": None,
            "middle_names": None,
            "prior_postcode": None,
            "prison_number": f"A{self.number:04d}BC",
            "provider": "RGT",
            "local_patient_id": f"H{self.number:07d}",
            "initials": self.forename[0] + self.surname[0],
            "local_authority": "Zanton City Council",
            "partial_postcode": self.postcode[:-2],
        }
        return {column: (self.former.get(column, mine[column])) for column in COLUMNS[name]}


COLUMNS = {
    "pnc": [
        "record_id",
        "pncid",
        "cro_number",
        "forename",
        "middle_names",
        "surname",
        "date_of_birth",
        "sex",
        "alias_forename",
        "alias_surname",
        "alias_date_of_birth",
        "address",
        "postcode",
    ],
    "prisons": [
        "record_id",
        "prison_number",
        "pncid",
        "cro_number",
        "forename",
        "surname",
        "date_of_birth",
        "sex",
        "alias_surname",
        "address",
        "postcode",
    ],
    "npd": [
        "record_id",
        "upn",
        "former_upn",
        "uln",
        "surname",
        "preferred_surname",
        "forename",
        "middle_names",
        "date_of_birth",
        "gender",
        "postcode",
    ],
    "ilr": [
        "record_id",
        "uln",
        "given_names",
        "family_name",
        "date_of_birth",
        "sex",
        "ni_number",
        "prior_postcode",
        "address",
        "postcode",
    ],
    "wpls": ["record_id", "nino", "forename", "surname", "date_of_birth", "sex", "address", "postcode"],
    "hes": ["record_id", "nhs_number", "date_of_birth", "sex", "postcode", "provider", "local_patient_id"],
    "mhmds": ["record_id", "nhs_number", "date_of_birth", "gender", "postcode"],
    "ndtms": ["record_id", "initials", "date_of_birth", "sex", "local_authority", "partial_postcode"],
    "generic": [
        "record_id",
        "forename",
        "surname",
        "date_of_birth",
        "sex",
        "address",
        "postcode",
        "nhs_number",
    ],
}
#: What the council has and the register does not carry.
NOT_CARRIED = {
    "pnc": ["nhs_number", "nino", "upn", "uln"],
    "prisons": ["nhs_number", "nino", "upn", "uln"],
    "npd": ["nhs_number", "nino", "pncid", "address"],
    "ilr": ["nhs_number", "upn", "pncid"],
    "wpls": ["nhs_number", "upn", "uln", "pncid"],
    "hes": ["forename", "surname", "address", "nino", "upn", "uln", "pncid", "nhs_number"],
    "mhmds": ["forename", "surname", "address", "nino", "upn", "uln", "pncid", "nhs_number"],
    "ndtms": ["address", "nhs_number", "nino", "upn", "uln", "pncid"],
}
REGISTERS = tuple(NOT_CARRIED)


def families(many: int = 150, seed: int = 5) -> list[Person]:
    """Two parents and two children a family."""
    rng = random.Random(seed)
    forenames = [_name(rng, 2) for _ in range(80)]
    surnames = [_name(rng, 3) for _ in range(120)]
    people: list[Person] = []
    for family in range(many):
        surname, house = rng.choice(surnames), str(rng.randint(1, 180))
        street, postcode = f"{_name(rng, 2)} Road", _postcode(rng)
        for role in range(4):
            year = rng.randint(1970, 1990) if role < 2 else rng.randint(2004, 2016)
            born = datetime.date(year, rng.randint(1, 12), rng.randint(1, 28))
            people.append(
                Person(
                    len(people),
                    family,
                    rng.choice(forenames),
                    surname,
                    born,
                    "MF"[role % 2],
                    house,
                    street,
                    postcode,
                )
            )
    return people


def strangers(many: int = 600, seed: int = 6) -> list[Person]:
    """People of the register whom no council knows."""
    return [replace(one, number=5000 + place) for place, one in enumerate(families(many // 4, seed))]


def council(people: list[Person]) -> pl.DataFrame:
    """The council's file."""
    return pl.DataFrame([one.council for one in people], infer_schema_length=None)


def extract(name: str, people: list[Person]) -> pl.DataFrame:
    """A register's extract."""
    rows = [one.register(name) for one in people]
    return pl.DataFrame(rows, schema=dict.fromkeys(COLUMNS[name], pl.String))


def _name(rng: random.Random, syllables: int) -> str:
    return "".join(rng.choices(_SYLLABLES, k=syllables)).capitalize()


def _postcode(rng: random.Random) -> str:
    return f"CB{rng.randint(1, 25)} {rng.randint(0, 9)}{rng.choice('ABDEF')}{rng.choice('GHJLN')}"
