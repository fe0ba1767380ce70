"""The study with canaries in its inputs, by the commands that people use: done right, then wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.county.councils import COUNCILS
from benchmarks.county.county import County
from benchmarks.county.presets import PRESETS, REGISTERS
from benchmarks.county.write import delivery_days, write_county
from deploy import apart, study
from deploy.service import Service
from linker.cli import app
from linker.resources import Table
from pseudonym.hpke import OpeningKey
from pseudonym.roles.callers import SERVER_ROLES, Role
from tests import planted
from tests.canary_wrong import malformed, wrong_attributes, wrong_identities
from tests.overheard import Overheard
from tests.partners import test_commands as partners
from tests.planted import Plants
from tests.pseudonym.roles.harness import Organisation, Trio
from tests.service.harness import arrow

FAMILIES, DAY, EXCHANGE = 240, delivery_days()[-1], "npd-exchange"


def quiet(*_: object) -> None:
    """Nobody looks at the progress."""


@contextmanager
def roles(folder: Path) -> Iterator[tuple[Trio, Service, dict[str, Ed25519PrivateKey], OpeningKey]]:
    """Three roles; who approves; and the key of a register's holder."""
    certificates, told = folder / "certificates", folder / "governance.json"
    certificates.mkdir(parents=True)
    Organisation().write_all(certificates)
    keys = {name: Ed25519PrivateKey.generate() for name in study.APPROVERS}
    holder, _ = OpeningKey.generate()
    exchange = {
        "project": study.PROJECT,
        "recipient": EXCHANGE,
        "register": "npd",
        "public_key": holder.public.hex(),
    }
    told.write_text(json.dumps({**study.governance(keys), "exchanges": [exchange]}))
    told.chmod(0o600)
    for role in SERVER_ROLES:
        (folder / f"{role}-role").symlink_to(folder / role)
    with Trio(folder, certificates, told) as trio:
        trio.start()
        addresses = {role: f"localhost:{trio.port(role)}" for role in SERVER_ROLES}
        yield trio, Service(addresses, certificates, study.PROJECT, study.PURPOSE), keys, holder
        trio.stop()


def council(heard: Overheard, plants: Plants, county: Path, name: str, folder: Path) -> None:
    """A council looks through its file, divides it and sends it; the operator joins it."""
    label = plants.label(f"{name}, the name of its file")
    file = folder / f"{label}.parquet"
    shutil.copy(county / "councils" / name / f"{DAY}.parquet", file)
    shutil.copy(study.LAYOUTS / f"{name}.toml", folder)
    options = ["--layout", folder / f"{name}.toml", "--day", DAY]
    heard.command(app, "council", "check", file, *options, "--explanations", folder / f"{name}-families.csv")
    heard.command(app, "council", "divide", file, *options, "--out", folder / "outbox" / name)
    extra = pl.read_parquet(file).with_columns(
        pl.lit(plants.value(f"{name}, remark")).alias(plants.label("a heading"))
    )
    extra.write_parquet(folder / "extra.parquet")
    heard.command(
        app, "council", "divide", folder / "extra.parquet", *options, "--out", folder / "no", code=1
    )
    heard.command(app, "council", "layout", folder / "extra.parquet")
    wrong_papers(heard, plants, file, folder / f"{name}.toml")
    outbox = folder / "outbox" / name
    heard.file("the half for the attributes role", (outbox / "attributes.parquet").read_bytes())
    heard.file("receipts", (outbox / "receipt.json").read_bytes())
    heard.sent += pl.read_parquet(outbox / "identifiers.parquet").write_csv()
    batch = f"{plants.label(f'{name}, the batch')}-1"
    identifiers = ["submit", outbox / "identifiers.parquet", "--id", "row_ref", "--map", "household=family"]
    identifiers += ["--source", plants.label(f"{name}, the source"), "--batch", batch, "--json"]
    sent = json.loads(heard.command(app, *identifiers, at="identity council"))["submission"]["submission_id"]
    attributes = [
        "attributes",
        "send",
        outbox / "attributes.parquet",
        "--dataset",
        "families",
        "--batch",
        batch,
    ]
    heard.command(app, *attributes, at="attributes council")
    started = heard.command(
        app, "job", "join", sent, "--family", "family", "--json", at="identity linkage-operator"
    )
    jobs(heard, json.loads(started)["job"]["job_id"], sent)


def wrong_papers(heard: Overheard, plants: Plants, file: Path, layout: Path) -> None:
    """Layouts and lists of who is left out that are wrong, and columns that are not there."""
    text, paper = layout.read_text(), file.with_name("paper")
    for old, new in (
        ("[columns]", f"[columns]\n{plants.label('a field of a layout')} = 'x'"),
        ('postcode = "', f'postcode = "{plants.label("a column of a layout")} '),
        ('= "parent"', f'= "{plants.label("a code of a layout")}"'),
        ('council = "', f'council = "{plants.label("a council")} '),
    ):
        assert old in text
        paper.write_text(text.replace(old, new, 1))
        heard.command(app, "council", "check", file, "--layout", paper, "--day", DAY, code=1)
    for header in (
        "family,member,code",
        "family,member,remark",
        plants.label("a heading of who is left out"),
    ):
        row = ",".join(plants.value(f"left out, {one}") for one in header.split(","))
        listed = file.with_name("left-out.csv")
        listed.write_text(f"{header}\n{row}\n")
        options = ["--layout", layout, "--day", DAY, "--left-out", listed]
        heard.command(app, "council", "check", file, *options, code=1)
    words = [
        "--id",
        "row_ref",
        "--map",
        f"surname={plants.label('a column that is mapped')}",
        "--source",
        "x",
    ]
    heard.command(app, "submit", file, *words, "--batch", "mapped", at="identity council", code=1)


def jobs(heard: Overheard, job: str, submission: str) -> None:
    """All that is told of a job and of what it was about."""
    for words in (("job", "wait", job), ("job", "show", job), ("job", "report", job), ("job", "list"),
                  ("submission", "show", submission), ("submission", "refusals", submission),
                  ("submission", "list")):  # fmt: skip
        heard.command(app, *words, at="identity linkage-operator")
    with heard.service.linker(Role.LINKAGE_OPERATOR) as client:
        heard.hear("jobs", [*client.watch(job), client.report(job, with_model=False)])
        for table in (Table.LINKS, Table.REVIEW):
            found = client.read_links(job, table)
            heard.hear("jobs", found.write_csv())
        if found.height:
            pair = found.row(0, named=True)
            heard.tried("Explain", client.explain, job, pair["left_id"], pair["right_id"])


def register(heard: Overheard, county: Path, name: str) -> None:
    """A register's extract is sent and linked."""
    halves, _ = study.extract(county, name, bytes(range(32)))
    heard.sent += halves.identifiers.write_csv()
    heard.file("the half for the attributes role", arrow(halves.attributes, compression="uncompressed"))
    sent, _ = study.send_extract(heard.service, name, halves, f"{name}-1", quiet)
    job, figures = study.link(heard.service, sent, name, DAY, quiet)
    heard.hear("jobs", (job, figures))
    jobs(heard, job.job_id, sent)


def exchange(heard: Overheard, plants: Plants, folder: Path, holder: OpeningKey) -> None:
    """A holder matches in its own premises and answers, rightly and wrongly."""
    sealed = folder / "npd.sealed"
    at = "identity linkage-operator"
    heard.command(app, "register", "export", sealed, "--recipient", EXCHANGE, "--day", DAY, at=at)
    heard.file("the file for a holder", sealed.read_bytes())
    wrong = pl.DataFrame({"urn": [plants.value("answer, urn")], "surname": [plants.value("answer, surname")]})
    wrong.write_csv(folder / "answer.csv")
    for dataset in ("npd", plants.label("answer, dataset")):
        words = ["register", "attach", folder / "answer.csv", "--batch", plants.label("answer, batch")]
        words += ["--dataset", dataset, "--recipient", EXCHANGE]
        heard.command(app, *words, at="attributes dataset-holder", code=1)


def partner(heard: Overheard, plants: Plants, folder: Path) -> None:
    """A council asks a partner, and reads its answers; and what either is told of wrong files."""
    folder.mkdir()
    place = partners.Place(folder)
    who = {name: plants.value(f"partner check, {name}", form) for name, form in
           (("family", "code"), ("forename", "word"), ("surname", "word"), ("date_of_birth", "day"),
            ("nino", "nino"), ("address", "word"), ("postcode", "postcode"),
            ("social_worker", "word"))}  # fmt: skip
    child = who | {"date_of_birth": "2019-03-04", "forename": plants.value("partner check, child")}
    wrong = who | {
        "date_of_birth": plants.value("partner check, no day"),
        "nino": plants.value("partner check, no nino"),
    }
    listed = {"First name": who["forename"], "Last name": who["surname"], "DOB": who["date_of_birth"],
              "NINO": who["nino"], "on benefit": "yes",
              plants.label("partner's heading"): plants.value("partner's list")}  # fmt: skip
    pl.DataFrame([who]).write_csv(place.path("families.csv"))
    pl.DataFrame([listed]).write_csv(place.path("clients.csv"))
    said = [place.ask("out-of-work-benefits", "q"),
            place.answer("q", "clients.csv", "a", answer_column="on benefit"),
            place.read("a", "indicators.csv"), place.run("status", desk="desk")]  # fmt: skip
    assert [one.exit_code for one in said] == [0, 0, 0, 0], [one.output for one in said]
    heard.file("partner, indicators", place.path("indicators.csv").read_bytes())
    for rows in ([who, child], [wrong], [{plants.label("a column"): plants.value("an unknown column")}]):
        pl.DataFrame(rows).write_csv(place.path("families.csv"))
        said.append(place.ask("out-of-work-benefits", "other"))
        assert said[-1].exit_code == 1
    place.path("clients.csv").write_text(
        f"{plants.value('a list, heading')}\n{plants.value('a list, row')}\n"
    )
    said += [place.answer("q", "clients.csv", "b"), place.answer("clients.csv", "clients.csv", "b")]
    said += [place.read("clients.csv", "other.csv")]
    assert [one.exit_code for one in said[-3:]] == [1, 1, 1]
    for one in said:
        heard.said("the partner's commands", one)
    leave = ("families.csv", "clients.csv", "indicators.csv", "incidents.csv", "people.csv")
    heard.folder("partner, files", folder, leave=leave)


def analysis(heard: Overheard, plants: Plants, folder: Path, keys: dict[str, Ed25519PrivateKey]) -> None:
    """The analysis file, built, approved and opened; and specifications that are wrong."""
    opening, _ = OpeningKey.generate()
    text = Path(study.__file__).with_name("analysis.toml").read_text()
    text = text.format(sealing=opening.public.hex(), signing="00" * 32)
    head, age_and_role, *_ = text.split("[[sets]]")
    text = head + "[[sets]]" + age_and_role.replace("= 10", "= 3").replace("0.05", "0.2")
    title = plants.label("the title of the analysis file")
    text = text.replace('title = "', f'title = "{title}: ')
    for number, (old, new) in enumerate((
        ('name = "arm"', f'name = "{plants.label("a column of a specification")}"'),
        ("most_members = 5", f'{plants.label("a member of a specification")} = 5'),
        ('use = "evaluation"', f'use = "{plants.label("a use")}"'),
        ("2030-12-31", plants.label("a time")),
        ('researchers = ["alice"]', f'researchers = "{plants.label("a researcher")}"'),
    )):  # fmt: skip
        assert old in text
        (folder / "wrong.toml").write_text(text.replace(old, new).replace("nis-2024", f"wrong-{number}"))
        for words in (("create", folder / "wrong.toml"), ("check", f"wrong-{number}")):
            heard.command(app, "release", *words, at="attributes data-protection-officer", code=None)
    apart.settled(folder.parent / "roles")
    made, fetched = study.release(heard.service, text, keys)
    heard.hear("the analysis file, its report", made.report)
    for name, data in fetched(opening).files.items():
        heard.file(f"the analysis file, {name}", data)
    heard.hear("the analysis file, its manifest", fetched(opening).manifest)


def played(folder: Path) -> tuple[Plants, Overheard]:
    """The study from its start, right and wrong."""
    plants = Plants()
    county, home = folder / "county", folder / "home"
    home.mkdir()
    write_county(County(FAMILIES, 11, PRESETS["realistic"]), county)
    planted.councils(county, plants)
    planted.registers(county, plants)
    with roles(folder / "roles") as (trio, service, keys, holder):
        heard = Overheard(service)
        study.begin(service)
        with service.broker(Role.KEY_CUSTODIAN) as custodian:
            custodian.open_domain(EXCHANGE)
        for name in COUNCILS:
            council(heard, plants, county, name, home)
        for name in REGISTERS:
            register(heard, county, name)
        exchange(heard, plants, home, holder)
        partner(heard, plants, folder / "partner")
        wrong_identities(heard, plants, home)
        wrong_attributes(heard, plants, home)
        malformed(heard, plants)
        analysis(heard, plants, home, keys)
        for (
            role
        ) in SERVER_ROLES:  # while they run: what a database has not yet put into its file lies beside it
            heard.folder(f"{role} at rest", folder / "roles" / role)
    for role in SERVER_ROLES:
        heard.folder(f"{role} at rest", folder / "roles" / role)
        heard.hear(f"the log of {role}", trio.servers[role].log)
    for path in home.glob("*-families.csv"):
        heard.file("council at home", path.read_bytes())
    for path in home.glob("*refus*"):
        heard.file("council at home", path.read_bytes())
    return plants, heard
