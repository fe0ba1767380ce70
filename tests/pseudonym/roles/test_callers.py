"""Who calls: exactly one URI of the right form, over TLS 1.3; and the one identity without certificates."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pseudonym.audit import Event
from pseudonym.roles import callers
from pseudonym.roles.authority import Authority
from pseudonym.roles.callers import Caller, Role
from pseudonym.roles.refusals import CallerUnknownError

GOOD = "spiffe://ons.example/role/approver/alice"


@pytest.fixture(scope="module")
def authority():
    return Authority("ons.example")


def context(*certificates, version=b"TLSv1.3"):
    return {"x509_pem_cert": certificates, "ssl_tls_version": (version,)}


def test_one_uri_names_role_and_person(authority):
    issued = authority.issue(Role.APPROVER, "alice", ("localhost", "127.0.0.1"))
    caller = callers.caller_of(context(issued.certificate), development=False)
    assert caller == Caller("ons.example", Role.APPROVER, "alice")
    assert str(caller) == GOOD


@pytest.mark.parametrize(
    "uris",
    [
        (),
        (GOOD, "spiffe://ons.example/role/approver/bob"),
        (GOOD, GOOD),
        (GOOD, "https://ons.example/"),
        ("https://ons.example/role/approver/alice",),
        ("spiffe://ons.example/role/approver",),
        ("spiffe://ons.example/role/approver/",),
        ("spiffe://ons.example/role/approver/alice/",),
        ("spiffe://ons.example/role/approver/alice/bob",),
        ("spiffe://ons.example/role/emperor/alice",),
        ("spiffe://ons.example/role/development/alice",),
        ("spiffe://ons.example/role/none/alice",),
        ("spiffe://ons.example/Role/approver/alice",),
        ("spiffe://ons.example/role/approver/Alice",),
        ("spiffe://ONS.example/role/approver/alice",),
        ("spiffe://ons..example/role/approver/alice",),
        ("spiffe:///role/approver/alice",),
        ("spiffe://user@ons.example/role/approver/alice",),
        ("spiffe://ons.example:443/role/approver/alice",),
        ("spiffe://ons.example/role/approver/alice?role=auditor",),
        ("spiffe://ons.example/role/approver/alice#x",),
        ("spiffe://ons.example/role/approver/%61lice",),
        ("spiffe://ons.example/role/approver/../auditor/alice",),
        ("spiffe://ons.example/role/approver/alice\n",),
        ("spiffe://ons.example/role/approver/alice\x00",),
        ("spiffe://ons.example/role/approver/" + "a" * 64,),
        ("spiffe://" + "a" * 100 + ".example/role/data-protection-officer/alice",),
        # What the audit log could not tell from a number of a person.
        ("spiffe://ons.example/role/approver/9434765919",),
    ],
)
def test_none_several_or_malformed_is_refused(authority, uris):
    issued = authority.issue_uris(uris, ("localhost",))
    with pytest.raises(CallerUnknownError) as caught:
        callers.caller_of(context(issued.certificate), development=True)
    assert "alice" not in str(caught.value)


def test_no_certificate_is_the_development_identity_where_that_is_allowed():
    caller = callers.caller_of({}, development=True)
    assert caller is callers.DEVELOPMENT
    Event(str(caller), "x", "x").check()
    with pytest.raises(CallerUnknownError):
        callers.caller_of({}, development=False)


def test_older_tls_and_odd_connections_are_refused(authority):
    issued = authority.issue(Role.AUDITOR, "alice").certificate
    for odd in (
        context(issued, version=b"TLSv1.2"),
        {"x509_pem_cert": (issued,)},
        context(issued, issued),
        context(b"no certificate"),
        context(b""),
    ):
        with pytest.raises(CallerUnknownError):
            callers.caller_of(odd, development=False)


@given(st.text() | st.from_regex(r"spiffe://[a-z.0-9]*/role/(?:auditor|broker)/[a-z.0-9]*", fullmatch=True))
def test_a_text_names_somebody_only_in_one_spelling(text):
    try:
        caller = callers.read(text)
    except CallerUnknownError:
        return
    assert str(caller) == text
    Event(str(caller), "x", "x").check()


def test_no_certificate_can_name_the_development_identity():
    assert "development" not in set(Role)
    with pytest.raises(CallerUnknownError):
        callers.read(str(callers.DEVELOPMENT))


def test_nobody_is_assumed():
    with pytest.raises(LookupError):
        callers.current()


@pytest.mark.parametrize("role", Role)
def test_every_role_can_stand_in_the_audit_log(role):
    assert callers.read(f"spiffe://statistics.example/role/{role}/first.last-2").role is role
