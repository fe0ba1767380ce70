"""The councils' files: families assessed for the programme, in each council's own words, twice a year apart.

A member of two families has a row in each; some members are in a file twice. Between the deliveries people
move, marry, are born and die, families are screened for the first time, a few move to another council, and
part of the records are typed anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl

from benchmarks.county.block import Lives
from benchmarks.county.county import CHILDREN, DELIVERIES, ELDER, NEVER, NEWCOMER, NOW, PARENT, PARTNER, SLOTS
from benchmarks.county.numbers import Numbers
from benchmarks.county.problems import KINDS, PROBLEMS
from benchmarks.county.records import Asked, Written, write_down
from benchmarks.draw import Ints, Permutation
from benchmarks.names import SEXES

COUNCILS = ("fenham", "marwick", "orlstead")
RELATIONS = ("parent", "partner", "child", "grandparent", "new partner", "child of partner")
STALE = 200  # days before the delivery that the council last asked, at most
MOVED_AWAY = 0.01  # of families: in another council's second delivery than in its first

Frames = dict[str, pl.Series]


class Members(NamedTuple):
    """Who belongs to which assessed family from when to when, a row each.

    Attributes:
        rows: of `Persons`. family: row of `Households`. relation: place in `RELATIONS`. since, until: days.
        second: whether it is the person's second family.
    """

    rows: Ints
    family: Ints
    relation: Ints
    since: Ints
    until: Ints
    second: Ints


@dataclass(frozen=True)
class Delivery:
    """One council's file of one block.

    Attributes:
        frame: the file, all text. record_id: of its rows. rows, family, on, number: of the persons, the
            families,
            the days the rows are as of, and the records.
    """

    frame: pl.DataFrame
    record_id: pl.Series
    rows: Ints
    family: Ints
    on: Ints
    number: Ints
    written: Written


def members(lives: Lives) -> Members:
    """The members of a block's assessed families over time."""
    persons, homes = lives.persons, lives.homes
    own = np.flatnonzero(homes.assessed[persons.row])
    by_slot = np.full(SLOTS, 2)
    by_slot[[PARENT, PARTNER, ELDER, NEWCOMER]] = 0, 1, 3, 4
    assert by_slot[CHILDREN].tolist() == [2] * 6
    row = persons.row
    blended = homes.blended[row] & homes.assessed[row]
    moved = np.flatnonzero((persons.slot == PARTNER) & blended)
    with_both = blended & homes.between[row] & (by_slot[persons.slot] == 2) & (persons.parent_2 >= 0)
    shared = np.flatnonzero(with_both)
    again = np.concatenate([moved, shared])
    since = np.maximum(homes.separated[row[again]], persons.joined[again])
    end = np.where(by_slot[persons.slot[again]] == 2, persons.left[again], NEVER)
    return Members(
        np.concatenate([own, again]),
        np.concatenate([row[own], row[again] + 1]),
        np.concatenate([by_slot[persons.slot[own]], np.full(len(moved), 4), np.full(len(shared), 5)]),
        np.concatenate([persons.joined[own], since]),
        np.minimum(np.concatenate([persons.left[own], end]), persons.died[np.concatenate([own, again])]),
        np.concatenate([np.zeros(len(own), np.int64), np.ones(len(again), np.int64)]),
    )


def council_of(lives: Lives, turn: int) -> Ints:
    """The council of each household at a delivery, a place in `COUNCILS`."""
    draws, house = lives.county.draws, lives.homes.number
    made = draws.below("council", house, len(COUNCILS))
    away = draws.chance("moved away", house, MOVED_AWAY) if turn else np.zeros(len(house), np.bool_)
    return (made + away) % len(COUNCILS)


def deliveries(lives: Lives, turn: int) -> list[Delivery]:
    """The file of each council of `COUNCILS` at a delivery, 0 or 1."""
    county, persons, homes, wants = lives.county, lives.persons, lives.homes, lives.needs
    day, preset = DELIVERIES[turn], county.preset
    all_of_them = members(lives)
    there = (
        (wants.screened <= day)[all_of_them.family] & (all_of_them.since <= day) & (all_of_them.until > day)
    )
    rows, family, relation, since, _, second = (column[there] for column in all_of_them)
    membership = persons.number[rows] * 4 + second * 2
    twice = np.flatnonzero(county.draws.chance(f"twice {turn}", membership, preset.again_in_council))
    rows, family, relation, since = (
        np.concatenate([column, column[twice]]) for column in (rows, family, relation, since)
    )
    membership = np.concatenate([membership, membership[twice] + 1])
    lag = county.draws.share("asked", membership * 2 + turn) * STALE * preset.stale
    on = np.maximum(day - lag.astype(np.int64), since)
    # What is typed anew has slips of its own; the rest has those of the year before.
    anew = county.draws.chance("rekeyed", membership, preset.rekeyed) & bool(turn)
    number = membership * 2 + anew
    columns = frozenset(
        {"forename", "middle", "surname", "date_of_birth", "sex", "house", "street", "town", "postcode"}
    )
    asked = Asked(rows, on, number, "council", preset.errors_of("council"), columns)
    body, numbers = (
        write_down(lives, asked),
        Numbers(lives, asked, ["nhs_number", "nino", "upn", "uln", "pncid"]),
    )
    body = Written(body.columns, body.slips | numbers.slips, body.home, body.surname, body.forename)
    council = council_of(lives, turn)[family]
    ids = _ids(lives, "member", membership, council, "", 4 * county.span)
    known = body.columns | numbers.columns | {
        "record_id": ids,
        "family_id": _ids(lives, "family", homes.number[family], council, "F", county.households),
        "relation": pl.Series(list(RELATIONS)).gather(relation),
    } | _programme(lives, family, day)  # fmt: skip
    made = []
    for place, style in enumerate(STYLES):
        own = np.flatnonzero(council == place)
        frame = style({name: column.gather(own) for name, column in known.items()})
        slips = Written({}, *(column[own] for column in (body.slips, body.home, body.surname, body.forename)))
        made.append(Delivery(frame, ids.gather(own), rows[own], family[own], on[own], number[own], slips))
    return made


def _ids(lives: Lives, what: str, number: Ints, council: Ints, kind: str, many: int) -> pl.Series:
    """Ids that begin with the council's letter."""
    shuffled = Permutation(many, lives.county.draws, f"{what} ids").to(number)
    letters = pl.Series([name[0].upper() + kind for name in COUNCILS]).gather(council)
    return letters + pl.Series(shuffled).cast(pl.String).str.zfill(len(str(many)))


def _programme(lives: Lives, family: Ints, day: int) -> Frames:
    """Criteria, arm and support of each row's family, as they stood on a day."""
    wants = lives.needs
    started, ended = wants.support_from[family] <= day, wants.support_to[family] <= day
    arm = np.where(wants.eligible, np.where(wants.intervention, 0, 1), 2)[family]
    return {
        "screened": _text(wants.screened[family], wants.screened[family] <= day),
        "arm": pl.Series("arm", ["intervention", "comparison", None]).gather(arm),
        "support_from": _text(wants.support_from[family], started),
        "support_to": _text(wants.support_to[family], ended),
        "support": pl.Series("support", [*KINDS, None]).gather(
            np.where(started, wants.kind[family], len(KINDS))
        ),
        "hours": pl.Series("hours", wants.hours[family]).cast(pl.String).set(pl.Series(~started), None),
        **{
            problem: pl.Series(problem, ["N", "Y"]).gather(wants.problems[place, family].astype(np.int64))
            for place, problem in enumerate(PROBLEMS)
        },
    }


def _text(days: Ints, known: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> pl.Series:
    return (
        pl.Series(np.minimum(days, NOW).astype("datetime64[D]")).cast(pl.String).set(pl.Series(~known), None)
    )


def _fenham(known: Frames) -> pl.DataFrame:
    """Everything the form asks for, in title case, dates as computers write them."""
    headings = {
        "Person Ref": "record_id", "Family ID": "family_id", "Relationship": "relation",
        "Forename": "forename",
        "Middle Names": "middle", "Surname": "surname", "Date of Birth": "date_of_birth", "Gender": "sex",
        "House": "house",
        "Street": "street", "Town": "town", "Postcode": "postcode", "NHS Number": "nhs_number",
        "NI Number": "nino",
        "UPN": "upn", "ULN": "uln", "PNC ID": "pncid", "Date Screened": "screened", "Group": "arm",
        "Support Start": "support_from", "Support End": "support_to", "Support Type": "support",
        "Support Hours": "hours",
    }  # fmt: skip
    title = [
        pl.col(name).str.to_titlecase()
        for name in ("Forename", "Middle Names", "Surname", "House", "Street", "Town")
    ]
    frame = pl.DataFrame({out: known[source] for out, source in headings.items()}).with_columns(title)
    return frame.with_columns(_criteria(known, "; ").alias("Criteria Met"))


def _marwick(known: Frames) -> pl.DataFrame:
    """Capitals, British dates, sex in words, the address in one line, a column a criterion, no NHS number."""
    headings = {
        "person_ref": "record_id", "fam_no": "family_id", "rel_to_head": "relation", "given_name": "forename",
        "family_name": "surname", "dob": "date_of_birth", "sex": "sex", "post_code": "postcode",
        "nino": "nino", "upn": "upn",
        "screening_date": "screened", "cohort": "arm", "start_dt": "support_from", "end_dt": "support_to",
        "intervention_type": "support",
    }  # fmt: skip
    address = pl.DataFrame([known[name] for name in ("house", "street", "town")]).select(
        pl.concat_str(pl.all(), separator=", ", ignore_nulls=True).replace("", None).alias("address")
    )
    frame = pl.DataFrame({out: known[source] for out, source in headings.items()}).hstack(address)
    british = [_british(name) for name in ("dob", "screening_date", "start_dt", "end_dt")]
    words = pl.col("sex").replace_strict(
        list(SEXES), ["Female", "Male"], default=None, return_dtype=pl.String
    )
    return frame.with_columns(*british, words).hstack(
        [known[problem].alias(f"crit_{at}") for at, problem in enumerate(PROBLEMS, 1)]
    )


def _orlstead(known: Frames) -> pl.DataFrame:
    """Names in one column, sex as a code, no address but the postcode, criteria by number."""
    headings = {
        "PersonID": "record_id", "FamRef": "family_id", "Relation": "relation", "DOB": "date_of_birth",
        "GenderCode": "sex",
        "PostCode": "postcode", "NHSNo": "nhs_number", "UPN": "upn", "ScreenedOn": "screened", "Arm": "arm",
        "SupportFrom": "support_from", "SupportTo": "support_to", "Hours": "hours",
    }  # fmt: skip
    full = pl.DataFrame([known[name] for name in ("forename", "middle", "surname")]).select(
        pl.concat_str(pl.all(), separator=" ", ignore_nulls=True)
        .str.to_titlecase()
        .replace("", None)
        .alias("FullName")
    )
    frame = pl.DataFrame({out: known[source] for out, source in headings.items()}).hstack(full)
    code = pl.col("GenderCode").replace_strict(list(SEXES), ["2", "1"], default="0", return_dtype=pl.String)
    arm = pl.col("Arm").replace_strict(
        ["intervention", "comparison"], ["T", "C"], default=None, return_dtype=pl.String
    )
    return frame.with_columns(
        _british("DOB"), code, arm, _criteria(known, "", by_number=True).alias("Problems")
    )


def _british(name: str) -> pl.Expr:
    parts = [pl.col(name).str.slice(start, size) for start, size in ((8, 2), (5, 2), (0, 4))]
    return (parts[0] + "/" + parts[1] + "/" + parts[2]).alias(name)


def _criteria(known: Frames, separator: str, by_number: bool = False) -> pl.Series:
    met = [
        pl.when(pl.col(problem) == "Y").then(pl.lit(str(at) if by_number else problem))
        for at, problem in enumerate(PROBLEMS, 1)
    ]
    flags = pl.DataFrame([known[problem] for problem in PROBLEMS])
    return flags.select(pl.concat_str(met, separator=separator, ignore_nulls=True)).to_series()


STYLES: tuple[Callable[[Frames], pl.DataFrame], ...] = (_fenham, _marwick, _orlstead)
