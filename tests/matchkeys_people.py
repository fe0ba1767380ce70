"""Households that do not exist, and the same people in a second file with every kind of error."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from tests.matchkeys_oracle import Person

FORENAMES = {
    "F": (
        "Elizabeth",
        "Margaret",
        "Katherine",
        "Susan",
        "Abigail",
        "Zara",
        "Mary-Ann",
        "Amina",
        "Olwen",
        "May",
    ),
    "M": ("William", "Robert", "Michael", "Edward", "Thomas", "Imran", "Jean-Paul", "Owain", "Tim", "Tom"),
}
SHORT = {
    "Elizabeth": "Liz", "Margaret": "Maggie", "Katherine": "Kate", "Susan": "Sue", "Abigail": "Abby",
    "William": "Bill", "Robert": "Bob", "Michael": "Mike", "Edward": "Ted", "Thomas": "Tom",
}  # fmt: skip
SURNAMES = (
    "Hartley", "Bennington", "Okafor", "Khan", "Patel", "Wright", "Pritchard", "Hughes-Jones", "Whitfield",
    "Sutcliffe", "Marlow Grant", "Thackeray", "Ndlovu", "Fairbairn", "Greenhalgh",
)  # fmt: skip


def population(households: int, seed: int) -> list[list[dict[str, str | None]]]:
    """Households of one to five people; twins, namesakes and cousins in one street among them."""
    rng = random.Random(seed)
    found, number = [], 0
    for home in range(households):
        postcode, house = _postcode(rng), str(rng.randint(1, 6))
        uprn, surname = f"1000{home:08d}", rng.choice(SURNAMES)
        people: list[dict[str, str | None]] = []
        for _ in range(rng.choice((1, 2, 2, 3, 4, 5))):
            sex = rng.choice("FM")
            first, second = rng.choice(FORENAMES[sex]), rng.choice(FORENAMES[sex])
            twin = people and rng.random() < 0.1
            people.append(
                {
                    "id": f"p{number:05d}", "forename": first,
                    "middle_name": second if rng.random() < 0.6 else None, "surname": surname,
                    "born": people[-1]["born"] if twin else _birthday(rng), "sex": sex, "house": house,
                    "postcode": postcode, "uprn": uprn, "other_forename": None, "other_surname": None,
                    "other_postcode": None,
                }
            )  # fmt: skip
            number += 1
        found.append(people)
    return found


def _postcode(rng: random.Random) -> str:
    unit = rng.choice("AB") + rng.choice("DEF")
    return f"{rng.choice(('CB', 'LS'))}{rng.randint(1, 6)} {rng.randint(1, 3)}{unit}"


def _birthday(rng: random.Random) -> str:
    return f"{rng.randint(1950, 2014)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"


def seen_again(homes: Sequence[Sequence[Person]], seed: int) -> list[dict[str, str | None]]:
    """The same people in a second file, with no, one or several errors; some twice, some not at all."""
    rng = random.Random(seed)
    people = []
    for home in homes:
        moves = rng.random() < 0.12
        new = {
            "house": str(rng.randint(1, 6)),
            "postcode": _postcode(rng),
            "uprn": f"2000{rng.randint(0, 10**8):08d}",
        }
        for person in home:
            for again in range(0 if rng.random() < 0.05 else 2 if rng.random() < 0.04 else 1):
                typed = dict(person) | (new if moves and rng.random() < 0.9 else {})
                for _ in range(rng.choice((0, 1, 1, 2, 3))):
                    rng.choice(_ERRORS)(rng, typed)
                people.append(typed | {"id": f"q{(person['id'] or '')[1:]}{'ab'[again]}"})
    rng.shuffle(people)
    return people


Typed = dict[str, str | None]


def _blank(name: str) -> Callable[[random.Random, Typed], None]:
    return lambda rng, typed: typed.update({name: None})


def _typo(name: str) -> Callable[[random.Random, Typed], None]:
    def spoil(rng: random.Random, typed: Typed) -> None:
        text = typed[name]
        if not text or len(text) < 3:
            return
        at = rng.randrange(1, len(text) - 1)
        while not text[at].isalpha():
            at = (at + 1) % len(text)
        letter = rng.choice("aeioustr")
        typed[name] = rng.choice(
            (text[:at] + letter + text[at + 1 :], text[:at] + letter + text[at:], text[:at] + text[at + 1 :])
        )

    return spoil


def _nickname(rng: random.Random, typed: Typed) -> None:
    typed["forename"] = SHORT.get(typed["forename"] or "", typed["forename"])


def _joined_up(rng: random.Random, typed: Typed) -> None:
    for name in ("forename", "surname"):
        typed[name] = (typed[name] or "").replace("-", rng.choice((" ", ""))).replace(" ", rng.choice(" -"))


def _swap(one: str, other: str) -> Callable[[random.Random, Typed], None]:
    def swapped(rng: random.Random, typed: Typed) -> None:
        if typed[one] and typed[other]:
            typed[one], typed[other] = typed[other], typed[one]

    return swapped


def _marries(rng: random.Random, typed: Typed) -> None:
    if rng.random() < 0.4:
        typed["other_surname"] = typed["surname"]
    typed["surname"] = rng.choice(SURNAMES)


def _known_by_middle_name(rng: random.Random, typed: Typed) -> None:
    if typed["middle_name"]:
        typed["forename"], typed["middle_name"] = typed["middle_name"], None


def _other_sex(rng: random.Random, typed: Typed) -> None:
    typed["sex"] = rng.choice(("F", "M", None))


def _other_birthday(rng: random.Random, typed: Typed) -> None:
    if not typed["born"]:
        return
    year, month, day = (int(part) for part in typed["born"].split("-"))
    kind = rng.randrange(4)
    if kind == 0:
        year += rng.choice((-10, -3, -1, 1, 2, 11))
    elif kind == 1:
        day = rng.randint(1, 28)
    elif kind == 2:
        month, day = rng.randint(1, 12), rng.randint(1, 28)
    else:
        day = (day + 9) % 28 + 1
    typed["born"] = f"{year}-{month:02d}-{day:02d}"


def _near_postcode(rng: random.Random, typed: Typed) -> None:
    code = typed["postcode"]
    if code:
        typed["postcode"] = rng.choice((code[:-1] + rng.choice("DEFG"), code[:-2] + "XX", _postcode(rng)))


def _moved_alone(rng: random.Random, typed: Typed) -> None:
    typed["other_postcode"] = typed["postcode"]
    typed |= {"postcode": _postcode(rng), "house": str(rng.randint(1, 6)), "uprn": None}


_ERRORS: tuple[Callable[[random.Random, Typed], None], ...] = (
    _typo("forename"), _typo("forename"), _typo("surname"), _typo("surname"), _nickname, _nickname,
    _joined_up, _swap("forename", "surname"), _swap("forename", "middle_name"), _marries,
    _known_by_middle_name, _other_sex, _other_birthday, _other_birthday, _near_postcode, _moved_alone,
    *map(_blank, ("middle_name", "born", "house", "postcode", "uprn", "uprn", "sex", "forename")),
)  # fmt: skip
