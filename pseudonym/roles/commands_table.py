"""`kinlink table`: declare a protected table, have it checked and approved, read it, mark it for publication.

The officer creates and checks, approvers look and sign, a council reads its own area, everybody what was
published; `layout` and `ptable` need no service.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from pseudonym.cli.urn import Secret
from pseudonym.errors import InputError
from pseudonym.roles.callers import Role
from pseudonym.roles.commands import (
    HELP,
    At,
    RequestId,
    at_service,
    complaining,
    content_of,
    free,
    moment,
    plain,
    several,
    write,
)
from pseudonym.roles.commands_approving import (
    Approver,
    ApproverKey,
    AsJson,
    Yes,
    looked_at,
    pages,
    show_approvals,
    signed,
)
from pseudonym.roles.peer import Peer
from pseudonym.tables.cellkey import PTable
from pseudonym.tables.handout import TOLD_AS, handed_out, to_csv
from pseudonym.tables.published import Line, Published
from pseudonym.tables.report import TableReport
from pseudonym.tables.spec import Measure
from pseudonym.v1 import table_pb2

T = "/pseudonym.v1.TableService/"
LAYOUTS = ("how-well", "services", "cost", "feedback")

table_app = typer.Typer(name="table", help="Make, check, approve, read and publish protected tables.", **HELP)

Name = Annotated[str, typer.Argument(metavar="TABLE", help="The table's name.")]


@table_app.command("layout")
def layout(
    which: Annotated[str, typer.Argument(metavar="NAME", help=f"One of {', '.join(LAYOUTS)}.")],
) -> None:
    """Print a ready-made declaration, to edit: the study's three questions, and feedback."""
    with complaining():
        print(ready_made(which), end="")


@table_app.command("ptable")
def ptable(
    which: Annotated[str, typer.Argument(metavar="NAME", help="plus-minus-2 or 10-5.")],
    out: Annotated[Path, typer.Option("--out", metavar="PATH", help="Where to put it.")],
) -> None:
    """Write a perturbation table for cell keys as CSV, in ONS's form: pcv, ckey, pvalue."""
    with complaining():
        free(out)
        write(out, PTable.named(which).to_csv().encode())


@table_app.command("create")
@at_service()
def create(
    at: At,
    declaration: Annotated[Path, typer.Argument(metavar="FILE", help="The declaration, TOML.")],
    request_id: RequestId = None,
) -> None:
    """Have a declaration kept; nothing is counted yet."""
    with at.called(Role.ATTRIBUTES) as peer:
        request = table_pb2.CreateTableRequest(
            mandate=at.stated(request_id), specification=content_of(declaration)
        )
        answer = peer.call(f"{T}CreateTable", request, table_pb2.CreateTableResponse)
        print(_line(answer.table))


@table_app.command("check")
@at_service()
def check(
    at: At,
    name: Name,
    request_id: RequestId = None,
) -> None:
    """Count, protect and attack a table; the exit code is 1 if it is kept back."""
    with at.called(Role.ATTRIBUTES) as peer:
        request = table_pb2.CheckTableRequest(mandate=at.stated(request_id), name=name)
        answer = peer.call(f"{T}CheckTable", request, table_pb2.CheckTableResponse)
    report = TableReport.from_file(answer.table.report)
    print(several(report.text()), end="")
    if report.blocked:
        raise typer.Exit(1)


@table_app.command("list")
@at_service("purpose")
def list_(
    at: At,
    as_json: AsJson = False,
) -> None:
    """List the tables of a project that you may read."""
    with at.called(Role.ATTRIBUTES) as peer:
        found = list(_all(peer, at.project))
    if as_json:
        print(json.dumps([{"name": one.name, "title": one.title, "state": _state(one)} for one in found]))
        return
    for one in found:
        print(_line(one))


@table_app.command("show")
@at_service("purpose")
def show(
    at: At,
    name: Name,
    as_json: AsJson = False,
) -> None:
    """Show a table to those who make and approve it: how far it is, its report, and what would be read."""
    with at.called(Role.ATTRIBUTES) as peer:
        found = _got(peer, at.project, name)
    if as_json:
        files = {what: json.loads(data) if data else None for what, data in _files(found).items()}
        print(json.dumps({"name": found.name, "state": _state(found), **files}, indent=1))
        return
    print(_line(found))
    show_approvals(found.approvals)
    _show(found, Console())


@table_app.command("approve")
@at_service()
def approve(
    at: At,
    name: Name,
    approver: Approver,
    approver_key: ApproverKey,
    secret: Secret = "prompt",
    yes: Yes = False,
    request_id: RequestId = None,
) -> None:
    """Show what was built and found, and sign that you approve of exactly this."""
    with at.called(Role.ATTRIBUTES) as peer:
        found = _got(peer, at.project, name)
        files = {"report": found.report, "specification": found.specification, "content": found.content}
        digest = looked_at(found.manifest, files, lambda: _show(found, Console(stderr=True)))
        approval = signed(digest, approver, approver_key, secret, yes)
        request = table_pb2.ApproveTableRequest(mandate=at.stated(request_id), name=name, approval=approval)
        answer = peer.call(f"{T}ApproveTable", request, table_pb2.ApproveTableResponse)
        print(_line(answer.table))


@table_app.command("read")
@at_service()
def read(
    at: At,
    name: Name,
    as_json: AsJson = False,
    csv: Annotated[bool, typer.Option("--csv", help="CSV on stdout.")] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FOLDER", help="Write it there: TABLE.csv, .txt (a legend), .json."),
    ] = None,
    request_id: RequestId = None,
) -> None:
    """Read a released table: a council its own area and the total of all, others what was published."""
    with at.called(Role.ATTRIBUTES) as peer:
        request = table_pb2.ReadTableRequest(mandate=at.stated(request_id), name=name)
        content = peer.call(f"{T}ReadTable", request, table_pb2.ReadTableResponse).content
        table = Published.from_file(content)
        if out is not None:
            hand_out(table, name, out)
            return
    if as_json:
        print(json.dumps(asdict(table), indent=1))
    elif csv:
        print(several(to_csv(table)), end="")
    else:
        draw(table, Console())


@table_app.command("publish")
@at_service()
def publish(
    at: At,
    name: Name,
    request_id: RequestId = None,
) -> None:
    """Mark a released table for publication, as one of its approvers: everybody may read it then."""
    with at.called(Role.ATTRIBUTES) as peer:
        request = table_pb2.PublishTableRequest(mandate=at.stated(request_id), name=name)
        answer = peer.call(f"{T}PublishTable", request, table_pb2.PublishTableResponse)
        print(_line(answer.table))


def ready_made(which: str) -> str:
    """A ready-made declaration. Raises InputError."""
    if which not in LAYOUTS:
        raise InputError("There is no such declaration.", f"There are {', '.join(LAYOUTS)}.")
    return (resources.files("pseudonym.tables") / "layouts" / f"{which}.toml").read_text(encoding="utf-8")


def hand_out(table: Published, name: str, folder: Path) -> None:
    """Write a table's files into a folder and say where they are. Raises InputError."""
    made = {folder / file: data for file, data in handed_out(table, name).items()}
    for path in made:
        free(path)
    for path, data in made.items():
        write(path, data)
        print(f"{plain(path)}: {_FILES[path.suffix]}")


def draw(table: Published, console: Console) -> None:
    """Show a table: each measure a grid, with the periods side by side, and the rules below."""
    console.print(Text(plain(table.title), "bold"))
    for name, meaning, kind in table.measures:
        lines = [one for one in table.lines if one.measure == name]
        periods = list(dict.fromkeys(one.period for one in lines))
        console.print(Text(f"\n{plain(meaning)} ({TOLD_AS[Measure(kind)]})"))
        grid = Grid()
        for dimension in table.dimensions:
            grid.add_column(plain(dimension))
        for period in periods:
            grid.add_column(period or "value", justify="right")
            grid.add_column("of", justify="right")
        rows: dict[tuple[str, ...], list[Line]] = {}
        for one in lines:
            rows.setdefault(one.categories, []).append(one)
        for categories, some in rows.items():
            cells = [text for one in some for text in (_value(one), _of(one))]
            grid.add_row(*map(plain, categories), *cells)
        console.print(grid)
    for rule in table.rules:
        console.print(Text(f"- {plain(rule)}"))
    if any(one.left_out for one in table.lines):
        console.print(Text("- A number in brackets: so many suppressed cells are not in the total."))


_FILES = {".csv": "a row for each cell and total", ".txt": "what they mean", ".json": "both, for programs"}


def _value(one: Line) -> str:
    left_out = f" ({one.left_out})" if one.left_out and not one.mark else ""
    return one.mark or ("" if one.value is None else f"{one.value:,.15g}{left_out}")


def _of(one: Line) -> str:
    return "" if one.mark or one.of is None else f"{one.of:,}"


def _show(found: table_pb2.Table, console: Console) -> None:
    if found.report:
        console.print(Text(several(TableReport.from_file(found.report).text())), end="")
    if found.content:
        draw(Published.from_file(found.content), console)


def _got(peer: Peer, project: str, name: str) -> table_pb2.Table:
    request = table_pb2.GetTableRequest(project=project, name=name)
    return peer.call(f"{T}GetTable", request, table_pb2.GetTableResponse).table


def _all(peer: Peer, project: str) -> Iterator[table_pb2.Table]:
    def ask(token: str) -> table_pb2.ListTablesResponse:
        request = table_pb2.ListTablesRequest(project=project, page_token=token)
        return peer.call(f"{T}ListTables", request, table_pb2.ListTablesResponse)

    for page in pages(ask):
        yield from page.tables


def _files(found: table_pb2.Table) -> dict[str, bytes]:
    return {"manifest": found.manifest, "report": found.report, "content": found.content}


def _state(found: table_pb2.Table) -> str:
    return table_pb2.TableState.Name(found.state).removeprefix("TABLE_STATE_").lower()


def _line(found: table_pb2.Table) -> str:
    when = f", released {moment(found.release_time)}" if found.HasField("release_time") else ""
    shown = f", published {moment(found.publish_time)}" if found.HasField("publish_time") else ""
    return f"{plain(found.name)} for {plain(found.audience)}: {_state(found)}{when}{shown}"
