"""Show the package to type checkers as it is imported: build/view/repertory is a folder of links.

setuptools maps actors, memory, tools and groups into the package with an import hook, which mypy and pyright cannot
see. They get `build/view` instead: links to every entry of src/repertory, and to the four folders.
"""

from __future__ import annotations

import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MAPPED = ("actors", "memory", "tools", "groups")


def build_view(root: Path = ROOT) -> Path:
    """Make the view anew and return its folder."""
    view = root / "build" / "view"
    shutil.rmtree(view, ignore_errors=True)
    package = view / "repertory"
    package.mkdir(parents=True)
    entries = [e for e in (root / "src" / "repertory").iterdir() if e.name != "__pycache__"]
    for entry in [*entries, *(root / name for name in MAPPED)]:
        (package / entry.name).symlink_to(entry, target_is_directory=entry.is_dir())
    return view


if __name__ == "__main__":
    print(build_view())
