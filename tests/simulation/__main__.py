"""Run as many seeds as you like: `python -m tests.simulation --seeds 10000`, and `--seed N` to look at one."""

import argparse
import itertools
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed

from .world import Outcome, run

_SHOWN = 60  # lines
_BATCH = 50  # seeds


def _failures(seeds: range) -> list[Outcome]:
    return [outcome for seed in seeds if (outcome := run(seed)).fault is not None]


def _batches(first: int, number: int) -> Iterator[range]:
    for start in range(first, first + number, _BATCH):
        yield range(start, min(start + _BATCH, first + number))


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - it is a program


def _show(outcome: Outcome, lines: int) -> None:
    for line in outcome.trace[-lines:]:
        _say(f"  {line}")
    _say(f"seed {outcome.seed}: {outcome.fault or 'nothing was wrong'} ({outcome.digest[:16]})")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first of them")
    parser.add_argument("--seed", type=int, help="this one alone, with all that happens")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    given = parser.parse_args()
    if given.seed is not None:
        outcome = run(given.seed)
        _show(outcome, len(outcome.trace))
        return int(outcome.fault is not None)
    failed = done = 0
    with ProcessPoolExecutor(given.workers) as pool:
        batches: list[Future[list[Outcome]]] = [
            pool.submit(_failures, each) for each in _batches(given.first, given.seeds)
        ]
        for done, batch in zip(itertools.count(1), as_completed(batches), strict=False):
            for outcome in batch.result():
                failed += 1
                _show(outcome, _SHOWN)
            if done % 20 == 0:
                _say(f"{min(done * _BATCH, given.seeds)} of {given.seeds} seeds, {failed} failed")
    _say(f"{given.seeds} seeds from {given.first}: {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
