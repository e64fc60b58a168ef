"""What `bmc predict` shows."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from bmc.pipeline import Prediction
from bmc.rendering.answer import Answer
from bmc.workflows.predict import Answered


def answered(result: Answered) -> Answer:
    """Render what `bmc predict` was asked."""
    pairs = zip(result.answers, result.rows, strict=True)
    return Answer(
        {
            "bundle": str(result.path),
            "answers": [_facts(answer) for answer in result.answers],
            "rows": [row.shown for row in result.rows],
            "notes": [
                {"row": number, "note": str(error)} for number, error in result.errors.items()
            ],
        },
        tuple(_line(answer, row.shown) for answer, row in pairs),
        exit_code=0 if result.is_complete else 2,
    )


def _facts(answer: Any) -> Any:
    return asdict(answer) if isinstance(answer, Prediction) else answer


def _line(answer: Any, row: str) -> str:
    """Return an answer and its row in one line, whatever the row holds."""
    written = row.replace("\n", "\\n")
    return f"{_shown(answer)}  {written}"


def _shown(answer: Any) -> str:
    if answer is None:
        return "no answer"
    if isinstance(answer, Prediction):
        return f"{answer.label} {answer.score:.3f}"
    return f"{answer:.4g}" if isinstance(answer, float) else str(answer)
