"""Plans that are run: what is done is taken, steps that depend on one that failed are skipped."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path

import pytest

from bmc import cli, console, disk, workspace
from bmc.console import Callback, Event
from bmc.errors import GateError, SettingError, StorageError, UnknownError, UsageError
from bmc.files import sha256
from bmc.recipes.execute import PlanResult, run_plan
from bmc.recipes.keys import key_of
from bmc.recipes.local_runner import LocalRunner
from bmc.recipes.plan import Plan, Step
from bmc.recipes.planning import planned, timing_steps
from bmc.recipes.runners import InProcess, OnEvent, Outcome, make
from bmc.recipes.store import ChangedResultError, StepStore
from bmc.untrusted import read_json

TRAIN = {"model": "mlp", "data": "digits", "epochs": 1, "width": 32}
BASE = Step("base", "train", {}, TRAIN)
PRUNE = {"method": "unstructured", "epochs": 0}
PRUNED = Step("pruned[ratio=0.2]", "prune", {"model": "base"}, {**PRUNE, "ratio": 0.2})
LOSSY = Step("lossy", "prune", {"model": "base"}, {**PRUNE, "ratio": 0.99, "max_drop": 0})
AFTER = Step("after", "prune", {"model": "lossy"}, {**PRUNE, "ratio": 0.2})
SMALL = Plan("small", (BASE, PRUNED), report=None)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BMC_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a workspace in which the small plan was run."""
    folder = tmp_path_factory.mktemp("done") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BMC_HOME", str(folder))
        run(SMALL)
    return folder


@pytest.fixture
def finished(done: Path, home: Path) -> Path:
    """Return a copy of that workspace."""
    shutil.copytree(done, home)
    return home


def run(plan: Plan, **settings: object) -> PlanResult:
    store = StepStore()
    return run_plan(plan, store, InProcess(store), **settings)  # type: ignore[arg-type]


def states(result: PlanResult) -> dict[str, str]:
    return {each.step.name: each.state for each in result.steps}


def nothing(width: int) -> LocalRunner:
    raise AssertionError("a runner was made, though all is done")


def test_what_is_done_is_not_done_again(finished: Path) -> None:
    result = run_plan(SMALL, StepStore(), nothing)
    assert states(result) == {"base": "cached", "pruned[ratio=0.2]": "cached"}
    result.raise_failures()
    assert [each.is_done for each in planned(SMALL, StepStore())] == [True, True]
    more = Plan("other", (BASE, PRUNED, LOSSY), report=None)
    assert [each.is_done for each in planned(more, StepStore())] == [True, True, False]


def test_results_have_names_in_the_workspace_without_taking_the_space_twice(
    done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BMC_HOME", str(done))
    names = {path.name for path in workspace.entries("model")}
    assert names == {"small-base", "small-pruned-ratio-0.2"}
    (weights,) = (done / ".steps").glob("*/base/model.safetensors")
    assert (done / "small-base" / "model.safetensors").samefile(weights)


def test_removing_or_replacing_a_name_leaves_the_store_as_it_was(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["remove", "small-base", "--yes"]) == 0
    result = run_plan(SMALL, StepStore(), nothing)
    assert (finished / "small-base" / "bmc.json").is_file()
    weights = finished / "small-base" / "model.safetensors"
    before = sha256(weights)
    other = ["train", "mlp", "-d", "digits", "--epochs", "1", "--set", "width=8"]
    assert cli.run([*other, "-o", str(weights.parent), "--force"]) == 0
    assert sha256(weights) != before
    assert all(StepStore().has(each.key) for each in result.steps)
    with pytest.raises(UsageError, match="small-base exists, and is not what a recipe made"):
        run_plan(SMALL, StepStore(), nothing)


def test_a_name_that_stands_for_something_else_is_refused_before_any_work(home: Path) -> None:
    (home / "small-base").mkdir(parents=True)
    (home / "small-base" / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="small-base exists"):
        run_plan(SMALL, StepStore(), nothing)
    assert (home / "small-base" / "mine.txt").is_file()


def test_a_cached_output_that_was_changed_by_hand_is_refused_until_it_is_redone(
    finished: Path,
) -> None:
    (changed,) = (finished / ".steps").glob("*/base/config.json")
    changed.write_text("{}")
    with pytest.raises(ChangedResultError, match=r"'base'.*remove .*makes it again"):
        run_plan(SMALL, StepStore(), nothing)
    with pytest.raises(ChangedResultError):
        planned(SMALL, StepStore())
    assert [each.is_done for each in planned(SMALL, StepStore(), ["base"])] == [False, True]
    result = run(SMALL, redo=["base"])
    assert states(result) == {"base": "done", "pruned[ratio=0.2]": "cached"}
    assert "width" in (finished / "small-base" / "config.json").read_text()
    with pytest.raises(UnknownError, match="Did you mean 'base'"):
        run(SMALL, redo=["bse"])


def test_what_stands_on_a_result_that_comes_out_otherwise_is_made_again(finished: Path) -> None:
    (seal,) = [
        path
        for path in (finished / ".steps").glob("*/step.json")
        if (path.parent / "base").exists()
    ]
    content = read_json(seal, "seal")
    files = {**content["files"], "model.safetensors": "of another processor"}
    seal.write_text(json.dumps({**content, "files": files}))
    result = run(SMALL, redo=["base"])
    assert states(result) == {"base": "done", "pruned[ratio=0.2]": "done"}


class Told:
    """Makes no result: says which steps were submitted, and ends them in the order of `ends`."""

    workers = 2
    times_alone = False

    def __init__(self, store: StepStore, folder: Path, ends: list[str]) -> None:
        self.on_event: OnEvent | None = None
        self.submitted: list[str] = []
        self._keys: dict[str, str] = {}
        self._store, self._folder, self._ends = store, folder, ends

    def submit(self, step: Step, key: str, inputs: Mapping[str, str]) -> None:
        self.submitted.append(step.name)
        self._keys[step.name] = key

    def wait(self) -> Outcome:
        name = self._ends.pop(0) if self._ends else next(iter(self._keys))
        key = self._keys.pop(name)
        self._store.add(key, self._folder)
        return Outcome(key)

    def close(self) -> None:
        """Nothing runs."""


def small_model(folder: Path, content: str = "") -> Path:
    folder.mkdir()
    (folder / "bmc.json").write_text("{}")
    (folder / "model.safetensors").write_text(content)
    return folder


def test_a_step_waits_for_a_redone_one_that_its_input_stands_on(home: Path, tmp_path: Path) -> None:
    store = StepStore()
    two = Plan("p", (BASE, PRUNED), report=None)
    run_plan(two, store, Told(store, small_model(tmp_path / "one", "1"), []))
    after = Step("after", "prune", {"model": PRUNED.name}, {**PRUNE, "ratio": 0.4})
    runner = Told(store, small_model(tmp_path / "two", "2"), [])
    run_plan(Plan("p", (BASE, PRUNED, after), report=None), store, runner, redo=["base"])
    assert runner.submitted == ["base", PRUNED.name, "after"]


def test_a_result_that_the_shared_location_alone_has_is_redone(home: Path, tmp_path: Path) -> None:
    location = f"file://{tmp_path}/shared"
    plan = Plan("p", (BASE,), report=None)
    made = small_model(tmp_path / "made")
    StepStore(location, tmp_path / "elsewhere").add(planned(plan, StepStore())[0].key, made)
    store = StepStore(location, tmp_path / "here")
    runner = Told(store, made, [])
    assert states(run_plan(plan, store, runner)) == {"base": "cached"}
    StepStore(location, tmp_path / "elsewhere").add(planned(plan, StepStore())[0].key, made)
    store = StepStore(location, tmp_path / "third")
    assert states(run_plan(plan, store, Told(store, made, []), redo=["base"])) == {"base": "done"}


def test_data_that_changes_while_the_command_runs_is_not_taken_for_what_it_was(
    home: Path, tmp_path: Path
) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("text,label\na,b\n")
    step = Step("base", "train", {}, {**TRAIN, "data": str(rows)})
    key = key_of(step, {})
    rows.write_text("text,label\na,c\n")
    failure = make(step, key, {}, StepStore()).failure
    assert failure is not None
    assert "step 'base' were changed after the command had begun" in failure.message
    assert not StepStore().keys()


def test_a_step_that_times_a_bundle_is_known_by_what_it_exports() -> None:
    int8 = Step("int8", "quantize", {"model": "base"}, {"method": "static"})
    steps = [Step(f"{name}-onnx", "export", {"model": name}, {}) for name in ("base", "int8")]
    of_file = Step("file", "quantize", {}, {"model": "network.onnx", "target": "onnx"})
    plan = Plan("small", (BASE, int8, *steps, of_file), report=None)
    assert timing_steps(plan) == {"int8-onnx", "file"}


def test_a_failed_gate_takes_down_what_stands_on_it_and_nothing_else(finished: Path) -> None:
    result = run(Plan("small", (BASE, LOSSY, AFTER, PRUNED), report=None))
    assert states(result) == {
        "base": "cached",
        "lossy": "failed",
        "after": "skipped",
        "pruned[ratio=0.2]": "cached",
    }
    with pytest.raises(GateError, match=r"step 'lossy': .* points .*small-lossy\.failed.*1 step"):
        result.raise_failures()
    assert (finished / "small-lossy.failed" / "bmc.json").is_file()
    progress = read_json(finished / ".recipes" / "small.json", "progress")
    found = [(step["name"], step["state"]) for step in progress["steps"]]
    assert ("lossy", "failed") in found
    assert ("after", "skipped") in found
    assert progress["process"] == 0


def test_a_full_disk_stops_the_plan_without_half_a_result_and_it_goes_on_after(
    finished: Path,
) -> None:
    plan = Plan("small", (BASE, Step("more", "prune", {"model": "base"}, {**PRUNE, "ratio": 0.3})))

    def full(operation: str, path: Path) -> None:
        if operation == "open" and "more" in str(path) and path.name == "config.json":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    disk.watch(full)
    try:
        with pytest.raises(StorageError, match=r"step 'more': the disk is full.*goes on"):
            run(plan)
    finally:
        disk.unwatch(full)
    assert not list((finished / ".steps").glob("*/more/bmc.json"))
    assert states(run(plan)) == {"base": "cached", "more": "done"}


def test_the_second_of_two_runs_at_once_takes_what_the_first_makes(home: Path) -> None:
    notes: list[str] = []
    results: list[PlanResult] = []

    def work() -> None:
        def note(event: Event) -> None:
            notes.append(event.text)

        with console.reporting(Callback(note)):
            results.append(run(SMALL))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 2
    assert sum(text.startswith("epoch 1 of 1") for text in notes) == 1
    assert {each.state for result in results for each in result.steps} <= {"done", "cached"}


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        ((BASE, BASE), "two steps are named 'base'"),
        ((PRUNED, BASE), "stands after it"),
        ((BASE, AFTER), "no step named 'lossy'"),
        ((Step("a/b", "train", {}, TRAIN), Step("a-b", "train", {}, TRAIN)), "both be named"),
    ],
)
def test_a_wrong_plan_is_refused_before_any_work(
    steps: tuple[Step, ...], says: str, home: Path
) -> None:
    with pytest.raises(UsageError, match=says):
        run_plan(Plan("small", steps), StepStore(), nothing)
    assert not home.exists() or not list(home.glob("small*"))


def test_branches_run_in_processes_and_one_that_is_killed_fails_alone(finished: Path) -> None:
    other = Step("other", "train", {}, {**TRAIN, "width": 16})
    long = Step("long", "train", {}, {**TRAIN, "epochs": 10_000})
    plan = Plan("small", (BASE, PRUNED, LOSSY, other, long), report=None)
    notes: list[str] = []
    runner = LocalRunner(StepStore(), workers=2, threads=1)
    key = planned(plan, StepStore())[-1].key

    def note(event: Event) -> None:
        notes.append(event.text)
        if event.text.startswith("long: epoch"):
            lock = finished / ".steps" / f".{key}.bmc-lock"  # it names the process that holds it
            with suppress(ProcessLookupError):
                os.kill(int(lock.read_text()), signal.SIGKILL)

    with console.reporting(Callback(note)), closing(runner):
        result = run_plan(plan, StepStore(), runner)
    assert states(result) == {
        "base": "cached",
        "pruned[ratio=0.2]": "cached",
        "lossy": "failed",
        "other": "done",
        "long": "failed",
    }
    assert any(text.startswith("other: epoch 1 of 1") for text in notes)
    with pytest.raises(GateError, match=r"lossy.*'long': its process ended \(signal 9\)"):
        result.raise_failures()


def test_a_number_of_processes_below_one_is_refused(home: Path) -> None:
    with pytest.raises(SettingError, match="workers is 0"):
        LocalRunner(StepStore(), workers=0)


def test_a_finished_plan_is_read_without_torch(finished: Path) -> None:
    code = (
        "import sys; import bmc.recipes.commands, bmc.rendering.recipes; "
        "from bmc.recipes.execute import run_plan; "
        "from bmc.recipes.store import StepStore; from bmc.recipes.plan import Plan, Step; "
        f"plan = Plan('small', (Step('base', 'train', {{}}, {TRAIN!r}),), report=None); "
        "result = run_plan(plan, StepStore(), None); "
        "assert result.steps[0].state == 'cached'; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
