"""Thousands of mishaps, none of which may show: 200 seeds, those that once failed, and faults that must be found."""

from pathlib import Path

import pytest

from simulation import run
from simulation.clock import StuckError, VirtualLoop
from simulation.mutations import MUTATIONS, Mutation

SEEDS = range(200)
KEPT = [int(line) for line in Path(__file__).with_name("seeds.txt").read_text().split("\n") if line.strip().isdigit()]
PARTS = 8  # so that they are shared out among the processes that run the tests


def failures(seeds: range | list[int]) -> list[str]:
    return [f"seed {each.seed}: {each.fault}" for each in map(run, seeds) if each.fault is not None]


@pytest.mark.parametrize("part", range(PARTS))
def test_whatever_happens_every_promise_is_kept(part: int) -> None:
    assert failures(SEEDS[part::PARTS]) == []


def test_what_once_failed_does_not_fail_again() -> None:
    assert failures(KEPT) == []


def test_a_seed_does_the_same_each_time() -> None:
    first, second = ([run(seed).digest for seed in range(4)] for _ in range(2))
    assert first == second
    assert len(set(first)) == 4


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
def test_the_simulation_finds(mutation: Mutation, monkeypatch: pytest.MonkeyPatch) -> None:
    mutation(monkeypatch)
    assert any(run(seed).fault is not None for seed in (MUTATIONS[mutation], *SEEDS))


def test_who_waits_for_ever_is_found() -> None:
    loop = VirtualLoop()
    try:
        with pytest.raises(StuckError):
            loop.run_until_complete(loop.create_future())
    finally:
        loop.close()
