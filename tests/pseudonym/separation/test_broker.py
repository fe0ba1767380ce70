"""The broker, on both databases: who is who for whom, and nothing else."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress

import polars as pl
import pyarrow as pa
import pytest

from pseudonym.erasure import What as Erased
from pseudonym.errors import (
    ConflictError,
    EndedError,
    InputError,
    KeyMissingError,
    NotFoundError,
    SealBrokenError,
)
from pseudonym.tracing import WAY_BACK
from pseudonym.urn import Kind, UrnKey, grouped, read
from tests.pseudonym.separation.parts import (
    PROJECT,
    RECIPIENT,
    WHO,
    Clock,
    Keys,
    Said,
    begun,
    broker,
    column,
    ids,
)


def taken(role, pids, fids=None):
    refs = ids(len(pids))
    role.take(PROJECT, column(row_ref=refs, pid=pids, fid=fids or [None] * len(pids)))
    return refs


def issued(role, kind=Kind.PERSON, recipient=RECIPIENT):
    aids = pl.concat(list(role.members(PROJECT, kind)) or [column(aid=[])])
    return role.issue(PROJECT, recipient, kind, aids, WHO)


def test_row_refs_become_aids_and_are_forgotten(url, tmp_path):
    pids, fids, keys = ids(300), ids(3), Keys()
    with broker(url, tmp_path, keys=keys) as role:
        begun(role)
        refs = taken(role, pids, [None if i % 4 == 0 else fids[i % 3] for i in range(300)])
        first = role.outgoing(PROJECT, limit=100)
        rest = role.outgoing(PROJECT, after=first["row_ref"][-1])
        sent = pl.concat([first, rest])
        assert sent["row_ref"].to_list() == sorted(refs)
        key = keys.aid_key(PROJECT)
        expected = {ref: key.aid(1, Kind.PERSON, pid) for ref, pid in zip(refs, pids, strict=True)}
        assert dict(zip(sent["row_ref"], sent["aid"], strict=True)) == expected
        families = {key.aid(1, Kind.FAMILY, fid) for fid in fids}
        assert set(sent["family"].drop_nulls()) == families
        assert sent["family"].null_count() == 75
        assert role.acknowledge(PROJECT, first) == 100
        assert role.acknowledge(PROJECT, first) == 0
        assert role.outgoing(PROJECT).equals(rest)
        (waiting,) = role.waiting()
        assert (waiting.project, waiting.halves) == (PROJECT, 200)


def test_the_same_again_does_no_harm_and_a_contradiction_changes_nothing(url, tmp_path):
    pids, refs = ids(2), ids(2)
    with broker(url, tmp_path) as role:
        begun(role)
        batch = column(row_ref=refs, pid=pids)
        assert role.take(PROJECT, batch) == role.take(PROJECT, batch)
        before = role.outgoing(PROJECT)
        with pytest.raises(ConflictError):
            role.take(PROJECT, column(row_ref=[refs[0], *ids(1)], pid=[pids[1], pids[1]]))
        assert role.outgoing(PROJECT).equals(before)
        with pytest.raises(NotFoundError):
            role.take("another", batch)
        for wrong in (
            column(row_ref=refs),
            column(row_ref=[refs[0], refs[0]], pid=pids),
            column(row_ref=refs, pid=[pids[0], b"short"]),
            column(row_ref=[refs[0], None], pid=pids),
        ):
            with pytest.raises(InputError):
                role.take(PROJECT, wrong)


def test_halves_without_their_other_half_go_after_seven_days(url, tmp_path):
    clock = Clock()
    with broker(url, tmp_path, clock=clock) as role:
        begun(role)
        taken(role, ids(3))
        clock.now += 86_400
        taken(role, ids(2))
        assert role.drop_overdue() == {}
        clock.now += 6 * 86_400 - 1
        assert role.drop_overdue() == {}
        clock.now += 1
        assert role.drop_overdue() == {PROJECT: 3}
        assert role.outgoing(PROJECT).height == 2
        clock.now += 86_400
        assert role.drop_overdue() == {PROJECT: 2}
        assert role.waiting() == []


def test_numbers_stay_differ_between_recipients_and_lead_back(url, tmp_path):
    pids, keys, said = ids(500), Keys(), Said()
    with broker(url, tmp_path, keys=keys, said=said) as role:
        begun(role)
        role.open_domain(PROJECT, "dwp-extract")
        taken(role, pids, ids(1) * 500)
        numbers = issued(role)
        again = role.issue(PROJECT, RECIPIENT, Kind.PERSON, numbers.reverse(), WHO)
        assert again.equals(numbers.reverse())
        other = issued(role, recipient="dwp-extract")
        assert not set(numbers["urn"]) & set(other["urn"])
        families = issued(role, Kind.FAMILY)
        assert families.height == 1
        assert read(families["urn"][0]).kind is Kind.FAMILY
        key = keys.urn_key(PROJECT, RECIPIENT, 1)
        assert numbers["urn"].to_list() == key.issue_all(Kind.PERSON, numbers["aid"].to_list())

        written = numbers["urn"].to_list()
        written[:3] = [grouped(written[0]), written[1].lower(), f" {written[2]}\n".replace("1", "l")]
        traced = role.tracing.resolve(PROJECT, RECIPIENT, pl.DataFrame({"urn": written}), WHO, WAY_BACK)
        assert traced["aid"].equals(numbers["aid"])
        assert traced["reason"].null_count() == 500
        people = role.tracing.pids(PROJECT, traced, WHO, WAY_BACK)
        assert set(people["pid"]) == set(pids)
        assert set(people["kind"]) == {"person"}
        assert [access.action for access in said[-2:]] == ["resolve", "identify"]
        with pytest.raises(InputError):
            role.tracing.resolve(PROJECT, RECIPIENT, numbers, WHO, object())  # type: ignore[arg-type]
        with pytest.raises(InputError):
            role.tracing.pids(PROJECT, numbers, WHO, object())  # type: ignore[arg-type]


def test_what_is_no_number_here_is_not_found_with_its_reason(url, tmp_path):
    with broker(url, tmp_path) as role:
        begun(role)
        taken(role, ids(1))
        word = issued(role)["urn"][0]
        stranger = UrnKey(bytes(32), PROJECT, RECIPIENT, 1).issue(Kind.PERSON, bytes(16))
        slip = word[:5] + ("0" if word[5] != "0" else "1") + word[6:]
        asked = pl.DataFrame({"urn": [stranger, slip, word[:-1], "U" * 24, None, "", word]})
        found = role.tracing.resolve(PROJECT, RECIPIENT, asked, WHO, WAY_BACK)
        assert found["reason"].to_list() == [
            "NOT_FOUND",
            "URN_CHECK",
            "URN_LENGTH",
            "URN_SYMBOL",
            "URN_LENGTH",
            "URN_LENGTH",
            None,
        ]
        assert found["aid"].null_count() == 6


def test_only_members_get_numbers(url, tmp_path):
    with broker(url, tmp_path) as role:
        begun(role)
        taken(role, ids(2), ids(2))
        (people,) = role.members(PROJECT, Kind.PERSON)
        for stranger, kind in ((column(aid=ids(1)), Kind.PERSON), (people, Kind.FAMILY)):
            with pytest.raises(NotFoundError):
                role.issue(PROJECT, RECIPIENT, kind, stranger, WHO)
        with pytest.raises(NotFoundError):
            role.issue(PROJECT, "nobody", Kind.PERSON, people, WHO)
        said = Said()
        said.broken = True
    with broker(url, tmp_path, said=said) as role:
        with pytest.raises(OSError, match="log"):
            role.issue(PROJECT, RECIPIENT, Kind.PERSON, people, WHO)
        with pytest.raises(OSError, match="log"):
            role.tracing.pids(PROJECT, people, WHO, WAY_BACK)


@pytest.mark.parametrize("together", [True, False])
def test_on_a_collision_the_counter_is_raised(url, tmp_path, monkeypatch, together):
    """Doctored, since chance never gives it: the first two counters give everybody one digest."""
    real = UrnKey._digests

    def doctored(self, prefix, some, suffix):
        found = real(self, prefix, some, suffix)
        return [bytes(32) for _ in found] if suffix[-1] < 2 and b"urn/1" in prefix else found

    monkeypatch.setattr(UrnKey, "_digests", doctored)
    with broker(url, tmp_path) as role:
        begun(role)
        taken(role, ids(4))
        (people,) = role.members(PROJECT, Kind.PERSON)
        if together:
            first = role.issue(PROJECT, RECIPIENT, Kind.PERSON, people, WHO)
        else:
            frames = [
                role.issue(PROJECT, RECIPIENT, Kind.PERSON, people[i : i + 1], WHO)
                for i in range(people.height)
            ]
            first = pl.concat(frames)
        assert first["urn"].n_unique() == 4
        # Counters 0 and 1 give one number between them; everybody else has counter 2.
        assert sum(word.startswith("P1" + "0" * 20) for word in first["urn"]) == 1
        again = role.issue(PROJECT, RECIPIENT, Kind.PERSON, people.reverse(), WHO)
        assert again.equals(first.reverse())
        traced = role.tracing.resolve(PROJECT, RECIPIENT, first, WHO, WAY_BACK)
        assert traced["aid"].equals(first["aid"])
        with role._rows.read() as at:
            counters = sorted(c for _, c in role._rows.urns(at, 1, first["urn"].to_list()).values())
        assert counters == [0, 2, 2, 2]
        # The one who has counter 0 is erased: its number goes to nobody, and the others keep theirs.
        holder = next(aid for aid, word in first.iter_rows() if word.startswith("P1" + "0" * 20))
        pid = role.tracing.pids(PROJECT, column(aid=[holder]), WHO, WAY_BACK)
        role.erasure.erase(PROJECT, Kind.PERSON, pid, WHO)
        left = first.filter(pl.col("aid") != holder)
        assert role.issue(PROJECT, RECIPIENT, Kind.PERSON, left, WHO).equals(left)


def test_rows_exchanged_in_the_table_are_noticed(url, tmp_path):
    with broker(url, tmp_path) as role:
        begun(role)
        taken(role, ids(2))
        numbers = issued(role)
        with role._rows.write() as at:
            a, b = numbers["urn"]
            rows = role._rows.urns(at, 1, [a, b])
            swapped = {"domain": [1, 1], "word": [a, b], "cover": [rows[b][0], rows[a][0]]}
            from pseudonym.storage.schema_broker import MEMBER, URN

            role._rows.store.update(at, URN, ["domain", "word"], swapped)
            members = role._rows.members(at, numbers["aid"].to_list())
            (x, first), (y, second) = members.items()
            covers = {"aid": [x, y], "cover": [second[2], first[2]]}
            role._rows.store.update(at, MEMBER, ["aid"], covers)
        with pytest.raises(SealBrokenError):
            role.tracing.resolve(PROJECT, RECIPIENT, numbers, WHO, WAY_BACK)
        with pytest.raises(SealBrokenError):
            role.tracing.pids(PROJECT, numbers, WHO, WAY_BACK)


def test_arrow_in(url, tmp_path):
    with broker(url, tmp_path) as role:
        begun(role)
        refs, pids = ids(3), ids(3)
        table = pa.table({"row_ref": pa.array(refs, pa.binary()), "pid": pa.array(pids, pa.binary(16))})
        role.take(PROJECT, pa.table({"row_ref": table["row_ref"], "pid": table["pid"].cast(pa.binary())}))
        assert role.outgoing(PROJECT).to_arrow()["row_ref"].to_pylist() == sorted(refs)


def test_merged_and_split_people_are_listed_with_old_and_new_numbers(url, tmp_path):
    a, b, c, d, e, f = pids = ids(6)
    keys = Keys()
    with broker(url, tmp_path, keys=keys) as role:
        begun(role)
        taken(role, [a, b, c])
        numbers = issued(role)
        key = keys.aid_key(PROJECT)
        word = dict(numbers.iter_rows())
        aid = {pid: key.aid(1, Kind.PERSON, pid) for pid in pids}

        told = changes((a, d), (b, d), (c, c[::-1]), (c, f), (e, a))
        for _ in range(2):
            assert role.changes.follow(Kind.PERSON, told, NOBODY, WHO) == {PROJECT: 2}
        listed = role.changes.superseded(PROJECT, RECIPIENT, Kind.PERSON, WHO)
        urn = keys.urn_key(PROJECT, RECIPIENT, 1)
        new = {pid: urn.issue(Kind.PERSON, key.aid(1, Kind.PERSON, pid)) for pid in (d, f, c[::-1])}
        # e never had a number, so nobody needs to be told
        assert sorted(listed.select("old", "new", "change").rows()) == sorted(
            [
                (word[aid[a]], new[d], "merged"),
                (word[aid[b]], new[d], "merged"),
                (word[aid[c]], new[c[::-1]], "split"),
                (word[aid[c]], new[f], "split"),
            ]
        )
        onward = role.changes.onward(PROJECT, column(aid=[aid[a], aid[c], None, *ids(1)]))["aid"].to_list()
        assert onward[:3] == [aid[d], aid[c], None]
        tomorrow = role._rows.store.today() + 1
        assert role.changes.superseded(PROJECT, RECIPIENT, Kind.PERSON, WHO, tomorrow).is_empty()

        # b comes back from d, and c is withdrawn: what was said the other way round is said no longer
        role.changes.follow(Kind.PERSON, changes((d, b), (c, None), left=True), NOBODY, WHO)
        listed = role.changes.superseded(PROJECT, RECIPIENT, Kind.PERSON, WHO)
        rows = set(listed.select("old", "new", "change").rows())
        assert (word[aid[b]], new[d], "merged") not in rows
        assert {(new[d], word[aid[b]], "split"), (word[aid[c]], "", "withdrawn")} <= rows
        # What led to a leads on, once a's new number does.
        (g,) = ids(1)
        role.changes.follow(Kind.PERSON, changes((d, g)), NOBODY, WHO)
        onto = urn.issue(Kind.PERSON, key.aid(1, Kind.PERSON, g))
        listed = role.changes.superseded(PROJECT, RECIPIENT, Kind.PERSON, WHO)
        assert (word[aid[a]], onto, "merged") in set(listed.select("old", "new", "change").rows())
        assert not set(listed["new"]) & {new[d]}
        for wrong in (changes((a, a)), column(before=[a], after=[b]), column(before=[a])):
            with pytest.raises(InputError):
                role.changes.follow(Kind.PERSON, wrong, NOBODY, WHO)


def changes(*pairs, left=False):
    before, after = zip(*pairs, strict=True)
    words = pl.Series(["yes" if left else "no"] * len(pairs))
    return column(before=before, after=after).with_columns(left=words)


def members(*rows):
    units, holders = zip(*rows, strict=True)
    return column(unit=units, holder=holders)


NOBODY = column(unit=[], holder=[])


def test_rows_that_wait_go_with_their_people_and_the_others_wait_to_be_followed(url, tmp_path):
    a, b, c, d, fa, fb = ids(6)
    refs, units = ids(4), ids(4)
    keys = Keys()
    key = keys.aid_key(PROJECT)
    aid = {pid: key.aid(1, Kind.PERSON, pid) for pid in (a, b, c, d)}
    family = {fid: key.aid(1, Kind.FAMILY, fid) for fid in (fa, fb)}
    with broker(url, tmp_path, keys=keys) as role:
        begun(role)
        role.begin_project("other")
        role.take(PROJECT, column(row_ref=refs, pid=[a, a, b, c], fid=[fa, fa, None, fb], unit=units))
        sent = role.outgoing(PROJECT)
        handles = dict(zip(sent["row_ref"].to_list(), sent["handle"].to_list(), strict=True))
        assert [handles[ref] for ref in refs] == key.handles(1, units)
        assert not set(units) & set(handles.values())
        role.acknowledge(PROJECT, column(row_ref=[refs[0]]))  # the attributes role has this one
        # One row of a is of d, who is new; the row of c is withdrawn, and with it the person.
        told = role.changes.follow(
            Kind.PERSON,
            pl.concat([changes((a, d), left=True), changes((c, None))]),
            members((units[0], d), (units[3], None)),
            WHO,
        )
        assert told == {PROJECT: 3}
        now = {row[0]: row[1:3] for row in role.outgoing(PROJECT).rows()}
        assert now == {refs[1]: (aid[a], family[fa]), refs[2]: (aid[b], None)}
        # Then a turns out to be b altogether, and the families to be one.
        role.changes.follow(Kind.PERSON, changes((a, b)), members((units[1], b)), WHO)
        role.changes.follow(Kind.FAMILY, changes((fa, fb)), members((ids(1)[0], fb)), WHO)
        now = {row[0]: row[1:3] for row in role.outgoing(PROJECT).rows()}
        assert now == {refs[1]: (aid[b], family[fb]), refs[2]: (aid[b], None)}
        role.take(PROJECT, column(row_ref=refs[1:3], pid=[b, b], fid=[fb, None], unit=units[1:3]))  # again

        waiting = role.changes.moves(PROJECT, 0, 10)
        assert waiting.drop("number").rows() == [
            ("row", handles[refs[0]], None, aid[d]),
            ("row", handles[refs[3]], None, None),
            ("whole", None, aid[c], None),
            ("row", handles[refs[1]], None, aid[b]),
            ("whole", None, aid[a], aid[b]),
            ("family", None, family[fa], family[fb]),
        ]
        numbers = waiting["number"].to_list()
        assert role.changes.moves("other", 0, 10).is_empty()
        assert role.changes.moves(PROJECT, numbers[1], 10)["number"].to_list() == numbers[2:]
        assert role.changes.moves(PROJECT, numbers[-1], 10).is_empty()
        role.changes.follow(Kind.PERSON, changes((b, a), left=True), members((units[2], a)), WHO)
        (after,) = role.changes.moves(PROJECT, numbers[-1], 10)["number"].to_list()
        assert after > numbers[-1]  # no number comes again, though all were followed


def test_an_epoch_follows_another_and_the_list_between_them_is_sealed(url, tmp_path):
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
    from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

    from pseudonym.changes import sealed

    keys = Keys()
    suite, theirs = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM), X25519PrivateKey.generate()
    with broker(url, tmp_path, keys=keys) as role:
        begun(role)
        taken(role, ids(50), ids(50))
        old = pl.concat([issued(role), issued(role, Kind.FAMILY)])
        role.open_domain(PROJECT, RECIPIENT, 2)
        lists = role.changes.renewed(PROJECT, RECIPIENT, 1, WHO)

        def seal(number, last, plain):
            return suite.encrypt(plain, theirs.public_key(), b"renewal %d %d" % (number, last))

        ((number, last, parcel),) = sealed(lists, seal)
        assert (number, last) == (1, True)
        pairs = pl.read_ipc_stream(suite.decrypt(parcel, theirs, b"renewal 1 1"))
        pages = iter([pairs[:20], pairs[20:40], pairs[40:]])
        parts = [(number, last) for number, last, _ in sealed(pages, seal)]
        assert parts == [(1, False), (2, False), (3, True)]
        assert [one[:2] for one in sealed(iter([]), seal)] == [(1, True)]
        new = pl.concat([issued(role), issued(role, Kind.FAMILY)])
        assert all(read(word).epoch == 2 for word in new["urn"])
        joined = old.join(new, on="aid", suffix="_new").select(old="urn", new="urn_new")
        assert joined.sort("old").equals(pairs.sort("old"))
        asked = pl.concat([old, new])
        both = role.tracing.resolve(PROJECT, RECIPIENT, asked, WHO, WAY_BACK)
        assert both["aid"].to_list() == [*old["aid"], *new["aid"]]

        use = f"urn:{PROJECT}:{RECIPIENT}:1"
        kids, counts = role.erasure.destroy_domain(PROJECT, RECIPIENT, 1, keys.shred(use), WHO)
        assert (kids, counts) == ((use,), {"urn": 100})
        after = role.tracing.resolve(PROJECT, RECIPIENT, asked, WHO, WAY_BACK)
        assert after["reason"].to_list() == ["NOT_FOUND"] * 100 + [None] * 100
        with pytest.raises(KeyMissingError):
            role.changes.renewed(PROJECT, RECIPIENT, 1, WHO)
        with pytest.raises(InputError):
            role.changes.renewed(PROJECT, RECIPIENT, 2, WHO)


def test_a_recipients_key_destroyed_or_lost_in_the_keyset_only(url, tmp_path):
    keys = Keys()
    with broker(url, tmp_path, keys=keys) as role:
        begun(role)
        taken(role, ids(5))
        numbers = issued(role)
        keys.shred(f"urn:{PROJECT}:{RECIPIENT}:1")()
        found = role.tracing.resolve(PROJECT, RECIPIENT, numbers, WHO, WAY_BACK)
        assert found["reason"].to_list() == ["NOT_FOUND"] * 5
        with pytest.raises(KeyMissingError):
            issued(role)
        with pytest.raises(KeyMissingError):
            role.open_domain(PROJECT, RECIPIENT)
        role.erasure.destroy_domain(PROJECT, RECIPIENT, 1, keys.shred(), WHO)
        with pytest.raises(KeyMissingError):
            issued(role)


def test_a_destroyed_project_is_gone_and_never_begins_again(url, tmp_path):
    keys = Keys()
    uses = [f"aid:{PROJECT}", f"urn:{PROJECT}:{RECIPIENT}:1"]
    with broker(url, tmp_path, keys=keys) as role:
        begun(role)
        role.begin_project("other")
        role.open_domain("other", RECIPIENT)
        kept = ids(2)
        role.take("other", column(row_ref=ids(2), pid=kept))
        pids = ids(20)
        taken(role, pids, ids(20))
        numbers = issued(role)

        def interrupted():
            raise OSError("the keyset cannot be written")

        with pytest.raises(OSError, match="keyset"):
            role.erasure.destroy_project(PROJECT, interrupted, WHO)
        assert role.erasure.unfinished() == [PROJECT]
        with pytest.raises(EndedError):
            taken(role, ids(1))
        kids, counts = role.erasure.destroy_project(PROJECT, keys.shred(*uses), WHO)
        assert set(kids) == set(uses)
        assert counts == {"urn": 20, "half": 20, "superseded": 0, "move": 0, "member": 40}
        assert role.erasure.unfinished() == []
        for call in (
            lambda: taken(role, ids(1)),
            lambda: issued(role),
            lambda: role.outgoing(PROJECT),
        ):
            with pytest.raises(EndedError):
                call()
        with pytest.raises((EndedError, KeyMissingError)):
            role.begin_project(PROJECT)
        found = role.tracing.resolve(PROJECT, RECIPIENT, numbers, WHO, WAY_BACK)
        assert found["reason"].to_list() == ["NOT_FOUND"] * 20
        assert role.outgoing("other").height == 2
        role.erasure.destroy_project(PROJECT, keys.shred(*uses), WHO)


def test_r48_at_its_end_a_project_has_whom_no_other_has_that_goes_on(url, tmp_path):
    mine, shared, unknown = ids(2), ids(1), ids(1)
    with broker(url, tmp_path) as role:
        begun(role)
        role.begin_project("other")
        for project, whose in ((PROJECT, mine + shared), ("other", shared)):
            role.take(project, column(row_ref=ids(len(whose)), pid=whose))
        erasure = role.erasure
        asked = (*mine, *shared, *unknown)
        assert sorted(erasure.only_here(PROJECT, WHO)[0]) == sorted(mine)
        assert erasure.nowhere_else(PROJECT, asked) == mine + unknown
        # Where both have ended, neither keeps a person for the other.
        over = {PROJECT, "other"}.__contains__
        assert sorted(erasure.only_here(PROJECT, WHO, ended=over)[0]) == sorted(mine + shared)
        assert erasure.nowhere_else(PROJECT, asked, over) == list(asked)


def test_an_erased_person_has_no_way_back_and_the_recipient_is_told(url, tmp_path):
    keys = Keys()
    with broker(url, tmp_path, keys=keys) as role:
        begun(role)
        role.open_domain(PROJECT, "dwp-extract")
        pids = ids(10)
        refs = taken(role, pids)
        numbers, other = issued(role), issued(role, recipient="dwp-extract")
        gone = keys.aid_key(PROJECT).aids(1, Kind.PERSON, pids[:3])
        erased = role.erasure.erase(PROJECT, Kind.PERSON, column(pid=pids[:3]), WHO)
        assert erased["aid"].to_list() == gone
        told = role.erasure.erased(PROJECT, RECIPIENT)
        assert set(told["urn"]) == set(numbers.filter(pl.col("aid").is_in(gone))["urn"])
        assert role.erasure.erased(PROJECT, "dwp-extract").height == 3
        for recipient, known in ((RECIPIENT, numbers), ("dwp-extract", other)):
            found = role.tracing.resolve(PROJECT, recipient, known, WHO, WAY_BACK)
            assert [aid is None for aid in found["aid"]] == [aid in gone for aid in known["aid"]]
        assert role.tracing.pids(PROJECT, erased, WHO, WAY_BACK)["pid"].null_count() == 3
        assert role.outgoing(PROJECT)["row_ref"].to_list() == sorted(refs[3:])
        # The person cannot come in again: the pid was erased, and linkage makes another for a new consent.
        assert role.take(PROJECT, column(row_ref=ids(1), pid=pids[:1])).erased == 1
        assert role.outgoing(PROJECT).height == 7
        with pytest.raises(NotFoundError):
            role.issue(PROJECT, RECIPIENT, Kind.PERSON, erased, WHO)


def while_erased(role, aid, call):
    """What a call comes to that begins while somebody is written into the ledger, and what it waited for."""
    ledger = role.erasure.ledger
    with ThreadPoolExecutor(1) as thread:
        with ledger.lock:
            running = thread.submit(call)
            waited = not wait([running], timeout=0.3).done
            ledger.append(Erased.SUBJECT, [aid], 20_000)
        return waited, running.result()


def test_who_is_being_erased_gets_no_number(tmp_path, sqlite_url):
    keys, (a, b, c, d) = Keys(), ids(4)
    key = keys.aid_key(PROJECT)
    aid = {pid: key.aid(1, Kind.PERSON, pid) for pid in (a, b, c, d)}
    with broker(sqlite_url, tmp_path, keys=keys) as role:
        begun(role)
        taken(role, [a, b, c])
        issued(role)
        role.changes.follow(Kind.PERSON, changes((a, d)), NOBODY, WHO)

        waited, listed = while_erased(
            role, aid[d], lambda: role.changes.superseded(PROJECT, RECIPIENT, Kind.PERSON, WHO)
        )
        assert waited
        assert listed.is_empty()

        role.open_domain(PROJECT, RECIPIENT, 2)
        waited, lists = while_erased(
            role, aid[c], lambda: pl.concat(role.changes.renewed(PROJECT, RECIPIENT, 1, WHO))
        )
        assert waited
        assert lists.height == 2  # a and b

        def issue(pid):
            with suppress(NotFoundError):
                return role.issue(PROJECT, RECIPIENT, Kind.PERSON, column(aid=[aid[pid]]), WHO)

        assert while_erased(role, aid[b], lambda: issue(b)) == (True, None)
        assert issue(a) is not None
        numbers = [key_of.issue(Kind.PERSON, aid[pid]) for key_of in [keys.urn_key(PROJECT, RECIPIENT, 2)]
                   for pid in (c, d)]  # fmt: skip
        asked = pl.DataFrame({"urn": numbers})
        assert role.tracing.resolve(PROJECT, RECIPIENT, asked, WHO, WAY_BACK)["aid"].null_count() == 2


def test_who_was_erased_does_not_come_back_by_a_decision_about_others(tmp_path, sqlite_url):
    keys, (a, b), units, refs = Keys(), ids(2), ids(2), ids(2)
    aid = keys.aid_key(PROJECT).aids(1, Kind.PERSON, [a, b])
    with broker(sqlite_url, tmp_path, keys=keys) as role:
        begun(role)
        role.take(PROJECT, column(row_ref=refs, pid=[a, a], unit=units))
        sent = role.outgoing(PROJECT)
        handles = dict(zip(sent["row_ref"].to_list(), sent["handle"].to_list(), strict=True))
        role.acknowledge(PROJECT, column(row_ref=refs[:1]))
        role.erasure.erase(PROJECT, Kind.PERSON, column(pid=[b]), WHO)
        # Of a's rows one is b's: where it was received it goes, and does not stay with a.
        told = changes((a, b), left=True)
        role.changes.follow(Kind.PERSON, told, members((units[0], b), (units[1], b)), WHO)
        assert pl.concat(list(role.members(PROJECT, Kind.PERSON)))["aid"].to_list() == aid[:1]
        assert role.outgoing(PROJECT).is_empty()
        assert role.changes.moves(PROJECT, 0, 10).drop("number").rows() == [
            ("row", handles[ref], None, None) for ref in refs
        ]


def test_labels_only_of_the_right_form(url, tmp_path):
    with broker(url, tmp_path) as role:
        with pytest.raises(InputError):
            role.begin_project("A Name")
        begun(role)
        with pytest.raises(InputError):
            role.open_domain(PROJECT, "Mrs Smith")
        with pytest.raises(ConflictError):
            role.begin_project(PROJECT, epoch=2)
        role.open_domain(PROJECT, RECIPIENT, 3)
        with pytest.raises(ConflictError):
            role.open_domain(PROJECT, RECIPIENT, 2)
