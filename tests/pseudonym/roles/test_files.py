"""What roles keep in files: done once, over a restart and after a crash, and refused when damaged."""

from __future__ import annotations

import os
import resource
import signal
import threading
from contextlib import contextmanager
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


def test_nothing_is_kept_of_requests_that_failed_or_came_again(tmp_path):
    def fail():
        raise ConflictError("No.")

    with Repeats(tmp_path / "repeats") as repeats:
        for number in range(3):
            with pytest.raises(ConflictError):
                repeats.once(f"request-{number}", "digest", fail)
            repeats.once("request-9", "digest", lambda: b"yes")
        assert not repeats._running


@contextmanager
def full_disk(path, room):
    """Let the file grow by so many bytes only: the write after that is a short one, the next one fails."""
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


DAY = date(2026, 11, 23)


@pytest.mark.parametrize("room", [0, 30])
def test_a_grant_that_the_disk_did_not_take_is_none_and_leaves_nothing(tmp_path, room):
    path = tmp_path / "spent"
    with Spent(path) as spent:
        assert spent.spend(b"1" * 32, "olive", DAY, 1, 10) is Spending.DONE
        before = path.read_bytes()
        with full_disk(path, room), pytest.raises(StoreError):
            spent.spend(b"2" * 32, "olive", DAY, 5, 10)
        assert path.read_bytes() == before
        assert spent.spend(b"2" * 32, "olive", DAY, 9, 10) is Spending.DONE  # nothing was counted
        assert spent.spend(b"3" * 32, "olive", DAY, 1, 10) is Spending.QUOTA
    with Spent(path) as spent:
        assert spent.spend(b"2" * 32, "olive", DAY, 9, 10) is Spending.USED
        assert spent.spend(b"3" * 32, "olive", DAY, 1, 10) is Spending.QUOTA


def test_an_answer_that_the_disk_did_not_take_is_not_given(tmp_path):
    path = tmp_path / "repeats"
    with Repeats(path) as repeats:
        repeats.once("request-1", "digest", lambda: b"one")
        with full_disk(path, 30), pytest.raises(StoreError):
            repeats.once("request-2", "digest", lambda: b"x" * 50)
        assert repeats.once("request-2", "digest", lambda: b"again") == b"again"
    with Repeats(path) as repeats:
        assert repeats.once("request-1", "digest", lambda: b"no") == b"one"
        assert repeats.once("request-2", "digest", lambda: b"no") == b"again"


def test_after_a_failed_fsync_nothing_more_is_written(tmp_path, monkeypatch):
    path = tmp_path / "spent"
    with Spent(path) as spent:
        spent.spend(b"1" * 32, "olive", DAY, 1, 10)

        def fail(handle):
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="Input/output"):
            spent.spend(b"2" * 32, "olive", DAY, 1, 10)
        monkeypatch.undo()
        with pytest.raises(StoreError):
            spent.spend(b"3" * 32, "olive", DAY, 1, 10)
    with Spent(path) as spent:
        assert spent.spend(b"1" * 32, "olive", DAY, 1, 10) is Spending.USED
        assert spent.spend(b"3" * 32, "olive", DAY, 1, 10) is Spending.DONE


def test_a_file_that_another_has_open_or_has_cut_off_is_not_written_to(tmp_path):
    path = tmp_path / "spent"
    with Spent(path) as spent:
        spent.spend(b"1" * 32, "olive", DAY, 1, 10)
        with pytest.raises(StoreError):
            Spent(path)
        os.truncate(path, 3)
        with pytest.raises(StoreError):
            spent.spend(b"2" * 32, "olive", DAY, 1, 10)
    assert path.stat().st_size == 3


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
        again.open("tf-2026", "b-1", "offences", "row_ref", "alice")
    with pytest.raises(NotFoundError):
        again.get("tf-2026", batch_id="b-1", sender="bob")
    with pytest.raises(NotFoundError):
        again.get("tf-2027", batch_id="b-1")
    assert again.get("tf-2026", submission_id=first.submission_id, sender="alice") == found


def test_each_sender_has_batch_ids_of_its_own(tmp_path):
    kept = Submissions(tmp_path / "submissions")
    one, two = (kept.open("tf-2026", "wave-1", "attainment", "row_ref", who) for who in ("alice", "bob"))
    assert one.submission_id != two.submission_id
    assert kept.get("tf-2026", batch_id="wave-1", sender="bob") == two
    with pytest.raises(ConflictError):
        kept.get("tf-2026", batch_id="wave-1")
    assert kept.get("tf-2026", submission_id=one.submission_id) == one


def test_an_upload_of_which_nothing_came_may_be_announced_as_another_dataset(tmp_path):
    kept = Submissions(tmp_path / "submissions")
    wrong = kept.open("tf", "b", "ks1", "row_ref", "alice")
    right = kept.open("tf", "b", "ks2", "row_ref", "alice")
    assert kept.get("tf", batch_id="b") == right
    for late in (lambda: kept.add_chunk(wrong, "d1", 5), lambda: kept.end(wrong)):
        with pytest.raises(ConflictError):
            late()
    kept.add_chunk(right, "d1", 5)
    with pytest.raises(ConflictError, match="ks2"):
        kept.open("tf", "b", "ks1", "row_ref", "alice")
    again = Submissions(tmp_path / "submissions")
    assert [one.dataset for one in again._known.values()] == ["ks2"]


def test_a_second_stream_of_an_upload_takes_nothing_back(tmp_path):
    kept = Submissions(tmp_path / "submissions")
    one = kept.add_chunk(kept.open("tf", "b", "ks2", "row_ref", "alice"), "d1", 5)
    two = kept.open("tf", "b", "ks2", "row_ref", "alice")  # the sender resumes while the first still works
    for digest in ("d2", "d3"):
        one = kept.add_chunk(one, digest, 5)
    with pytest.raises(ConflictError):
        kept.end(two)  # it does not know of all chunks
    one = kept.end(one)
    with pytest.raises(ConflictError):
        kept.add_chunk(two, "other", 5)
    two = kept.add_chunk(two, "d2", 5)
    assert two == one == kept.get("tf", batch_id="b")
    assert (two.complete, two.chunks, two.rows) == (True, ("d1", "d2", "d3"), 15)
    with pytest.raises(ConflictError):
        kept.add_chunk(two, "d4", 5)


def test_uploads_are_looked_up_while_others_begin(tmp_path):
    kept, stop, errors = Submissions(tmp_path / "submissions"), threading.Event(), []

    def read():
        while not stop.is_set():
            try:
                kept.get("tf", batch_id="none")
            except NotFoundError:
                pass
            except Exception as error:
                errors.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(100):
        kept.open("tf", f"b{number}", "ks2", "row_ref", "alice")
    stop.set()
    reader.join()
    assert not errors


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"more": 1}', '{"projects": {"Tf": "2027-01-01T00:00:00Z"}}',
     '{"projects": {"tf": "soon"}}', '{"approvers": [{"name": "bob"}]}', '{"quotas": {"x": "many"}}',
     '{"approvers": [{"name": "bob", "person": "bob", "public_key": "00"}]}',
     '{"holders": {"nis": ["carol"]}}', '{"holders": [{"project": "tf", "recipient": "nis"}]}'],
)  # fmt: skip
def test_a_governance_file_that_is_none_is_refused(tmp_path, text):
    path = tmp_path / "governance.json"
    path.write_text(text)
    with pytest.raises(InputError):
        governance.read(path)


@pytest.mark.parametrize("mode", [0o666, 0o620, 0o602])
def test_a_governance_file_that_others_can_change_is_refused(tmp_path, mode):
    path = tmp_path / "governance.json"
    path.write_text('{"quotas": {"x": 1}}')
    path.chmod(mode)
    with pytest.raises(InputError, match="other users"):
        governance.read(path)
    path.chmod(0o644)
    assert governance.read(path).quotas == {"x": 1}


def test_nothing_is_allowed_where_nobody_decided():
    told = governance.read(None)
    assert (dict(told.ends), dict(told.quotas), list(told.register.approvers)) == ({}, {}, [])
