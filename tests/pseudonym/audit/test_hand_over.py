"""A log goes on under another key: who trusts the first one follows, and nobody else's key is believed."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pseudonym.audit import Checkpoint, CheckpointFolder, Event, Log, Signer, verify
from pseudonym.audit.entries import OWN
from pseudonym.errors import AuditCheckpointError, AuditError, AuditTamperedError, InputError
from tests.pseudonym.audit import oracle
from tests.pseudonym.audit.conftest import ORIGIN


def signer(name: str = ORIGIN) -> Signer:
    return Signer(name, Ed25519PrivateKey.generate())


def handed(place, *successors: Signer) -> None:
    """A closed log that was handed over once for each, with entries before and after."""
    with place.create() as log:
        log.append(place.events(3))
        for successor in successors:
            log.hand_over(successor)
            assert log.verifier == successor.verifier
            log.append(place.events(2))
            place.clock.pass_seconds(60)
            log.tick()


def signatures(note: bytes) -> list[str]:
    return [line.split(" ")[1] for line in note.decode().partition("\n\n")[2].splitlines()]


def test_whoever_has_the_first_key_can_check_all_of_it(place):
    second, third = signer(), signer()
    handed(place, second, third)
    shown = verify(place.folder, place.kept, place.keys)
    assert (shown.entries, shown.signed, shown.key) == (9, 9, third.verifier)
    # By definition: entries 3 and 6 name the keys, and what covers them first has both signatures.
    said = [oracle.said(entry) for entry in oracle.entries(place.folder)]
    named = {number: one.subject for number, one in enumerate(said) if one.action == b"audit.hand-over"}
    assert named == {3: second.verifier.key, 6: third.verifier.key}
    for size, count in ((4, 2), (6, 1), (7, 2), (9, 1)):
        note = (place.kept / "history" / f"{size:016d}").read_bytes()
        assert len(signatures(note)) == count
    newest = (place.kept / "checkpoint").read_bytes()
    assert oracle.checkpoint(newest, str(third.verifier))[1] == 9


def test_it_is_opened_with_the_new_key_alone_and_goes_on(place):
    second = signer()
    handed(place, second)
    first, place.signer = place.signer, second
    with place.open() as log:
        log.append(place.events())
    assert verify(place.folder, place.kept, [first.verifier]).entries == 7


def test_a_log_that_was_closed_meanwhile_is_handed_over_when_it_is_opened(place):
    place.filled([3])
    first, place.signer = place.signer, signer()
    with pytest.raises(AuditTamperedError, match="not signed with a key that is known"):
        place.open()
    with place.open(former=[signer(), first]) as log:
        assert (log.verifier, log.size) == (place.signer.verifier, 4)
    with place.open(former=[first]) as log:
        assert log.size == 4
    assert verify(place.folder, place.kept, [first.verifier]).key == place.signer.verifier


def test_a_hand_over_that_is_cut_off_is_taken_up_with_one_entry(place, monkeypatch):
    second, log = signer(), place.create()
    log.append(place.events(3))

    def gone(*_):
        raise AuditCheckpointError("The checkpoint cannot be written.")

    with monkeypatch.context() as patch:
        patch.setattr(CheckpointFolder, "keep", gone)
        for _ in range(3):
            with pytest.raises(AuditCheckpointError):
                log.hand_over(second)
        assert log.verifier == place.signer.verifier
        log.append(place.events())
    log.hand_over(second)
    assert (log.size, log.verifier) == (5, second.verifier)
    log.close()
    assert verify(place.folder, place.kept, place.keys).key == second.verifier


def test_a_process_that_dies_between_entry_and_checkpoint_leaves_a_log_that_goes_on(place, monkeypatch):
    second, log = signer(), place.create()
    log.append(place.events(3))
    with monkeypatch.context() as patch:
        patch.setattr(CheckpointFolder, "keep", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            log.hand_over(second)
    log._closing.close()  # its files and its lock, as the system does
    first, place.signer = place.signer, second
    with place.open(former=[first]) as log:
        log.append(place.events())
    assert verify(place.folder, place.kept, [first.verifier]).key == second.verifier


def test_the_key_before_signs_nothing_more(place):
    second = signer()
    handed(place, second)
    with Log.open(place.folder, place.kept, second, place.officer.public_key(), clock=place.clock) as log:
        log.append(place.events())
        root = log.root()
    history = place.kept / "history" / f"{7:016d}"
    assert verify(place.folder, place.kept, place.keys).entries == 7
    for path in (history, place.kept / "checkpoint"):
        path.write_text(Checkpoint.sign(place.signer, 7, root).note)
    with pytest.raises(AuditTamperedError, match="gave up"):
        verify(place.folder, place.kept, place.keys)
    with pytest.raises(AuditTamperedError, match="known here"):  # nor by who has the present key
        verify(place.folder, place.kept, [second.verifier])


def test_a_key_that_the_log_does_not_name_is_not_believed(place):
    handed(place, signer())
    stranger = signer()
    every = oracle.entries(place.folder)
    forged = Checkpoint.sign(stranger, len(every), oracle.mth(every))
    (place.kept / "checkpoint").write_text(forged.note)
    with pytest.raises(AuditTamperedError, match="known here"):
        verify(place.folder, place.kept, place.keys)


def test_an_entry_that_names_another_key_than_was_signed_is_the_one_that_is_blamed(place):
    second, thief = signer(), signer()
    handed(place, second)
    every = oracle.entries(place.folder)
    every[3] = every[3].replace(second.verifier.key, thief.verifier.key)
    (place.folder / "entries").write_bytes(oracle.frame(0, every))
    with pytest.raises(AuditTamperedError) as caught:
        verify(place.folder, place.kept, place.keys)
    assert (caught.value.first, caught.value.last) == (3, 3)


def test_only_the_log_writes_such_entries_and_only_for_itself(place):
    with place.create() as log:
        for action in OWN:
            with pytest.raises(InputError, match="log's own"):
                log.append([Event("role/operator/alice", action, "operations", subject=bytes(32))])
        with pytest.raises(AuditError, match="another log"):
            log.hand_over(signer("kinlink.example/tf/broker"))
        log.hand_over(place.signer)
        assert log.size == 0


def test_the_public_keys_stand_beside_the_log_and_check_it(place):
    second, third = signer(), signer()
    handed(place, second)
    said = place.folder / "public-key"
    assert said.read_text() == f"{place.key}\n{second.verifier}\n"
    # Closed meanwhile, and under a keyset that has lost the first key.
    place.signer = third
    with place.open(former=[second]):
        pass
    lines = [place.key, str(second.verifier), str(third.verifier)]
    assert said.read_text().splitlines() == lines
    said.write_text("nothing of it\n")
    with place.open(former=[second]):
        assert said.read_text().splitlines() == lines[1:]
    said.unlink()
    said.mkdir()  # what cannot be written stops nothing
    with place.open() as log:
        log.append(place.events())
    assert verify(place.folder, place.kept, place.keys).key == third.verifier
