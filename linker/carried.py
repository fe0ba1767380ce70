"""What a register carries of those who can be in it: all that its holder may be told to match by."""

from __future__ import annotations

from datetime import date
from typing import Final

import polars as pl

from linker.joining import KEPT
from linker.profile_links import AUTHORITY, applicable, check_register
from linker.profiles import load

_INITIAL: Final = r"^\s*(\p{L})"
_SECTOR: Final = r"^\s*([A-Za-z0-9]{2,4}\s*[0-9])[A-Za-z]{2}\s*$"


def carried(
    known: pl.DataFrame,
    register: str,
    on: date,
    nhs_number_reason: str = "",
    since: date | None = None,
) -> pl.DataFrame:
    """The persons to whom a register's profile applies, with the fields that it carries.

    Args:
        known: as `linker.profile_links.link_persons` takes it.
        register: the code of its profile.
        on: the day on which people have their age.
        nhs_number_reason: why the NHS number may be given out; nothing: it is not.
        since: the day from which on the register has people; None: the same.

    Returns:
        `person`, `record` and the register's fields, by their names in the profile; each row once. A record
        whose day of birth is not known is of somebody who may be in the register.

    Raises:
        ProfileError: there is no profile of this register.
    """
    check_register(register)
    profile = load(register)
    fields = profile.fields(frozenset({"nhs_number"} if nhs_number_reason else ()))
    kept = {KEPT[name].value: pl.col(name) for name in KEPT if name != "nhs" or nhs_number_reason}
    kept["local_authority"] = pl.col(AUTHORITY)
    first = (pl.col(name).str.extract(_INITIAL).str.to_uppercase() for name in ("given", "surname"))
    kept["initials"] = pl.concat_str(first)
    kept["partial_postcode"] = pl.col("postcode").str.extract(_SECTOR)
    wanted = {name: values for name, values in kept.items() if name in fields}
    able = known.filter(applicable(known["born"], profile, on, since))
    return able.select("person", "record", **wanted).unique(maintain_order=True)
