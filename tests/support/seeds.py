"""The seed of a run: drawn once, printed by the tests that use it, and the same in all processes of pytest-xdist."""

from __future__ import annotations

import os
import random

#: Inherited from the process that started this one, whose tests must have the same names.
_DRAWN = os.environ.setdefault("IPYACTORS_SEED_DRAWN", str(random.SystemRandom().randrange(10**6)))

#: ``IPYACTORS_SEED`` says which it is, to see a failure again.
SEED = int(os.environ.get("IPYACTORS_SEED") or _DRAWN)
