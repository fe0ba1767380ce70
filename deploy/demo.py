"""The whole service on one screen: two files of made-up people, a real server, links, and reference numbers.

    make demo

    files ──gRPC──▶ server ──job──▶ links ──▶ judged, one explained ──▶ a reference number for each person

Everything is made in one folder, `demo/`; a further run replaces what an earlier one made there, and nothing
else. The people are those of FEBRL 4 (Christen 2008): 5,000 records, and 5,000 distorted copies of them.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import polars as pl
from rich.text import Text

from deploy.story import WIDTH, Story, bar, table

if TYPE_CHECKING:
    from linker.client import Client
    from linker.evaluate import Quality

ROOT = Path(__file__).resolve().parent.parent
PROJECT, RECIPIENT = "tf-2026", "nis-analysis"
GUIDE = "README.txt"
MARK = "Made by the Kinlink demo; its next run replaces these files:"
OWN = {
    "left.csv": "5,000 made-up people",
    "right.csv": "a distorted copy of each of them",
    "truth.csv": "which record is a copy of which",
    "links.parquet": "the links, as the service sent them",
    "report.html": "the report of the run: open it in a browser",
    "report.json": "its figures",
    "urns.csv": "one reference number for each linked person",
    "summary.json": "the figures of this demo",
    "server.log": "what the server said",
    "data": "the server's own folder",
    "keys": "the keyset, its device secret and, for this demo alone, its passphrase",
}
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
START_SECONDS, STOP_SECONDS = 120.0, 30.0


class DemoError(Exception):
    """The demo cannot go on; the message says why and what to do."""


def fresh(folder: Path) -> None:
    """Make the folder, or clear away what an earlier run made in it.

    Raises:
        DemoError: it holds something else, or a server still runs in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    guide = folder / GUIDE
    made = guide.is_file() and guide.read_text(errors="replace").startswith(MARK)
    if not made and any(folder.iterdir()):
        raise DemoError(f"{folder} holds something that no demo made. Name another place with --folder.")
    lock = folder / "data" / "lock"
    if lock.is_file():
        with lock.open() as held:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DemoError(f"A server still runs on {folder / 'data'}. Stop it first.") from None
    for name in OWN:
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    width = max(map(len, OWN))
    lines = [MARK, "", *(f"{name:<{width}}  {words}" for name, words in OWN.items()), ""]
    guide.write_text("\n".join(lines))


@contextmanager
def signals_held() -> Iterator[None]:
    """A signal that comes within the block does what it does at its end."""
    came: list[int] = []
    before = {name: signal.signal(name, lambda number, _: came.append(number)) for name in ENDING}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
        for number in came:
            signal.raise_signal(number)


class Server:
    """The real server in a process of its own, on a port that the system chose."""

    def __init__(self, folder: Path) -> None:
        """Prepare; nothing runs before `start`."""
        self._folder, self._port = folder, folder / "data" / "port"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; it listens once `address` returns."""
        command = [
            sys.executable, "server.py", "--data", str(self._folder / "data"), "--listen", "127.0.0.1:0",
            "--port-file", str(self._port), "--grace", "10",
        ]  # fmt: skip
        with (self._folder / "server.log").open("wb") as log, signals_held():
            # A session of its own: Ctrl-C is for the demo, which then stops the server in order.
            self._process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def address(self) -> str:
        """Where it listens.

        Raises:
            DemoError: it ended, or did not come up in time.
        """
        assert self._process is not None
        until = time.monotonic() + START_SECONDS
        while not self._port.exists():
            if self._process.poll() is not None or time.monotonic() > until:
                raise DemoError("The server did not start. See server.log in the demo's folder.")
            time.sleep(0.02)
        return f"127.0.0.1:{self._port.read_text().strip()}"

    def stop(self) -> int:
        """Ask it to end, and return its exit code; one that does not end is killed, one never begun is 0."""
        if self._process is None:
            return 0
        self._process.terminate()
        try:
            return self._process.wait(STOP_SECONDS)
        except BaseException as error:
            self._process.kill()
            if isinstance(error, subprocess.TimeoutExpired):
                return self._process.wait()
            raise


def write_files(story: Story, folder: Path) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """FEBRL 4 as two CSV files and the truth about them."""
    from linker.classifiers import febrl

    data = febrl(4)
    assert data.right is not None
    for frame, name in ((data.left, "left"), (data.right, "right"), (data.truth, "truth")):
        frame.write_csv(folder / f"{name}.csv")
    story.say(
        f"{data.left.height:,} records, and {data.right.height:,} distorted copies of them: misspelt,",
        "swapped, mistyped and missing values.",
    )
    return data.left, data.right, data.truth


def send(story: Story, client: Client, frame: pl.DataFrame, name: str) -> str:
    """Submit one file and return the id of its submission."""
    with story.bar("Sending") as feed:
        sent = client.submit(
            frame,
            batch_id=f"demo-{name}",
            source=f"demo-{name}",
            id_column="rec_id",
            chunk_rows=1000,
            progress=lambda done, total: feed(f"{name}.csv", done, total or done),
        )
    if sent.problem is not None:
        raise DemoError(f"{sent.problem.message} {sent.problem.help}")
    story.say(f"{name + '.csv':<10} {sent.rows:,} rows taken, {sent.values_set_aside} values set aside")
    if name == "right":
        story.say(f"columns    {', '.join(field.name for field in sent.fields)}")
    return sent.submission_id


def link(story: Story, client: Client, left: str, right: str) -> str:
    """Run the linkage and return the id of its job."""
    with story.bar("Linking", "the first run compiles") as feed:
        job = client.wait(client.start_linkage(left, right, all_pairs=-10.0).job_id, progress=feed)
    if job.problem is not None:
        raise DemoError(f"{job.problem.message} {job.problem.help}")
    return job.job_id


def fetch(story: Story, client: Client, job: str, folder: Path) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The links and the figures of a job, written into the folder."""
    from linker.report import page

    links, figures = client.read_links(job), client.report(job)["figures"]
    links.write_parquet(folder / "links.parquet")
    (folder / "report.json").write_text(json.dumps(figures, indent=1) + "\n")
    (folder / "report.html").write_text(page(figures))
    summary = figures["summary"]
    all_pairs = summary["records"][0] * summary["records"][1]
    story.say(
        f"{all_pairs:,} possible pairs, of which blocking left {summary['candidate_pairs']:,} to compare.",
        f"{links.height:,} links, {figures['review']:,} pairs for people to look at.",
        "The model learnt from the records alone: nothing was labelled, nothing set.",
    )
    return links, figures


def judge(story: Story, links: pl.DataFrame, truth: pl.DataFrame) -> Quality:
    """Precision, recall and F1 of the links."""
    from linker.evaluate import link_quality

    quality = link_quality(links, truth)
    shown = table(["", "Value", "95% interval"], right=(1, 2))
    for name in ("precision", "recall", "f1"):
        low, high = getattr(quality, f"{name}_interval") or (0.0, 1.0)
        shown.add_row(name.capitalize(), f"{getattr(quality, name) or 0.0:.4f}", f"{low:.4f} to {high:.4f}")
    story.say(shown, f"{quality.tp:,} right, {quality.fp:,} wrong, {quality.fn:,} missed.")
    return quality


def most_distorted(links: pl.DataFrame, left: pl.DataFrame, right: pl.DataFrame) -> tuple[str, str]:
    """The ids of the linked pair whose records differ in the most columns; the lightest of several."""
    names = [name for name in left.columns if name != "rec_id"]
    pairs = links.join(left, left_on="left_id", right_on="rec_id").join(
        right, left_on="right_id", right_on="rec_id", suffix="_other"
    )
    differing = pl.sum_horizontal(
        (pl.col(name) != pl.col(f"{name}_other")).fill_null(False).cast(pl.Int32) for name in names
    )
    ranked = pairs.with_columns(differing.alias("differing")).sort(
        "differing", "match_weight", "left_id", descending=[True, False, False]
    )
    return ranked["left_id"][0], ranked["right_id"][0]


def explain(story: Story, client: Client, job: str, pair: tuple[str, str]) -> None:
    """One pair's match weight, comparison by comparison, without a value of a person."""
    found = client.explain(job, *pair)
    bits = [step["weight"] + step["frequency"] for step in found["steps"]]
    most = max(abs(one) for one in [found["prior_weight"], *bits])
    shown = table(["Field", "What the two records say", "Bits", "Total", ""], right=(2, 3))
    before = found["prior_weight"]
    shown.add_row("", "two records at random", "", f"{before:+.1f}", bar(before, most))
    for step, gain in zip(found["steps"], bits, strict=True):
        field = step["comparison"].replace("_", " ")
        known = step["level"] != "not known"
        shown.add_row(
            field, step["level"], f"{gain:+.1f}" if known else "", f"{step['total']:+.1f}", bar(gain, most)
        )
    story.say(
        f"{pair[0]} and {pair[1]}: of all links, the two that differ most.", shown,
        f"2 to the power of {found['match_weight']:.1f}: odds of {2.0 ** found['match_weight']:,.0f} to 1 "
        "that this is one person.",
    )  # fmt: skip


def give_numbers(story: Story, links: pl.DataFrame, folder: Path) -> int:
    """A reference number for every linked person; the file holds no identifier and no record id."""
    from pseudonym import FileProvider, Keyset, Kind, grouped

    place, passphrase = folder / "keys", secrets.token_urlsafe(24)
    place.mkdir(mode=0o700)
    (place / "passphrase").touch(mode=0o600)
    (place / "passphrase").write_text(passphrase + "\n")
    provider = FileProvider(place / "broker.device", passphrase)
    keyset = Keyset.create(place / "broker.keyset", "broker", provider)
    aid_key, urn_key = keyset.add_aid_key(PROJECT), keyset.add_urn_key(PROJECT, RECIPIENT)
    pids = [os.urandom(16) for _ in range(links.height)]
    urns = urn_key.issue_all(Kind.PERSON, aid_key.aids(1, Kind.PERSON, pids))
    band = (
        pl.when(pl.col("match_weight") >= 40).then(pl.lit("40 bits or more"))
        .when(pl.col("match_weight") >= 20).then(pl.lit("20 to 40 bits"))
        .otherwise(pl.lit("under 20 bits"))
    )  # fmt: skip
    # Sorted by number: the order of the rows must not tell who is who either.
    numbers = links.select(pl.Series("urn", urns), band.alias("match_weight")).sort("urn")
    numbers.write_csv(folder / "urns.csv")
    story.say(
        f"Project {PROJECT}, recipient {RECIPIENT}; {numbers['urn'].n_unique():,} different numbers, such as",
        Text("  ".join(grouped(urn) for urn in numbers["urn"][:2]), "cyan"),
        "Made with a secret key from a random id, not from names or dates of birth.",
        "The keyset's passphrase lies beside it, mode 0600: in this demo alone.",
    )
    return numbers.height


def perform(story: Story, folder: Path) -> None:
    """All steps, from an empty folder to its outputs."""
    began = time.perf_counter()
    story.out.print(Text("Kinlink: from two files to reference numbers", "bold"))
    with story.step("Two files of made-up people (FEBRL 4)"):
        left, right, truth = write_files(story, folder)
    server = Server(folder)
    try:
        server.start()
        with story.step("The service starts"), story.bar("Starting"):
            from linker.client import Client

            address = server.address()
            story.say(f"gRPC on {address}, storage embedded, log in server.log")
        with Client(address, project=PROJECT, purpose="demonstration", patience=10.0) as client:
            with story.step("Both files are sent"):
                ids = [send(story, client, frame, name) for frame, name in ((left, "left"), (right, "right"))]
            with story.step("A job links them, and the links come back"):
                job = link(story, client, *ids)
                links, figures = fetch(story, client, job, folder)
            with story.step("The links are held against the truth"):
                quality = judge(story, links, truth)
            with story.step("One link is explained"):
                pair = most_distorted(links, left, right)
                explain(story, client, job, pair)
        with story.step("Every linked person gets a reference number (URN)"):
            numbers = give_numbers(story, links, folder)
    finally:
        stopping = time.perf_counter()
        code = server.stop()
    if code != 0:
        raise DemoError(f"The server ended with code {code}. See server.log in the demo's folder.")
    story.seconds["The service stops"] = round(time.perf_counter() - stopping, 2)
    total = time.perf_counter() - began
    document = {
        "quality": quality.as_dict(),
        "records": [left.height, right.height],
        "links": links.height,
        "review": figures["review"],
        "candidate_pairs": figures["summary"]["candidate_pairs"],
        "threshold": figures["threshold"],
        "model": figures["model"]["digest"],
        "urns": numbers,
        "explained": list(pair),
        "seconds": {**story.seconds, "total": round(total, 2)},
    }
    (folder / "summary.json").write_text(json.dumps(document, indent=1) + "\n")
    story.out.print()
    story.out.print(Text(f"The service has stopped. {total:.0f} seconds in all.", "bold"))
    show_next(story, _near(folder), pair)


def show_next(story: Story, folder: Path, pair: Sequence[str]) -> None:
    """What to open and what to try."""
    beside = Path(sys.executable).with_name("kinlink")
    program = _near(beside) if beside.exists() else "kinlink"
    files = f"{folder / 'left.csv'} {folder / 'right.csv'}"
    lines = [
        ("Open", ""),
        ("", f"{folder / 'report.html'}   the run, in a browser"),
        ("", f"{folder / 'urns.csv'}      what a recipient gets"),
        ("Try", ""),
        ("", f"{program} link {files} --out {folder / 'again.csv'}"),
        ("", f"{program} explain {files} --pair {','.join(pair)}"),
        ("", "make serve"),
    ]
    for head, line in lines:
        if len(line) > WIDTH - 4:
            line = line.replace(" --", " \\\n        --", 1)
        story.out.print(Text(head, "bold") if head else Text(f"    {line}"), soft_wrap=True)


def _near(path: Path) -> Path:
    """The path as somebody in this directory would type it."""
    path = path.absolute()
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _end(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def main(arguments: Sequence[str]) -> int:
    """Run the demo; the exit code is 0 done, 1 failed, 130 stopped."""
    parser = argparse.ArgumentParser(description="Show Kinlink from end to end.", allow_abbrev=False)
    parser.add_argument("--folder", type=Path, default=ROOT / "demo", help="where everything is made (demo)")
    parser.add_argument("--picture", type=Path, help="also write what is shown as an SVG")
    given = parser.parse_args(arguments)
    os.umask(0o077)
    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, _end)
    story = Story()
    from linker.errors import LinkerError
    from pseudonym import PseudonymError

    try:
        fresh(given.folder)
        perform(story, given.folder)
        if given.picture:
            given.picture.write_text(story.picture())
    except KeyboardInterrupt:
        print("\nStopped; the server has ended too.", file=sys.stderr)
        return 130
    except (DemoError, LinkerError, PseudonymError, OSError) as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        if help := getattr(error, "help", ""):
            print(help, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
