"""The whole service on one screen: a council's file, three roles, links, persons, reference numbers.

    make demo

    the council's file ──┬─ identifiers ──▶ identity ──job──▶ links ──▶ persons ─┐ pid
      in two halves      └─ attributes ──▶ attributes ◀──── aid ──── broker ◀────┘
                                                                        └──▶ reference numbers

Everything is made in one folder, `demo/`; a further run replaces what an earlier one made there, and nothing
else. The people are those of FEBRL 4 (Christen 2008): 5,000 records, and 5,000 distorted copies of them.
What is known of them besides is drawn at random.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from rich.text import Text

from deploy.demo_linking import explain, fetch, judge, link, write_files
from deploy.demo_roles import (
    DemoError,
    attribute_ids,
    begin,
    give_numbers,
    join,
    look_into,
    send,
    send_extract,
    start,
)
from deploy.roles import ANY_PORTS, Processes
from deploy.story import WIDTH, Story
from pseudonym.roles.callers import SERVER_ROLES

ROOT = Path(__file__).resolve().parent.parent
GUIDE = "README.txt"
MARK = "Made by the Kinlink demo; its next run replaces these files:"
OWN = {
    "council.csv": "a council's file: 5,000 made-up people, and what is known of them",
    "register.csv": "a register's extract: a distorted copy of each of them",
    "later.csv": "the council's next file: a thousand of these copies, with new attributes",
    "truth.csv": "which record is a copy of which",
    "links.parquet": "the links between council and register, as the service sent them",
    "report.html": "the report of the run: open it in a browser",
    "report.json": "its figures",
    "urns.csv": "one reference number for each person",
    "summary.json": "the figures of this demo",
    "roles": "the three roles: certificates, and the folder and log of each",
}


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
    for role in SERVER_ROLES:
        lock = folder / "roles" / f"{role}-role" / "lock"
        if lock.is_file():
            with lock.open() as held:
                try:
                    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise DemoError(f"A server still runs on {lock.parent}. Stop it first.") from None
    for name in OWN:
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    width = max(map(len, OWN))
    lines = [MARK, "", *(f"{name:<{width}}  {words}" for name, words in OWN.items()), ""]
    guide.write_text("\n".join(lines))


def perform(story: Story, folder: Path) -> None:
    """All steps, from an empty folder to its outputs."""
    began = time.perf_counter()
    story.out.print(Text("Kinlink: from a council's file to reference numbers", "bold"))
    with story.step("Files of made-up people (FEBRL 4)"):
        files = write_files(story, folder)
    roles = Processes(folder / "roles", ANY_PORTS, logs=True)
    try:
        with story.step("Three roles start, each a process with keys and a database of its own"):
            service = start(story, roles)
        with story.step("A project begins: keys are made, attributes declared"):
            begin(story, service)
        with story.step("The council's file is sent in two halves, the extract whole"):
            sent = send(story, service, "council", files.council)
            extract = send_extract(story, service, files.register)
        with story.step("A job links the two, and the links are held against the truth"):
            job = link(story, service, sent.submission, extract)
            links, figures = fetch(story, service, job, sent, folder)
            quality = judge(story, links, files.truth)
        with story.step("One link is explained"):
            pair = explain(story, service, job, links, files, sent)
        with story.step("The council's records become persons, and a later file joins them"):
            later = send(story, service, "later", files.later)
            join(story, service, [sent, later])
        with story.step("Every person gets a reference number (URN) for one recipient"):
            aids = attribute_ids(folder / "roles", sent.own.height + later.own.height)
            numbers = give_numbers(story, service, aids, folder)
        with story.step("Neither database holds what the other one is for"):
            apart = look_into(story, folder / "roles", [files.council, files.register])
    finally:
        stopping = time.perf_counter()
        codes = roles.stop()
    if any(codes.values()):
        raise DemoError(f"A role ended with an error. See {folder / 'roles'}/*.log.")
    story.seconds["The roles stop"] = round(time.perf_counter() - stopping, 2)
    total = time.perf_counter() - began
    document = {
        "quality": quality.as_dict(),
        "records": [files.council.height, files.register.height, files.later.height],
        "links": links.height,
        "review": figures["review"],
        "candidate_pairs": figures["summary"]["candidate_pairs"],
        "threshold": figures["threshold"],
        "model": figures["model"]["digest"],
        "persons": len(aids),
        "urns": numbers,
        "found": apart,
        "explained": list(pair),
        "seconds": {**story.seconds, "total": round(total, 2)},
    }
    (folder / "summary.json").write_text(json.dumps(document, indent=1) + "\n")
    story.out.print()
    story.out.print(Text(f"The roles have stopped. {total:.0f} seconds in all.", "bold"))
    show_next(story, _near(folder), pair)


def show_next(story: Story, folder: Path, pair: Sequence[str]) -> None:
    """What to open and what to try."""
    beside = Path(sys.executable).with_name("kinlink")
    program = _near(beside) if beside.exists() else "kinlink"
    files = f"{folder / 'council.csv'} {folder / 'register.csv'}"
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
