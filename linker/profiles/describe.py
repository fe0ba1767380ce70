"""A profile in plain words: what `kinlink profile show` says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any as Json

from linker.profiles.profile import IDENTIFIER, KEY, Key, Profile
from linker.profiles.reach import before


def described(profile: Profile) -> dict[str, Json]:
    """The profile as plain data for people."""
    without, parts = before(profile, frozenset())
    full, _ = before(profile, frozenset(profile.switches))
    return {
        "name": profile.name,
        "version": profile.version,
        "digest": profile.digest,
        "title": profile.title,
        "holder": profile.holder,
        "purpose": profile.purpose,
        "applicable": profile.applicable.words,
        "carries": [one.field for one in profile.carries],
        "lacks": list(profile.lacks),
        "compares": {name: list(others) for name, others in profile.compare.items()},
        "requires": list(profile.require),
        "identifiers": [_key(key) for key in profile.keys if key.stage == IDENTIFIER],
        "keys": [_key(key) for key in profile.keys if key.stage == KEY],
        "most_records_of_a_person": profile.most,
        "thresholds": {
            "link": profile.thresholds.link,
            "review": profile.thresholds.review,
            "lead": profile.thresholds.lead,
        },
        "highest_weight": {"about": without, "with_switches": full, "parts": dict(parts)},
        "second_look_at_families": list(profile.household),
        "switches": {name: switch.words for name, switch in profile.switches.items()},
    }


def sentences(profile: Profile) -> list[tuple[str, str]]:
    """(heading, words) lines."""
    said, limits = described(profile), profile.thresholds
    highest = said["highest_weight"]
    lines = [
        ("Register", f"{profile.title} ({profile.holder}). {profile.purpose}"),
        ("Who can be in it", profile.applicable.words + "; others are NOT_APPLICABLE and are not looked for"),
        ("Carries", ", ".join(said["carries"]) or "whatever its headings say"),
        ("Does not carry", ", ".join(profile.lacks) or "nothing is ruled out"),
        ("Compares", ", ".join(_compared(profile.compare))),
        ("Needs of the left", ", ".join(profile.require) or "nothing in particular"),
        ("Records of one person", f"{profile.most} at most"),
        ("Links from", f"{limits.link:g} bits, with a lead of {limits.lead:g} over the runner-up"),
        ("People look from", f"{limits.review:g} bits"),
        ("Highest weight", _reach(highest)),
    ]
    if profile.household:
        lines.append(
            ("Second look", "candidates at an address where another member of the family was linked")
        )
    lines += [(f"Switch {name}", switch.words) for name, switch in profile.switches.items()]
    return lines


def _reach(highest: Mapping[str, Json]) -> str:
    said = f"about {highest['about']:.0f} bits in the whole register"
    if highest["with_switches"] != highest["about"]:
        said += f", {highest['with_switches']:.0f} with every switch on"
    made = ", ".join(f"{name} {bits:.0f}" for name, bits in highest["parts"].items())
    return f"{said} ({made}; less its size). A run says what its own model reaches"


def _compared(compare: Mapping[str, tuple[str, ...]]) -> list[str]:
    return [f"{name} (and {', '.join(others)})" if others else name for name, others in compare.items()]


def _key(key: Key) -> dict[str, str]:
    return {"key": key.name, "label": key.label, "where": key.where}
