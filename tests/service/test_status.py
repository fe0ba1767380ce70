"""What a caller is told of an error, within what a call can carry."""

from __future__ import annotations

import base64
from urllib.parse import quote

import pytest

from linker import status
from linker.errors import ModelError
from linker.refusals import Invalid

METADATA_BYTES = 8 * 1024  # what gRPC takes at the end of a call unless it is told otherwise


@pytest.mark.parametrize("letter", ["n", "é", "\u4e2d", "\U0001f600", "\ud800"])
@pytest.mark.parametrize(
    "make",
    [ModelError, lambda message, help: Invalid("FIELD_INVALID", message, help, field="header.columns")],
)
def test_an_error_is_cut_to_what_a_call_can_carry(make, letter):
    details = status.details_of(make("'" + letter * 20_000, "Not '" + letter * 20_000), "c" * 32)
    sent = status.write(details)
    assert status.read(sent) == details
    assert len(base64.b64encode(sent)) + len(quote(details.message)) < METADATA_BYTES - 1_000
    assert details.message.endswith("…")
    assert 100 < len(details.message) <= 500


def test_a_short_error_stays_as_it_is():
    details = status.details_of(ModelError("The level 'é' is not known.", "Use another."), "id")
    assert (details.message, details.help) == ("The level 'é' is not known.", "Use another.")
