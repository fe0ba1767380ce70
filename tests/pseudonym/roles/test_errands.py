"""Errands about people's rights at the attributes role: in order, and one that fails holds up no other."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pseudonym.errors import SealBrokenError
from pseudonym.roles.errands import Errands
from pseudonym.v1 import rights_errand_pb2 as pb

KIND = pb.ErrandKind
PROJECT = "tf-2026"
AID = b"a" * 16


def notice(errand_id, kind, flags=0, project=PROJECT):
    errand = pb.RightsErrand(
        errand_id=errand_id, kind=kind, project=project, flags=flags, requester="officer", purpose="rights"
    )
    return pb.ErrandNotice(errand=errand, marked=[pb.MarkedAids(project=project, aids=[AID])])


class Broker:
    """A broker with errands that wait."""

    def __init__(self, *errands):
        self.waiting, self.done = list(errands), []

    def call(self, method, request, kind, *_):
        if method.endswith("ListErrands"):
            return pb.ListErrandsResponse(errands=self.waiting)
        self.done.append(request.errand_id)
        self.waiting = [one for one in self.waiting if one.errand.errand_id != request.errand_id]
        return kind()


def errands(broker, mark, copy=None):
    attributes: Any = SimpleNamespace(rights=SimpleNamespace(mark=mark, copy=copy), known=lambda: {PROJECT})
    return Errands(attributes, bytes(32), lambda: broker, lambda reason: None)


def broken(*_):
    raise SealBrokenError("A row was altered.")


def test_r62_a_copy_that_fails_does_not_hold_up_a_restriction():
    marked = []
    broker = Broker(notice("ri-1", KIND.ERRAND_KIND_COPY), notice("ri-2", KIND.ERRAND_KIND_MARK, 1))
    role = errands(broker, lambda project, aids, flags, *_: marked.append((project, aids, flags)), broken)
    with pytest.raises(SealBrokenError):
        role.follow()
    assert marked == [(PROJECT, [AID], 1)]
    assert broker.done == ["ri-2"]  # the copy is tried again in the next round


def test_r62_nothing_comes_before_a_mark_that_fails():
    broker = Broker(notice("ri-1", KIND.ERRAND_KIND_MARK, 1), notice("ri-2", KIND.ERRAND_KIND_MARK, 0))
    with pytest.raises(SealBrokenError):
        errands(broker, broken).follow()
    assert broker.done == []


def test_r62_a_mark_waits_for_a_project_that_is_not_opened_yet():
    marked = []
    waits = notice("ri-1", KIND.ERRAND_KIND_MARK, 1)
    waits.marked.append(pb.MarkedAids(project="tf-2027", aids=[AID]))
    broker = Broker(waits)
    role = errands(broker, lambda project, *_: marked.append(project))
    role.follow()
    role.follow()
    assert (marked, broker.done) == ([PROJECT], [])
    role._attributes.known = lambda: {PROJECT, "tf-2027"}
    role.follow()
    assert (marked, broker.done) == ([PROJECT, "tf-2027"], ["ri-1"])


def test_r62_rows_of_people_wait_whose_mark_cannot_be_done():
    assert errands(Broker(notice("ri-1", KIND.ERRAND_KIND_MARK, 1)), broken).unmarked() == {AID}
    assert errands(Broker(notice("ri-1", KIND.ERRAND_KIND_COPY)), None, broken).unmarked() == set()
