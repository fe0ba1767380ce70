"""A clock that was ahead does not end a log: the key's holder says so in it, and nobody else can."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from typer.testing import CliRunner

from pseudonym import uses
from pseudonym.audit import Log, system_clock, verify
from pseudonym.cli.audit import audit_app
from pseudonym.errors import AuditClockError, AuditTamperedError, InputError
from pseudonym.keys import Keyset
from pseudonym.log_keys import signers
from pseudonym.providers.file import FileProvider
from pseudonym.roles.authority import write_private
from tests.pseudonym.audit import oracle
from tests.pseudonym.audit.conftest import ORIGIN

HOUR = 3600
WHO = "role/key-custodian/alice"


def test_the_log_says_it_and_goes_on_from_the_right_time(place):
    place.clock.pass_seconds(5 * HOUR)
    place.filled([3])
    ahead = place.clock.now
    place.clock.pass_seconds(-5 * HOUR)
    with pytest.raises(AuditClockError, match="clock-was-ahead"):
        place.open()
    with place.open(clock_was_ahead=WHO) as log:
        assert log.append(place.events()) == range(4, 5)
    with place.open() as log:
        log.append(place.events())
    found = [oracle.said(entry) for entry in oracle.entries(place.folder)]
    times = [int.from_bytes(one.time, "big") for one in found]
    # The entries were written a minute before the clock stood at `ahead`.
    assert times[3] == times[4] == times[5] == ahead - 5 * HOUR * 10**6
    assert (found[3].actor, found[3].action) == (WHO.encode(), b"audit.clock-was-ahead")
    assert int.from_bytes(found[3].count, "big") == 5 * HOUR - 60
    assert verify(place.folder, place.kept, place.keys).entries == 6


def test_nobody_says_it_of_a_clock_that_is_right(place):
    place.filled([3])
    before = place.entries.read_bytes()
    with pytest.raises(InputError, match="not behind"):
        place.open(clock_was_ahead=WHO)
    assert place.entries.read_bytes() == before


def test_an_earlier_time_in_any_other_entry_is_still_found(place):
    place.filled([3])
    every = oracle.entries(place.folder)
    parts = oracle.said(every[2])
    earlier = int.from_bytes(parts.time, "big") - 10**9
    every[2] = every[2].replace(parts.time, earlier.to_bytes(8, "big"))
    (place.folder / "entries").write_bytes(oracle.frame(0, every))
    with pytest.raises(AuditTamperedError) as caught:
        verify(place.folder, place.kept, place.keys)
    assert caught.value.first == 2


def test_the_command_opens_the_keyset_and_signs(place, tmp_path, quick):
    keyset = Keyset.create(
        tmp_path / "keyset", "identity", FileProvider(tmp_path / "device", "seven grey herons wade upstream")
    )
    keyset.add(uses.AUDIT)
    place.signer = signers(keyset, ORIGIN)[0]
    place.clock.now = system_clock() + HOUR * 10**6
    place.filled([2])
    write_private(tmp_path / "p", b"seven grey herons wade upstream\n")
    officer = place.officer.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    write_private(tmp_path / "officer.pem", officer)
    command = [
        "clock-was-ahead", str(place.folder), "--checkpoints", str(place.kept), "--who", WHO,
        "--keyset", str(keyset.path), "--officer-key", str(tmp_path / "officer.pem"),
        "--device", str(tmp_path / "device"), "--secret",
    ]  # fmt: skip
    refused = CliRunner().invoke(audit_app, [*command, f"file:{tmp_path / 'officer.pem'}"])
    assert (refused.exit_code, len(oracle.entries(place.folder))) == (1, 2)
    done = CliRunner().invoke(audit_app, [*command, f"file:{tmp_path / 'p'}"])
    assert (done.exit_code, done.stdout.split(" says")[0]) == (0, "Entry 2")
    with Log.open(place.folder, place.kept, place.signer, place.officer.public_key()) as log:
        log.append(place.events())
    assert verify(place.folder, place.kept, [place.signer.verifier]).entries == 4
