"""bmc distill"""

from __future__ import annotations

from bmc.rendering.rendered import Rendered, render_result
from bmc.workflows.data import StudentsData
from bmc.workflows.options import Output, OwnCode
from bmc.workflows.tuning import Distillation

PANEL = "Model"


def distill(
    *,
    teacher: str = "bert",
    settings: Distillation = Distillation(),
    source: StudentsData = StudentsData(),
    files: Output = Output(),
    code: OwnCode = OwnCode(),
) -> Rendered:
    """Distill a trained teacher into a small student.

    The student learns the true labels of the training rows and the teacher's logits for training
    rows and unlabeled texts. A built-in teacher is trained first, if none was trained on this data
    yet. Its logits are cached. A stopped run resumes when the same command is typed again.

    Args:
        teacher: a built-in model (bert, mpnet), a model directory, a bundle, or the name of either
            in the workspace. Several, separated by commas, teach by their mean prediction.

    Example:
        bmc distill --teacher bert --student tiny
        bmc distill --teacher bert --data reviews.csv --transfer more.txt
    """
    from bmc.rendering import models as render
    from bmc.workflows import distill as workflow
    from bmc.workflows.named_teachers import data_of

    data = source.beside(data_of(teacher, source.data))
    return render_result(render.distilled, workflow.distill, teacher, data, settings, files)
