"""Splink itself, and people for it to link: text of every kind, dates, numbers, lists, points, vectors."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from splink import DuckDBAPI, Linker, SettingsCreator

import linker
from linker.model import Model
from linker.splink import read_splink

Weights = dict[tuple[str, str], float]
LOWEST = -1e6  # bits; under every weight that is finite
_ALPHABETS = ("ab", "abcdeé", "aeèéñ日本", "smithjon ", "ΑΣσςßİı", "0123-/ ")
_DATES = ("1980-02-29", "1980-02-28", "1981-1-3", "2001-03-10", "2001-03-11", "1991-03-11", "no date", "")


def people(many: int, seed: int) -> pl.DataFrame:
    """Records that are alike in parts; nulls and empty texts in each column that can hold them."""
    rng = random.Random(seed)
    stems = [_word(random.Random(one)) for one in range(14)]
    rows = [_person(rng, stems, number) for number in range(many)]
    return pl.DataFrame(rows, schema=_SCHEMA, orient="row")


_SCHEMA: dict[str, Any] = {
    "unique_id": pl.Int64, "f": pl.String, "s": pl.String, "fs": pl.String, "dob": pl.String,
    "day": pl.Date, "at": pl.Datetime("us"), "stamp": pl.String, "pc": pl.String, "em": pl.String,
    "g": pl.String, "n": pl.Int64, "x": pl.Float64, "la": pl.Float64, "lo": pl.Float64,
    "t": pl.List(pl.String), "k": pl.List(pl.Int64), "v": pl.Array(pl.Float64, 3), "h": pl.String,
    "b": pl.String,
}  # fmt: skip


def _word(rng: random.Random) -> str:
    length = rng.choice([1, 2, 4, 5, 6, 7, 9, 13, 70])
    alphabet = rng.choice(_ALPHABETS)
    return "".join(rng.choice(alphabet) for _ in range(length))


def _typed(rng: random.Random, word: str) -> str:
    """A word with a slip of the pen, perhaps."""
    at = rng.randrange(len(word) + 1)
    match rng.randrange(6):
        case 0:
            return word[:at] + rng.choice("abé日") + word[at:]
        case 1:
            return word[:at] + word[at + 1 :]
        case 2:
            return word[:at] + word[at + 1 : at + 2] + word[at : at + 1] + word[at + 2 :]
        case 3:
            return word[:at] + word[at + 1 : at + 2] + "x" + word[at : at + 1] + word[at + 2 :]
    return word


def _person(rng: random.Random, stems: Sequence[str], number: int) -> tuple[object, ...]:
    def perhaps(value: object, blank: object = None) -> object:
        return (
            None
            if (chance := rng.random()) < 0.08
            else blank
            if chance < 0.13 and blank is not None
            else value
        )

    forename, surname = (_typed(rng, rng.choice(stems)) for _ in range(2))
    when = f"{rng.choice([1990, 1991])}-0{rng.randint(1, 2)}-{rng.randint(1, 28):02d}"
    clock = f"T{rng.randint(0, 23):02d}:30:00"
    postcode = rng.choice(["AB1 2CD", "AB1 2CE", "ab12 3cd", "W1A 1AA", "W1", "é1 2", "123"])
    return (
        number,
        perhaps(forename, ""),
        perhaps(surname, ""),
        perhaps(f"{forename} {surname}", ""),
        perhaps(rng.choice(_DATES)),
        perhaps(pl.Series([when]).str.to_date().item()),
        perhaps(pl.Series([when + clock]).str.to_datetime(time_unit="us").item()),
        perhaps(rng.choice([when + clock + "Z", when, ""])),
        perhaps(postcode, ""),
        perhaps(rng.choice(["ann@x.org", "anne@x.org", "ann@y.org", "@x", "ann", "é@x"]), ""),
        perhaps(rng.choice("MF"), ""),
        perhaps(rng.randint(-3, 12)),
        perhaps(rng.choice([0.0, -0.0, 1.0, 1.1, 10.0, 11.0, -5.0, 100.5])),
        perhaps(51.5 + rng.randint(0, 30) / 400),
        perhaps(-0.1 + rng.randint(0, 30) / 400),
        perhaps([rng.choice(["", *stems]) for _ in range(rng.randint(0, 3))]),
        perhaps(rng.sample(range(6), rng.randint(0, 4))),
        perhaps([float(rng.randint(0, 2)) for _ in range(3)]),
        perhaps("".join(rng.choice("xyz") for _ in range(3))),
        rng.choice("pq"),
    )


def splink_weights(settings: Mapping[str, Any], *frames: pl.DataFrame) -> Weights:
    """The weight of every pair that Splink predicts; ids as text, of one table with the smaller first."""
    database = DuckDBAPI()
    # Splink 5.0 writes lambdas that DuckDB 2 reads only if told to.
    database._con.execute("SET lambda_syntax = 'ENABLE_SINGLE_ARROW'")
    tables = [
        database.register(frame, dataset_display_name=f"t{number}") for number, frame in enumerate(frames)
    ]
    predicted = (
        Linker(tables, dict(settings), log_level="ERROR").inference.predict().as_duckdbpyrelation().pl()
    )
    identity = str(settings.get("unique_id_column_name", "unique_id"))
    several = settings["link_type"] == "link_and_dedupe"
    if several:  # as ours call them: 1:3
        predicted = predicted.with_columns(
            pl.concat_str(
                (pl.col(f"source_dataset_{side}").str.slice(1).cast(pl.Int64) + 1).cast(pl.String),
                pl.lit(":"),
                pl.col(f"{identity}_{side}").cast(pl.String),
            ).alias(f"{identity}_{side}")
            for side in "lr"
        )
    names = [f"{identity}_l", f"{identity}_r", "match_weight"]
    pairs = [(str(one), str(other), weight) for one, other, weight in predicted.select(names).iter_rows()]
    if settings["link_type"] == "link_only":
        return {(one, other): weight for one, other, weight in pairs}
    return {(min(one, other), max(one, other)): weight for one, other, weight in pairs}


def our_weights(model: Model, *frames: pl.DataFrame) -> Weights:
    """The same of ours, through the front door."""
    if model.notes["splink"]["link_type"] != "link_only":
        pairs = linker.dedupe(*frames, model=model, threshold=0.0, all_pairs=LOWEST).pairs
    else:
        pairs = linker.link(*frames, model=model, threshold=0.0, all_pairs=LOWEST).pairs
    assert pairs is not None
    return {(one, other): weight for one, other, weight, *_ in pairs.iter_rows()}


def sql(condition: str) -> dict[str, Any]:
    """A level of a custom comparison."""
    return {"sql_condition": condition, "label_for_charts": condition}


def settings(
    comparisons: Sequence[Any],
    link_type: Any = "link_only",
    rules: Sequence[Any] = ("l.b = r.b",),
    seed: int = 0,
    dialect: str = "duckdb",
) -> dict[str, Any]:
    """Splink's own settings, as it would save them, with m and u at random."""
    rng = random.Random(seed)
    made: dict[str, Any] = SettingsCreator(
        link_type=link_type,
        comparisons=list(comparisons),
        blocking_rules_to_generate_predictions=list(rules),
        probability_two_random_records_match=0.01,
    ).create_settings_dict(dialect)
    names: set[str] = set()
    for number, comparison in enumerate(made["comparisons"]):
        if comparison["output_column_name"] is None or comparison["output_column_name"] in names:
            comparison["output_column_name"] = f"comparison_{number}"
        names.add(comparison["output_column_name"])
        for level in comparison["comparison_levels"]:
            if not level.get("is_null_level"):
                level["m_probability"], level["u_probability"] = rng.uniform(0.01, 1), rng.uniform(0.001, 1)
    return made | {"sql_dialect": dialect}


def assert_same(given: Mapping[str, Any], *frames: pl.DataFrame, model: Model | None = None) -> None:
    """Ours gives the pairs that Splink gives, and their weights."""
    expected = splink_weights({key: value for key, value in given.items() if key != "sql_dialect"}, *frames)
    found = our_weights(model or read_splink(given), *frames)
    assert found.keys() == expected.keys()
    apart = {
        pair: (found[pair], weight) for pair, weight in expected.items() if abs(found[pair] - weight) > 1e-9
    }
    assert not apart, (len(apart), dict(list(apart.items())[:5]))
    assert len({round(weight, 6) for weight in expected.values()}) > 1


LEFT, RIGHT = people(90, 1), people(110, 2)
