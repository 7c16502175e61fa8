"""The whole system under seeds that try to break it (P1-P7), and the proof that the simulator would notice."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from seeds import FOUND_BY, ONCE_FAILED
from simulator.mutations import MUTATIONS
from simulator.plan import plan_from, plan_of
from simulator.play import digest, play, play_seed
from simulator.shrink import Shrinker

TESTS = Path(__file__).resolve().parents[1]
SEEDS, AT_ONCE = 300, 20
#: seeds within which a mutation must be found
WITHIN = 1_000

pytestmark = pytest.mark.timeout(1200)


def finding(mutation):
    """A seed that finds the mutation: the recorded one; another where the product has changed, and so its worlds."""
    with MUTATIONS[mutation]():
        seeds = (FOUND_BY[mutation], *range(WITHIN))
        return next((seed for seed in seeds if play_seed(seed).violation), None)


@pytest.mark.parametrize("first", range(0, SEEDS, AT_ONCE))
def test_no_promise_is_broken_in_any_of_these_worlds(first):
    for seed in range(first, first + AT_ONCE):
        played = play_seed(seed)
        assert not played.violation, "\n".join([*played.events[-40:], f"seed {seed} breaks {played.violation}"])


@pytest.mark.parametrize("plan", ONCE_FAILED)
def test_what_once_failed_holds_now(plan):
    assert play(plan_from(plan)).violation == ""


def test_the_same_seed_is_the_same_run_byte_for_byte():
    for seed in (3, 14):
        assert digest(play(plan_of(seed), whole=True)) == digest(play(plan_of(seed), whole=True))


def test_a_seed_is_the_same_run_in_processes_with_other_hash_seeds():
    program = ("from simulator.plan import plan_of; from simulator.play import play, digest; "
               "print([digest(play(plan_of(seed), whole=True)) for seed in (5, 12, 18)])")
    said = [
        subprocess.run([sys.executable, "-c", program], cwd=TESTS, check=True, capture_output=True, text=True,
                       env={**os.environ, "PYTHONHASHSEED": hash_seed}, timeout=600).stdout
        for hash_seed in ("1", "20261")
    ]
    assert said[0] == said[1]
    assert len(said[0]) > 3 * hashlib.sha256().digest_size


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_the_simulator_notices_when_the_product_is_broken(mutation):
    assert finding(mutation) is not None, f"none of {WITHIN} seeds finds it any more: {mutation}"


def test_a_failing_plan_is_shrunk_to_a_shorter_one_that_breaks_the_same_promise():
    mutation = "a merge that drops a line"
    seed = finding(mutation)
    assert seed is not None
    whole = plan_of(seed)
    with MUTATIONS[mutation]():
        shrinker = Shrinker(whole, play(whole))
        small = shrinker.shrink()
        again = play(plan_from(small.text(whole)))
    assert again.promise == shrinker.played.promise == "P4"
    assert len(small.steps) < len(whole.steps)
    assert not small.faults
