"""Registers that their holders match: what leaves, who can open it, what comes back, and that it ends."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import grpc
import polars as pl
import pytest
from typer.testing import CliRunner

from linker.cli import app
from pseudonym import hpke
from pseudonym.errors import ConflictError, InputError, KeyMissingError, SealedError, TamperedError
from pseudonym.exchange_file import IDENTIFIERS, NUMBERS, ExchangeFile, context
from pseudonym.hpke import OpeningKey
from pseudonym.roles import domains, settings
from pseudonym.roles.arrow import written
from pseudonym.roles.callers import Role
from pseudonym.roles.destroying import certifier
from pseudonym.roles.ending import end_exchanges
from pseudonym.roles.opening import open_house
from pseudonym.storage.schema_broker import EXCHANGE as EXCHANGE_TABLE
from pseudonym.storage.schema_broker import URN
from pseudonym.tracing import WAY_BACK
from pseudonym.urn import Kind
from pseudonym.v1 import broker_pb2, optout_pb2, vault_pb2
from tests.pseudonym.roles import test_join as joins
from tests.pseudonym.roles import test_processes as chain
from tests.pseudonym.roles.harness import PURPOSE, Called, governance, join, mandate, reason, three
from tests.pseudonym.roles.test_registers import query
from tests.pseudonym.separation.parts import WHO, column, ids

EXCHANGE = "pnc-exchange"
DAY, LATER = ((date.today() + timedelta(days=days)).isoformat() for days in (0, 1))


@pytest.fixture(scope="module")
def world(tmp_path_factory, certificates):
    """Three roles that were told of exchanges, the project begun, twenty persons known; the holder's key."""
    folder = tmp_path_factory.mktemp("exchange")
    key, secret = OpeningKey.generate()
    exchanges = [
        {"project": chain.PROJECT, "recipient": name, "register": register, "public_key": key.public.hex()}
        for name, register in ((EXCHANGE, "pnc"), ("npd-exchange", "npd"), ("ndtms-exchange", "ndtms"))
    ]
    (folder / "key").write_text(secret.hex())
    (folder / "key").chmod(0o600)
    with three(folder, certificates, governance=governance(folder, exchanges=exchanges)) as roles:
        chain.begin(roles, certificates)
        with Called(roles[Role.BROKER].address, certificates, "key-custodian") as custodian:
            for one in exchanges:
                asked = broker_pb2.OpenDomainRequest(mandate=mandate(), recipient=one["recipient"])
                custodian(f"{chain.B}OpenDomain", asked, broker_pb2.OpenDomainResponse)
        exempted = optout_pb2.SetExemptionRequest(
            mandate=mandate(), register="ndtms", reason="made-up-data", reference="T-1"
        )
        with Called(roles[Role.IDENTITY].address, certificates, "data-protection-officer") as officer:
            officer("/pseudonym.v1.OptOutService/SetExemption", exempted, optout_pb2.SetExemptionResponse)
        people = joins.made_up(20, seed=201)
        born = [f"{2012 if number < 8 else 1980}-03-{number + 1:02}" for number in range(20)]
        people = people.with_columns(dob=pl.Series(born), nhs_number=pl.lit("9434765919"))
        join(roles[Role.IDENTITY], certificates, people, "e-1")
        yield roles, people, key, folder


def kinlink(certificates, server, bearer, *words, code=0):
    flags = [] if server is None else ["--service", server.address.replace("127.0.0.1", "localhost")]
    if server is not None:
        flags += ["--project", chain.PROJECT, "--purpose", PURPOSE, "--ca", certificates / "authority.pem"]
        flags += ["--cert", certificates / f"{bearer}.pem", "--key", certificates / f"{bearer}.key"]
    done = CliRunner().invoke(app, list(map(str, ["register", *words, *flags])))
    assert done.exit_code == code, done.output
    return done


def exported(world, certificates, recipient, out, **more):
    roles, *_ = world
    words = [out, "--recipient", recipient, "--day", DAY]
    for name, value in more.items():
        words += [f"--{name.replace('_', '-')}", value]
    kinlink(certificates, roles[Role.IDENTITY], "linkage-operator", "export", *words)
    return ExchangeFile.from_bytes(out.read_bytes())


@pytest.mark.slow
def test_r25_r31_r70_a_holder_matches_and_answers_by_numbers(world, certificates, tmp_path):
    roles, people, key, folder = world
    lines = "SELECT count(*) FROM disclosure"
    ((noted,),) = query(roles[Role.IDENTITY], lines, "identity")
    file = exported(world, certificates, EXCHANGE, tmp_path / "pnc.sealed")
    assert file.persons == 20
    # Everybody in it has a line of it, under their own key.
    assert query(roles[Role.IDENTITY], lines, "identity") == [(noted + 20,)]
    # What travels has nobody's name in it, and no number.
    content = (tmp_path / "pnc.sealed").read_bytes()
    assert not [one for one in people["surname"] if one.encode() in content]
    kinlink(
        certificates, None, "", "open", tmp_path / "pnc.sealed", "--exchange-key", folder / "key",
        "--out", tmp_path / "pnc.csv",
    )  # fmt: skip
    rows = pl.read_csv(tmp_path / "pnc.csv", infer_schema=False)
    assert rows.columns[0] == "urn"
    assert {"forename", "surname", "date_of_birth", "postcode"} < set(rows.columns)
    assert not {"nhs_number", "upn", "nino"} & set(rows.columns)  # the register does not carry them
    assert set(rows["surname"]) == set(people["surname"])
    # The numbers are the exchange's own: no other recipient's, and the identity role never had them.
    own = joins.waiting(roles, certificates)
    others = joins.urns(roles, certificates, [row["aid"] for row in own.values()])
    assert not set(rows["urn"]) & set(others)
    for path in roles[Role.IDENTITY].data.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert not [urn for urn in rows["urn"] if urn.encode() in data], path
    # The holder answers by number.
    answer = rows.head(3).select("urn", score=pl.lit("40"), passed=pl.lit("yes"))
    answer.write_csv(tmp_path / "answer.csv")
    words = [tmp_path / "answer.csv", "--batch", "pnc-1", "--dataset", "attainment"]
    words += ["--recipient", EXCHANGE]
    kinlink(certificates, roles[Role.ATTRIBUTES], "dataset-holder", "attach", *words)
    held = query(
        roles[Role.ATTRIBUTES],
        "SELECT count(DISTINCT aid) FROM a_row JOIN a_dataset ON number = dataset WHERE name = 'attainment'",
    )
    assert held == [(3,)]
    rows.head(1).select("urn", surname=pl.lit("Baxter")).write_csv(tmp_path / "names.csv")
    words = [tmp_path / "names.csv", "--batch", "pnc-2", "--dataset", "attainment", "--recipient", EXCHANGE]
    refused = kinlink(certificates, roles[Role.ATTRIBUTES], "dataset-holder", "attach", *words, code=1)
    assert "Baxter" not in refused.output
    # The same exchange again: the same numbers under new handles; it cannot be made to last longer.
    again = exported(world, certificates, EXCHANGE, tmp_path / "again.sealed").open(
        key, datetime.now(UTC).date()
    )
    assert set(again["urn"]) == set(rows["urn"])
    assert query(roles[Role.IDENTITY], lines, "identity") == [(noted + 20,)]
    words = [tmp_path / "later.sealed", "--recipient", EXCHANGE, "--day", DAY, "--days", "7"]
    refused = kinlink(certificates, roles[Role.IDENTITY], "linkage-operator", "export", *words, code=1)
    assert "another day" in refused.output


@pytest.mark.slow
def test_r29_only_those_who_can_be_in_the_register_leave_and_only_what_it_carries(
    world, certificates, tmp_path
):
    _, people, key, _ = world
    today = datetime.now(UTC).date()
    children = exported(world, certificates, "npd-exchange", tmp_path / "npd.sealed").open(key, today)
    assert children["urn"].n_unique() == 8
    assert set(children["date_of_birth"]) == set(people["dob"].head(8))
    initials = exported(world, certificates, "ndtms-exchange", tmp_path / "ndtms.sealed").open(key, today)
    assert initials["urn"].n_unique() == 20
    assert {"initials", "date_of_birth", "local_authority"} <= set(initials.columns)
    assert not {"forename", "surname", "postcode", "address", "nhs_number"} & set(initials.columns)
    first = people.select(pl.col("forename").str.slice(0, 1) + pl.col("surname").str.slice(0, 1)).to_series()
    assert sorted(initials["initials"]) == sorted(first.str.to_uppercase())


def test_nobody_without_the_holders_key_opens_the_file_and_no_part_of_it_is_exchanged():
    key, _ = OpeningKey.generate()
    other, _ = OpeningKey.generate()
    ends = datetime.now(UTC).date() + timedelta(days=2)

    def halves(number, last, handles=None):
        handles = handles or [bytes([number]) * 16, bytes([number + 100]) * 16]
        people = pl.DataFrame({"handle": handles, "surname": [f"a{number}", f"b{number}"]})
        numbers = pl.DataFrame({"handle": handles[::-1], "urn": [f"B{number}", f"A{number}"]})
        where = ("tf-2026", "x", ends.isoformat(), number, last)
        return (
            hpke.seal(key.public, written(people), *context(IDENTIFIERS, *where)),
            hpke.seal(key.public, written(numbers), *context(NUMBERS, *where)),
        )

    parts = [halves(1, False), halves(2, True)]
    file = ExchangeFile("tf-2026", "x", "npd", ends, 4, parts)
    again = ExchangeFile.from_bytes(file.to_bytes())
    assert sorted(again.open(key, ends).rows()) == [("A1", "a1"), ("A2", "a2"), ("B1", "b1"), ("B2", "b2")]
    with pytest.raises(SealedError):
        again.open(other, ends)
    with pytest.raises(InputError):
        again.open(key, ends + timedelta(days=1))
    (a, b), (c, d) = parts
    for wrong in (
        [parts[1], parts[0]],
        [parts[0]],
        [(b, a), (c, d)],
        [(a, d), (c, b)],
        [(a, b), (c, d), (c, d)],
    ):
        with pytest.raises(SealedError):
            ExchangeFile("tf-2026", "x", "npd", ends, 4, wrong).open(key, ends)
    for content in (b"", b"{}", json.dumps({"format": "kinlink-exchange/2"}).encode(), file.to_bytes()[:-9]):
        with pytest.raises((InputError, TamperedError)):
            ExchangeFile.from_bytes(content)


def test_what_was_not_agreed_is_not_exported(world, certificates):
    roles, *_ = world
    good: dict[str, Any] = {"recipient": EXCHANGE, "day": DAY, "days": 31}
    with Called(roles[Role.IDENTITY].address, certificates, "linkage-operator") as operator:
        for changed in (
            {"recipient": chain.RECIPIENT},  # a recipient, and of no exchange
            {"recipient": "elsewhere"},
            {"days": 0},
            {"days": 32},
            {"day": "tomorrow"},
            {"since": LATER},
            {"day": LATER},
            {"nhs_number_reason": "of course"},
        ):
            asked = vault_pb2.ExportRegisterRequest(mandate=mandate(), **{**good, **changed})
            called = operator.channel.unary_stream(
                f"{chain.V}ExportRegister",
                vault_pb2.ExportRegisterRequest.SerializeToString,
                vault_pb2.ExportRegisterResponse.FromString,
            )
            with pytest.raises(grpc.RpcError) as caught:
                list(called(asked, timeout=30))
            assert reason(caught.value)[:2] == ("INVALID_ARGUMENT", "FIELD_INVALID"), changed


def test_r45_r46_an_exchange_ends_with_its_key_and_leaves_no_number_of_anybody(tmp_path):
    made = settings.resolve(Role.BROKER, tmp_path, settings.Options(), make=True)
    with open_house(made, settings.DEVELOPMENT_DOMAIN) as house:
        broker = domains.open_broker(house)
        certify = certifier(house, broker.erasure.ledger)
        house.keyset.add("aid/1:tf-2026")
        broker.begin_project("tf-2026")
        for recipient in (EXCHANGE, "nis-analysis"):
            house.keyset.add(f"urn/1:tf-2026:{recipient}:1")
            broker.open_domain("tf-2026", recipient)
        pids, handles = ids(3), ids(3)
        broker.take("tf-2026", column(row_ref=ids(2), pid=pids[:2]))
        today = house.store.now() // 86_400

        def numbers(recipient=EXCHANGE, end_day=today + 31):
            rows = column(handle=handles, pid=pids)
            return broker.registers.numbers("tf-2026", recipient, rows, end_day, WHO)

        found = numbers()
        assert set(found["handle"]) == set(
            handles[:2]
        )  # the third is in no file: the project has nobody such
        assert numbers().equals(found)
        with pytest.raises(ConflictError):
            numbers(end_day=today + 30)
        known = broker.tracing.resolve("tf-2026", EXCHANGE, found.select("urn"), WHO, WAY_BACK)
        assert known["aid"].null_count() == 0
        assert end_exchanges(house, broker, certify) == 0
        with broker._rows.write() as at:
            at.execute(EXCHANGE_TABLE.update().values(end_day=today - 1))
        assert end_exchanges(house, broker, certify) == 1
        assert end_exchanges(house, broker, certify) == 0
        with pytest.raises(KeyMissingError):
            house.keyset.urn_key("tf-2026", EXCHANGE, 1)
        with pytest.raises(KeyMissingError):
            numbers()
        with broker._rows.read() as at:
            words = {row.word for row in at.execute(URN.select())}
        assert not words & set(found["urn"])
        broker.issue(
            "tf-2026", "nis-analysis", Kind.PERSON, pl.concat(broker.members("tf-2026", Kind.PERSON)), WHO
        )
        broker.erasure.ledger.close()
