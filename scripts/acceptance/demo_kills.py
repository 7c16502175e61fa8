"""The demo survives a SIGKILL of everything at any moment: run again it completes, each document once."""

from __future__ import annotations

import json
import random
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import _histories
from _killing import Marked

DEMO = str(Path(__file__).resolve().parents[1] / "demonstration.py")
QUESTION = "Who designed the harbour bridge at Talle?"
ANSWER = "The harbour bridge at Talle was designed by Ingrid Solberg."
DOCUMENTS, IN = 55, 33
#: full count of kills
KILLS = 20
#: a run on a machine under load
LONGEST_S = 420.0


def run(scale: float) -> dict[str, Any]:
    """Kill `KILLS * scale` runs, each in a database of its own, and run each again."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        corpus = folder / "corpus"
        write_corpus(corpus)
        started = time.monotonic()
        report = completed(_demo(corpus, folder / "whole"))
        whole_s = time.monotonic() - started
        check(folder / "whole", report)
        moments: list[float] = []
        longest_s, tries = whole_s, 0
        while len(moments) < max(1, round(KILLS * scale)):
            moment = random.Random(tries).uniform(0.15, 0.95) * longest_s
            if _kill_and_repeat(corpus, folder / f"db{tries}", moment):
                moments.append(round(moment, 1))
            else:  # the machine has become faster: it was done before, and that was no kill
                longest_s = min(longest_s, moment)
            tries += 1
    return {"kills": len(moments), "whole_run_s": round(whole_s, 1), "killed_at_s": moments,
            "answer": report["answer"]}


def write_corpus(folder: Path) -> None:
    """55 documents, one of which has the answer."""
    folder.mkdir()
    for number in range(1, DOCUMENTS + 1):
        text = f"# Note {number}\n\nThis note is about village number {number}. It has a mill. People grow apples.\n"
        if number == IN:
            text = f"# Note {number}\n\nTalle lies by the sea. {ANSWER} It opened in 1931.\n"
        (folder / f"doc{number}.md").write_text(text)


def completed(demo: Marked) -> dict[str, Any]:
    """The JSON of a run that has to end well."""
    try:
        out, error = demo.process.communicate(timeout=LONGEST_S)
        assert demo.process.returncode == 0, f"the demo ended with {demo.process.returncode}: {error[-2_000:]}"
        report: dict[str, Any] = json.loads(out)
        return report
    finally:
        demo.kill_everything()


def check(database: Path, report: dict[str, Any]) -> None:
    """The answer is right, each document was read and reported once, and every history is valid."""
    assert report["documents"] == {"total": DOCUMENTS, "done": DOCUMENTS}, report["documents"]
    assert report["citations"][0] == {"document": f"doc{IN}.md", "sentence": ANSWER}, report["citations"]
    histories, versions = _histories.read(database, "findings")
    reported = Counter(line.partition("]")[0] for line in versions[-1].value.split("\n") if line.startswith("["))
    assert len(reported) == DOCUMENTS, f"{len(reported)} documents in the findings"
    assert set(reported.values()) == {1}, [name for name, count in reported.items() if count != 1]
    assert [version.version for version in versions] == list(range(1, len(versions) + 1))
    for name, messages in histories.items():
        assert not (faults := _histories.faults(messages)), f"{name}: {faults}"


def _kill_and_repeat(corpus: Path, database: Path, moment_s: float) -> bool:
    """Kill a run after `moment_s` seconds and run it again; False if it was done before it could be killed."""
    demo = _demo(corpus, database)
    killed = False
    try:
        demo.process.wait(timeout=moment_s)
    except subprocess.TimeoutExpired:
        killed = True
    demo.kill_everything()
    check(database, completed(_demo(corpus, database)))
    return killed


def _demo(corpus: Path, database: Path) -> Marked:
    return Marked([DEMO, str(corpus), "--question", QUESTION, "--database", str(database), "--json"],
                  stdout=subprocess.PIPE, stderr=subprocess.PIPE)
