"""`kinlink profile`, and `kinlink link --profile`."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from linker.cli import options
from linker.cli.options import Wishes
from linker.cli.outputs import Outputs, default_table, manifest_beside
from linker.cli.reading import native_silence
from linker.cli.screen import Screen, session, table
from linker.files import read_frame
from linker.profiles import load, names
from linker.profiles.describe import described, sentences

if TYPE_CHECKING:
    from linker.profiles.link import ProfileResult

profile_app = typer.Typer(help="List the linkage profiles, or show one in plain words.", no_args_is_help=True)

Name = Annotated[
    str | None,
    typer.Option(
        "--profile",
        metavar="NAME|FILE",
        help="Link to a register by its profile; see 'kinlink profile list'.",
    ),
]
On = Annotated[
    datetime.date | None,
    options.day("--on", "With --profile: the day of the extract; ages are judged on it."),
]
Since = Annotated[
    datetime.date | None,
    options.day("--since", "With --profile: the first day that the extract speaks of."),
]
Family = Annotated[
    str | None,
    typer.Option("--family", metavar="COLUMN", help="With --profile: left column that says the family."),
]
Protected = Annotated[
    str | None,
    typer.Option(
        "--protected",
        metavar="COLUMN",
        help="With --profile: left column with Y for people whose change of identity is protected.",
    ),
]
Arm = Annotated[
    str | None,
    typer.Option("--arm", metavar="COLUMN", help="With --profile: left column that the report tells apart."),
]
Supplied = Annotated[
    list[str] | None,
    typer.Option(
        "--supply",
        metavar="FIELD=VALUE",
        help="With --profile: a value of all left records, as local_authority=Kinshire.",
    ),
]
Switches = Annotated[
    list[str] | None,
    typer.Option(
        "--switch",
        metavar="NAME=REASON",
        help="With --profile: use what the profile leaves off, and why that is lawful; kept in the manifest.",
    ),
]


@dataclass(frozen=True)
class Asked:
    """The options of `--profile`, as typed."""

    profile: str | None
    on: datetime.date | None
    since: datetime.date | None
    family: str | None
    protected: str | None
    arm: str | None
    supplied: list[str] | None
    switches: list[str] | None

    def check(self, others: Mapping[str, object]) -> None:
        """Refuse options that do not go together.

        Args:
            others: the options that a profile decides itself, by name; those given are true.

        Raises:
            typer.BadParameter: says which.
        """
        if self.profile is None:
            given = {
                "--on": self.on, "--since": self.since, "--family": self.family, "--arm": self.arm,
                "--protected": self.protected, "--supply": self.supplied, "--switch": self.switches,
            }  # fmt: skip
            for option, value in given.items():
                if value:
                    raise typer.BadParameter(f"{option} goes with --profile.")
            return
        for option, other in others.items():
            if other:
                raise typer.BadParameter(f"{option} does not go with --profile: the profile decides that.")
        if self.on is None:
            raise typer.BadParameter("--profile needs --on, the day of the extract, such as 2024-12-31.")


def link_by_profile(
    screen: Screen,
    asked: Asked,
    files: tuple[Path, Path],
    wishes: Wishes,
    out: Path | None,
    report: Path | None,
    seed: int,
    threads: int | None,
) -> None:
    """`kinlink link LEFT RIGHT --profile NAME`."""
    from linker.manifest import PROFILE_FORMAT
    from linker.profiles.figures import FORMAT
    from linker.profiles.link import link_profile
    from linker.profiles.outcomes import SCHEMA
    from linker.profiles.page import write_profile_report
    from linker.profiles.sides import records_with
    from linker.report import MARK

    assert asked.profile is not None and asked.on is not None
    chosen = load(asked.profile)
    on, since = asked.on, asked.since
    out = out or default_table("outcomes", list(files))
    options.apart({"--out": out, "the manifest beside --out": manifest_beside(out), "--report": report})
    outputs = Outputs(list(files))
    outputs.claim_table(out, tuple(SCHEMA), {"review": tuple(SCHEMA)})
    outputs.claim_text(manifest_beside(out), PROFILE_FORMAT)
    if report:
        outputs.claim_text(report, MARK)
        outputs.claim_text(report.with_suffix(".json"), FORMAT)
    with native_silence():
        frames = [read_frame(path) for path in files]
    besides = [name for name in (asked.family, asked.protected, asked.arm) if name is not None]
    left_id = next((name for name in wishes.ids if name in frames[0].columns), None)
    left = records_with(
        frames[0],
        besides,
        id_column=left_id,
        mapping=dict(wishes.mapping),
        ignore=[name for name in wishes.ignore if name in frames[0].columns],
    )
    right = frames[1].drop(name for name in wishes.ignore if name in frames[1].columns)
    with screen.progress() as progress:
        result = link_profile(
            left,
            right,
            chosen,
            on=on,
            since=since,
            family=asked.family,
            protected=asked.protected,
            arm=asked.arm,
            supplied=_pairs("--supply", asked.supplied),
            switches=_pairs("--switch", asked.switches),
            seed=seed,
            threads=threads,
            progress=progress,
        )
    outputs.table("outcomes", result.outcomes, out)
    outputs.companion("review", result.review, out)
    import json

    outputs.text(
        "manifest", json.dumps(result.manifest, indent=1, ensure_ascii=False) + "\n", manifest_beside(out)
    )
    if report:
        outputs.note("report figures", write_profile_report(result.report, result.manifest, report))
        outputs.note("report", report)
    _show(screen, result)
    outputs.show(
        screen,
        {
            "outcomes": f"{result.outcomes.height:,} outcomes",
            "review": f"{result.review.height:,} pairs for people to decide",
            "manifest": "the manifest of the run",
            "report": "the report, opens in a browser",
            "report figures": "its figures",
        },
    )


def _show(screen: Screen, result: ProfileResult) -> None:
    report = result.report
    screen.document |= {"report": dict(report), "manifest": dict(result.manifest)}
    screen.title(f"{report['title']}: profile {result.profile.name}, version {result.profile.version}")
    lines = [(name.replace("_", " ").capitalize(), f"{many:,}") for name, many in report["outcomes"].items()]
    expected = report["expected_precision"]
    if expected["estimate"] is not None:
        low, high = expected["low"], expected["high"]
        lines.append(
            ("Expected precision (by the model)", f"{expected['estimate']:.4f} ({low:.4f} to {high:.4f})")
        )
    lines.append(("Threshold", f"{report['thresholds']['link']:g} bits"))
    lines.append(("Highest weight that can be reached", f"{report['highest_weight']['bits']:.1f} bits"))
    screen.say(table(["", ""], lines, numbers=[1], heads_shown=False))
    rows = [
        (one["stage"], one["key"] or "-", one["outcome"], f"{one['pairs']:,}") for one in report["stages"]
    ]
    screen.title("Stages")
    screen.say(table(["Stage", "Key", "Outcome", "Pairs"], rows, numbers=[3]))


def _pairs(option: str, given: list[str] | None) -> dict[str, str]:
    made = {}
    for one in given or ():
        name, mark, value = one.partition("=")
        if not (mark and name.strip() and value.strip()):
            raise typer.BadParameter(f"{option} takes NAME=VALUE.")
        made[name.strip()] = value.strip()
    return made


@profile_app.command("list")
def list_profiles(as_json: options.AsJson = False) -> None:
    """List the profiles that come with Kinlink."""
    with session(as_json) as screen:
        found = [load(name) for name in names()]
        screen.document["profiles"] = [
            {"name": one.name, "version": one.version, "digest": one.digest, "title": one.title}
            for one in found
        ]
        rows = [(one.name, one.version, one.title, one.applicable.words) for one in found]
        screen.say(table(["Profile", "Version", "Register", "Who can be in it"], rows))


@profile_app.command("show")
def show_profile(
    name: Annotated[str, typer.Argument(metavar="NAME|FILE", help="A profile, or a file of one.")],
    as_json: options.AsJson = False,
) -> None:
    """Say in plain words what a profile rests on, and what it takes to be linked."""
    with session(as_json) as screen:
        profile = load(name)
        screen.document["profile"] = described(profile)
        screen.title(f"{profile.name}, version {profile.version}")
        screen.say(table(["", ""], sentences(profile), heads_shown=False))
        for stage, words in (
            ("identifiers", "Identifiers, each with what must bear it out"),
            ("keys", "Keys"),
        ):
            if screen.document["profile"][stage]:
                screen.title(words)
                rows = [(one["key"], one["label"]) for one in screen.document["profile"][stage]]
                screen.say(table(["Key", "What must agree"], rows))
