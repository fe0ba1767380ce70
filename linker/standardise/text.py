"""Text: folding, tidying and the word lists that every other module here builds on.

Each accented letter has two folds, the plain one (Ä → A) and the expanded one (Ä → AE). They are
alternatives, never one canonical form: which of them a register used is not known.
"""

from __future__ import annotations

import csv
from functools import cache
from importlib import resources

import jellyfish
import polars as pl

# Letters that Unicode does not decompose; both folds agree on them unless EXPANDED says otherwise.
_PLAIN = {
    "Æ": "AE",
    "Œ": "OE",
    "Ø": "O",
    "Đ": "D",
    "Ð": "D",
    "Ħ": "H",
    "Ł": "L",
    "Þ": "TH",
    "ẞ": "SS",
    "ß": "SS",
}
_EXPANDED = {"Ä": "AE", "Ö": "OE", "Ü": "UE", "Å": "AA", "Ø": "OE"}
_APOSTROPHES = "['’‘`´ʼʻʹ′＇‛]"
_DASHES = "[-‐‑‒–—―−﹘﹣－_]"
_MISSING = (
    "",
    "N/A",
    "NULL",
    "NONE",
    "NIL",
    "NK",
    "N/K",
    "UNKNOWN",
    "UNK",
    "NOT KNOWN",
    "NOT STATED",
    "NOT RECORDED",
    "NOT PROVIDED",
    "NOT GIVEN",
    "NOT ENTERED",
    "NOT AVAILABLE",
    "NOT APPLICABLE",
    "UNSPECIFIED",
    "NOT SPECIFIED",
    "REFUSED",
    "DECLINED",
    "WITHHELD",
    "MISSING",
    "TBC",
    "TBA",
    "#N/A",
)


@cache
def rows(name: str) -> tuple[dict[str, str], ...]:
    """The rows of a comma-separated list beside this module, by column name."""
    text = resources.files(__package__).joinpath("lists", name).read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines()))


@cache
def words(name: str, part: str) -> tuple[str, ...]:
    """The words of a list whose column `part` names what they are used for."""
    return tuple(row["word"] for row in rows(name) if row["part"] == part)


def none_if_empty(text: pl.Expr) -> pl.Expr:
    """Null in the place of the empty text."""
    return text.replace("", None)


def tidy(raw: pl.Expr) -> pl.Expr:
    """Trimmed, with single spaces; null where nothing is left."""
    return none_if_empty(raw.cast(pl.String).str.replace_all(r"\s+", " ").str.strip_chars())


def is_missing(raw: pl.Expr) -> pl.Expr:
    """Whether a value only says that there is none ("unknown", "n/a"); null for null."""
    return raw.cast(pl.String).str.strip_chars().str.strip_chars(".-?* ").str.to_uppercase().is_in(_MISSING)


def present(raw: pl.Expr) -> pl.Expr:
    """The tidied value, null where it only says that there is none.

    Names `raw` twice: give it a column or a field, not a long expression.
    """
    return pl.when(~is_missing(raw)).then(tidy(raw))


def without_accents(upper: pl.Expr) -> pl.Expr:
    """The plain fold of upper-case text: É → E, Ä → A, ß → SS; other scripts stay as they are."""
    # The spacing accents would decompose into a space and a mark: apostrophes must be gone before.
    bare = upper.str.normalize("NFKD").str.replace_all("[\u0300-\u036f]", "").str.normalize("NFKC")
    return bare.str.replace_many(list(_PLAIN), list(_PLAIN.values()))


def upper(raw: pl.Expr, *, expanded: bool = False) -> pl.Expr:
    """Upper case and folded; apostrophes removed, dashes and underscores as spaces."""
    text = raw.cast(pl.String).str.replace_all(_APOSTROPHES, "").str.replace_all(_DASHES, " ")
    text = text.str.to_uppercase().str.normalize("NFC")
    if expanded:
        # A decomposed Å and a decomposed A-umlaut must have met their composed forms by now.
        text = text.str.replace_many(list(_EXPANDED), list(_EXPANDED.values()))
    return without_accents(text)


def clean(raw: pl.Expr) -> pl.Expr:
    """Upper case, folded, letters and digits only, single spaces; null where nothing is left."""
    return tidy(upper(raw).str.replace_all(r"[^\p{L}\p{M}\p{N}]+", " "))


def tokens(cleaned: pl.Expr) -> pl.Expr:
    """The words of a cleaned text as a sorted list without repeats; null for null."""
    return cleaned.str.split(" ").list.unique().list.sort()


def soundex(cleaned: pl.Expr) -> pl.Expr:
    """American Soundex of the letters A to Z in a cleaned text; null where there are none."""
    letters = none_if_empty(cleaned.str.replace_all("[^A-Z]", ""))
    return letters.map_batches(_soundex, return_dtype=pl.String, is_elementwise=True)


def _soundex(values: pl.Series) -> pl.Series:
    codes = [None if value is None else jellyfish.soundex(value) for value in values]
    return pl.Series(values.name, codes, dtype=pl.String)
