"""Keys of folders and the identity role's key-encrypting key: a new one takes over, and the old one waits."""

from __future__ import annotations

import pytest

from pseudonym import access, uses
from pseudonym.errors import KeysetError, PseudonymError
from pseudonym.roles import domains, settings
from pseudonym.roles.callers import Role
from pseudonym.roles.destroying import destroyer
from pseudonym.roles.opening import open_house


class Told(Exception):
    """What the linkage service would raise."""


@pytest.fixture
def house(tmp_path):
    made = settings.resolve(Role.IDENTITY, tmp_path, settings.Options(), make=True)
    with open_house(made, settings.DEVELOPMENT_DOMAIN) as house:
        yield house


def test_a_key_that_wraps_a_folders_key_is_not_destroyed(house):
    safe = domains.open_folders(house, Told)
    safe.make("sub-1")
    sealed = safe.conceal("sub-1", "place", b"value")
    old = house.keyset.kek()[0]
    new = house.keyset.rotate_kek(uses.month_after(house.keyset.by_kid(old).use[-7:])).kid
    safe.make("sub-2")
    destroy = destroyer(house, domains.wrapped_identities(house, domains.open_vault(house, {})[0]))
    asked = access.Mandate("custodian", "renewal")
    with pytest.raises(KeysetError, match="still wraps 1 keys"):
        destroy(old, asked)
    assert domains.folder_keys(house).kids() == {old: 1, new: 1}
    assert domains.rewrap_folders(house)() == 1
    destroy(old, asked)
    again = domains.open_folders(house, Told)
    assert again.reveal("sub-1", "place", sealed) == b"value"
    with pytest.raises(PseudonymError):
        house.keyset.kek_of(old)
