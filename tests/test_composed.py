"""Columns that are made only where something reads them."""

from __future__ import annotations

import linker
from linker.composed import with_composed
from linker.derive import standard_columns
from linker.matchkeys_ons import ONS
from tests import matchkeys_oracle as oracle


def test_composed_columns_are_made_only_where_they_are_read():
    people = [
        oracle.person("1", "Marlow-Grant", "2000-03-21", forename="Jean-Paul", middle_name="Luc Yves")
        | {"postcode": "CB4 1AX"},
        oracle.person("2", "Khan", "2000-03-22", forename="O", house="3", other_surname="Patel"),
        oracle.person("3", None, None, forename="Zara", other_forename="Sara"),
    ]
    columns = standard_columns(linker.arrive(oracle.frame(people), id_column="id", mapping=oracle.MAPPING))
    read = sorted(
        {name for key in ONS.keys for name in key.columns} | {"no such column", "surname"} - {"uprn"}
    )
    made = with_composed(columns, read)
    new = made.drop(columns.columns)
    assert {name: new[name].to_list() for name in new.columns} == {
        "address.house": [None, "3", None],
        "date_of_birth.age": [21, 20, None],
        "forename.all": ["JEANPAULLUCYVES", "O", "ZARA"],
        "forename.other": [None, "O", "SARA"],
        "forename.second": ["PAUL", None, None],
        "forename.start": ["JE", None, "ZA"],
        "full_name.joined": ["JEANPAULLUCYVESMARLOWGRANT", "OKHAN", None],
        "full_name.sorted": ["".join(sorted("JEANPAULLUCYVESMARLOWGRANT")), "AHKNO", None],
        "full_name.tokens": [["GRANT", "JEAN", "LUC", "MARLOW", "PAUL", "YVES"], ["KHAN", "O"], None],
        "postcode.short": ["CB41A", None, None],
        "surname.first": ["MARLOW", "KHAN", None],
        "surname.other": [None, "PATEL", None],
    }
    assert with_composed(columns, ["surname", "no such column"]).columns == columns.columns
    assert with_composed(columns.select("surname"), read).columns == ["surname", "surname.first"]
