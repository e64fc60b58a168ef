"""bmc recipe"""

from __future__ import annotations

from typing import Annotated

from bmc.choices import Choice
from bmc.recipes.options import Answers
from bmc.rendering.rendered import Rendered
from bmc.workflows.data import Columns
from bmc.workflows.options import Output

PANEL = "Answers"


def recipe(
    action: Annotated[str, Choice("action", ("init", "schema"))],
    *,
    answers: Answers = Answers(),
    data: str | None = None,
    columns: Columns = Columns(),
    files: Output = Output(),
) -> Rendered:
    """Write a recipe (init), or print the JSON Schema of recipes for editors (schema).

    `bmc recipe init` asks for the model, the data and the purpose where no option gives them.

    Args:
        action: init or schema.
        data: a data set's name (bmc datasets lists all), a file, imagefolder:DIR or hf:NAME.
        output: file to write; the default is recipe.toml.

    Example:
        bmc recipe init
        bmc recipe init --model mlp --data digits --purpose smaller
    """
    from bmc.rendering import recipes as render

    if action == "schema":
        return render.schema()
    from bmc.recipes.writing import init

    return render.written(init(answers, data, columns, files))
