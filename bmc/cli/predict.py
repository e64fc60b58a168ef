"""bmc predict"""

from __future__ import annotations

import sys
from dataclasses import asdict

from bmc import bundle as bundles
from bmc import console, workspace
from bmc.cli._common import Answer, Common
from bmc.errors import DataError
from bmc.pipeline import Classifier
from bmc.targets import RuntimeOptions


def predict(
    bundle: str | None = None,
    /,
    *text: str,
    pair: tuple[str, ...] = (),
    threads: int = 0,
    common: Common = Common(),  # noqa: B008  frozen
) -> Answer:
    """Classify text with a bundle.

    Without texts, lines are read from standard input.

    Args:
        bundle: a bundle's folder, or its name in the workspace.
        text: texts to classify; for a model of sentence pairs, the first of each pair.
        pair: for a model of sentence pairs: the second of each pair, as often as there are texts.
        threads: threads of the CPU; 0 leaves the choice to the run time.
    """
    common.begin()
    folder = workspace.find(bundle, "bundle") if bundle else workspace.newest("bundle")
    texts = list(text)
    if not texts:
        if sys.stdin.isatty():
            raise DataError(f"nothing to classify: bmc predict {folder} 'some text'")
        texts = [line.strip() for line in sys.stdin if line.strip()]
    if not texts or not all(line.strip() for line in texts):
        raise DataError("an empty text cannot be classified")
    if pair and len(pair) != len(texts):
        raise DataError(f"{len(texts)} texts but {len(pair)} --pair texts; give one for each")
    rows = list(zip(texts, pair, strict=True)) if pair else texts
    with Classifier(bundles.read(folder), RuntimeOptions(threads=threads)) as classifier:
        answers = classifier(rows)
    console.note(f"{folder} answers")
    return Answer(
        {"bundle": str(folder), "answers": [asdict(answer) for answer in answers]},
        tuple(
            f"{answer.label} {answer.score:.3f}  {line}"
            for answer, line in zip(answers, texts, strict=True)
        ),
    )
