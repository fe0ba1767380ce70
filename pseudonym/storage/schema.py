"""The tables of each role, and the version they are of.

A role's tables are declared in `schema_<role>.py`, as SQLAlchemy Core knows them, and made by the migrations
in `migrations/<role>/`; a test holds one against the other. `REVISIONS` names the version that this program
needs.
"""

from __future__ import annotations

from enum import StrEnum

import sqlalchemy as sa

from pseudonym.storage import schema_attributes, schema_broker, schema_identity


class Role(StrEnum):
    """Whose database it is."""

    IDENTITY = "identity"
    BROKER = "broker"
    ATTRIBUTES = "attributes"


METADATA: dict[Role, sa.MetaData] = {
    Role.IDENTITY: schema_identity.METADATA,
    Role.BROKER: schema_broker.METADATA,
    Role.ATTRIBUTES: schema_attributes.METADATA,
}
REVISIONS: dict[Role, str] = {
    Role.IDENTITY: schema_identity.REVISION,
    Role.BROKER: schema_broker.REVISION,
    Role.ATTRIBUTES: schema_attributes.REVISION,
}
