"""Steps on a Ray cluster that is started on this machine."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest

from bmc.errors import MissingError, SettingError, UsageError
from bmc.recipes.execute import run_plan
from bmc.recipes.keys import key_of
from bmc.recipes.options import RunOptions
from bmc.recipes.plan import Plan, Step
from bmc.recipes.runners import InProcess, Runner, make
from bmc.recipes.store import StepStore

pytest.importorskip("ray", reason="the extra `ray` is not installed")

from bmc.recipes.ray_runner import RayRunner

TRAIN = {"model": "mlp", "data": "digits", "epochs": 1, "width": 32}
BASE = Step("base", "train", {}, TRAIN)
LOSSY = Step(
    *("lossy", "prune", {"model": "base"}),
    {"method": "unstructured", "epochs": 0, "ratio": 0.99, "max_drop": 0},
)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayRunner]:
    """Return a runner that started a cluster, which the other runners of this file use.

    Ray lets workers import from the working folder first, which must not be that of this package.
    """
    folder = tmp_path_factory.mktemp("ray")
    store = StepStore(str(folder / "store"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        started = RayRunner(store, workers=1, threads=1)
    with closing(started) as runner:
        yield runner


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BMC_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_a_worker_takes_a_result_that_is_there_and_refuses_a_step_of_another_key(
    cluster: RayRunner,
) -> None:
    key = key_of(BASE, {})
    assert make(BASE, key, {}, cluster.store).failure is None
    cluster.submit(BASE, key, {})
    assert cluster.wait().failure is None
    cluster.submit(BASE, "0" * 64, {})
    failure = cluster.wait().failure
    assert failure is not None
    assert "step 'base'" in failure.message


@pytest.mark.slow
def test_a_plan_runs_on_workers_and_the_failure_of_a_gate_is_not_retried(
    cluster: RayRunner, home: Path
) -> None:
    result = run_plan(Plan("far", (BASE, LOSSY), report=None), cluster.store, borrowed(cluster))
    base, lossy = result.steps
    assert base.state == "done"
    assert base.path == home / "far-base"
    assert lossy.state == "failed"
    assert "--max-drop allows 0" in lossy.why
    assert lossy.path is not None
    assert lossy.path.name == "far-lossy.failed"
    assert cluster.store.seal(lossy.key) is None


def test_a_cluster_of_another_version_is_refused(cluster: RayRunner, tmp_path: Path) -> None:
    (tmp_path / "bmc").mkdir()
    (tmp_path / "bmc" / "__init__.py").write_text('__version__ = "0.0.1"\n', encoding="utf-8")
    variables = {"env_vars": {"PYTHONPATH": str(tmp_path)}}
    with pytest.raises(UsageError, match=r"has bmc 0\.0\.1, and this command bmc .* pip install"):
        RayRunner(cluster.store, runtime_env=variables)


def test_what_no_machine_of_the_cluster_has_is_refused(cluster: RayRunner) -> None:
    with pytest.raises(SettingError, match=r"threads is 64, .* more than 1 cores: --threads 1"):
        RayRunner(cluster.store, threads=64)
    on_gpu = Step("base", "train", {}, {**TRAIN, "device": "cuda"})
    with pytest.raises(MissingError, match=r"'base' sets device to cuda, and no machine"):
        cluster.submit(on_gpu, "0" * 64, {})


def test_another_place_to_run_on_is_refused() -> None:
    with pytest.raises(SettingError, match=r"on is 'slurm'; it must be ray, or ray://HOST:PORT"):
        RunOptions(on="slurm")


class _Borrowed:
    """A runner that `run_plan` does not close."""

    def __init__(self, runner: RayRunner) -> None:
        self.workers = runner.workers
        self.times_alone = runner.times_alone
        self.on_event = runner.on_event
        self.submit = runner.submit
        self.wait = runner.wait

    def close(self) -> None:
        pass


def borrowed(runner: RayRunner) -> Runner:
    return _Borrowed(runner)


_LOSING = """
import sys
from bmc.recipes.execute import run_plan
from bmc.recipes.ray_runner import RayRunner
from bmc.recipes.store import StepStore
from tests.recipes.test_ray_runner import LONG
store = StepStore(sys.argv[1])
run_plan(LONG, store, RayRunner(store, workers=2, threads=1)).raise_failures()
"""
LONG = Plan(
    "long",
    tuple(
        Step(f"base-{seed}", "train", {}, {**TRAIN, "epochs": 4, "seed": seed}) for seed in (1, 2)
    ),
    report=None,
)


@pytest.mark.slow
def test_a_recipe_whose_worker_is_killed_gives_the_same_weights(tmp_path: Path) -> None:
    """The command runs in a process of its own, which must leave none behind."""
    folder = tmp_path / "store"
    command = [sys.executable, "-c", _LOSING, str(folder)]
    process = psutil.Popen(command, stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[2])
    killed = threading.Event()
    family: set[psutil.Process] = set()
    while process.poll() is None:
        with suppress(psutil.Error):
            family |= set(process.children(recursive=True))
            for each in process.children(recursive=True):
                title = " ".join(each.cmdline())
                if title.startswith("ray::base-") and not killed.is_set():
                    each.kill()
                    killed.set()
        with suppress(psutil.TimeoutExpired):
            process.wait(0.1)
    assert process.returncode == 0
    assert killed.is_set()
    _, alive = psutil.wait_procs(list(family), timeout=10)
    assert not alive
    peaceful = StepStore(str(tmp_path / "peaceful"))
    run_plan(Plan("here", LONG.steps, report=None), peaceful, InProcess(peaceful))
    assert weights(StepStore(str(folder))) == weights(peaceful)


def weights(store: StepStore) -> dict[str, str]:
    """Return the sha256 of each result's weights, by key."""
    seals = [store.seal(key) for key in store.keys()]  # noqa: SIM118  a method of the store
    return {seal.key: seal.files["model.safetensors"] for seal in seals if seal is not None}
