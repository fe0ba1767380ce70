"""The ONS matchkeys in plain joins, from ONS's own list.

Nothing here reads the engine: values are put into standard form, joined with Polars, compared with rapidfuzz
and jellyfish pair by pair, and the keys are gone through with sets and counters.
"""

from __future__ import annotations

import csv
import datetime
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import jellyfish
import polars as pl
from rapidfuzz import distance

Person = Mapping[str, str | None]
Row = Mapping[str, Any]

COLUMNS = (
    "id", "forename", "middle_name", "surname", "born", "sex", "house", "postcode", "uprn",
    "other_forename", "other_surname", "other_postcode",
)  # fmt: skip
MAPPING = {
    "forename": "forename", "middle_name": "middle_name", "surname": "surname", "date_of_birth": "born",
    "sex": "sex", "house": "house", "postcode": "postcode", "uprn": "uprn", "forename_2": "other_forename",
    "surname_2": "other_surname", "postcode_2": "other_postcode",
}  # fmt: skip
CENSUS = datetime.date(2021, 3, 21)


def frame(people: Sequence[Person]) -> pl.DataFrame:
    rows = [tuple(person.get(name) for name in COLUMNS) for person in people]
    return pl.DataFrame(rows, dict.fromkeys(COLUMNS, pl.String), orient="row")


def person(
    record_id: str, surname: str | None, born: str | None = "1984-05-17", **others: str | None
) -> dict[str, str | None]:
    return dict.fromkeys(COLUMNS) | {"id": record_id, "surname": surname, "born": born, **others}


# --- the keys ------------------------------------------------------------------------------------


def _nicknames() -> dict[str, set[str]]:
    """Which groups a name belongs to, from the list itself."""
    groups: dict[str, set[str]] = {}
    path = Path(__file__).parents[1] / "linker" / "standardise" / "lists" / "nicknames.csv"
    for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines()):
        for name in (row["group"], *row["names"].split()):
            groups.setdefault(name, set()).add(row["group"])
    return groups


NICKNAMES = _nicknames()


def derived(person: Person) -> dict[str, Any]:
    """What the keys compare."""
    first_names = " ".join(
        p.upper().replace("-", " ") for n in ("forename", "middle_name") if (p := person[n])
    )
    surname = (person["surname"] or "").upper().replace("-", " ")
    given, family = first_names.split() if person["forename"] else [], surname.split()
    full = "".join(given + family) if given and family else None
    born = datetime.date.fromisoformat(person["born"]) if person["born"] else None
    postcode = (person["postcode"] or "").replace(" ", "") or None
    other_postcode = (person["other_postcode"] or "").replace(" ", "") or None
    alias_first, alias_last = person["other_forename"], person["other_surname"]
    has_alias = bool(alias_first or alias_last)
    return {
        "id": person["id"],
        "fn1": given[0] if given else None,
        "fn2": given[1] if len(given) > 1 else None,
        "fn": "".join(given) or None,
        "sn1": family[0] if family else None,
        "sn": "".join(family) or None,
        "full": full,
        "alpha": "".join(sorted(full)) if full else None,
        "words": frozenset(given + family) if full else None,
        "bigram": given[0][:2] if given and len(given[0]) > 1 else None,
        "fn_soundex": jellyfish.soundex(given[0]) if given else None,
        "sn_soundex": jellyfish.soundex("".join(family)) if family else None,
        "nicknames": NICKNAMES.get(given[0], set()) if given else set(),
        "dob": born,
        "digits": born.strftime("%Y%m%d") if born else None,
        "day": born.day if born else None,
        "month": born.month if born else None,
        "year": born.year if born else None,
        "age": _age(born) if born else None,
        "sex": person["sex"],
        "pc": postcode,
        "pc_short": postcode[:-1] if postcode else None,
        "sector": postcode[:-2] if postcode else None,
        "area": postcode.rstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ")[:2].rstrip("0123456789") if postcode else None,
        "pc_alt": other_postcode,
        "hn": person["house"],
        "uprn": person["uprn"],
        "res_fn1": _word(alias_first or person["forename"]) if has_alias else None,
        "res_sn1": _word(alias_last or person["surname"]) if has_alias else None,
    }  # fmt: skip


def _word(name: str | None) -> str | None:
    return next(iter((name or "").upper().replace("-", " ").split()), None)


def _age(born: datetime.date) -> int:
    return CENSUS.year - born.year - ((CENSUS.month, CENSUS.day) < (born.month, born.day))


def _lev(x: str | None, y: str | None) -> float:
    """ONS's score; -1 where a value is missing."""
    if not x or not y:
        return -1.0
    return 1.0 - distance.Levenshtein.distance(x, y) / max(len(x), len(y))


def _edits(x: str | None, y: str | None) -> int:
    return distance.Levenshtein.distance(x, y) if x and y else 99


def _jw(x: str | None, y: str | None) -> float:
    return distance.JaroWinkler.similarity(x, y) if x and y else -1.0


def _eq(x: Any, y: Any) -> bool:
    return x is not None and x == y


def _fn(a: Row, b: Row) -> bool:
    return _eq(a["fn1"], b["fn1"]) or _eq(a["fn"], b["fn"])


def _sn(a: Row, b: Row) -> bool:
    return _eq(a["sn1"], b["sn1"]) or _eq(a["sn"], b["sn"])


def _nick(a: Row, b: Row) -> bool:
    return bool(a["nicknames"] & b["nicknames"])


def _like(a: Row, b: Row, over: float = 0.6) -> bool:
    return _lev(a["fn1"], b["fn1"]) > over and _lev(a["sn1"], b["sn1"]) > over


def _contained(a: Row, b: Row) -> bool:
    x, y = a["words"], b["words"]
    return x is not None and y is not None and (x <= y or y <= x) and min(len(x), len(y)) > 1


def _ages(a: Row, b: Row, years: int) -> bool:
    return a["age"] is not None and b["age"] is not None and abs(a["age"] - b["age"]) <= years


def _alias(a: Row, b: Row) -> bool:
    def other(one: Row, two: Row) -> bool:
        return _eq(one["res_fn1"], two["fn1"]) and _eq(one["res_sn1"], two["sn1"])

    return other(a, b) or other(b, a)


Join = tuple[str | tuple[str, str], ...]
PC: Join = ("dob", "pc", "sex")
UPRN: Join = ("dob", "uprn", "sex")
ADDR = (UPRN, ("dob", "pc", "hn", "sex"))
Rule = tuple[tuple[Join, ...], Callable[[Row, Row], bool]]

KEYS: dict[str, Rule] = {
    "MK01": (((*PC, "full"),), lambda a, b: True),
    "MK02": ((UPRN,), lambda a, b: _fn(a, b) and _sn(a, b)),
    "MK03": ((PC,), lambda a, b: _fn(a, b) and _sn(a, b)),
    "MK04": (((*PC, "alpha"),), lambda a, b: True),
    "MK05": ((PC,), lambda a, b: _nick(a, b) and _sn(a, b)),
    "MK06": ((("age", "sex", "uprn"),), lambda a, b: _nick(a, b) and _sn(a, b)),
    "MK07": (ADDR, _contained),
    "MK08": ((PC,), lambda a, b: _edits(a["full"], b["full"]) < 3),
    "MK09": (((*PC, "fn_soundex", "sn_soundex"),), lambda a, b: True),
    "MK10": ((("dob", "pc"),), lambda a, b: _fn(a, b) and _sn(a, b)),
    "MK11": ((PC,), lambda a, b: _jw(a["fn1"], b["fn1"]) > 0.9 and _jw(a["sn1"], b["sn1"]) > 0.8),
    "MK12": ((PC,), _like),
    "MK13": ((PC,), lambda a, b: _lev(a["fn1"], b["sn1"]) > 0.6 and _lev(a["sn1"], b["fn1"]) > 0.6),
    "MK14": (((*PC, "fn2"),), _sn),
    "MK15": ((PC,), lambda a, b: _lev(a["fn1"], b["fn1"]) > 0.6 and _lev(a["fn2"], b["fn2"]) > 0.6),
    "MK16": (ADDR, lambda a, b: (_eq(a["fn1"], b["fn2"]) or _eq(a["fn2"], b["fn1"])) and _sn(a, b)),
    "MK17": (ADDR, _fn),
    "MK18": (ADDR, lambda a, b: _lev(a["fn1"], b["fn1"]) > 0.6 and _sn(a, b)),
    "MK19": (ADDR, lambda a, b: _eq(a["bigram"], b["bigram"]) and _sn(a, b)),
    "MK20": ((("age", "sex", "pc"),), lambda a, b: _fn(a, b) and _sn(a, b)),
    "MK21": (
        (("day", "month", "sex", "pc"),),
        lambda a, b: _fn(a, b) and _sn(a, b) and abs(a["year"] - b["year"]) < 11,
    ),
    "MK22": ((("year", "sex", "pc"),), lambda a, b: _fn(a, b) and _sn(a, b)),
    "MK23": (
        (("sex", "uprn"),),
        lambda a, b: (
            _jw(a["fn1"], b["fn1"]) > 0.8
            and _jw(a["sn1"], b["sn1"]) > 0.8
            and _edits(a["digits"], b["digits"]) < 2
        ),
    ),
    "MK24": ((("sex", "uprn"),), lambda a, b: _like(a, b) and _edits(a["digits"], b["digits"]) < 2),
    "MK25": ((("sex", "uprn"),), lambda a, b: _like(a, b) and _ages(a, b, 1)),
    "MK26": ((("sex", "pc", "hn"),), lambda a, b: _like(a, b) and _ages(a, b, 1)),
    "MK27": (
        (("dob", "uprn"),),
        lambda a, b: _like(a, b) and (a["sex"] is None or b["sex"] is None or a["sex"] == b["sex"]),
    ),
    "MK28": ((("dob", "sex"),), lambda a, b: _fn(a, b) and _sn(a, b)),
    "MK29": ((("fn1", "sn1", "dob", "sex", "pc_short"),), lambda a, b: True),
    "MK30": ((("fn1", "sn1", "dob", "sex", "sector", "hn"),), lambda a, b: True),
    "MK31": ((("dob", "area", "sex"),), lambda a, b: _fn(a, b) and _sn(a, b)),
    "MK32": ((("pc", "sex"),), lambda a, b: _like(a, b, 0.8) and _ages(a, b, 5)),
    "MK33": ((PC,), _alias),
    "MK34": (
        (
            ("dob", "sex", ("pc_alt", "pc")),
            ("dob", "sex", ("pc", "pc_alt")),
            ("dob", "sex", "pc_alt"),
        ),
        lambda a, b: (_nick(a, b) or _lev(a["fn1"], b["fn1"]) > 0.8) and _lev(a["sn1"], b["sn1"]) > 0.8,
    ),
    "MK35": (
        (("uprn", "sex"),),
        lambda a, b: (
            (_nick(a, b) or _edits(a["fn1"], b["fn1"]) < 2)
            and _edits(a["sn1"], b["sn1"]) < 2
            and _ages(a, b, 1)
        ),
    ),
}
CLERICAL = {"MK14", "MK31", "MK32"}
MOVERS = {"MK28": (("uprn",), ("pc", "hn"))}


def meeting(left: Sequence[Person], right: Sequence[Person]) -> dict[str, set[tuple[str, str]]]:
    """The pairs of ids that meet each key, the moves of a household apart."""
    sides = [{person["id"]: derived(person) for person in side} for side in (left, right)]
    plain = [_joinable(list(side.values())) for side in sides]
    met = {}
    for name, (joins, holds) in KEYS.items():
        pairs: set[tuple[str, str]] = set()
        for join in joins:
            on = [(one, one) if isinstance(one, str) else one for one in join]
            joined = plain[0].join(
                plain[1],
                left_on=[a for a, _ in on],
                right_on=[b for _, b in on],
                how="inner",
                suffix=" of right",
            )
            pairs |= set(joined.select("id", "id of right").rows())
        met[name] = {(a, b) for a, b in pairs if holds(sides[0][a], sides[1][b])}
    return met


def _joinable(rows: list[dict[str, Any]]) -> pl.DataFrame:
    flat = [{k: v for k, v in row.items() if k not in ("words", "nicknames")} for row in rows]
    made = pl.DataFrame(flat, infer_schema_length=None)
    return made.with_columns(pl.col(pl.Null).cast(pl.String))


def outcomes(left: Sequence[Person], right: Sequence[Person]) -> dict[tuple[str, str], tuple[str, str]]:
    """The key and the outcome of every pair that has a key."""
    met = meeting(left, right)
    decided: dict[tuple[str, str], tuple[str, str]] = {}
    linked: set[tuple[str, str]] = set()
    left_taken: set[str] = set()
    right_taken: set[str] = set()
    left_open: set[str] = set()
    right_open: set[str] = set()

    def alive(pair: tuple[str, str]) -> bool:
        return pair[0] not in left_taken and pair[1] not in right_taken

    for name in KEYS:
        pairs = {pair for pair in met[name] if pair not in decided}
        if name in MOVERS:
            movers = [pair for pair in met[name] if alive(pair) or pair in linked]
            pairs = {p for p in _together(movers, MOVERS[name], left, right) if alive(p) and p not in decided}
        rest = [pair for pair in pairs if alive(pair)]
        decided |= {pair: (name, "NOT_LINKED") for pair in pairs if not alive(pair)}
        lefts, rights = Counter(a for a, _ in rest), Counter(b for _, b in rest)
        now = set()
        for a, b in rest:
            single = lefts[a] == 1 and rights[b] == 1 and a not in left_open and b not in right_open
            if not single:
                decided[a, b] = (name, "AMBIGUOUS")
            elif name in CLERICAL:
                decided[a, b] = (name, "REVIEW")
            else:
                decided[a, b] = (name, "LINKED")
                now.add((a, b))
        linked |= now
        left_taken |= {a for a, _ in now}
        right_taken |= {b for _, b in now}
        left_open |= {a for a, _ in rest} - left_taken
        right_open |= {b for _, b in rest} - right_taken
    return decided


def _together(
    pairs: list[tuple[str, str]],
    addresses: tuple[tuple[str, ...], ...],
    left: Sequence[Person],
    right: Sequence[Person],
) -> set[tuple[str, str]]:
    lefts, rights = ({person["id"]: derived(person) for person in side} for side in (left, right))
    found = set()
    for address in addresses:
        moves: dict[Any, list[tuple[str, str]]] = {}
        for a, b in pairs:
            ends = tuple(lefts[a][n] for n in address) + tuple(rights[b][n] for n in address)
            if None not in ends:
                moves.setdefault(ends, []).append((a, b))
        for group in moves.values():
            if len({a for a, _ in group}) > 1 and len({b for _, b in group}) > 1:
                found |= set(group)
    return found


# --- one file ------------------------------------------------------------------------------------

Pair = tuple[str, str]


def outcomes_within(people: Sequence[Person]) -> dict[Pair, tuple[str, str]]:
    """The key and the outcome of every pair of one file; groups are made afresh for each key."""
    met = {
        name: {(min(pair), max(pair)) for pair in pairs if pair[0] != pair[1]}
        for name, pairs in meeting(people, people).items()
    }
    key_of: dict[Pair, str] = {}
    decided: dict[Pair, str] = {}
    for name in KEYS:
        pairs = _together_within(met[name], MOVERS[name], people) if name in MOVERS else met[name]
        new = pairs - key_of.keys()
        key_of |= dict.fromkeys(new, name)
        decided |= dict.fromkeys(new, "AMBIGUOUS")
        for group in _groups(key_of):
            inside = set(combinations(sorted(group), 2))
            if not inside <= key_of.keys():
                continue
            if name in CLERICAL:
                decided |= dict.fromkeys(inside & new, "REVIEW")
            elif not any(key_of[pair] in CLERICAL for pair in inside):
                decided |= dict.fromkeys(inside, "LINKED")
    return {pair: (name, decided[pair]) for pair, name in key_of.items()}


def _groups(pairs: Iterable[Pair]) -> list[set[str]]:
    """The ids that hang together."""
    near: dict[str, set[str]] = {}
    for a, b in pairs:
        near.setdefault(a, set()).add(b)
        near.setdefault(b, set()).add(a)
    groups, seen = [], set[str]()
    for one in near:
        if one in seen:
            continue
        group, ahead = {one}, [one]
        while ahead:
            found = near[ahead.pop()] - group
            group |= found
            ahead += found
        groups.append(group)
        seen |= group
    return groups


def _together_within(
    pairs: set[Pair], addresses: tuple[tuple[str, ...], ...], people: Sequence[Person]
) -> set[Pair]:
    """The pairs that lead between two addresses, as those of another person do, whichever came first."""
    rows = {person["id"]: derived(person) for person in people}
    whose = {record: place for place, group in enumerate(_groups(pairs)) for record in group}
    found = set()
    for address in addresses:
        moves: dict[Any, set[Pair]] = {}
        for a, b in pairs:
            ends = [tuple(rows[record][name] for name in address) for record in (a, b)]
            if None not in ends[0] + ends[1]:
                moves.setdefault(frozenset(ends), set()).add((a, b))
        for group in moves.values():
            if len({whose[a] for a, _ in group}) > 1:
                found |= group
    return found
