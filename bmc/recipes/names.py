"""Names of results in the workspace: folders whose files are hard links to those in the store.

The verbs of bmc find, list, rename, replace and remove them as they do any model or bundle. No verb
changes a file in place, so the store keeps its own names of the same files. Where the file system
has no hard links, the folder is a copy.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bmc import console, disk, locks, workspace, writing
from bmc.errors import UsageError
from bmc.recipes.plan import Plan, Step
from bmc.recipes.progress import FOLDER
from bmc.recipes.store import StepStore
from bmc.untrusted import read_json

_RECORDS = "names"
_MANIFESTS = (workspace.MODEL_MANIFEST, workspace.BUNDLE_MANIFEST)


@dataclass(frozen=True)
class Names:
    """The names that a plan's results have in the workspace.

    Args:
        plan: the plan.
        store: the store with the results.
    """

    plan: Plan
    store: StepStore

    def path(self, step: Step) -> Path:
        """Return the folder of a step's result in the workspace: PLAN-STEP."""
        return workspace.root() / f"{slug(self.plan.name)}-{slug(step.name)}"

    def refuse_taken(self) -> None:
        """Refuse a plan before any work, if a name of it stands for something else.

        Raises:
            UsageError: two steps would have one name, or a folder of that name was not made by a
                recipe, or was changed since.
        """
        names: dict[Path, str] = {}
        for step in self.plan.steps:
            path = self.path(step)
            if path in names:
                raise UsageError(
                    f"steps {names[path]!r} and {step.name!r} would both be named {path.name}: "
                    "rename one of them"
                )
            names[path] = step.name
            if path.exists() and not self._is_ours(path):
                raise UsageError(
                    f"{path} exists, and is not what a recipe made: bmc rename {path.name} or "
                    "bmc remove frees the name, or name the recipe otherwise"
                )

    def give(self, step: Step, key: str) -> Path:
        """Give a result its name in the workspace, and return its folder there.

        Args:
            step: the step.
            key: key of its result, which is in the store.

        Raises:
            StorageError: the disk is full.
        """
        source, target = self.store.path(key), self.path(step)
        seal = self.store.seal(key)
        files = seal.files if seal is not None else {}
        with writing.named_errors(target), locks.alone(target, float("inf")):
            if self._holds(target, files):
                return target
            _link(source, target, list(files))
            manifest = next(name for name in _MANIFESTS if name in files)
            record = json.dumps({"key": key, "manifest": files[manifest]})
            path = self._record(target)
            disk.make_folders(path.parent)
            writing.write_atomically(path, record.encode())
        return target

    def give_failed(self, step: Step, kept: Path) -> Path | None:
        """Give a result that failed a gate the name PLAN-STEP.failed, and return its folder."""
        if workspace.kind_of(kept) is None:
            return None
        target = self.path(step)
        target = target.with_name(f"{target.name}.failed")
        names = [path.relative_to(kept).as_posix() for path in kept.rglob("*") if path.is_file()]
        with writing.named_errors(target), locks.alone(target, float("inf")):
            _link(kept, target, names)
        return target

    def _holds(self, target: Path, files: Mapping[str, str]) -> bool:
        """Tell whether a folder of the workspace has a result's files, unchanged."""
        if not target.is_dir():
            return False
        with suppress(OSError):
            if all(self.store.hashes.of(target / name) == of for name, of in files.items()):
                return True
        if workspace.kind_of(target) is not None:
            console.note(f"{target} is written anew")
        return False

    def _is_ours(self, path: Path) -> bool:
        """Tell whether a folder is what a recipe put there, and nothing else replaced it."""
        record = self._record(path)
        if not record.is_file():
            return False
        expected = read_json(record, "record of a name").get("manifest")
        manifest = next((path / name for name in _MANIFESTS if (path / name).is_file()), None)
        return manifest is not None and self.store.hashes.of(manifest) == expected

    def _record(self, path: Path) -> Path:
        return workspace.root() / FOLDER / _RECORDS / f"{path.name}.json"


def slug(name: str) -> str:
    """Turn the name of a step or a recipe into that of a folder."""
    return workspace.slug(name.replace("/", "-"))


def _link(source: Path, target: Path, names: list[str]) -> None:
    with writing.new_folder(target, force=True) as folder:
        for name in names:
            path = folder / name
            disk.make_folders(path.parent)
            disk.link(source / name, path)
