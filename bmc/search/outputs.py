"""Where a search writes, and what becomes of it when the command is killed while it publishes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bmc import disk, workspace, writing
from bmc.search import result
from bmc.untrusted import read_json
from bmc.workflows.outputs import refuse_output

_PUBLISHING = "publishing.json"


@dataclass(frozen=True)
class Places:
    """Where a search writes.

    Args:
        output: the model directory of the best model, without its number.
        folder: folder of the study, the picture and the result.
        target: name of the target.
        study: number of the search's study, whose models may be replaced; None before it is known,
            and for a search that removes whatever there is.
    """

    output: Path
    folder: Path
    target: str
    study: str | None = None

    def numbered(self, count: int) -> list[Path]:
        """Return the model directories of the front: NAME-1, NAME-2 and so on."""
        return [self.output.with_name(f"{self.output.name}-{at + 1}") for at in range(count)]

    def bundle(self, model: Path) -> Path:
        """Return the folder of a model's bundle."""
        return model.with_name(f"{model.name}-{self.target}")

    def take(self, count: int, force: bool, source: Path) -> None:
        """Refuse outputs that exist and are not of this search, or take them for this command.

        Args:
            count: number of models, at most.
            force: replace them.
            source: the model that is compressed.

        Raises:
            UsageError: an output exists, or another command is writing it.
        """
        earlier = self.earlier()
        for model in self.numbered(count):
            for path in (model, self.bundle(model)):
                if path not in earlier:
                    refuse_output(path, force, source=source)

    def begin_anew(self, count: int) -> None:
        """Remove an earlier search and its models.

        Args:
            count: number of models, at most, of the search that begins.
        """
        models = self.numbered(count)
        for path in (*self.earlier(), *models, *map(self.bundle, models)):
            _remove(path)
        writing.remove(self.folder)

    @contextmanager
    def publishing(self, count: int) -> Iterator[list[Path]]:
        """Give the block the model directories of a front, after an earlier front is removed.

        The block writes the result last. If it is killed before, `recover` removes what it wrote,
        so that the same command can write it again.

        Args:
            count: number of models.
        """
        models = self.numbered(count)
        paths = [path for model in models for path in (model, self.bundle(model))]
        paths += [path.with_name(f"{path.name}.failed") for path in paths]
        earlier = self.earlier()
        names = {path.name for path in (*earlier, *(path for path in paths if not path.exists()))}
        record = self.folder / _PUBLISHING
        writing.write_atomically(record, json.dumps({"names": sorted(names)}).encode())
        disk.remove(self.folder / result.FILE)
        for path in earlier:
            _remove(path)
        yield models
        disk.remove(record)

    def recover(self) -> None:
        """Remove the models and bundles of a front that a killed command had begun to publish."""
        record = self.folder / _PUBLISHING
        if not record.is_file():
            return
        if not (self.folder / result.FILE).is_file():  # else all was published
            for name in read_json(record, "search").get("names", ()):
                _remove(self.output.with_name(Path(str(name)).name))
        disk.remove(record)

    def earlier(self) -> list[Path]:
        """Return the models and bundles of an earlier result of this search."""
        before = result.read(self.folder)
        if before is None or (self.study is not None and before.study not in ("", self.study)):
            return []
        paths = [path for each in before.winners for path in (each.model, each.bundle)]
        return [self.output.with_name(path.name) for path in paths]


def _remove(path: Path) -> None:
    if workspace.kind_of(path) is not None:
        writing.remove(path)
