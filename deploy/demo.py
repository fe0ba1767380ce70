"""The study on one screen: councils' files, eight registers, one analysis file, and what it is worth.

    make demo              about a thousand families
    make demo SIZE=100k    a hundred thousand

    councils ──┬─ identifiers ──▶ identity ──▶ persons, families ──▶ links to eight registers
               └─ attributes ──▶ attributes ◀──aid── broker              │
    registers ─┬─ identifiers ──▶ identity ◀─────────────────────────────┘
               └─ attributes ──▶ attributes ──▶ analysis file: checked, approved by two, sealed

Everything is made up, and made in one folder, `demo/`; a further run replaces what an earlier one made there,
and nothing else. The truth about who is who is kept where no server looks, and judges the links at the end.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import re
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from rich.text import Text

from deploy import demo_steps
from deploy.roles import ANY_PORTS, Processes
from deploy.service import StudyError
from deploy.story import WIDTH, Story
from deploy.study import APPROVERS, governance
from pseudonym.audit.folder import PUBLIC_KEY
from pseudonym.roles.callers import SERVER_ROLES

ROOT = Path(__file__).resolve().parent.parent
GUIDE = "README.txt"
MARK = "Made by the Kinlink demo; its next run replaces these files:"
FAMILIES, SEED = 1_200, 2026
OWN = {
    "county": "the councils' files and the registers' extracts, made up; the truth about them in truth/",
    "analysis": "the analysis file: tables, dictionary.csv says what each column is, quality.json how good",
    "links.csv": "how good the links to each register are, held against the truth",
    "report.txt": "what the checks of the analysis file found, as its approvers saw it",
    "table.csv": "what one council reads of a protected table, a row for each cell and total",
    "table.txt": "what stands in it: measures, marks, rounding, rules, dates",
    "table.json": "the same for programs",
    "answer.txt": "the copy that somebody asked for, as they get it, joined on the officer's machine",
    "access.json": "the same for programs, with every digit",
    "certificates": "of what was destroyed after a month",
    "explanations.csv": "why each family of one council is shared or not: the council's own record",
    "summary.json": "the figures of this demo",
    "roles": "the three roles: certificates, and the folder and log of each",
}
NOTES = """\
In links.csv, rows of the stage `person` count persons, those of `link` links, of which a person may have
several. On the screen, "right" is `precision` and "found" is `recall` of the stage `person` where `by` is
`all`; "kin" adds up `false links` of the groups `twin` and `sibling`. `nobody's` are of people whom no
council delivered.

A certificate is checked without any server:

    {program} retention verify {folder}/certificates/destroyed-01.json --key {key}

It is dated a month ahead of your calendar: the demo sets its clock ahead to show what is destroyed then.
"""


def fresh(folder: Path) -> None:
    """Make the folder, or clear away what an earlier run made in it.

    Raises:
        StudyError: it holds something else, or a server still runs in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    guide = folder / GUIDE
    made = guide.is_file() and guide.read_text(errors="replace").startswith(MARK)
    if not made and any(folder.iterdir()):
        raise StudyError(f"{folder} holds something that no demo made. Name another place with --folder.")
    for role in SERVER_ROLES:
        lock = folder / "roles" / f"{role}-role" / "lock"
        if lock.is_file():
            with lock.open() as held:
                try:
                    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise StudyError(f"A server still runs on {lock.parent}. Stop it first.") from None
    for name in OWN:
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    width = max(map(len, OWN))
    lines = [MARK, "", *(f"{name:<{width}}  {words}" for name, words in OWN.items()), "", ""]
    near = _near(folder)
    key = near / "roles" / "identity-role" / "identity" / "audit" / PUBLIC_KEY
    guide.write_text("\n".join(lines) + NOTES.format(program=_program(), folder=near, key=key))


def perform(story: Story, folder: Path, families: int) -> None:
    """All steps, from an empty folder to its outputs."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    began = time.perf_counter()
    story.out.print(Text("Kinlink: a study of families, from councils' files to the analysis file", "bold"))
    keys = {name: Ed25519PrivateKey.generate() for name in APPROVERS}
    demo = demo_steps.Demo(story, folder, secrets.token_bytes(32))
    with story.step("A county is made up: families over fifteen years, councils, registers"):
        demo.make_county(families, SEED)
    (folder / "roles").mkdir(mode=0o700)
    roles = Processes(folder / "roles", ANY_PORTS, logs=True, governance=governance(keys))
    try:
        with story.step("Three roles start, each a process with keys and a database of its own"):
            demo.start(roles)
        with story.step("A project begins: keys are made, what may be stored is declared"):
            demo.begin()
        with story.step("Councils check their files, and divide what leaves into two halves"):
            demo.deliver()
        with story.step("Rows become persons and families, who stay over deliveries"):
            demo.join()
        with story.step("Eight registers are linked; who is nobody's is dropped unread"):
            demo.link()
        with story.step("The analysis file is built, checked, approved by two, and opened"):
            demo.release(keys)
        promises = demo.promises(roles)
        with story.step("A council reads its table, in which nobody can be found"):
            promises.tell_council(keys)
        with story.step("People ask, and get what they were promised"):
            promises.answer_people()
        with story.step("Nothing lies where it does not belong"):
            demo.look_into()
        with story.step("A month later the registers' extracts are gone"):
            promises.a_month_on()
    finally:
        stopping = time.perf_counter()
        codes = roles.stop()
    if any(codes.values()):
        raise StudyError(f"A role ended with an error. See {folder / 'roles'}/*.log.")
    stopped = round(time.perf_counter() - stopping, 2)
    with story.step("What was done is in three logs that nobody changed"):
        promises.check_logs()
    story.seconds["The roles stop"] = stopped
    total = time.perf_counter() - began
    document = {**demo.figures, **promises.figures, "seconds": {**story.seconds, "total": round(total, 2)}}
    (folder / "summary.json").write_text(json.dumps(document, indent=1) + "\n")
    story.out.print()
    story.out.print(Text(f"The roles have stopped. {total:.0f} seconds in all.", "bold"))
    show_next(story, _near(folder))


def show_next(story: Story, folder: Path) -> None:
    """What to open and what to try."""
    program = _program()
    lines = [
        ("Open", ""),
        ("", f"{folder / 'analysis' / 'persons.csv'}   one row a person, with dictionary.csv beside it"),
        ("", f"{folder / 'report.txt'}   what its approvers saw"),
        ("", f"{folder / 'links.csv'}   links against the truth, by group and kind of error"),
        ("", f"{folder / GUIDE}   what each file is, and how to check a certificate"),
        ("Try", ""),
        ("", f"{program} profile show npd"),
        ("", "make roles"),
    ]
    for head, line in lines:
        if len(line) > WIDTH - 4:
            line = line.replace("   ", "\n        ", 1)
        story.out.print(Text(head, "bold") if head else Text(f"    {line}"), soft_wrap=True)


def size(text: str) -> int:
    """Families: "1200" or "100k"."""
    found = re.fullmatch(r"(\d{1,7})(k?)", text)
    families = int(found[1]) * (1000 if found[2] else 1) if found else 0
    if not 600 <= families <= 1_000_000:
        raise ValueError("Between 600 and 1000k families.")
    return families


def _program() -> str:
    """The command line as somebody in this directory would type it."""
    beside = Path(sys.executable).with_name("kinlink")
    return str(_near(beside)) if beside.exists() else "kinlink"


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
    parser.add_argument("--families", type=size, default=FAMILIES, help="such as 1200 or 100k")
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
        perform(story, given.folder, given.families)
        if given.picture:
            given.picture.write_text(story.picture())
    except KeyboardInterrupt:
        print("\nStopped; the servers have ended too.", file=sys.stderr)
        return 130
    except (StudyError, LinkerError, PseudonymError, OSError) as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        if help := getattr(error, "help", ""):
            print(help, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
