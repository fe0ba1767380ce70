"""What a table may not be by its declaration alone: columns that are not for the use, tags, opt-outs, bases.

A declaration is held against these rules when it is declared, counted and approved. What was kept under older
rules reads as it did: nobody loses a table that was released.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pseudonym import registers
from pseudonym.datasets import Dataset
from pseudonym.errors import InputError, NotFoundError
from pseudonym.optouts.checks import Reason
from pseudonym.release.opted_out import APPLIED, EXEMPT
from pseudonym.release.report import Finding, Weight
from pseudonym.tables.rules import BASE
from pseudonym.tables.spec import TableSpec

OPT_OUTS = ("", APPLIED, *(f"{EXEMPT}{reason}" for reason in Reason))


def check_declaration(spec: TableSpec) -> None:
    """Refuse what no table is made with.

    Raises:
        InputError: sums are rounded too finely, or what it says of opt-outs is no word for it.
    """
    for one in spec.figures:
        if one.magnitude and one.base < BASE:  # sums of rows are counts: no finer than these
            raise InputError(
                f"Measure {one.name} is rounded to multiples of {one.base}.",
                f"Give it a base of {BASE} or more: a finer sum tells of single rows.",
            )
    if spec.opt_out not in OPT_OUTS:
        raise InputError(
            "What the declaration says of the National Data Opt-out is no word for it.",
            f"Write {APPLIED}, or {EXEMPT}and one of {', '.join(Reason)}.",
        )


def findings(spec: TableSpec, declared: Mapping[str, Dataset]) -> Iterator[Finding]:
    """What blocks a table by its declaration alone."""
    covered = set(spec.tags)
    for name, columns in spec.datasets.items():
        tags = {tag for column in columns for tag in declared[name].column(column).tags}
        if not tags <= covered:
            missing = ", ".join(sorted(tags - covered))
            yield Finding("law", Weight.BLOCKS, f"The declaration does not have the tags {missing}.", name)
        register = registers.find(name)
        if register is None:
            continue
        if register.health and not spec.opt_out:
            message = "Nothing says what became of the national data opt-out for this health register."
            yield Finding("law", Weight.BLOCKS, message, name)
        try:
            may = set(register.purpose(spec.use).columns)
        except NotFoundError:
            yield Finding("allow-list", Weight.BLOCKS, f"The register is not declared for {spec.use}.", name)
            continue
        for column in columns:
            if column not in may:
                message = f"The register's declaration does not have this column for {spec.use}."
                yield Finding("allow-list", Weight.BLOCKS, message, f"{name}.{column}")
