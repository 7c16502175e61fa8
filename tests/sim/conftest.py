"""Makes the simulator (`tests/simulator`) and the list of seeds importable."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]
