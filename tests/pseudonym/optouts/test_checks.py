"""The National Data Opt-out: what is sent and comes back, and how long it holds."""

from __future__ import annotations

from datetime import date

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pseudonym.errors import (
    ConflictError,
    InputError,
    NotFoundError,
    OptOutMissingError,
    OptOutStaleError,
)
from pseudonym.optouts import mesh
from pseudonym.optouts.agreed import Agreed
from pseudonym.optouts.checks import DAY, DESTROYED, Checks, Exemption, within
from tests.pseudonym.optouts.people import Kept

AGREED, NOON = Agreed("X26OT001", 7), 1_795_000_000
NUMBERS = ["9434765870", "9434765889", "9434765919"]


class Lists:
    """Lists in memory."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, str], bytes] = {}

    def put(self, check: str, which: str, content: bytes) -> None:
        self.held[check, which] = content

    def get(self, check: str, which: str) -> bytes:
        if (check, which) not in self.held:
            raise NotFoundError("The list is destroyed.")
        return self.held[check, which]

    def names(self) -> set[str]:
        return {name for name, _ in self.held}

    def destroy(self, check: str) -> None:
        self.held = {key: value for key, value in self.held.items() if key[0] != check}


class Desk:
    def __init__(self):
        self.notes, self.lists, self.now = Kept(), Lists(), NOON
        self.checks = self.again()

    def again(self):
        self.checks = Checks(self.notes, self.lists, lambda: self.now)
        return self.checks

    def export(self, request="r-1", numbers=NUMBERS):
        return self.checks.export("tf-2026", request, AGREED, lambda: pl.Series("nhs", numbers))

    def clear(self, *gone, request="r-1"):
        check, content = self.export(request)
        kept = b"".join(line for line in content.splitlines(True) if line[:10].decode() not in gone)
        return self.checks.take("tf-2026", check.file, kept)


@pytest.fixture
def desk():
    return Desk()


def test_r54_the_file_is_as_mesh_carries_it(desk):
    check, content = desk.export(numbers=[*NUMBERS, NUMBERS[0]])
    assert content == b"9434765870,\n9434765889,\n9434765919,\n"
    assert check.file == f"X26OT001-{date.fromtimestamp(NOON):%d%m%y}-0001.dat"
    assert desk.export() == (check, content)  # the same request again
    assert desk.export("r-2")[0].file.endswith("-0002.dat")
    desk.again()
    assert desk.export() == (check, content)


@given(st.lists(st.from_regex("[0-9]{10}", fullmatch=True), unique=True, max_size=20))
def test_what_is_written_is_read(numbers):
    assert mesh.read(mesh.written(numbers)).to_list() == numbers


@pytest.mark.parametrize(
    "content",
    [b"9434765870\n", b"9434765870,", b"9434765870,\r\n", b"943476587,\n", b"9434765870,\n\n", b"\xff,\n",
     b"9434765870,\n9434765870,\n", b" 9434765870,\n", b"9434765870,9434765889,\n"],
)  # fmt: skip
def test_what_is_not_of_the_form_is_refused_and_changes_nothing(desk, content):
    check, _ = desk.export()
    with pytest.raises(InputError):
        desk.checks.take("tf-2026", check.file, content)
    with pytest.raises(OptOutMissingError):
        desk.checks.gate("tf-2026", "hes")


def test_r54_who_is_absent_is_removed_and_whoever_came_later_too(desk):
    taken = desk.clear(NUMBERS[1])
    assert (taken.count, taken.cleared, taken.removed) == (3, 2, 1)
    passed = desk.checks.gate("tf-2026", "hes")
    assert passed.basis == "list"
    people = {
        b"a": [NUMBERS[0]],
        b"b": [NUMBERS[1]],
        b"c": [NUMBERS[0], NUMBERS[1]],
        b"d": ["9434765773"],
        b"e": [],
    }
    told = pl.DataFrame(
        [(pid, one) for pid, some in people.items() for one in some],
        schema={"pid": pl.Binary, "nhs": pl.String},
        orient="row",
    )
    # c has a former number that is not in the list; e has none, and nothing that could be looked up.
    assert within(list(people), told, passed.cleared) == {b"a", b"e"}


def test_r54_a_list_is_used_until_its_age_and_then_destroyed(desk):
    desk.clear()
    desk.now += 7 * DAY - 1
    desk.checks.gate("tf-2026", "hes")
    desk.now += 1
    with pytest.raises(OptOutStaleError):
        desk.checks.gate("tf-2026", "hes")
    assert desk.checks.destroy_due() == 1
    assert not desk.lists.held
    with pytest.raises(OptOutStaleError):
        desk.again().gate("tf-2026", "hes")
    with pytest.raises(OptOutMissingError):
        desk.checks.gate("other-2026", "hes")
    # What is noted of it has no number of a person.
    assert not [one for one in NUMBERS if one in str(desk.notes)]


def test_an_answer_that_is_late_strange_or_another_is_refused(desk):
    check, content = desk.export()
    with pytest.raises(NotFoundError):
        desk.checks.take("other-2026", check.file, content)
    with pytest.raises(InputError):
        desk.checks.take("tf-2026", check.file, content + b"9434765773,\n")
    with pytest.raises(InputError):
        desk.checks.take("tf-2026", "../../etc/passwd", content)
    desk.checks.take("tf-2026", check.file, content)
    assert desk.checks.take("tf-2026", check.file, content).removed == 0
    with pytest.raises(ConflictError):
        desk.checks.take("tf-2026", check.file, content[12:])
    late, content = desk.export("r-2")
    desk.now += 7 * DAY
    with pytest.raises(OptOutStaleError):
        desk.checks.take("tf-2026", late.file, content)


def test_a_list_that_was_not_noted_before_a_crash_is_destroyed_at_the_next_start(desk):
    desk.lists.put("ck-1-0", "sent", b"9434765870,\n")
    desk.export()
    desk.again()
    assert desk.lists.names() == {one.name for one in desk.checks.checks("tf-2026")}


def test_a_newer_list_takes_the_place_of_the_older_one(desk):
    desk.clear()
    desk.now += DAY
    desk.clear(NUMBERS[0], request="r-2")
    assert desk.checks.gate("tf-2026", "hes").cleared.to_list() == NUMBERS[1:]
    assert {key[0] for key in desk.lists.held} == {desk.checks.checks("tf-2026")[-1].name}


def test_r54_an_exemption_holds_for_its_register_until_it_ends(desk):
    exemption = Exemption("tf-2026", "hes", "official-statistics", "OS-1", "officer/olive", NOON)
    desk.checks.exempt(exemption)
    assert desk.again().gate("tf-2026", "hes").basis == "exempt official-statistics OS-1"
    assert desk.checks.gate("tf-2026", "hes").cleared is None
    for project, register in (("tf-2026", "mhmds"), ("other-2026", "hes")):
        with pytest.raises(OptOutMissingError):
            desk.checks.gate(project, register)
    assert desk.checks.end_exemption("tf-2026", "hes")
    assert not desk.checks.end_exemption("tf-2026", "hes")
    with pytest.raises(OptOutMissingError):
        desk.again().gate("tf-2026", "hes")
    with pytest.raises(InputError):
        desk.checks.exempt(Exemption("tf-2026", "hes", "because", "OS-1", "officer/olive", NOON))


def test_r48_at_a_projects_end_its_lists_are_destroyed_and_its_exemptions_deleted(desk):
    check, _ = desk.export()
    other = Exemption("other-2026", "hes", "official-statistics", "OS-1", "officer/olive", NOON)
    desk.checks.exempt(Exemption("tf-2026", "hes", "official-statistics", "OS-1", "officer/olive", NOON))
    desk.checks.exempt(other)
    assert [desk.checks.knows(one) for one in ("tf-2026", "other-2026", "new-2026")] == [True, True, False]
    assert desk.checks.forget_project("tf-2026") == (1, 1)
    assert not desk.lists.held
    assert desk.again().forget_project("tf-2026") == (0, 0)
    assert desk.checks.exemptions("tf-2026") == []
    assert desk.checks.exemptions("other-2026") == [other]
    assert [one.state for one in desk.checks.checks("tf-2026")] == [DESTROYED]
    # Whoever sends a list on the same day has it under another name.
    later, _ = desk.checks.export("other-2026", "r-9", AGREED, lambda: pl.Series("nhs", NUMBERS))
    assert later.file != check.file


@pytest.mark.parametrize(
    "content",
    [{}, {"mailbox": "X26OT001"}, {"mailbox": "X26OT001", "days": 0}, {"mailbox": "X26OT001", "days": 29},
     {"mailbox": "x", "days": 7}, {"mailbox": "X26OT001", "days": "7"},
     {"mailbox": "X26OT001", "days": 7, "more": 1}],
)  # fmt: skip
def test_what_was_agreed_is_read_as_it_is_meant_or_refused(content):
    with pytest.raises(InputError):
        Agreed.read(content)
    assert Agreed.read({"mailbox": "X26OT001", "days": 7}) == AGREED
