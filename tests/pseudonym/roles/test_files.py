"""What roles keep in files: done once, over a restart and after a crash, and refused when damaged."""

from __future__ import annotations

import threading
from datetime import date

import pytest

from pseudonym.errors import ConflictError, InputError, NotFoundError, StoreError
from pseudonym.roles import governance
from pseudonym.roles.refusals import RequestIdError
from pseudonym.roles.repeats import Repeats
from pseudonym.roles.spent import Spent
from pseudonym.roles.submissions import Submissions
from pseudonym.wayback import Spending


def test_a_request_is_done_once_also_after_a_restart(tmp_path):
    done = []

    def work():
        done.append(1)
        return b"answer"

    with Repeats(tmp_path / "repeats") as repeats:
        assert [repeats.once("request-1", "digest", work) for _ in range(2)] == [b"answer"] * 2
    with Repeats(tmp_path / "repeats") as repeats:
        assert repeats.once("request-1", "digest", work) == b"answer"
        with pytest.raises(RequestIdError):
            repeats.once("request-1", "other", work)
    assert done == [1]


def test_what_failed_is_tried_again(tmp_path):
    def fail():
        raise ConflictError("No.")

    with Repeats(tmp_path / "repeats") as repeats:
        with pytest.raises(ConflictError):
            repeats.once("request-1", "digest", fail)
        assert repeats.once("request-1", "digest", lambda: b"yes") == b"yes"


def test_requests_of_one_id_at_the_same_time_are_done_once(tmp_path):
    done, begin = [], threading.Barrier(8)

    def work():
        done.append(1)
        return b""

    def call():
        begin.wait()
        repeats.once("request-1", "digest", work)

    with Repeats(tmp_path / "repeats") as repeats:
        threads = [threading.Thread(target=call) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert done == [1]


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_half_a_line_is_cut_off_and_a_damaged_one_refused(tmp_path, cut):
    path = tmp_path / "repeats"
    with Repeats(path) as repeats:
        repeats.once("request-1", "digest", lambda: b"one")
        repeats.once("request-2", "digest", lambda: b"two")
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    with Repeats(path) as repeats:
        assert repeats.once("request-1", "digest", lambda: b"not again") == b"one"
        assert repeats.once("request-2", "digest", lambda: b"again") == b"again"
    path.write_bytes(b"x" + whole)
    with pytest.raises(StoreError):
        Repeats(path)


def test_a_request_is_spent_once_and_a_quota_ends(tmp_path):
    day, other = date(2026, 11, 22), date(2026, 11, 23)
    with Spent(tmp_path / "spent") as spent:
        assert spent.spend(b"1" * 32, "olive", day, 6, 10) is Spending.DONE
        assert spent.spend(b"1" * 32, "olive", day, 6, 10) is Spending.USED
        assert spent.spend(b"2" * 32, "olive", day, 6, 10) is Spending.QUOTA
    with Spent(tmp_path / "spent") as spent:
        assert spent.spend(b"1" * 32, "olive", other, 1, 10) is Spending.USED
        assert spent.spend(b"2" * 32, "olive", day, 5, 10) is Spending.QUOTA
        assert spent.spend(b"2" * 32, "olive", day, 4, 10) is Spending.DONE
        assert spent.spend(b"3" * 32, "olive", other, 10, 10) is Spending.DONE
        assert spent.spend(b"4" * 32, "pat", day, 10, 10) is Spending.DONE


def test_uploads_are_known_over_a_restart_and_to_their_sender(tmp_path):
    kept = Submissions(tmp_path / "submissions")
    first = kept.open("tf-2026", "b-1", "attainment", "row_ref", "alice")
    kept.add_chunk(first, "00" * 32, 5)
    again = Submissions(tmp_path / "submissions")
    found = again.open("tf-2026", "b-1", "attainment", "row_ref", "alice")
    assert (found.submission_id, found.rows, found.chunks) == (first.submission_id, 5, ("00" * 32,))
    with pytest.raises(ConflictError):
        again.open("tf-2026", "b-1", "attainment", "row_ref", "bob")
    with pytest.raises(NotFoundError):
        again.get("tf-2026", batch_id="b-1", sender="bob")
    with pytest.raises(NotFoundError):
        again.get("tf-2027", batch_id="b-1")
    assert again.get("tf-2026", submission_id=first.submission_id, sender="alice") == found


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"more": 1}', '{"projects": {"Tf": "2027-01-01T00:00:00Z"}}',
     '{"projects": {"tf": "soon"}}', '{"approvers": [{"name": "bob"}]}', '{"quotas": {"x": "many"}}',
     '{"approvers": [{"name": "bob", "person": "bob", "public_key": "00"}]}'],
)  # fmt: skip
def test_a_governance_file_that_is_none_is_refused(tmp_path, text):
    path = tmp_path / "governance.json"
    path.write_text(text)
    with pytest.raises(InputError):
        governance.read(path)


def test_nothing_is_allowed_where_nobody_decided():
    told = governance.read(None)
    assert (dict(told.ends), dict(told.quotas), list(told.register.approvers)) == ({}, {}, [])
