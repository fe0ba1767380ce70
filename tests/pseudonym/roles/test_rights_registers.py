"""A wrong value links a person with somebody else's row of a register; corrected, the wrong link is gone."""

from __future__ import annotations

import json
from datetime import date

import polars as pl
import pytest

from pseudonym.rights.words import total
from pseudonym.roles.callers import Role
from pseudonym.v1 import attribute_pb2, rights_pb2, vault_pb2
from tests.pseudonym.roles import test_join as joins
from tests.pseudonym.roles import test_processes as chain
from tests.pseudonym.roles import test_registers as registers
from tests.pseudonym.roles import test_rights as rights
from tests.pseudonym.roles.harness import client, governance, join
from tests.pseudonym.roles.test_erasure import issued


class World:
    """Forty people joined, one of them delivered under another's name, and a register that has both."""

    def __init__(self, trio):
        self.trio, self.roles = trio, trio.servers
        self.certificates = trio.certificates
        chain.begin(self.roles, self.certificates)
        true = joins.made_up(40, seed=401)
        stranger = joins.made_up(3, seed=402).select("forename", "surname", "dob")
        # The council typed the stranger's particulars for the first person, at that person's own home.
        self.true, self.wrong = true.row(0, named=True), stranger.row(0, named=True)
        typed = true.with_columns(
            pl.when(pl.int_range(pl.len()) == 0).then(pl.lit(self.wrong[name])).otherwise(name).alias(name)
            for name in ("forename", "surname", "dob")
        )
        join(self.roles[Role.IDENTITY], self.certificates, typed, "r-1")
        whose = {ref: row["aid"] for ref, row in joins.waiting(self.roles, self.certificates).items()}
        self.aid = whose[self.true["row_ref"]]
        carried = pl.concat([true[:25], typed[:1]])
        self.extract = registers.extract_of(carried, seed=403, extra=20)
        self.submission = registers.send_halves(self.roles, self.certificates, self.extract, "pnc-1")

    def link(self, request_id, sent_again=()):
        job = registers.start(self.roles, self.certificates, self.submission, request_id=request_id)
        figures = registers.figures(self.roles, self.certificates, job)
        if sent_again:  # what was nobody's before was deleted unread
            with self.trio.called(Role.ATTRIBUTES, "dataset-holder") as holder:
                kind, values = attribute_pb2.SubmitAttributesRequest, chain.attributes(row_ref=sent_again)
                chain.upload(holder, "SubmitAttributes", kind, chain.header("pnc-again"), [values])
        else:
            registers.settled(self.roles, self.certificates)
        with client(self.roles[Role.IDENTITY], self.certificates, "linkage-operator") as operator:
            links = operator.read_links(job)
        return figures, links

    def held(self):
        """Of the person, the runs that linked each row that came of the register."""
        rows = registers.query(
            self.roles[Role.ATTRIBUTES],
            "SELECT a_link.run, a_dataset.name FROM a_row JOIN a_link USING (handle) "
            f"JOIN a_dataset ON a_dataset.number = a_row.dataset WHERE a_row.aid = x'{self.aid}'",
        )
        return sorted(rows)

    def urn(self):
        with self.trio.called(Role.BROKER, "attributes") as keeper:
            return issued(keeper, [bytes.fromhex(self.aid)])[0]


@pytest.mark.slow
def test_r60_r65_after_a_rectification_the_wrong_link_is_gone_and_the_number_the_same(tmp_path, certificates):
    told = governance(tmp_path, contacts=rights.CONTACTS)
    with rights.Rights(tmp_path, certificates, told) as trio:
        trio.start()
        world = World(trio)
        wrong_ref, true_ref = (
            world.extract.filter(surname=one["surname"], dob=one["dob"])["row_ref"][0]
            for one in (world.wrong, world.true)
        )
        _, links = world.link("link-first")
        linked = dict(links.select("right_id", "left_id").rows())
        assert wrong_ref in linked  # the register's row of somebody else
        assert true_ref not in linked
        before = world.urn()
        assert [name for _, name in world.held()] == ["attainment", "links"]

        described = vault_pb2.SoughtPerson(
            born=world.wrong["dob"], surname=world.wrong["surname"], postcode=world.true["postcode"]
        )
        explained = rights.granted(world, rights_pb2.RIGHT_EXPLANATION, open_more={"sought": [described]})
        answer = rights.answer(world, explained.case_id, tmp_path / "explained")
        (link,) = answer["links"]
        assert link["register"] == "pnc"
        assert total(link["parts"]) == link["weight"] >= link["threshold"]
        assert len(link["words"]) == len(link["parts"]) + 2
        assert answer["logic"]
        assert "records" not in answer
        assert [one["name"] for one in answer["attributes"]["datasets"]] == ["links"]

        corrections = [
            rights_pb2.RightsCorrection(field=field, value=world.true[name])
            for field, name in (("given", "forename"), ("surname", "surname"), ("born", "dob"))
        ]
        rights.granted(
            world,
            rights_pb2.RIGHT_RECTIFICATION,
            open_more={"sought": [described]},
            corrections=corrections,
            truth=rights_pb2.CORRECTION_TRUTH_NEVER,
        )
        # At once: what the wrong values were linked to is nobody's to read.
        assert {run for run, _ in world.held()} == {0}
        assert world.urn() == before

        # And for good, with the same extract: the right row takes its place.
        _, links = world.link("link-second", [true_ref])
        linked = dict(links.select("right_id", "left_id").rows())
        assert true_ref in linked
        assert wrong_ref not in linked
        # What was of no run is gone, in a transaction after that in which the new rows come.
        found = chain.eventually(lambda: all(run for run, _ in world.held()) and world.held())
        assert sorted(name for _, name in found) == ["attainment", "links"]
        assert world.urn() == before
        copied = rights.granted(
            world,
            rights_pb2.RIGHT_ACCESS,
            open_more={
                "sought": [
                    vault_pb2.SoughtPerson(
                        born=world.true["dob"],
                        surname=world.true["surname"],
                        postcode=world.true["postcode"],
                    )
                ]
            },
        )
        text = json.dumps(rights.answer(world, copied.case_id, tmp_path / "copied"))
        assert world.true["surname"] in text
        assert world.wrong["surname"] not in text
        assert date.today().isoformat() in text
