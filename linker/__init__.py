"""Kinlink's linkage engine: link and deduplicate records of people.

import linker

result = linker.link("families.csv", "register.csv")
result.links.write_parquet("links.parquet")
"""

from linker.arrival import arrive, read
from linker.decide import Cardinality, Outcome
from linker.errors import Cancelled, FileError, LayoutError, LinkerError, ModelError, RecordsError, TruthError
from linker.evaluate import Quality
from linker.evaluate import quality as evaluate
from linker.explain import Explanation
from linker.linkage import Deduplication, Linkage, comparison_vectors, dedupe, explain, link, train
from linker.matchkeys import Matchkey, Matchkeys
from linker.matchkeys_link import KeyLinkage, link_by_keys
from linker.model import Model
from linker.records import Field, Kind, Layout, Records
from linker.train import Diagnostics, Training

__all__ = [
    "Cancelled",
    "Cardinality",
    "Deduplication",
    "Diagnostics",
    "Explanation",
    "Field",
    "FileError",
    "KeyLinkage",
    "Kind",
    "Layout",
    "LayoutError",
    "Linkage",
    "LinkerError",
    "Matchkey",
    "Matchkeys",
    "Model",
    "ModelError",
    "Outcome",
    "Quality",
    "Records",
    "RecordsError",
    "Training",
    "TruthError",
    "arrive",
    "comparison_vectors",
    "dedupe",
    "evaluate",
    "explain",
    "link",
    "link_by_keys",
    "read",
    "train",
]
