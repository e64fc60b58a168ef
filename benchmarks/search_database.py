"""Measure how long it takes to propose a trial of a search and to keep it, in each database.

    python benchmarks/search_database.py --postgresql postgresql+psycopg2://USER@HOST/DATABASE

The trials have eight parameters and three objectives. Without a URL, PostgreSQL is not measured.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from typing import Any

import optuna
from _common import RUNS, finish

NUMBERS, CHOICES, OBJECTIVES = 4, 4, 3
LAST = 20  # trials of a median


def main() -> int:
    """Measure every database, and write results/search_database.json."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--postgresql", help="URL of an empty database")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    file = RUNS / "search_database.sqlite"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    places = {"memory": None, "sqlite": f"sqlite:///{file}", "postgresql": options.postgresql}
    found = {
        name: measured(url, options.trials)
        for name, url in places.items()
        if url or name == "memory"
    }
    for name, row in found.items():
        print(f"{name}: {row}")
    return finish("search_database", [], {"trials": options.trials, "databases": found})


def measured(url: str | None, trials: int) -> dict[str, Any]:
    """Return the seconds for one trial, among the last ones.

    Args:
        url: the database; None for none.
        trials: number of trials.
    """
    study = optuna.create_study(
        storage=url,
        directions=["minimize"] * OBJECTIVES,
        sampler=optuna.samplers.TPESampler(seed=0),
    )
    chance = random.Random(0)
    asked, told = [], []
    for _ in range(trials):
        started = time.monotonic()
        trial = study.ask()
        for number in range(NUMBERS):
            trial.suggest_float(f"number{number}", 0, 1)
        for number in range(CHOICES):
            trial.suggest_categorical(f"choice{number}", ["a", "b", "c"])
        proposed = time.monotonic()
        study.tell(trial, [chance.random() for _ in range(OBJECTIVES)])
        asked.append(proposed - started)
        told.append(time.monotonic() - proposed)
    return {
        "propose_s": statistics.median(asked[-LAST:]),
        "keep_s": statistics.median(told[-LAST:]),
    }


if __name__ == "__main__":
    raise SystemExit(main())
