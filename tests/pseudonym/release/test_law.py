"""A release stands on its purpose, each time that it is made, checked and read; what lacks refuses it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pseudonym.errors import LawError
from pseudonym.lawful.cover import Cover
from pseudonym.lawful.records import ProjectRecord
from tests.pseudonym.release.scene import scene
from tests.pseudonym.roles.harness import PURPOSE, lawful
from tests.pseudonym.separation.parts import NOON, PROJECT

END = "2028-01-01"
DATASETS = ("family-file", "pnc", "linked")


def cover(*datasets, may=("special-category", "criminal-offence"), reader="rita", last=END, **changes):
    content = lawful(*(datasets or DATASETS), end=END)
    content["accreditations"][2] |= {"person": reader, "may": list(may), "expires": last}
    content["purposes"][PURPOSE] = content["purposes"][PURPOSE] | changes
    return Cover({PROJECT: ProjectRecord.read(PROJECT, content)}, required=True)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a dataset": ({"datasets": ["family-file", "linked"]}, "DATASET_NOT_COVERED"),
    "offences": ({"criminal_offence": ""}, "CONDITION_MISSING"),
    "special categories": ({"special_category": ""}, "CONDITION_MISSING"),
    "what the reader may": ({"may": ("criminal-offence",)}, "READER_NOT_COVERED"),
    "another reader": ({"reader": "mary"}, "ACCREDITATION_MISSING"),
    "a reader's last day": ({"last": "2026-01-01"}, "ACCREDITATION_EXPIRED"),
}


@pytest.mark.parametrize("case", WRONG)
def test_r24_r68_what_the_purpose_does_not_cover_is_not_released(case, sqlite_url, tmp_path):
    changes, reason = WRONG[case]
    with scene(sqlite_url, tmp_path, cover=cover(**changes)) as set_up:
        with pytest.raises(LawError) as caught:
            set_up.created()
        assert caught.value.reason == reason
        assert set_up.desk.all(PROJECT) == []  # nothing was kept


def test_r51_a_release_does_not_outlive_the_project(sqlite_url, tmp_path):
    with scene(sqlite_url, tmp_path, cover=cover()) as set_up:
        with pytest.raises(LawError) as caught:
            set_up.created(set_up.changed(("2027-12-31T00:00:00Z", "2028-01-02T00:00:00Z")))
        assert caught.value.reason == "RETENTION_MAXIMUM"


def test_r68_it_is_asked_again_when_it_is_read_and_the_manifest_says_what_it_stands_on(sqlite_url, tmp_path):
    last = datetime.fromtimestamp(NOON, UTC).date() + timedelta(days=30)
    with scene(sqlite_url, tmp_path, cover=cover(last=last.isoformat())) as set_up:
        record = set_up.approved()
        said = json.loads(record.manifest)["lawfulness"]
        assert said["basis"].startswith("UK GDPR Article 6(1)(e)")
        assert said["accreditation_of_project"].startswith("DEA/1")
        set_up.clock.now += 60 * 86_400  # the reader's accreditation runs out between approval and reading
        with pytest.raises(LawError) as caught:
            set_up.fetched(record)
        assert caught.value.reason == "ACCREDITATION_EXPIRED"
