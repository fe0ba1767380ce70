"""Linkage profiles: one a register, each a TOML file beside this module.

link_profile(left, right, "npd", on=day)   the call that everything else is built on (linker.profiles.link)
load(name), names()                        the profiles that come with Kinlink
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path

from linker.errors import ProfileError
from linker.profiles.profile import Profile, parse

__all__ = ["Profile", "load", "names"]


@cache
def names() -> tuple[str, ...]:
    """The profiles that come with Kinlink, in alphabetical order."""
    here = resources.files(__package__)
    return tuple(
        sorted(one.name.removesuffix(".toml") for one in here.iterdir() if one.name.endswith(".toml"))
    )


def load(name: str | Path) -> Profile:
    """A profile by its name, or in a file.

    Raises:
        ProfileError: there is none, or it cannot be read.
    """
    if str(name) in names():
        return _own(str(name))
    path = Path(name)
    if path.suffix != ".toml":
        raise ProfileError(
            "There is no profile of that name.",
            f"The profiles are {', '.join(names())}; or give a .toml file.",
        )
    try:
        return parse(path.read_text(encoding="utf-8"), path.name)
    except (OSError, UnicodeDecodeError):
        raise ProfileError(
            f"The profile {path.name} cannot be read.", "Check the path and that it is UTF-8 text."
        ) from None


@cache
def _own(name: str) -> Profile:
    text = resources.files(__package__).joinpath(f"{name}.toml").read_text(encoding="utf-8")
    return parse(text, name)
