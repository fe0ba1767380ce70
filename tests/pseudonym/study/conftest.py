"""A small county of three councils, each with its own headings, dates and codes."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from benchmarks.county.county import County
from benchmarks.county.presets import PRESETS
from benchmarks.county.write import write_county
from pseudonym.study.layouts import Layout

ROOT = Path(__file__).parents[3]
COUNCILS = ("fenham", "marwick", "orlstead")
DAYS = ("2023-12-31", "2024-12-31")


def _county(tmp_path_factory: pytest.TempPathFactory, preset: str) -> Path:
    folder = tmp_path_factory.mktemp("county") / preset
    write_county(County(300, 5, PRESETS[preset]), folder)
    return folder


@pytest.fixture(scope="session")
def clean(tmp_path_factory) -> Path:
    return _county(tmp_path_factory, "clean")


@pytest.fixture(scope="session")
def realistic(tmp_path_factory) -> Path:
    return _county(tmp_path_factory, "realistic")


@pytest.fixture(scope="session")
def layouts() -> dict[str, Layout]:
    folder = ROOT / "benchmarks" / "county" / "layouts"
    return {name: Layout.from_toml((folder / f"{name}.toml").read_text()) for name in COUNCILS}


def truth_of(county: Path, council: str, day: str) -> pl.DataFrame:
    """The families that a council delivered by a day, as the truth has them, once for each record."""
    which = "council_first" if day == DAYS[0] else "council_second"
    families = pl.read_parquet(county / "truth/families.parquet").filter(pl.col(which) == council)
    records = pl.read_parquet(county / "truth/records.parquet").filter(file=f"councils/{council}/{day}")
    return records.select("record_id", household="family").join(families, on="household")
