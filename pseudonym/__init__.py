"""Keys and reference numbers: from a random internal id to a number that means something to one recipient.

A person or family has a random id (pid). A project's `AidKey` turns it into an attribute id (aid), and a
recipient's `UrnKey` turns that into the reference number (URN) which the recipient sees. Both keys live in a
`Keyset`; `read` takes a number as people write it. Nothing here knows a name, a birth date or an identifier.
"""

from __future__ import annotations

from pseudonym.errors import KeysetError, PseudonymError, UrnError
from pseudonym.keys import RAW_KEY_ACCESS, Key, Keyset, State
from pseudonym.providers.file import FileProvider
from pseudonym.urn import AidKey, Kind, Urn, UrnKey, grouped, read

__all__ = [
    "RAW_KEY_ACCESS",
    "AidKey",
    "FileProvider",
    "Key",
    "Keyset",
    "KeysetError",
    "Kind",
    "PseudonymError",
    "State",
    "Urn",
    "UrnError",
    "UrnKey",
    "grouped",
    "read",
]
