"""What every test shares."""

from __future__ import annotations

from hypothesis import settings

# No deadline: the first example of a property may compile a kernel. The rest is Hypothesis' own profile,
# which is free of chance where CI is set.
settings.register_profile("kinlink", settings(), deadline=None)
settings.load_profile("kinlink")
