"""Reference numbers and attribute ids a second on one core, beside a bare HMAC loop in the same run.

    python benchmarks/urns.py [--count N] [--runs N] [--out FILE]

The bare loop is `hmac.digest` (OpenSSL through the standard library) over the same messages, made beforehand:
what a keyed hash costs in plain Python when nothing else is done. Between machines only the ratios compare;
in each run the loop and the measured take turns, and a ratio is the median of the runs' ratios.
"""

from __future__ import annotations

import argparse
import hmac
import os
import platform
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl

from pseudonym.reading import read_all
from pseudonym.urn import AidKey, Kind, UrnKey, enc, grouped, read

LOOP = "hmac.digest, the bare loop"


def cases(count: int) -> dict[str, tuple[int, Callable[[], object]]]:
    """What is measured: how many, and the call."""
    chance = random.Random(1)
    key, aids = chance.randbytes(32), [chance.randbytes(16) for _ in range(count)]
    labels = ("urn/1", "tf-2026", "nis-analysis", b"\x01", "person")
    messages = [enc(*labels, aid, b"\0") for aid in aids]
    urn_key, aid_key = UrnKey(key, "tf-2026", "nis-analysis", 1), AidKey(key, "tf-2026")
    words = urn_key.issue_all(Kind.PERSON, aids)
    column, shown = pl.Series(words), pl.Series([grouped(word).lower() for word in words])
    few = max(1, count // 10)
    return {
        LOOP: (count, lambda: [hmac.digest(key, message, "sha256") for message in messages]),
        "URNs in bulk (`UrnKey.issue_all`)": (count, lambda: urn_key.issue_all(Kind.PERSON, aids)),
        "aids in bulk (`AidKey.aids`)": (count, lambda: aid_key.aids(1, Kind.PERSON, aids)),
        "pid to aid to URN in bulk": (
            count,
            lambda: urn_key.issue_all(Kind.PERSON, aid_key.aids(1, Kind.PERSON, aids)),
        ),
        "URNs one at a time (`UrnKey.issue`)": (
            few,
            lambda: [urn_key.issue(Kind.PERSON, aid) for aid in aids[:few]],
        ),
        "aids one at a time (`AidKey.aid`)": (
            few,
            lambda: [aid_key.aid(1, Kind.PERSON, aid) for aid in aids[:few]],
        ),
        "read in bulk (`read_all`)": (count, lambda: read_all(column)),
        "read in bulk, in groups and small letters": (count, lambda: read_all(shown)),
        "read one at a time (`read`)": (few, lambda: [read(word) for word in words[:few]]),
    }


def measure(count: int, runs: int) -> dict[str, list[float]]:
    """Rates (a second of processor time) of each case, run by run."""
    rates: dict[str, list[float]] = {}
    measured = cases(count)
    for _ in range(runs):
        for name, (number, call) in measured.items():
            start = time.process_time()
            call()
            rates.setdefault(name, []).append(number / (time.process_time() - start))
    return rates


def table(rates: dict[str, list[float]]) -> str:
    """The rates and their ratios to the bare loop, as Markdown."""
    lines = ["| what | thousand a second | beside the bare loop |", "| --- | --: | --: |"]
    for name, found in rates.items():
        ratios = [rate / loop for rate, loop in zip(found, rates[LOOP], strict=True)]
        lines.append(f"| {name} | {statistics.median(found) / 1000:,.0f} | {statistics.median(ratios):.2f} |")
    return "\n".join(lines)


def processor() -> str:
    """The processor's name, as Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"
    )


def main() -> None:
    """Measure, print, and write the table if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    # Polars would read on all cores; the question is what one can do. It looks at this when it is first used.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    text = "\n".join(
        [
            "# Reference numbers and attribute ids a second",
            "",
            f"`python benchmarks/urns.py --count {options.count} --runs {options.runs}`: {processor()},",
            f"one core, Python {platform.python_version()}; load when it started {os.getloadavg()[0]:.1f}.",
            "Seconds are the process's own processor time; medians of the runs.",
            "",
            table(measure(options.count, options.runs)),
            "",
        ]
    )
    print(text)
    if options.out:
        options.out.write_text(text)


if __name__ == "__main__":
    main()
