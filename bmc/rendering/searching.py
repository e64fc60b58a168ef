"""Render the result of `bmc compress`."""

from __future__ import annotations

from rich.table import Table

from bmc.measure.scores import Interval
from bmc.measure.shown import megabytes, significant, with_interval
from bmc.rendering.rendered import Rendered
from bmc.search.budgets import Measured
from bmc.search.result import Found, Winner


def found(result: Found) -> Rendered:
    """Render the models of the front, and where the picture and the steps are."""
    best = result.winners[0]
    lines = (
        result.sentence,
        f"{result.trials} trials in {result.seconds / 60:.1f} minutes, {result.failed} of them "
        f"could not be made; all of them: {result.picture}",
        f"next: bmc bench {' '.join(str(winner.bundle) for winner in result.winners)}    "
        f"(the recipe of the first: {best.recipe})",
    )
    return Rendered(result.to_json(), (_table(result), *lines))


def _table(result: Found) -> Table:
    """Return a table of the uncompressed model and the front."""
    table = Table(title=f"compressed for {result.target}; chosen by validation rows")
    for title in ("model", "steps", "points lost", "MB", "p50 ms", "test", "lost on test"):
        table.add_column(title, justify="left" if title in ("model", "steps") else "right")
    table.add_row(str(result.model), "", *_figures(result.base), "", "")
    for winner in result.winners:
        lost = with_interval(winner.test_lost) if winner.test_lost else ""
        table.add_row(
            *(winner.bundle.name, winner.candidate, *_figures(winner.validation)),
            *(_test(winner), lost),
        )
    return table


def _figures(measured: Measured) -> tuple[str, str, str]:
    megabytes_, ms = megabytes(measured.bytes), measured.milliseconds
    lost = f"{measured.drop:.2f}"
    if measured.drop_low is not None:
        lost += f" [{measured.drop_low:.2f}, {measured.drop_high:.2f}]"
    return lost, megabytes_.removesuffix(" MB"), significant(ms)


def _test(winner: Winner) -> str:
    """Return the first score of the test rows with its interval."""
    for name, value in winner.test.items():
        if isinstance(value, dict) and {"value", "low", "high"} <= value.keys():
            return f"{name} {with_interval(Interval(value['value'], value['low'], value['high']))}"
    return ""
