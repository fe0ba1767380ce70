"""Recognition: what the columns of a file are, from their names, checked against their values.

    mapped by the user  →  by name, if the values bear it out  →  by the values  →  category, number, text

A name is a claim. Where the values contradict it the column is still compared, as what the values
allow, and the layout says why. What is about a family or a programme takes no part, unless it is mapped.
Who is protected always takes part, whatever the values: a mark that is lost here would be lost for good.
Order of rows never changes the outcome.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl

from linker import family_columns, headings, values
from linker.errors import LayoutError
from linker.headings import DATE_PARTS, Heading
from linker.records import Field, Kind, Layout

_OPEN = (Kind.CATEGORY, Kind.TEXT, Kind.NUMBER, Kind.IDENTIFIER)
_RECORD_IDS = {"id", "recid", "recordid", "uniqueid", "uid", "rowid", "recordnumber"}
_IGNORED = {
    "truth": "says who the record is: an answer, not evidence",
    "source": "says where or when the record was made, not who it is about",
    "note": "free text",
    "title": "a title says little and changes",
    "relation": family_columns.RELATION,
    "programme": "about a programme or a service, not who somebody is",
}
_BY_VALUES = "by its values"
_UNCOMPARED = {
    Kind.HOUSEHOLD: "; a family shares it: not compared",
    Kind.PROTECTED: "; says who is protected: not compared",
}


@dataclass(frozen=True)
class _Claim:
    """A field before it has its name; `asked` is the name the user gave it."""

    kind: Kind
    columns: tuple[str, ...]
    why: str
    further: bool = False
    asked: str | None = None


def recognise(
    frame: pl.DataFrame,
    *,
    id_column: str | None = None,
    mapping: Mapping[str, str] | None = None,
    ignore: Sequence[str] = (),
) -> Layout:
    """Say what each column of `frame` is.

    Args:
        frame: the records, preferably as text.
        id_column: the column with the record's id; by default the column with a customary name
            (id, rec_id, person_id, …) whose values are unique and complete, or nearly so for a record's.
        mapping: field name → column, as in `{"surname": "lastname", "date_of_birth": "by+bm+bd"}`. A
            field name is a kind's, or `<kind>_2` and so on for further fields of the kind.
        ignore: columns to leave out.

    Raises:
        LayoutError: an unknown kind, a column that does not exist, or one claimed twice.
    """
    columns = frame.columns
    mapped = _asked(columns, id_column, mapping or {}, ignore)
    taken = {column for claim in mapped for column in claim.columns} | set(ignore)
    ignored = dict.fromkeys(ignore, "as asked")
    read = {
        column: headings.read(column) for column in columns if column not in taken and column != id_column
    }
    chosen = id_column if id_column is not None else _id_column(frame, read)

    claims = list(mapped)
    parts = _date_parts(frame, {column: read[column] for column in read if column != chosen})
    if parts:
        claims.append(_Claim(Kind.DATE_OF_BIRTH, parts, "by name"))
    has_birth = any(claim.kind is Kind.DATE_OF_BIRTH for claim in claims) or any(
        heading.meaning == Kind.DATE_OF_BIRTH for heading in read.values()
    )
    given = {claim.kind for claim in mapped} | {heading.meaning for heading in read.values()}
    for column, heading in read.items():
        if column == chosen or column in parts:
            continue
        verdict = _verdict(frame, column, _settled(heading, given), has_birth=has_birth)
        if isinstance(verdict, str):
            ignored[column] = verdict
        else:
            claims.append(verdict)
            has_birth = has_birth or verdict.kind is Kind.DATE_OF_BIRTH
    claims = _of_persons(frame, claims, ignored)
    order = {column: place for place, column in enumerate(columns)}
    return Layout(
        id_column=chosen,
        fields=_named(claims, order),
        ignored=tuple((column, ignored[column]) for column in columns if column in ignored),
    )


def check_asked(
    columns: Sequence[str], id_column: str | None, mapping: Mapping[str, str], ignore: Sequence[str] = ()
) -> None:
    """Say at once what is wrong with a user's reading of the columns; arguments and errors as `recognise`."""
    _asked(columns, id_column, mapping, ignore)


def _asked(
    columns: Sequence[str], id_column: str | None, mapping: Mapping[str, str], ignore: Sequence[str]
) -> list[_Claim]:
    mapped = _mapped(columns, mapping)
    _check(columns, id_column, mapped, ignore)
    return mapped


def _mapped(columns: Sequence[str], mapping: Mapping[str, str]) -> list[_Claim]:
    claims = []
    for name, target in mapping.items():
        stem, _, number = name.rpartition("_")
        base = stem if number.isdigit() and stem in list(Kind) else name
        if base not in list(Kind):
            known = ", ".join(Kind)
            raise LayoutError(f"There is no kind of field called '{name}'.", f"The kinds are: {known}.")
        pieces = (target,) if target in columns else tuple(piece.strip() for piece in target.split("+"))
        if len(pieces) > 1 and (base != Kind.DATE_OF_BIRTH or len(pieces) != 3):
            raise LayoutError(
                f"The field '{name}' is mapped to {len(pieces)} columns.",
                "Only date_of_birth may be put together, from three: year+month+day.",
            )
        claims.append(_Claim(Kind(base), pieces, "as mapped", asked=name))
    return claims


def _check(
    columns: Sequence[str], id_column: str | None, mapped: list[_Claim], ignore: Sequence[str]
) -> None:
    used = [column for claim in mapped for column in claim.columns]
    asked = [*used, *ignore, *([] if id_column is None else [id_column])]
    for column in asked:
        if column not in columns:
            raise LayoutError(f"There is no column '{column}'.", _tell(columns))
    for column in dict.fromkeys(asked):
        if asked.count(column) > 1:
            raise LayoutError(
                f"The column '{column}' is named twice.",
                "A column can be the record's id, one field, or ignored, and only one of these.",
            )


def _tell(columns: Sequence[str]) -> str:
    """The columns whose names say what they are: without a heading, names are somebody's values."""
    known = [column for column in columns if headings.read(column).meaning or headings.read(column).part]
    others = len(columns) - len(known)
    more = f"{others} more whose names say nothing" if others else ""
    told = " and ".join(part for part in (", ".join(known), more) if part)
    return f"The columns are: {told}."


def _id_column(frame: pl.DataFrame, read: Mapping[str, Heading]) -> str | None:
    candidates = [column for column, heading in read.items() if heading.meaning == "id"]
    for column in sorted(candidates, key=lambda column: read[column].rank):
        if frame.height and values.is_key(frame[column]):
            return column
    # A person's id may well repeat; a record's own that does has faults, and those rows are refused.
    for column in candidates:
        if "".join(headings.split(column)) in _RECORD_IDS and values.is_nearly_key(frame[column]):
            return column
    return None


def _date_parts(frame: pl.DataFrame, read: Mapping[str, Heading]) -> tuple[str, ...]:
    found: dict[str, str] = {}
    for column, heading in read.items():
        if heading.part is not None and values.is_date_part(frame[column], heading.part):
            found.setdefault(heading.part, column)
    return tuple(found[part] for part in DATE_PARTS) if len(found) == len(DATE_PARTS) else ()


def _settled(heading: Heading, given: set[str | None]) -> Heading:
    """A column called "name" beside a surname holds forenames."""
    alone = Kind.SURNAME in given and Kind.FORENAME not in given
    if heading.meaning == Kind.FULL_NAME and alone:
        return Heading(Kind.FORENAME, further=heading.further)
    return heading


def _verdict(frame: pl.DataFrame, column: str, heading: Heading, *, has_birth: bool) -> _Claim | str:
    """What a column is, or the reason for which it is ignored."""
    meaning = heading.meaning
    if meaning in _IGNORED:
        return _IGNORED[meaning]
    if meaning == "id":
        unique = frame.height and values.is_key(frame[column])
        return "another record id" if unique else "named as a record id, but its values repeat or are missing"
    if meaning == Kind.PROTECTED:
        return _Claim(Kind.PROTECTED, (column,), "by name")
    seen = values.look(frame[column])
    if frame.height and not seen.count:
        return "no values"
    if meaning is None:
        return _by_values(column, seen, heading, has_birth=has_birth)
    if meaning == Kind.SURNAME and "family" in headings.split(column) and values.has_codes(seen):
        return _Claim(Kind.HOUSEHOLD, (column,), "by name")
    kind, why = values.borne_out(Kind(meaning), seen)
    return _Claim(kind, (column,), why, further=heading.further or kind != meaning)


def _by_values(column: str, seen: values.Seen, heading: Heading, *, has_birth: bool) -> _Claim | str:
    if seen.count > 1 and seen.distinct == 1:
        return "one value only"
    kind = None if heading.elsewhere else values.told(seen)
    if kind is Kind.DATE_OF_BIRTH and (has_birth or values.is_other_date(headings.split(column))):
        return "a date, but not said to be of birth"
    if kind is not None:
        return _Claim(kind, (column,), _BY_VALUES, further=True)
    if values.told(seen) is Kind.DATE_OF_BIRTH:
        return "a date, but about somebody or something else"
    open_kind = values.open_kind(seen)
    if open_kind is None:
        return "free text" if seen.wordy else "a running number"
    return _Claim(open_kind, (column,), _BY_VALUES)


def _of_persons(frame: pl.DataFrame, claims: list[_Claim], ignored: dict[str, str]) -> list[_Claim]:
    """The claims without what their values show to be about families; references of families named so."""
    kinds = {claim.columns[0]: claim.kind for claim in claims}
    unknown = [claim.columns[0] for claim in claims if claim.kind in _OPEN and claim.why == _BY_VALUES]
    references, left_out = family_columns.judge(frame, kinds, unknown)
    ignored |= left_out
    return [
        replace(claim, kind=Kind.HOUSEHOLD) if claim.columns[0] in references else claim
        for claim in claims
        if claim.columns[0] not in left_out
    ]


def _named(claims: Sequence[_Claim], order: Mapping[str, int]) -> tuple[Field, ...]:
    """Names for the claims: what the user asked for, then main columns before further ones."""
    names = {claim.asked for claim in claims if claim.asked is not None}
    fields = []
    ranked = sorted(claims, key=lambda claim: (claim.asked is None, claim.further, order[claim.columns[0]]))
    for claim in ranked:
        name = claim.asked
        if claim.kind in _OPEN and (name is None or name.partition("_")[0] == claim.kind):
            # The open kinds say nothing: the column's own name tells the user which field is meant.
            names.discard(name)
            name = None
        if name is None:
            stem = claim.columns[0].lower().replace(".", "_") if claim.kind in _OPEN else claim.kind.value
            name = _free(stem, names)
            names.add(name)
        why = claim.why + _UNCOMPARED.get(claim.kind, "")
        fields.append(Field(name, claim.kind, claim.columns, why))
    return tuple(sorted(fields, key=lambda field: order[field.columns[0]]))


def _free(stem: str, names: set[str | None] | set[str]) -> str:
    number, name = 1, stem
    while name in names:
        number += 1
        name = f"{stem}_{number}"
    return name
