"""The eight registers: whom each holds, the fields it carries and no other, as of the last contact.

A person is in a register through a contact (`contacts.py`), unless the register missed it; the record is as
old as the contact. After a protected change of identity there is a second record, which nothing joins to the
first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl

from benchmarks.county.block import Lives
from benchmarks.county.county import NEVER, NOW
from benchmarks.county.homes import home
from benchmarks.county.naming import written_surnames
from benchmarks.county.numbers import Numbers
from benchmarks.county.persons import UNCHANGED
from benchmarks.county.records import Asked, Written, write_down
from benchmarks.dates import written
from benchmarks.draw import Ints, Permutation
from benchmarks.errors import Errors, Side, misdated

NUMBERS = {"nhs_number", "nino", "upn", "former_upn", "uln", "pncid", "cro", "prison_number"}
#: Column of the file: what stands in it. Nothing else does: a register without names has none.
FIELDS = {
    "pnc": {
        "pncid": "pncid", "cro_number": "cro", "forename": "forename", "middle_names": "middle",
        "surname": "surname",
        "date_of_birth": "date_of_birth", "sex": "sex", "alias_forename": "alias_forename",
        "alias_surname": "alias_surname", "alias_date_of_birth": "alias_birth", "address": "address",
        "postcode": "postcode",
    },
    "prisons": {
        "prison_number": "prison_number", "pncid": "pncid", "cro_number": "cro", "forename": "forename",
        "surname": "surname", "date_of_birth": "date_of_birth", "sex": "sex",
        "alias_surname": "alias_surname",
        "address": "address", "postcode": "postcode",
    },
    "npd": {
        "upn": "upn", "former_upn": "former_upn", "uln": "uln", "surname": "surname",
        "preferred_surname": "preferred_surname", "forename": "forename", "middle_names": "middle",
        "date_of_birth": "date_of_birth", "gender": "sex", "postcode": "postcode",
    },
    "ilr": {
        "uln": "uln", "given_names": "forename", "family_name": "surname", "date_of_birth": "date_of_birth",
        "sex": "sex",
        "ni_number": "nino", "prior_postcode": "prior_postcode", "address": "address", "postcode": "postcode",
    },
    "wpls": {
        "nino": "nino", "forename": "forename", "surname": "surname", "date_of_birth": "date_of_birth",
        "sex": "sex",
        "address": "address", "postcode": "postcode",
    },
    "hes": {
        "nhs_number": "nhs_number", "date_of_birth": "date_of_birth", "sex": "sex", "postcode": "postcode",
        "provider": "provider", "local_patient_id": "local_id",
    },
    "mhmds": {"nhs_number": "nhs_number", "date_of_birth": "date_of_birth", "gender": "sex",
    "postcode": "postcode"},
    "ndtms": {
        "initials": "initials", "date_of_birth": "date_of_birth", "sex": "sex",
        "local_authority": "authority",
        "partial_postcode": "sector",
    },
}  # fmt: skip
#: What each further column is made from.
_FROM = {"address": ("house", "street", "town"), "initials": ("forename", "surname"), "sector": ("postcode",)}
ALIAS_BIRTH = 0.05  # of the police's records: another date of birth was given
PRISONS, IN_PRISON, NO_ABODE_INSIDE = 24, 0.8, 0.1
NO_ABODE, UNKNOWN_POSTCODE = "NF1 1NF", "ZZ99 9ZZ"
AUTHORITY = "Kinshire"


class Records(NamedTuple):
    """Which records a register has of a block's people, before they are written.

    Attributes:
        rows: of `Persons`. on: the day each is as of. number: of the record: a person's number · 4, + 1 after
            a change of identity, + 2 for a second record. event: the record's place, of each contact, or −1.
    """

    rows: Ints
    on: Ints
    number: Ints
    event: Ints


@dataclass(frozen=True)
class Extract:
    """A register's extract for one block.

    Attributes:
        frame: record_id and the fields of `FIELDS`, all text. attributes: record_id and what the register
            holds about the person, a row a contact. rows, on, number: as in `Records`. written: with its
            slips.
    """

    frame: pl.DataFrame
    attributes: pl.DataFrame
    rows: Ints
    on: Ints
    number: Ints
    written: Written


def held(lives: Lives, register: str) -> Records:
    """Whom the register holds, and in how many records."""
    county, persons, heard = lives.county, lives.persons, lives.contacts[register]
    preset, many = county.preset, 2 * len(persons)
    key = heard.rows * 2 + (heard.on >= persons.changed[heard.rows])
    last, first = np.full(many, -NEVER), np.full(many, NEVER)
    np.maximum.at(last, key, heard.on)
    np.minimum.at(first, key, heard.on)
    present = np.flatnonzero(last > -NEVER)
    person = persons.number[present // 2] * 4 + present % 2
    present = present[county.draws.chance(f"{register} covered", person, preset.covered)]
    person = persons.number[present // 2] * 4 + present % 2
    twice = county.draws.chance(f"{register} again", person, preset.again_in_register)
    twice &= persons.change[present // 2] == UNCHANGED
    again = present[twice]
    keys = np.concatenate([present, again])
    rows, identity = keys // 2, keys % 2
    contact = np.concatenate([last[present], first[again]])
    on = NOW - np.rint(preset.stale * (NOW - contact)).astype(np.int64)
    on = np.where(
        identity == 0, np.minimum(on, persons.changed[rows] - 1), np.maximum(on, persons.changed[rows])
    )
    on = np.minimum(on, persons.died[rows])
    number = persons.number[rows] * 4 + identity
    number[len(present) :] += 2
    place, second = np.full(many, -1, np.int64), np.full(many, -1, np.int64)
    place[present], second[again] = np.arange(len(present)), np.arange(len(present), len(keys))
    older = (second[key] >= 0) & county.draws.chance(
        f"{register} to the second", persons.number[heard.rows] * 64 + heard.on % 64, 0.5
    )
    return Records(rows, on, number, np.where(older, second[key], place[key]))


def extract(lives: Lives, register: str) -> Extract:
    """Write one register's records and attributes for a block."""
    county, records = lives.county, held(lives, register)
    fields, errors = FIELDS[register], county.preset.errors_of(register)
    wanted = set(fields.values())
    for made, sources in _FROM.items():
        wanted |= set(sources) if made in wanted else set()
    asked = Asked(records.rows, records.on, records.number, register, errors, frozenset(wanted))
    body = write_down(lives, asked)
    numbers = Numbers(lives, asked, [name for name in fields.values() if name in NUMBERS])
    columns = body.columns | numbers.columns
    home_code = body.home
    if register == "prisons":
        columns, home_code = _inside(lives, asked, columns, home_code)
    columns |= {
        name: _further(lives, asked, columns, name) for name in fields.values() if name not in columns
    }
    ids = record_ids(lives, register, records.number)
    frame = pl.DataFrame(
        {"record_id": ids} | {out: columns[source].alias(out) for out, source in fields.items()}
    )
    body = Written({}, body.slips | numbers.slips, home_code, body.surname, body.forename)
    known = np.flatnonzero(records.event >= 0)
    attributes = pl.DataFrame(
        {"record_id": ids.gather(records.event[known])}
        | {name: column.gather(known) for name, column in lives.contacts[register].columns.items()}
    )
    return Extract(frame, attributes, records.rows, records.on, records.number, body)


def record_ids(lives: Lives, file: str, number: Ints) -> pl.Series:
    """Ids of a file's records: they say nothing of the person."""
    county = lives.county
    shuffled = Permutation(4 * county.span, county.draws, f"{file} ids").to(number)
    return (file.upper() + pl.Series(shuffled).cast(pl.String).str.zfill(9)).alias("record_id")


def _further(lives: Lives, asked: Asked, columns: dict[str, pl.Series], name: str) -> pl.Series:
    county, named, rows = lives.county, lives.named, asked.rows
    draws, number = Side(county.draws, asked.file), asked.number
    if name == "address":
        return pl.DataFrame([columns[part] for part in _FROM[name]]).select(
            pl.concat_str(pl.all(), separator=", ", ignore_nulls=True).replace("", None)
        ).to_series()  # fmt: skip
    if name == "initials":
        return columns["forename"].str.slice(0, 1) + columns["surname"].str.slice(0, 1)
    if name == "sector":
        return columns["postcode"].str.head(-2)
    if name == "alias_forename":
        return county.names.forenames.gather(np.maximum(named.alias[rows], 0)).set(
            pl.Series(named.alias[rows] < 0), None
        )
    if name == "alias_surname":
        # A former name of before the change of identity is no alias.
        former = named.at(lives.persons, rows, np.minimum(asked.on, lives.persons.born[rows]))
        now = named.at(lives.persons, rows, asked.on)
        same = (former[1] == now[1]) | (asked.on >= lives.persons.changed[rows])
        return written_surnames(county, former[1], former[2]).set(pl.Series(same), None)
    if name == "alias_birth":
        given = draws.chance("alias birth", number, ALIAS_BIRTH)
        other = misdated(Side(draws, "alias"), number, lives.persons.born[rows], Errors(birth_part=1.0))
        return written(other).set(pl.Series(~given), None)
    if name == "preferred_surname":
        known = named.known_as[rows]
        known = np.where(asked.on >= lives.persons.changed[rows], -1, known)
        by_partner = county.names.surnames.gather(np.maximum(known, 0))
        return columns["surname"].zip_with(pl.Series(known < 0), by_partner)
    if name == "prior_postcode":
        # Where somebody lived under another identity is not told.
        changed = lives.persons.changed[rows]
        earlier = np.where(asked.on >= changed, np.maximum(asked.on - 900, changed), asked.on - 900)
        before = home(county, lives.homes, lives.persons, rows, earlier, asked.file)
        unknown = draws.chance("prior unknown", number, 0.05)
        codes = county.places.postcode(before)
        return county.places.postcodes.gather(codes).scatter(np.flatnonzero(unknown), UNKNOWN_POSTCODE)
    if name == "provider":
        return pl.Series([f"R{a}{b}" for a in "CDG" for b in "1MNXY"]).gather(
            draws.below("provider", number, 15)
        )
    if name == "local_id":
        shuffled = Permutation(4 * county.span, county.draws, "patient ids").to(number)
        return "M" + pl.Series(shuffled).cast(pl.String).str.zfill(8)
    if name == "authority":
        return pl.Series([AUTHORITY]).new_from_index(0, len(rows))
    raise KeyError(name)


def _inside(
    lives: Lives, asked: Asked, columns: dict[str, pl.Series], lived: Ints
) -> tuple[dict[str, pl.Series], Ints]:
    """A prisoner's address is mostly the prison's, or that of no abode."""
    county = lives.county
    share = Side(county.draws, asked.file).share("inside", asked.number)
    inside, nowhere = np.flatnonzero(share < IN_PRISON), np.flatnonzero(share > 1 - NO_ABODE_INSIDE)
    which = county.draws.below("which prison", asked.number[inside], PRISONS)
    postcode = (which * 97 + 5) % (len(county.places.postcodes) - 1)
    changed = {
        "house": pl.Series([f"HMP NUMBER {n + 1}" for n in range(PRISONS)]).gather(which),
        "street": pl.Series("street", [None], pl.String).new_from_index(0, len(inside)),
        "town": pl.Series("town", [None], pl.String).new_from_index(0, len(inside)),
        "postcode": county.places.postcodes.gather(postcode),
    }
    made = {name: columns[name].scatter(inside, column) for name, column in changed.items()}
    made["postcode"] = made["postcode"].scatter(nowhere, NO_ABODE)
    lived = lived.copy()
    lived[inside], lived[nowhere] = -1, -1
    return columns | made, lived
