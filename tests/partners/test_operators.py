"""Who may make and read partner checks: few, by name, and every change is in the log."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pseudonym.audit import VerifierKey, verify
from pseudonym.audit.reading import entries_of
from pseudonym.errors import InputError, OperatorError
from pseudonym.partners.checks import CHECKS
from pseudonym.partners.operator_key import OperatorKey, new_operator_key, new_partner_key, partner_key
from pseudonym.partners.register import LARGEST, MOST, Operator, PartnerRegister
from pseudonym.partners.rows import pick
from pseudonym.roles import governance
from tests.partners.made import NOW, adults, operator_key

BENEFITS = CHECKS["out-of-work-benefits"]


def entries(council):
    return [(one.actor, one.action, one.count) for one in entries_of(council.folder / "audit")]


def people(count):
    return [
        {"name": f"op-{place}", "person": f"person-{place}", "public_key": f"{place:064x}"}
        for place in range(1, count + 1)
    ]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 20), st.one_of(st.none(), st.integers(1, 20)))
def test_r19_more_operators_than_the_cap_are_refused(count, most):
    content = {"council": "e10000003", "operators": people(count)} | ({} if most is None else {"most": most})
    if count <= (MOST if most is None else most):
        assert len(PartnerRegister.read(content).operators) == count
    else:
        with pytest.raises(InputError, match="is the most"):
            PartnerRegister.read(content)


@pytest.mark.parametrize("most", [0, -1, LARGEST + 1])
def test_r19_the_cap_itself_is_small(most):
    with pytest.raises(InputError):
        PartnerRegister.read({"council": "e10000003", "most": most})


@pytest.mark.parametrize("part", ["name", "person", "public_key"])
def test_r19_an_operator_is_one_person_with_one_key(part):
    two = people(2)
    two[1][part] = two[0][part]
    with pytest.raises(InputError, match="one name, person or key"):
        PartnerRegister.read({"council": "e10000003", "operators": two})


def test_r19_the_governance_file_is_refused_beyond_the_cap(tmp_path):
    path = tmp_path / "governance.json"
    for count, most in ((12, 12), (2, 2)):
        path.write_text(
            json.dumps({"partner_checks": {"council": "e1", "most": most, "operators": people(count)}})
        )
        path.chmod(0o600)
        found = governance.read(path).partner_checks
        assert found is not None
        assert len(found.operators) == count
        path.write_text(
            json.dumps({"partner_checks": {"council": "e1", "most": most, "operators": people(count + 1)}})
        )
        with pytest.raises(InputError):
            governance.read(path)


@pytest.mark.parametrize("wrong", [{"most": "12"}, {"operators": [{}]}, {"others": []}, {"partners": [1]}])
def test_a_governance_file_of_another_form_is_refused(tmp_path, wrong):
    path = tmp_path / "governance.json"
    path.write_text(json.dumps({"partner_checks": {"council": "e1"} | wrong}))
    path.chmod(0o600)
    with pytest.raises(InputError):
        governance.read(path)


def test_r19_nobody_but_an_operator_makes_or_reads(council):
    with pytest.raises(OperatorError), council.opened(council.stranger):
        raise AssertionError("opened")
    assert entries(council)[-1] == ("operator/nobody", "partner.refused", 0)
    assert not list((council.folder / "kept").iterdir())
    with council.opened(council.bob):
        pass


def test_r19_who_is_no_longer_an_operator_is_refused(council):
    fewer = replace(council.register, operators=council.register.operators[1:])
    with council.opened():
        pass
    with pytest.raises(OperatorError), council.opened(register=fewer):
        raise AssertionError("opened")


def test_r19_additions_are_in_the_log_before_anything_is_done(council):
    with council.opened():
        assert entries(council) == [
            ("operator/alice", "partner.operator-added", 2),
            ("operator/bob", "partner.operator-added", 2),
            ("operator/nobody", "partner.operators-most", 12),
        ]
    with council.opened():
        assert len(entries(council)) == 3  # told once
    carol = Operator("carol", "carol", operator_key().public)
    other = replace(council.register.operators[1], public_key=operator_key().public)
    changed = replace(council.register, most=3, operators=(council.register.operators[0], other, carol))
    with council.opened(register=changed):
        assert entries(council)[3:] == [
            ("operator/bob", "partner.operator-removed", 3),
            ("operator/bob", "partner.operator-added", 3),
            ("operator/carol", "partner.operator-added", 3),
            ("operator/nobody", "partner.operators-most", 3),
        ]


def test_r19_every_asking_is_in_a_log_that_others_can_check(council):
    found = pick(BENEFITS, adults(), NOW.date())
    with council.opened() as desk:
        desk.ask(BENEFITS, "jcp-ely", found.frame, 14)
    assert entries(council)[-1] == ("operator/alice", "partner.ask", 3)
    key = VerifierKey.parse(council.log)
    checked = verify(council.folder / "audit", council.folder.parent / "watcher", [key])
    assert checked.entries == checked.signed == 4


def test_r17_a_partner_is_asked_only_what_was_agreed(council):
    one = replace(council.register.partners[0], checks=frozenset({"stable-housing"}))
    register = replace(council.register, partners=(one,))
    found = pick(BENEFITS, adults(), NOW.date())
    with council.opened(register=register) as desk:
        for partner in ("jcp-ely", "nobody"):
            with pytest.raises(InputError, match="No partner"):
                desk.ask(BENEFITS, partner, found.frame, 14)
    assert "partner.ask" not in {action for _, action, _ in entries(council)}
    assert not list((council.folder / "kept").iterdir())


def test_keys_open_with_their_passphrase_and_for_their_use():
    pem, public = new_operator_key(b"secret")
    assert OperatorKey.from_pem(pem, b"secret").public == public
    other, sealed_to = new_partner_key(b"secret")
    assert partner_key(other, b"secret").public == sealed_to
    for file, passphrase in ((pem, b"else"), (other, b"secret")):
        with pytest.raises(InputError):
            OperatorKey.from_pem(file, passphrase)
    for file, passphrase in ((pem, b"secret"), (other, b"else")):
        with pytest.raises(InputError):
            partner_key(file, passphrase)
