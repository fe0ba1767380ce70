"""A small made-up council, Testshire: its layout, and rows to begin with."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import polars as pl

from pseudonym.study.layouts import Layout

DAY = date(2024, 12, 31)
KEY = bytes(range(32))
LAYOUT = """
format = "kinlink-council-layout/1"
council = "testshire"
scheme = "tf-2015"
dates = "DD/MM/YYYY"

[columns]
member = "Ref"
family = "Family"
forename = "First"
surname = "Last"
former_surname = "Maiden"
date_of_birth = "Born"
sex = { column = "Sex", codes = { F = "F", M = "M", U = "" } }
postcode = "Postcode"
nhs_number = "NHS"
nino = "NI"
relation = { column = "Rel", codes = { P = "parent", C = "child" } }
member_from = "In"
member_to = "Out"
screened = "Screened"
arm = { column = "Group", codes = { T = "programme", C = "comparison" } }
intervention = { column = "Help", codes = { FW = "family-worker" } }
hours = "Hours"
support_from = "Start"
support_to = "End"
date_of_birth_source = { column = "BornSaid", codes = { prof = "professional", fam = "family-member" } }
problems_source = { column = "CritSaid", codes = { prof = "professional", police = "partner" } }

[columns.problems]
column = "Crit"
separator = ";"
[columns.problems.codes]
W = "WORK_FIN"
N = "neet"
S = "SCHOOL"
C = "CHILD_HELP"
LAC = "looked_after"
A = "CRIME_ASB"
D = "DA"
H = "HEALTH"
"""
ROW = {
    "Ref": None, "Family": "F1", "First": "Ada", "Last": "Quibble", "Maiden": None, "Born": "02/03/1985",
    "Sex": "F", "Postcode": "CB3 0AP", "NHS": None, "NI": None, "Rel": "P", "In": None, "Out": None,
    "Screened": "01/05/2023", "Group": "T", "Help": "FW", "Hours": "30", "Start": "01/06/2023", "End": None,
    "BornSaid": None, "CritSaid": None, "Crit": "W;S",
}  # fmt: skip


def layout(text: str = LAYOUT) -> Layout:
    return Layout.from_toml(text)


def rows(*changed: Mapping[str, str | None]) -> pl.DataFrame:
    """A file: Ada's row with what is changed in each; each has a reference of its own unless it says one."""
    made = [{**ROW, "Ref": f"P{at}", **one} for at, one in enumerate(changed)]
    return pl.DataFrame(made, schema=dict.fromkeys(ROW, pl.String))


CHILD = {"First": "Bo", "Born": "09/10/2015", "Rel": "C", "Crit": None}
