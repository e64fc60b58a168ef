"""Small real things that tests share: a slice of real reviews, a small BERT, its bundles."""

from __future__ import annotations

import csv
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from bmc import artifact, cli, console
from bmc import data as datasets
from bmc.data import Dataset, movie_reviews
from bmc.model import Model
from bmc.training.settings import TrainingSettings
from bmc.training.work import fit_model
from tests import _once, _sounds, _timing
from tests._exports import exports_of
from tests._small_bert import fresh_model, lively_model

ROWS_A_CLASS = 150


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Small models are fastest so, and by far where other processes keep the cores busy."""
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")  # for the processes that tests start
        yield


@pytest.fixture(scope="session", autouse=True)
def _few_collections() -> None:
    _once.collect_rarely()


@pytest.fixture(scope="session", autouse=True)
def _read_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        _once.keep(patch)
        yield


@pytest.fixture(scope="session", autouse=True)
def _unsynced() -> Iterator[None]:
    """Leave what tests write in the system's cache, since no test cuts the power.

    A disk may take 3 ms to write a file, and as long again to remove a file that was written.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def _waiting_threads() -> Iterator[None]:
    """Let idle threads of sessions wait: spinning, they would take a core from the other worker."""
    import onnxruntime  # after bmc, which switches its telemetry off

    class Waiting(onnxruntime.SessionOptions):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.add_session_config_entry("session.intra_op.allow_spinning", "0")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnxruntime, "SessionOptions", Waiting)
        yield


@pytest.fixture(scope="session", autouse=True)
def _scripted_once() -> None:
    """TorchScript tells functions apart by their addresses, in a table that its first use makes.

    Made while a tracer has replaced some, it holds addresses that other objects get later.
    """
    torch.jit.script(torch.nn.ReLU())


@pytest.fixture(scope="session", autouse=True)
def _short_timing() -> Iterator[None]:
    """An export of a quantized model times it; which is the faster is not what tests ask."""
    with pytest.MonkeyPatch.context() as patch:
        _timing.shorten(patch)
        yield


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let exports of quantized models time them in fresh processes, as users' exports do."""
    _timing.in_processes(monkeypatch)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """No test depends on chance, nor on tests before it; fixtures of modules come after this."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _talkative() -> None:
    """A verb that a test ran quietly must not keep the next test's notes back."""
    console.set_mode(quiet=False, json=False)


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give every test a workspace of its own."""
    home = tmp_path / "runs"
    monkeypatch.setenv("BMC_HOME", str(home))
    return home


@pytest.fixture(scope="session")
def reviews_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a table of 300 real movie reviews, `text,label`, both classes in turn."""
    table = movie_reviews.table()
    by_class: dict[str, list[str]] = {"negative": [], "positive": []}
    for (text,), label in zip(table.rows, table.labels, strict=True):
        by_class[label].append(text)
    path = tmp_path_factory.mktemp("data") / "reviews.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for index in range(ROWS_A_CLASS):
            for label, texts in by_class.items():
                writer.writerow([texts[index], label])
    return path


@pytest.fixture(scope="session")
def reviews(reviews_csv: Path) -> Dataset:
    """Return those reviews, checked and split."""
    return datasets.load(str(reviews_csv))


@pytest.fixture(scope="session")
def clips_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of 30 short clips of each of three classes."""
    return _sounds.write_folder(tmp_path_factory.mktemp("data") / "tones", 30)


@pytest.fixture(scope="session")
def clips(clips_folder: Path) -> Dataset:
    """Return those clips, checked and split."""
    return datasets.load(f"audiofolder:{clips_folder}")


@pytest.fixture
def model() -> Model:
    """Return a fresh small model that a test may change."""
    return fresh_model()


@pytest.fixture(scope="session")
def make_model() -> Callable[..., Model]:
    """Return `fresh_model`: a function that builds the small model anew, given its text columns."""
    return fresh_model


@pytest.fixture(scope="session")
def make_lively() -> Callable[..., Model]:
    """Return `lively_model`: a function that builds a small model whose answers differ."""
    return lively_model


@pytest.fixture(scope="session")
def lively_folder(
    reviews: Dataset, reviews_csv: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return a model directory of the lively model, as if it were trained on the reviews."""
    created = lively_model()
    created.data = {
        "reference": str(reviews_csv),
        "text_columns": ["text"],
        "label_column": "label",
        "fingerprint": reviews.fingerprint,
    }
    return artifact.save(created, tmp_path_factory.mktemp("model") / "lively")


@pytest.fixture(scope="session")
def hf_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the lively model as a plain Hugging Face folder, which `bmc train` takes by path."""
    created = lively_model()
    folder = tmp_path_factory.mktemp("hf") / "little"
    created.module.save_pretrained(folder)  # type: ignore[operator]
    created.encoder.save(folder)
    return folder


@pytest.fixture(scope="session")
def model_folder(
    reviews: Dataset, reviews_csv: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return a model directory of a small BERT, trained for one epoch on those reviews."""
    created = fresh_model()
    folder = tmp_path_factory.mktemp("model")
    settings = TrainingSettings(epochs=1, precision="fp32", device="cpu")
    fitted = fit_model(created, reviews, settings, folder / "checkpoints")
    created.scores = fitted.to_json()
    created.data = {
        "reference": str(reviews_csv),
        "text_columns": ["text"],
        "label_column": "label",
        "fingerprint": reviews.fingerprint,
    }
    created.origin = {"command": "train"}
    return artifact.save(created, folder / "small")


@pytest.fixture(scope="session")
def bundle_of(
    model_folder: Path, reviews: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Path]]:
    """Return a function that exports the small model to a target, once a session."""
    with exports_of(model_folder, reviews, tmp_path_factory.mktemp("bundles")) as export:
        yield export


@pytest.fixture
def bmc(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Return a function that runs one command line: exit code, stdout, stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capfd.readouterr()
        code = cli.run([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return code, out, err

    return run


@pytest.fixture
def blocked(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs Python code in a process where some packages cannot be imported.

    They fail as if they were not installed, for that process and for what it starts.
    """

    def run(code: str, *packages: str) -> subprocess.CompletedProcess[str]:
        folder = tmp_path / "blocker"
        folder.mkdir(exist_ok=True)
        (folder / "sitecustomize.py").write_text(
            "import sys\n"
            "class Blocker:\n"
            "    def find_spec(self, name, path=None, target=None):\n"
            f"        if name.partition('.')[0] in {packages!r}:\n"
            "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
            "sys.meta_path.insert(0, Blocker())\n"
        )
        environment = {**os.environ, "PYTHONPATH": str(folder)}
        command = [sys.executable, "-c", code]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    return run
