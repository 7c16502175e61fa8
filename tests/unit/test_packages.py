"""The list of packages in pyproject.toml is the tree, and importing the package costs little."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS = PROJECT["tool"]["setuptools"]


def test_the_package_list_is_the_tree() -> None:
    found = set()
    for package, folder in SETUPTOOLS["package-dir"].items():
        top = ROOT / folder
        for path in top.rglob("__init__.py"):
            found.add(".".join((package, *path.parent.relative_to(top).parts)))
    assert found == set(SETUPTOOLS["packages"])


def test_every_folder_with_modules_is_a_package() -> None:
    for folder in SETUPTOOLS["package-dir"].values():
        for path in (ROOT / folder).rglob("*.py"):
            assert (path.parent / "__init__.py").exists(), path


def test_every_file_of_a_package_that_is_no_module_is_shipped() -> None:
    patterns = SETUPTOOLS["package-data"]["repertory"]
    shipped = {path for pattern in patterns for path in (ROOT / "src/repertory").glob(pattern)}
    for path in (ROOT / "src/repertory").rglob("*"):
        if path.is_file() and path.suffix not in (".py", ".pyc"):
            assert path in shipped, path


def test_importing_the_package_loads_no_heavy_library() -> None:
    code = (
        "import sys, repertory\n"
        "assert set(repertory.__all__) <= set(dir(repertory))\n"
        "heavy = {'ray', 'lancedb', 'pyarrow', 'openai', 'anthropic', 'numpy', 'typer'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    environment = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "SYSTEMROOT")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_public_name_can_be_had() -> None:
    import repertory

    for name in repertory.__all__:
        assert getattr(repertory, name) is not None
    assert 10 <= len(repertory.__all__) <= 30
