"""bmc distill"""

from __future__ import annotations

from bmc.cli.options import Rendered, render_result
from bmc.workflows.data import DataSource
from bmc.workflows.options import Output
from bmc.workflows.tuning import Distillation

PANEL = "Model"


def distill(
    *,
    teacher: str = "bert",
    settings: Distillation = Distillation(),
    source: DataSource = DataSource(),
    files: Output = Output(),
) -> Rendered:
    """Distill a trained teacher into a small student.

    The student learns the teacher's logits, divided by the temperature, on the training texts and
    on unlabeled texts, and the true labels beside them. If the teacher is a baseline's name and
    the workspace has none trained on this data, it is trained first. The teacher's logits are
    cached on disk; a run that was stopped resumes when the same command is typed again.

    Args:
        teacher: a BERT or MPNet: a baseline's name (bert, mpnet), a model directory, or a model's
            name in the workspace.

    Example:
        bmc distill --teacher bert --student tiny
        bmc distill --teacher bert --data reviews.csv --transfer more.txt
    """
    from bmc.rendering import models as render
    from bmc.workflows import distill as workflow

    return render_result(render.distilled, workflow.distill, teacher, source, settings, files)
