"""The truth about who is who, made ready for joins.

    a frame under any names ──kind, sides, checks──▶ Truth ──▶ total of true pairs, and which pairs are true

Truth is either a list of the pairs that match or an entity id for each record. The pairs of an entity are
counted from group sizes and never written out.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass

import polars as pl

from linker import decide
from linker.errors import TruthError

_ENTITY_NAME = re.compile(r"(true_)?(entity|cluster|group)(_id)?|true_id|truth_id|truth")
_RIGHT_NAME = re.compile(r"(.*_)?right(_.*)?|.*_r|.*_b|.*2")
_SIDES = dict.fromkeys(("left", "l", "a", "1"), "left") | dict.fromkeys(("right", "r", "b", "2"), "right")
_NOT_THESE_FILES = (
    "Check that the truth was made for these records, and that its ids are written the same way."
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Truth:
    """The truth, ready for joins.

    Attributes:
        total: the number of true pairs.
        left: columns id and entity of the left records (of all records within one file).
        right: likewise of the right records; the same frame within one file.
        pairs: columns left and right, in place of entities.
    """

    total: int
    left: pl.DataFrame
    right: pl.DataFrame
    pairs: pl.DataFrame | None = None

    def hits(self, pairs: pl.DataFrame) -> pl.Series:
        """For each of the pairs (left, right), in their order, whether it is true."""
        if self.pairs is not None:
            true = self.pairs.with_columns(hit=pl.lit(True))
            found = pairs.join(true, on=["left", "right"], how="left", maintain_order="left")
            return found["hit"].fill_null(False)
        found = pairs.join(self.left, left_on="left", right_on="id", how="left", maintain_order="left").join(
            self.right, left_on="right", right_on="id", how="left", maintain_order="left", suffix="_right"
        )
        return (found["entity"] == found["entity_right"]).fill_null(False)


def read_truth(
    frame: pl.DataFrame, left_ids: pl.Series | None, right_ids: pl.Series | None, within: bool
) -> Truth:
    """Finds out which kind of truth it is, checks it and makes it ready.

    Args:
        frame: under any names, the ids of pairs that match, or records, their entities and perhaps `side`.
        left_ids: the ids of the left records, where known.
        right_ids: likewise of the right records; without meaning if `within`.
        within: all records are of one file, and true pairs are closed under "same as".

    Raises:
        TruthError: the frame cannot be read as either kind, or does not fit the records.
    """
    sides = [name for name in frame.columns if _plain(name) == "side"]
    columns = frame.drop(sides)
    pairs = two_columns(columns, ("left", "right"), "truth")
    if pairs.is_empty():
        raise TruthError("The truth has no rows.", "Give the pairs that match, or each record's entity.")
    left = None if left_ids is None else left_ids.cast(pl.String)
    right = left if within else None if right_ids is None else right_ids.cast(pl.String)
    if not sides and _are_pairs(pairs, _plain(columns.columns[1]), left, right, within):
        return _from_pairs(pairs, left, right, within)
    records = pairs.rename({"left": "id", "right": "entity"})
    if within:
        _check(records["id"], left, "record")
        entities = one_each(records.unique(), "truth").drop_nulls()
        return Truth(pairs_within(entities.group_by("entity").len()["len"]), entities, entities)
    if sides:
        side = frame[sides[0]].cast(pl.String).str.strip_chars().str.to_lowercase()
        side = side.replace_strict(_SIDES, default=None)
        if count := side.null_count():
            raise TruthError(f"{count} rows of the truth have no valid side.", "Write left or right.")
    else:
        side = _sides_by_id(records["id"], left, right)
    of_left, of_right = records.filter(side == "left"), records.filter(side == "right")
    _check(of_left["id"], left, "left record")
    _check(of_right["id"], right, "right record")
    of_left, of_right = (one_each(half.unique(), "truth").drop_nulls() for half in (of_left, of_right))
    sizes = of_left.group_by("entity").len().join(of_right.group_by("entity").len(), on="entity")
    total = int((sizes["len"].cast(pl.Int64) * sizes["len_right"].cast(pl.Int64)).sum())
    return Truth(total, of_left, of_right)


def _from_pairs(pairs: pl.DataFrame, left: pl.Series | None, right: pl.Series | None, within: bool) -> Truth:
    if count := pairs.filter(pl.any_horizontal(pl.all().is_null())).height:
        raise TruthError(f"{count} true pairs lack an id.", "Leave out records that match nothing.")
    if left is not None and right is not None and not within:
        exchanged = _present(pairs["right"], left) * _present(pairs["left"], right)
        if exchanged > _present(pairs["left"], left) * _present(pairs["right"], right):
            raise TruthError("The ids of the truth are exchanged.", "Put the left record's id first.")
    _check(pairs["left"], left, "left record")
    _check(pairs["right"], right, "right record")
    if not within:
        unique, none = pairs.unique(), pl.DataFrame(schema={"id": pl.String, "entity": pl.String})
        return Truth(unique.height, none, none, unique)
    ends = pairs.rename({"left": "left_id", "right": "right_id"}).with_columns(match_weight=0.0)
    joined = decide.clusters(ends, pl.concat([pairs["left"], pairs["right"]]).unique(), 0.0)
    entities = joined.rename({"record_id": "id", "cluster_id": "entity"})
    return Truth(pairs_within(entities.group_by("entity").len()["len"]), entities, entities)


def _are_pairs(
    pairs: pl.DataFrame, second: str, left: pl.Series | None, right: pl.Series | None, within: bool
) -> bool:
    """Whether the two columns are pairs (else a record and its entity): by name, then by the records."""
    if _ENTITY_NAME.fullmatch(second):
        return False
    if _RIGHT_NAME.fullmatch(second) or right is None:
        return True
    if within and pairs["left"].n_unique() == pairs.height == len(right):
        return False  # every record once: a list of records, whatever the other column looks like
    if _present(pairs["right"], right) >= 0.5:
        return True
    return max(_present(pairs["left"], ids) for ids in (left, right)) < 0.5


def _sides_by_id(ids: pl.Series, left: pl.Series | None, right: pl.Series | None) -> pl.Series:
    """The side of each record of a truth by entity, where an id occurs in one file alone."""
    ask = "Add a column `side` that says left or right."
    if left is None or right is None:
        raise TruthError("The truth does not say on which side each record is.", ask)
    on_left, on_right = ids.is_in(left.implode()), ids.is_in(right.implode())
    if (on_left & on_right).any():
        raise TruthError("Ids of the truth occur on both sides, and it does not say which is meant.", ask)
    _tolerate(int((~(on_left | on_right)).sum()), len(ids), "record", "they are left out")
    return pl.select(
        pl.when(on_left).then(pl.lit("left")).when(on_right).then(pl.lit("right")).otherwise(None)
    ).to_series()


def _check(ids: pl.Series, known: pl.Series | None, what: str) -> None:
    if count := ids.null_count():
        raise TruthError(f"{count} rows of the truth have no record id.")
    if known is not None:
        _tolerate(int((~ids.is_in(known.implode())).sum()), len(ids), what, "their pairs count as missed")


def _tolerate(strangers: int, total: int, what: str, effect: str) -> None:
    """Warns of ids that no record has, as refused records leave them; refuses if they are half or more."""
    message = f"{strangers} of {total} ids in the truth are not the id of any {what}"
    if 2 * strangers >= total > 0:
        raise TruthError(f"{message}.", _NOT_THESE_FILES)
    if strangers:
        _log.warning("%s; %s.", message, effect)


def check_acquaintance(links: pl.DataFrame, known: Truth) -> None:
    """Checks, where the records are not known, that links and truth have an id in common.

    Raises:
        TruthError: they have none.
    """
    left, right = known.left["id"], known.right["id"]
    if known.pairs is not None:
        left, right = known.pairs["left"], known.pairs["right"]
    strangers = not (links["left"].is_in(left.implode()).any() or links["right"].is_in(right.implode()).any())
    if links.height and known.total and strangers:
        raise TruthError("No id of the truth occurs in the links.", _NOT_THESE_FILES)


def one_each(frame: pl.DataFrame, what: str) -> pl.DataFrame:
    """The frame, if no id is in it twice.

    Raises:
        TruthError: an id is there more than once.
    """
    if count := frame.height - frame["id"].n_unique():
        raise TruthError(f"The {what} name {count} records more than once, and differently.")
    return frame


def two_columns(frame: pl.DataFrame, names: tuple[str, str], what: str) -> pl.DataFrame:
    """The first two columns as text, under these names.

    Raises:
        TruthError: there are no two columns.
    """
    if frame.width < 2:
        raise TruthError(f"The {what} have fewer than two columns.", "Two columns with ids are needed.")
    return frame.select(pl.nth(0).cast(pl.String).alias(names[0]), pl.nth(1).cast(pl.String).alias(names[1]))


def pairs_within(sizes: pl.Series) -> int:
    """The number of pairs within groups of these sizes."""
    whole = sizes.cast(pl.Int64)
    return int((whole * (whole - 1) // 2).sum())


def _present(ids: pl.Series, known: pl.Series | None) -> float:
    if known is None:
        return 0.0
    return float(ids.is_in(known.implode()).sum()) / len(ids)


def _plain(name: str) -> str:
    return re.sub(r"\W+", "_", name.strip().lower())
