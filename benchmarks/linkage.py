"""Time of a whole linkage against the record linkage toolkit, side by side in one run.

    python benchmarks/linkage.py [--runs N]

Both take FEBRL 4 from memory, block, compare, learn without labels and decide: the toolkit with the rules
and comparisons of its own documentation and its ECM classifier, ours with nothing given. The two take
turns; times are medians, the ratio is the median of the ratios run by run.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable

import pandas as pd
import polars as pl

import linker
from linker.classifiers import febrl

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the toolkit's own, on import
    import recordlinkage


Links = Callable[[pl.DataFrame, pl.DataFrame], set[tuple[str, str]]]


def ours(left: pl.DataFrame, right: pl.DataFrame) -> set[tuple[str, str]]:
    """Links of the default linkage."""
    return set(linker.link(left, right).links.select("left_id", "right_id").iter_rows())


def toolkit(left: pl.DataFrame, right: pl.DataFrame) -> set[tuple[str, str]]:
    """Links of the toolkit."""
    one, other = (pd.DataFrame(side.to_dict(as_series=False)).set_index("rec_id") for side in (left, right))
    index = recordlinkage.Index()
    for column in ("given_name", "surname", "date_of_birth", "postcode"):
        index.block(column)
    pairs = index.index(one, other)
    compare = recordlinkage.Compare()
    for column in ("given_name", "surname", "address_1", "suburb"):
        compare.string(column, column, method="jarowinkler", threshold=0.85)
    for column in ("date_of_birth", "soc_sec_id", "postcode", "state"):
        compare.exact(column, column)
    vectors = compare.compute(pairs, one, other)
    return set(recordlinkage.ECMClassifier().fit_predict(vectors))


def timed(
    links: Links, left: pl.DataFrame, right: pl.DataFrame, truth: set[tuple[str, str]]
) -> tuple[float, float]:
    """Seconds and F1 of one run."""
    began = time.perf_counter()
    found = links(left, right)
    seconds = time.perf_counter() - began
    return seconds, 2 * len(found & truth) / (len(found) + len(truth))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Time of a linkage against the record linkage toolkit.")
    parser.add_argument("--runs", type=int, default=3)
    runs = parser.parse_args().runs
    data = febrl(4)
    assert data.right is not None
    truth = set(data.truth.select(data.truth.columns[:2]).iter_rows())
    ours(data.left, data.right)  # the first call compiles
    rows = [
        (timed(ours, data.left, data.right, truth), timed(toolkit, data.left, data.right, truth))
        for _ in range(runs)
    ]
    print("FEBRL 4, 5,000 × 5,000 records, whole linkage from frames in memory")
    print("| | s (median) | F1 |\n| --- | --- | --- |")
    for name, i in (("kinlink", 0), ("recordlinkage 0.16", 1)):
        print(f"| {name} | {statistics.median(row[i][0] for row in rows):.2f} | {rows[0][i][1]:.4f} |")
    ratio = statistics.median(toolkit_run[0] / our_run[0] for our_run, toolkit_run in rows)
    print(f"\nThe toolkit takes {ratio:.1f} times as long (median of {runs} runs in turn).")


if __name__ == "__main__":
    main()
