"""Options of a search: how long it takes, how candidates are proposed, where trials are kept."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

from bmc.choices import Choice, about, check_choices
from bmc.errors import SettingError
from bmc.recipes.options import check_on

SAMPLERS = ("tpe", "nsga2")


@dataclass(frozen=True)
class SearchOptions:
    """How a search is run.

    Args:
        minutes: time of the search, summed over repeated calls: half of it, and what finalists
            do not need, is for the preparation and the trials. A trial that has begun is finished.
        trials: number of trials before the finalists are trained, summed over repeated calls; the
            default is as many as the time allows.
        finalists: number of candidates that are trained in full, and measured in alternation.
        sampler: Optuna's sampler: tpe (tree-structured Parzen estimator) or nsga2 (a genetic
            algorithm).
        storage: URL of the database of the trials, such as postgresql://USER@HOST/NAME, which
            several machines can share; the default is a SQLite file next to the output.
        threads: thread count to measure latency with; several are possible, and the fastest counts.
        workers: candidates that are trained in parallel, each in its own process; latency is
            measured while none trains. The default is 1, and with `on` as many as there are cores.
        on: where candidates are trained: ray starts a Ray cluster on this machine, or uses that of
            RAY_ADDRESS; ray://HOST:PORT uses a running cluster. The default is this machine,
            without Ray.
        transfer: unlabeled rows for distilling the model into students and pruned models: a .txt
            file with a text per line, a table, imagefolder:DIR or audiofolder:DIR, imdb, or none.
            Finalists learn from as many as the time allows. The default is imdb for movie-reviews
            and imdb, and none for other data.
        seed: random seed of the proposals and of each training.

    Raises:
        SettingError: a setting is out of range.
    """

    GROUP: ClassVar[str] = "Search"

    minutes: float = 60.0
    trials: int | None = None
    finalists: int = 4
    sampler: str = field(default="tpe", metadata=about(Choice("sampler", SAMPLERS)))
    storage: str | None = None
    threads: tuple[int, ...] = (1, 2)
    workers: int | None = None
    on: str | None = None
    transfer: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_choices(self)
        if not 0 < self.minutes < math.inf:
            raise SettingError(f"minutes is {self.minutes:g}; it must be above 0")
        check_on(self.on)
        for name in ("trials", "finalists", "workers"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingError(f"{name} is {value}; it must be at least 1")
        if not self.threads or min(self.threads) < 1:
            raise SettingError(f"threads is {self.threads}; each must be at least 1")
        if not 0 <= self.seed < 2**32:
            raise SettingError(f"seed is {self.seed}; it must be 0 or more, below 2**32")
