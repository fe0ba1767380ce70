"""A county in a folder: the councils' files, the registers' extracts, their attributes, and the truth apart.

    FOLDER/councils/COUNCIL/DELIVERY.parquet     one file a council and a delivery, in the council's own words
    FOLDER/registers/REGISTER.parquet            identifiers: record_id and what the register carries
    FOLDER/attributes/REGISTER.parquet           what it holds about them, by its own record_id
    FOLDER/truth/*.parquet, county.json          never to be shown to what is tested

Blocks of households stream through; what is in memory does not grow with the county.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from benchmarks.county import truth
from benchmarks.county.block import block_lives
from benchmarks.county.councils import COUNCILS, deliveries
from benchmarks.county.county import BLOCK, DELIVERIES, NOW, Block, County
from benchmarks.county.presets import PRESETS, REGISTERS
from benchmarks.county.records import SLIPS
from benchmarks.county.registers import extract

THREADS = 2


def delivery_days() -> tuple[str, ...]:
    """The days of the two deliveries, which name their files."""
    return tuple(str(np.datetime64(day, "D")) for day in DELIVERIES)


def write_county(county: County, folder: Path, block: int = BLOCK) -> dict[str, int]:
    """Write everything into a folder, which is made.

    Args:
        county: what to write.
        folder: a new or empty folder.
        block: families made at a time, an even number; what is written does not depend on it, its order does.

    Returns:
        Rows by file, the path inside the folder without its ending.

    Raises:
        ValueError: the folder holds something.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} holds something: name a new folder, or empty this one.")
    rows: dict[str, int] = {}
    with ExitStack() as open_files:
        writers: dict[str, pq.ParquetWriter] = {}
        for made in _ahead(county, block):
            for name, frame in made.items():
                table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
                if name not in writers:
                    path = folder / f"{name}.parquet"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    writer = pq.ParquetWriter(path, table.schema, compression="zstd", compression_level=1)
                    writers[name] = open_files.enter_context(writer)
                writers[name].write_table(table)
                rows[name] = rows.get(name, 0) + frame.height
    facts = {
        "seed": county.draws.seed,
        "preset": next(name for name, preset in PRESETS.items() if preset == county.preset),
        "families": county.families,
        "households": county.here,
        "elsewhere": county.households - county.here,
        "deliveries": delivery_days(),
        "extracted": str(np.datetime64(NOW, "D")),
        "slips": SLIPS,
        "rows": rows,
    }
    (folder / "truth" / "county.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    return rows


def frames(county: County, block: Block) -> dict[str, pl.DataFrame]:
    """All that is written of one block, by the name of the file; records by id, which says nothing."""
    lives = block_lives(county, block)
    made: dict[str, pl.DataFrame] = {}
    whose: list[pl.DataFrame] = []
    for turn, day in enumerate(() if block.elsewhere else delivery_days()):
        for council, file in zip(COUNCILS, deliveries(lives, turn), strict=True):
            name = f"councils/{council}/{day}"
            made[name] = file.frame[file.record_id.arg_sort()]
            whose.append(truth.of_delivery(lives, name, file))
    for register in REGISTERS:
        made_of = extract(lives, register)
        made[f"registers/{register}"] = made_of.frame.sort("record_id")
        made[f"attributes/{register}"] = made_of.attributes.sort("record_id", made_of.attributes.columns[1])
        whose.append(truth.of_extract(lives, f"registers/{register}", made_of))
    made |= {"truth/records": pl.concat(whose), "truth/people": truth.people(lives)}
    if block.elsewhere:
        return made
    return made | {
        "truth/families": truth.families(lives),
        "truth/members": truth.membership(lives),
        "truth/problems": truth.problems(lives),
        "truth/addresses": truth.addresses(lives),
    }


def _ahead(county: County, block: int) -> Iterator[dict[str, pl.DataFrame]]:
    """The blocks in order, one made while another is written."""
    waiting: deque[Future[dict[str, pl.DataFrame]]] = deque()
    with ThreadPoolExecutor(THREADS) as pool:
        for one in county.blocks(block):
            waiting.append(pool.submit(frames, county, one))
            if len(waiting) >= THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
