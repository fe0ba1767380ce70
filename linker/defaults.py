"""Sensible comparisons and blocking rules from nothing but the fields that two files have.

Levels run from best to worst. The m given here is what a practitioner would expect before seeing the
data; it starts the training and holds levels that the data hardly shows. u is always learnt.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from itertools import combinations

from linker.conditions import All, Any, Condition, Not, Op, Test, exact, missing, test
from linker.model import BlockingRule, Comparison, Level
from linker.records import Field, Kind

Levels = list[tuple[str, Condition, float]]

# Values of these kinds are unlike each other by design: a near miss is no sign of the same person.
_STRONG = {
    Kind.NHS_NUMBER, Kind.CHI, Kind.HC_NUMBER, Kind.UPN, Kind.ULN, Kind.PNCID, Kind.CRO, Kind.UPRN,
    Kind.PHONE,
}  # fmt: skip


def default_comparisons(fields: Collection[Field], columns: Collection[str]) -> tuple[Comparison, ...]:
    """One comparison a field.

    Args:
        fields: the fields that both sides have.
        columns: the standard columns that both sides have.
    """
    here = frozenset(columns)
    return tuple(_comparison(name, kind, here) for name, kind in _kinds(fields, columns).items())


def _kinds(fields: Collection[Field], columns: Collection[str]) -> dict[str, Kind]:
    """The names and kinds of what is compared, by the order of kinds; a piece of a whole name has its own.

    References of families are left out: the members of one share it and would pass for one person. So is who
    is protected, which is no evidence of who somebody is.
    """
    known = {field.name: field.kind for field in fields}
    kinds = {name: known.get(name, _kind(name)) for name in {column.split(".")[0] for column in columns}}
    compared = [(name, kind) for name, kind in kinds.items() if kind not in _UNCOMPARED]
    return dict(sorted(compared, key=lambda item: (_ORDER[item[1]], item[0])))


def _comparison(name: str, kind: Kind, columns: frozenset[str]) -> Comparison:
    levels = _levels(kind)(name, columns)
    tf = name if _has_frequencies(kind) else None
    return Comparison(
        name,
        Any((missing(name), *silent)) if (silent := _silent(name, kind, columns)) else missing(name),
        (
            *(Level(label, one, m, None, tf if label == "exact" else None) for label, one, m in levels),
            Level("different", None, max(0.001, 1.0 - sum(m for _, _, m in levels))),
        ),
        shared=kind in _SHARED,
        place=kind in _PLACES,
    )


def _silent(name: str, kind: Kind, columns: frozenset[str]) -> tuple[Condition, ...]:
    """Where a comparison would only repeat what another says."""
    if name == "surname" and "forename.first" in columns:
        return (_swapped(),)
    if kind is Kind.SEX and "forename.first" in columns:
        # People of one forename nearly all have one sex: if it agrees, sex can only speak against.
        return (All((exact(name), exact("forename.first"))),)
    if "postcode.outcode" in columns:
        postcodes_known = Not(test(Op.MISSING, "postcode"))
        if kind is Kind.TOWN:
            return (postcodes_known,)
        if kind is Kind.ADDRESS_LINE:  # who lives in another town has another street
            return (All((postcodes_known, Not(exact("postcode.outcode")))),)
    return ()


_UNCOMPARED = {Kind.HOUSEHOLD, Kind.PROTECTED}
_PLACES = {
    Kind.HOUSE, Kind.ADDRESS_LINE, Kind.ADDRESS, Kind.TOWN, Kind.POSTCODE, Kind.UPRN, Kind.HOUSEHOLD,
    Kind.PARTIAL_POSTCODE, Kind.LOCAL_AUTHORITY,
}  # fmt: skip
# What the people of one household mostly agree on.
_SHARED = _PLACES | {Kind.SURNAME, Kind.PHONE, Kind.CATEGORY, Kind.TEXT}
_ORDER = {kind: position for position, kind in enumerate(Kind)}


def _kind(name: str) -> Kind:
    """The kind of a column that a whole name or address was split into."""
    return Kind(name) if name in set(Kind) else Kind.TEXT


def _has_frequencies(kind: Kind) -> bool:
    return kind not in _STRONG and kind not in (Kind.SEX, Kind.NINO, Kind.NUMBER, Kind.IDENTIFIER)


def _swapped() -> Condition:
    """Forename and surname stand in each other's column; at least one to the letter."""
    one, other = ("forename", "surname"), ("surname", "forename")
    return All(
        (
            Any((Test(Op.EXACT, *one), Test(Op.EXACT, *other))),
            Test(Op.JARO_WINKLER, *one, 0.9),
            Test(Op.JARO_WINKLER, *other, 0.9),
            Not(exact("surname")),
        )
    )


def _levels(kind: Kind) -> Callable[[str, frozenset[str]], Levels]:
    if kind in _STRONG:
        return lambda name, columns: [("exact", exact(name), 0.95)]
    return _LEVELS.get(kind, _text)


def _has(columns: frozenset[str], condition: Condition, *needed: str) -> list[Condition]:
    return [condition] if all(name in columns for name in needed) else []


def _forename(name: str, columns: frozenset[str]) -> Levels:
    first, initial, nickname = f"{name}.first", f"{name}.initial", f"{name}.nickname"
    levels: Levels = [
        ("exact", exact(name), 0.80),
        (
            "same letters or other spelling of accents",
            Any((exact(f"{name}.joined"), exact(f"{name}.expanded"))),
            0.01,
        ),
        ("same first name, or nickname", Any((exact(first), test(Op.COMMON, nickname, 1))), 0.04),
        ("nearly the same", Any((test(Op.JARO_WINKLER, name, 0.92), test(Op.DAMERAU, name, 1))), 0.05),
        ("one is the initial", Any((Test(Op.EXACT, name, initial), Test(Op.EXACT, initial, name))), 0.02),
    ]
    if name == "forename" and "surname" in columns:
        levels.append(("swapped with the surname", _swapped(), 0.01))
    if name == "forename" and "middle_name.first" in columns:
        crossed = Any(
            (Test(Op.EXACT, "forename", "middle_name.first"), Test(Op.EXACT, "middle_name.first", "forename"))
        )
        levels.append(("swapped with the middle name", crossed, 0.01))
    levels.append(("similar", Any((test(Op.JARO_WINKLER, name, 0.8), exact(f"{name}.soundex"))), 0.03))
    return levels


def _surname(name: str, columns: frozenset[str]) -> Levels:
    return [
        ("exact", exact(name), 0.84),
        (
            "same letters or other spelling of accents",
            Any((exact(f"{name}.joined"), exact(f"{name}.expanded"))),
            0.01,
        ),
        ("nearly the same", Any((test(Op.JARO_WINKLER, name, 0.92), test(Op.DAMERAU, name, 1))), 0.06),
        ("one part in common", test(Op.COMMON, f"{name}.tokens", 1), 0.02),
        ("similar", Any((test(Op.JARO_WINKLER, name, 0.8), exact(f"{name}.soundex"))), 0.02),
    ]


def _date(name: str, columns: frozenset[str]) -> Levels:
    year, month, day = (exact(f"{name}.{part}") for part in ("year", "month", "day"))
    return [
        ("exact", exact(name), 0.88),
        (
            "day and month swapped",
            Any((Test(Op.EXACT, f"{name}.swapped", name), Test(Op.EXACT, name, f"{name}.swapped"))),
            0.01,
        ),
        ("one digit differs", test(Op.DAMERAU, name, 1), 0.05),
        ("one part differs", Any((All((year, month)), All((year, day)), All((month, day)))), 0.02),
        ("two digits differ", test(Op.DAMERAU, name, 2), 0.01),
        ("same year", year, 0.01),
    ]


def _sex(name: str, columns: frozenset[str]) -> Levels:
    return [("exact", exact(name), 0.98)]


def _postcode(name: str, columns: frozenset[str]) -> Levels:
    return [
        ("exact", exact(name), 0.75),
        ("one character differs", test(Op.DAMERAU, name, 1), 0.04),
        ("same sector", exact(f"{name}.sector"), 0.02),
        ("same outcode", exact(f"{name}.outcode"), 0.05),
        ("same area", exact(f"{name}.area"), 0.06),
    ]


def _house(name: str, columns: frozenset[str]) -> Levels:
    return [("exact", exact(name), 0.75), ("one character differs", test(Op.DAMERAU, name, 1), 0.05)]


def _line(name: str, columns: frozenset[str]) -> Levels:
    tokens = f"{name}.tokens"
    return [
        ("exact", exact(name), 0.7),
        ("all words of the shorter", test(Op.SUBSET, tokens, 2), 0.05),
        ("nearly the same", Any((test(Op.JARO_WINKLER, name, 0.92), test(Op.JACCARD, tokens, 0.6))), 0.1),
        ("similar", test(Op.STANDARDISED_LEVENSHTEIN, name, 0.6), 0.03),
    ]


def _town(name: str, columns: frozenset[str]) -> Levels:
    return [
        ("exact", exact(name), 0.75),
        ("nearly the same", Any((test(Op.JARO_WINKLER, name, 0.92), test(Op.DAMERAU, name, 1))), 0.1),
        ("similar", test(Op.JARO_WINKLER, name, 0.8), 0.04),
    ]


def _text(name: str, columns: frozenset[str]) -> Levels:
    levels = _town(name, columns)
    if f"{name}.tokens" in columns:
        levels.insert(1, ("all words of the shorter", test(Op.SUBSET, f"{name}.tokens", 2), 0.03))
    return levels


def _initials(name: str, columns: frozenset[str]) -> Levels:
    turned = Any((Test(Op.EXACT, name, f"{name}.turned"), Test(Op.EXACT, f"{name}.turned", name)))
    return [("exact", exact(name), 0.93), ("the other way round", turned, 0.005)]


def _partial_postcode(name: str, columns: frozenset[str]) -> Levels:
    return [
        ("exact", exact(name), 0.7),
        ("same outcode", exact(f"{name}.outcode"), 0.1),
        ("same area", exact(f"{name}.area"), 0.1),
    ]


def _category(name: str, columns: frozenset[str]) -> Levels:
    return [("exact", exact(name), 0.9)]


def _nino(name: str, columns: frozenset[str]) -> Levels:
    return [("exact", exact(f"{name}.first8"), 0.95)]


def _email(name: str, columns: frozenset[str]) -> Levels:
    return [
        ("exact", exact(name), 0.7),
        ("same name before the @", exact(f"{name}.user"), 0.05),
        ("nearly the same", Any((test(Op.JARO_WINKLER, name, 0.92), test(Op.DAMERAU, name, 2))), 0.1),
        ("similar", test(Op.STANDARDISED_LEVENSHTEIN, name, 0.7), 0.05),
    ]


def _number(name: str, columns: frozenset[str]) -> Levels:
    return [("exact", exact(name), 0.8), ("within 5 %", test(Op.RELATIVE_DIFFERENCE, name, 0.05), 0.1)]


def _identifier(name: str, columns: frozenset[str]) -> Levels:
    return [("exact", exact(name), 0.85), ("one character differs", test(Op.DAMERAU, name, 1), 0.08)]


_LEVELS: dict[Kind, Callable[[str, frozenset[str]], Levels]] = {
    Kind.FORENAME: _forename,
    Kind.MIDDLE_NAME: _forename,
    Kind.SURNAME: _surname,
    Kind.DATE_OF_BIRTH: _date,
    Kind.SEX: _sex,
    Kind.POSTCODE: _postcode,
    Kind.HOUSE: _house,
    Kind.ADDRESS_LINE: _line,
    Kind.TOWN: _town,
    Kind.CATEGORY: _category,
    Kind.NINO: _nino,
    Kind.EMAIL: _email,
    Kind.NUMBER: _number,
    Kind.IDENTIFIER: _identifier,
    Kind.INITIALS: _initials,
    Kind.PARTIAL_POSTCODE: _partial_postcode,
    Kind.LOCAL_AUTHORITY: _category,
}

# By kind, the parts worth blocking on together, and their share of a key: two shares make a rule.
_Keys = tuple[tuple[tuple[str, ...], int], ...]
_KEYS: dict[Kind, _Keys] = {
    Kind.FORENAME: (((".first",), 1), ((".soundex",), 1)),
    Kind.MIDDLE_NAME: (((".first",), 1),),
    Kind.SURNAME: ((("",), 1), ((".soundex",), 1)),
    Kind.DATE_OF_BIRTH: ((("",), 2), ((".year",), 1), ((".month", ".day"), 1)),
    Kind.POSTCODE: ((("",), 1), ((".sector",), 1)),
    Kind.TOWN: ((("",), 1),),
    Kind.ADDRESS_LINE: ((("",), 1), ((".street",), 1)),
    Kind.HOUSE: ((("",), 1),),
    Kind.TEXT: ((("",), 1),),
    Kind.EMAIL: ((("",), 2), ((".user",), 1)),
    Kind.NINO: (((".first8",), 2),),
    Kind.IDENTIFIER: ((("",), 2),),
    Kind.INITIALS: ((("",), 1),),
    Kind.PARTIAL_POSTCODE: (((".outcode",), 1),),
    **dict.fromkeys(_STRONG, ((("",), 2),)),
}


def default_rules(fields: Collection[Field], columns: Collection[str]) -> tuple[BlockingRule, ...]:
    """Every rule worth counting, strong identifiers first; the caller drops what costs too much.

    A strong identifier or a date of birth is a rule alone; else parts of two fields make one. Swapped names
    make one with each other, or one of them with a part of another field.
    """
    keys = [
        (name, tuple((name + part, name + part) for part in parts), share)
        for name, kind in _kinds(fields, columns).items()
        for parts, share in _KEYS.get(kind, ())
        if all(name + part in columns for part in parts)
    ]
    alone = [BlockingRule(pairs) for _, pairs, share in keys if share == 2]
    paired = [
        BlockingRule(first + second)
        for (a, first, one), (b, second, other) in combinations(keys, 2)
        if a != b and one == other == 1
    ]
    if not alone and not paired:  # codes and categories only: any two fields
        mains = [(name, name) for name in _kinds(fields, columns) if name in columns]
        return tuple(BlockingRule(pair) for pair in combinations(mains, 2))
    return (*alone, *paired, *_crossed(keys, columns))


def _crossed(
    keys: Collection[tuple[str, tuple[tuple[str, str], ...], int]], columns: Collection[str]
) -> list[BlockingRule]:
    if not {"forename", "surname"} <= set(columns):
        return []
    there, back = ("forename", "surname"), ("surname", "forename")
    others = [pairs for name, pairs, share in keys if share == 1 and name not in there]
    return [
        BlockingRule((there, back)),
        *(BlockingRule((one, *pairs)) for one in (there, back) for pairs in others),
    ]
