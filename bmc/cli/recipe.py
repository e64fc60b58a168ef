"""bmc recipe"""

from __future__ import annotations

from typing import Annotated

from bmc.choices import Choice
from bmc.recipes.options import Answers, Cleaning
from bmc.rendering.rendered import Rendered
from bmc.workflows.data import Columns
from bmc.workflows.options import Output

PANEL = "Answers"


def recipe(
    action: Annotated[str, Choice("action", ("init", "schema", "clean"))],
    *,
    answers: Answers = Answers(),
    data: str | None = None,
    columns: Columns = Columns(),
    files: Output = Output(),
    cleaning: Cleaning = Cleaning(),
) -> Rendered:
    """Write a recipe (init), print the JSON Schema of recipes (schema), or clean the cache (clean).

    `bmc recipe init` asks for the model, the data and the purpose where no option gives them.
    `bmc recipe clean` removes cached results of steps; models and bundles of the workspace stay.

    Args:
        action: init, schema or clean.
        data: a data set's name (bmc datasets lists all), a file, imagefolder:DIR or hf:NAME.
        output: file to write; the default is recipe.toml.

    Example:
        bmc recipe init --model mlp --data digits --purpose smaller
        bmc recipe clean --days 7
    """
    from bmc.rendering import recipes as render

    if action == "schema":
        return render.schema()
    if action == "clean":
        from bmc.recipes.cleaning import clean

        return render.cleaned(clean(cleaning))
    from bmc.recipes.writing import init

    return render.written(init(answers, data, columns, files))
