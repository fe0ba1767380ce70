"""Compile the kernels before they are needed: half a minute the first time, then they are kept on disk.

python -m linker.warm
"""

from __future__ import annotations

import polars as pl

from linker.arrival import arrive
from linker.blocking import examine
from linker.compiling import told_of_compiling
from linker.linkage import dedupe, explain, link
from linker.reference import Reference
from linker.verification import verify
from linker.views import text_view

_PEOPLE = pl.DataFrame(
    {
        "id": ["1", "2", "3"],
        "forename": ["ANNA", "BEN", "CARA"],
        "surname": ["ALDER", "BIRCH", "CEDAR"],
        "date_of_birth": ["1980-02-03", "1990-04-05", "2000-06-07"],
        "sex": ["F", "M", "F"],
        "postcode": ["AB1 2CD", "LS6 3EF", "NG7 4GH"],
    }
)
# Texts of several buffers, as only many records have them.
_LONG = pl.concat([pl.Series(["a text that fits no cell"]), pl.Series(["another that fits none"])])


def warm() -> None:
    """Load the compiled kernels, or compile them: all that the engine does, with three made-up people."""
    found = link(_PEOPLE, _PEOPLE, keys="ons")
    verify(found.manifest, _PEOPLE, _PEOPLE)
    dedupe(_PEOPLE, model=found.model)
    explain(found.model, _PEOPLE, _PEOPLE, "1", "1")
    examine(arrive(_PEOPLE), model=found.model, suggest=True)
    reference = Reference(arrive(_PEOPLE), found.model)
    reference.put(["4"], [{"surname": "ALDER"}])
    reference.ask([{"surname": "ALDER"}])
    reference.match(_PEOPLE)
    text_view(_LONG)


if __name__ == "__main__":
    with told_of_compiling(lambda words: print(words, flush=True)):
        warm()
