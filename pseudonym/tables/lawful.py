"""What a table may not show by its declaration alone: columns that are not for the use, tags, opt-outs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pseudonym import registers
from pseudonym.datasets import Dataset
from pseudonym.errors import NotFoundError
from pseudonym.release.report import Finding, Weight
from pseudonym.tables.spec import TableSpec


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
        if register.health and not _stated(spec.opt_out):
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


def _stated(opt_out: str) -> bool:
    return opt_out == "applied" or (opt_out.startswith("exempt: ") and len(opt_out) > len("exempt: "))
