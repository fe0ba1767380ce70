"""Notes and checkpoints are those of C2SP, and the kept ones are never exchanged."""

from __future__ import annotations

import os

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pseudonym.audit import Checkpoint, CheckpointFolder, Signer, VerifierKey
from pseudonym.audit.checkpoint import open_note
from pseudonym.errors import AuditCheckpointError, AuditProofError, AuditTamperedError, InputError
from tests.pseudonym.audit import oracle

# The example of Go's sumdb/note, the first implementation of the format.
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_TEXT = """If you think cryptography is the answer to your problem,
then you don't know what your problem is.
"""
GO_NOTE = f"""{GO_TEXT}
— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=
"""

PRIVATE = bytes(range(32))
SIGNER = Signer("kinlink.example/log", Ed25519PrivateKey.from_private_bytes(PRIVATE))
KEYS = [SIGNER.verifier]
OTHER = Signer("kinlink.example/log", Ed25519PrivateKey.generate())


def test_the_note_of_another_implementation_opens():
    key = VerifierKey.parse(GO_KEY)
    assert str(key) == GO_KEY
    assert open_note(GO_NOTE, [key]) == GO_TEXT
    for changed in (GO_NOTE.replace("answer", "answeR"), GO_NOTE.replace("JnAM=", "JnAN=")):
        with pytest.raises(AuditProofError):
            open_note(changed, [key])


def test_a_checkpoint_is_byte_for_byte_that_of_the_second_implementation():
    root = bytes(range(32))
    made = Checkpoint.sign(SIGNER, 20_852_163, root)
    text = "kinlink.example/log\n20852163\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"
    assert made.note == oracle.note(text, "kinlink.example/log", PRIVATE)
    assert oracle.vkey("kinlink.example/log", SIGNER.verifier.key) == str(SIGNER.verifier)
    assert oracle.checkpoint(made.note.encode(), str(SIGNER.verifier)) == (made.origin, made.size, root)
    assert Checkpoint.read(made.note, KEYS) == made


def test_signatures_of_others_are_passed_over_and_none_of_ones_own_is_refused():
    note = Checkpoint.sign(SIGNER, 1, bytes(32)).note
    witnessed = note + "— witness.example BKcCdpKEEkA=\n"
    assert Checkpoint.read(witnessed, KEYS).size == 1
    assert Checkpoint.read(note, [OTHER.verifier, *KEYS]).size == 1  # a former key beside the present one
    with pytest.raises(AuditProofError, match="not signed with a key"):
        Checkpoint.read(note, [OTHER.verifier])
    with pytest.raises(AuditProofError):
        Checkpoint.read(note.replace("log\n1\n", "log\n2\n"), KEYS)


@pytest.mark.parametrize(
    "text",
    [
        "kinlink.example/log\n1\n",
        "kinlink.example/log\n01\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        "kinlink.example/log\n-1\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        "kinlink.example/log\n1\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9=\n",
        "kinlink.example/log\n1\nAAEC\n",
        "kinlink.example/another\n1\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        "kinlink.example/log\n1\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n\nmore\n",
        "\n",
    ],
)
def test_a_good_signature_makes_no_checkpoint(text):
    with pytest.raises(AuditProofError):
        Checkpoint.read(oracle.note(text, "kinlink.example/log", PRIVATE), KEYS)


def test_extension_lines_are_let_through():
    text = "kinlink.example/log\n1\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\nmore\n"
    assert Checkpoint.read(oracle.note(text, "kinlink.example/log", PRIVATE), KEYS).size == 1


@pytest.mark.parametrize(
    "note", ["", "a", "a\n\n", "a\n\n— b c\n", "a\n\n— kinlink.example/log AA==\n", "\x07\n\n— b c\n"]
)
def test_what_is_no_note(note):
    with pytest.raises(AuditProofError):
        open_note(note, KEYS)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "PeterNeumann",
        GO_KEY.replace("c74f20a3", "c74f20a4"),
        GO_KEY.replace("ARpc", "BRpc"),
        GO_KEY[:-4],
        "two words+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
    ],
)
def test_what_is_no_public_key(text):
    with pytest.raises(InputError):
        VerifierKey.parse(text)


@pytest.mark.parametrize("name", ["", "Log", "a b", "a+b", "-a", "a" * 129])
def test_what_is_no_name_of_a_log(name):
    with pytest.raises(InputError):
        Signer(name, Ed25519PrivateKey.generate())


def test_kept_checkpoints_stay_and_the_newest_is_replaced(tmp_path):
    kept = CheckpointFolder(tmp_path)
    assert kept.newest(KEYS) is None
    made = [Checkpoint.sign(SIGNER, size, bytes([size] * 32)) for size in (0, 3, 12)]
    for one in made:
        kept.keep(one)
        assert kept.newest(KEYS) == one
    assert [name for name, _ in kept.all(KEYS)] == [
        *(f"history/{size:016d}" for size in (0, 3, 12)),
        "checkpoint",
    ]
    kept.keep(made[2])  # again, as after a crash
    with pytest.raises(AuditTamperedError):
        kept.keep(Checkpoint.sign(SIGNER, 3, bytes(32)))
    (tmp_path / "checkpoint").unlink()  # a crash between the two
    assert kept.newest(KEYS) == made[2]
    assert {path.name for path in tmp_path.iterdir()} == {"history"}


def test_a_folder_that_cannot_be_used_is_said_so(tmp_path):
    with pytest.raises(AuditCheckpointError):
        CheckpointFolder(tmp_path / "none").newest(KEYS)
    with pytest.raises(AuditCheckpointError):
        CheckpointFolder(tmp_path / "none").keep(Checkpoint.sign(SIGNER, 0, bytes(32)))


def test_a_kept_checkpoint_that_was_tampered_with_is_named(tmp_path):
    kept = CheckpointFolder(tmp_path)
    kept.keep(Checkpoint.sign(SIGNER, 3, bytes(32)))
    file = tmp_path / "history" / f"{3:016d}"
    whole = file.read_bytes()
    for content in (
        whole.replace(b"\n3\n", b"\n4\n"),
        b"\xff",
        Checkpoint.sign(OTHER, 3, bytes(32)).note.encode(),
    ):
        file.write_bytes(content)
        with pytest.raises(AuditTamperedError, match="history/0000000000000003"):
            list(kept.all(KEYS))
    file.write_bytes(whole)
    os.rename(file, file.with_name(f"{4:016d}"))
    with pytest.raises(AuditTamperedError, match="another size"):
        list(kept.all(KEYS))
