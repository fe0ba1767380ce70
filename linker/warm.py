"""Compile the kernels before they are needed: some ten seconds the first time, then kept on disk.

python -m linker.warm
"""

from __future__ import annotations

import polars as pl

from linker.linkage import link

_PEOPLE = pl.DataFrame(
    {
        "id": ["1", "2", "3"],
        "forename": ["ANNA", "BEN", "CARA"],
        "surname": ["ALDER", "BIRCH", "CEDAR"],
        "date_of_birth": ["1980-02-03", "1990-04-05", "2000-06-07"],
    }
)


def warm() -> None:
    """Load the compiled kernels, or compile them: a linkage of three made-up people needs them all."""
    link(_PEOPLE, _PEOPLE)


if __name__ == "__main__":
    print("Compiling the kernels, once …", flush=True)
    warm()
