"""A result in the form that is printed: lines and tables, or JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar, cast

from bmc.errors import DivergedError, GateError

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Rendered:
    """A result, ready to be printed.

    Args:
        data: the JSON document that `--json` prints.
        shown: lines and rich tables that the terminal shows.
        exit_code: exit code of the command.
        failure: message for stderr if the result failed a check; "" otherwise.
    """

    data: dict[str, Any]
    shown: tuple[object, ...] = ()
    exit_code: int = 0
    failure: str = ""


def render_result(
    render: Callable[[T], Rendered], work: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> Rendered:
    """Run a workflow and render its result, also if the result failed a check.

    The document of a failed result lists the failed checks.

    Args:
        render: function that renders the workflow's result.
        work: the workflow; it is called with `args` and `kwargs`.
    """
    try:
        return render(work(*args, **kwargs))
    except GateError as error:
        data = {} if error.result is None else render(cast(T, error.result)).data
        failed = [{"check": each.check, "message": str(each)} for each in error.failures]
        message = str(error)
    except DivergedError as error:
        message = str(error)
        data, failed = {}, [{"check": "training", "message": message}]
    return Rendered({**data, "failed": failed}, (), GateError.exit_code, message)


def with_failures(rendered: Rendered, error: GateError) -> Rendered:
    """Return a rendered result, all of it, as one that failed checks.

    Args:
        rendered: the result.
        error: the error that has the result, and a message for each failed check.
    """
    failed = [{"check": each.check, "message": str(each)} for each in error.failures]
    document = {**rendered.data, "failed": failed}
    return Rendered(document, rendered.shown, error.exit_code, str(error))
