"""The environment is scrubbed before anything is imported: no test may find a key, a proxy or a cluster by luck."""

from __future__ import annotations

import os

_SCRUBBED_ENDINGS = ("_API_KEY", "_BASE_URL", "_API_BASE")
_SCRUBBED_PREFIXES = ("RAY_", "REPERTORY_")

for _name in list(os.environ):
    if _name.endswith(_SCRUBBED_ENDINGS) or _name.startswith(_SCRUBBED_PREFIXES):
        del os.environ[_name]
