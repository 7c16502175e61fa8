"""What the README shows runs as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")


@pytest.mark.timeout(600)
def test_the_fifteen_lines_run_offline_and_find_the_agent_again(tmp_path: Path) -> None:
    lines = re.findall(r"```python\n(.*?)```", README, re.DOTALL)[0]
    environment = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "TMPDIR", "LANG")}
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", lines], cwd=tmp_path, env=environment, capture_output=True,
                              text=True, timeout=280, check=False)
        assert done.returncode == 0, done.stderr
        assert "nine" in done.stdout
