"""Run acceptance lines at full count and print what they measured as JSON.

Each line is a module of scripts/acceptance with `run(scale: float) -> dict`, which raises AssertionError when the
line does not hold. Each runs in a process of its own, so that none sees what another left in memory.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

from rich.console import Console

FOLDER = Path(__file__).resolve().parent / "acceptance"
progress = Console(stderr=True)


def names() -> list[str]:
    """The acceptance lines that exist."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_"))


def described(name: str) -> str:
    """The first line of a module's docstring."""
    text = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    return text.lstrip('"').split("\n", 1)[0].rstrip('"')


def run_here(name: str, scale: float) -> dict[str, Any]:
    """Carry out one line in this process."""
    sys.path.insert(0, str(FOLDER))  # lines may share modules whose names begin with an underscore
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    started = time.monotonic()
    try:
        spec.loader.exec_module(module)
        result, error = module.run(scale), None
    except Exception as problem:
        traceback.print_exc()
        result, error = {}, f"{type(problem).__name__}: {problem}"
    return {"name": name, "holds": error is None, "error": error, "seconds": round(time.monotonic() - started, 1),
            "result": result}


def run_apart(name: str, scale: float, folder: Path) -> dict[str, Any]:
    """Carry out one line in a process of its own; what it prints goes to stderr."""
    answer = folder / f"{name}.json"
    command = [sys.executable, __file__, name, "--scale", str(scale), "--answer", str(answer)]
    with progress.status(f"{name}: {described(name)}"):
        code = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False).returncode
    if answer.exists():
        report: dict[str, Any] = json.loads(answer.read_text())
    else:
        report = {"name": name, "holds": False, "error": f"its process ended with code {code}", "result": {}}
    progress.print(f"[{'green' if report['holds'] else 'red'}]{'holds' if report['holds'] else 'FAILS'}[/] {name}"
                   f" ({report.get('seconds', '?')} s) {report['error'] or ''}")
    return report


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="scripts/accept", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="which lines (default: all)")
    parser.add_argument("--list", action="store_true", help="only say which lines there are")
    parser.add_argument("--scale", type=float, default=1.0, help="part of the full count (default 1.0)")
    parser.add_argument("--answer", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.list:
        print("\n".join(f"{name:20} {described(name)}" for name in names()))
        return 0
    unknown = [name for name in options.names if name not in names()]
    if unknown:
        parser.error(f"no acceptance line named {', '.join(unknown)}; there are: {', '.join(names())}")
    if options.answer:
        report = run_here(options.names[0], options.scale)
        options.answer.write_text(json.dumps(report, default=str))
        return 0 if report["holds"] else 1
    with tempfile.TemporaryDirectory() as folder:
        reports = [run_apart(name, options.scale, Path(folder)) for name in options.names or names()]
    print(json.dumps({"holds": all(r["holds"] for r in reports), "scale": options.scale, "lines": reports}, indent=2))
    return 0 if all(r["holds"] for r in reports) else 1


if __name__ == "__main__":
    sys.exit(main())
