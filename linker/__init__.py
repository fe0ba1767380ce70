"""Kinlink's linkage engine: link and deduplicate records of people.

import linker

result = linker.link("families.csv", "register.csv")
result.links.write_parquet("links.parquet")

What is named here is loaded when it is first used: `import linker` takes no time.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from linker.arrival import arrive, read
    from linker.decide import Cardinality, Outcome
    from linker.errors import (
        Cancelled,
        FileError,
        LayoutError,
        LinkerError,
        ManifestError,
        ModelError,
        ProfileError,
        RecordsError,
        TruthError,
    )
    from linker.evaluate import Quality
    from linker.evaluate import quality as evaluate
    from linker.explain import Explanation
    from linker.linkage import Deduplication, Linkage, comparison_vectors, dedupe, explain, link, train
    from linker.manifest import Manifest
    from linker.matchkeys import Matchkey, Matchkeys
    from linker.matchkeys_link import KeyDeduplication, KeyLinkage, dedupe_by_keys, link_by_keys
    from linker.model import Model
    from linker.pairs import pairs
    from linker.profiles.dedupe import ProfileDeduplication, dedupe_profile
    from linker.profiles.link import ProfileResult, link_profile
    from linker.profiles.profile import Profile
    from linker.records import Field, Kind, Layout, Records
    from linker.reference import Reference
    from linker.train import Diagnostics, Training
    from linker.verification import Verdict, verify

__all__ = [
    "Cancelled",
    "Cardinality",
    "Deduplication",
    "Diagnostics",
    "Explanation",
    "Field",
    "FileError",
    "KeyDeduplication",
    "KeyLinkage",
    "Kind",
    "Layout",
    "LayoutError",
    "Linkage",
    "LinkerError",
    "Manifest",
    "ManifestError",
    "Matchkey",
    "Matchkeys",
    "Model",
    "ModelError",
    "Outcome",
    "Profile",
    "ProfileDeduplication",
    "ProfileError",
    "ProfileResult",
    "Quality",
    "Records",
    "RecordsError",
    "Reference",
    "Training",
    "TruthError",
    "Verdict",
    "arrive",
    "comparison_vectors",
    "dedupe",
    "dedupe_by_keys",
    "dedupe_profile",
    "evaluate",
    "explain",
    "link",
    "link_by_keys",
    "link_profile",
    "pairs",
    "read",
    "train",
    "verify",
]

_HOME = {
    "Cancelled": "errors", "Cardinality": "decide", "Deduplication": "linkage", "Diagnostics": "train",
    "Explanation": "explain", "Field": "records", "FileError": "errors",
    "KeyDeduplication": "matchkeys_link", "KeyLinkage": "matchkeys_link", "Kind": "records",
    "Layout": "records", "LayoutError": "errors", "Linkage": "linkage", "LinkerError": "errors",
    "Manifest": "manifest", "ManifestError": "errors", "Matchkey": "matchkeys", "Matchkeys": "matchkeys",
    "Model": "model", "ModelError": "errors", "Outcome": "decide", "Profile": "profiles.profile",
    "ProfileDeduplication": "profiles.dedupe", "ProfileError": "errors", "ProfileResult": "profiles.link",
    "Quality": "evaluate", "Records": "records", "RecordsError": "errors", "Reference": "reference",
    "Training": "train", "TruthError": "errors", "Verdict": "verification", "arrive": "arrival",
    "comparison_vectors": "linkage", "dedupe": "linkage", "dedupe_by_keys": "matchkeys_link",
    "dedupe_profile": "profiles.dedupe", "evaluate": "evaluate", "explain": "linkage", "link": "linkage",
    "link_by_keys": "matchkeys_link", "link_profile": "profiles.link", "pairs": "pairs", "read": "arrival",
    "train": "linkage", "verify": "verification",
}  # fmt: skip
_CALLED = {"evaluate": "quality"}  # there


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'linker' has no attribute '{name}'")
    found = getattr(import_module(f"linker.{_HOME[name]}"), _CALLED.get(name, name))
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """Keeps `linker.train` the function: importing a module of that name would put the module there."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (isinstance(value, ModuleType) and name in _HOME):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
