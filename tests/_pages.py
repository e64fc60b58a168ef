"""Commands and snippets of README.md and docs/: read from a page, made small, run."""

from __future__ import annotations

import csv
import os
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bmc import cli
from bmc.inputs.text import TextEncoder, TextSettings
from bmc.models import bert
from tests import _onnx
from tests._recipes import write_sliced
from tests._sounds import write_folder
from tests._tokenizers import built_in_tokenizer
from tests._vnni import HAS_VNNI

ROOT = Path(__file__).parents[1]
QUICK_PAGES = ("guides/command-line", "guides/using-a-bundle", "tutorials/your-network")
"""Pages of docs/ that `make test` runs; `make test-all` runs all of them."""
_BLOCK = re.compile(r"^```(bash|python|toml)(?: file=(\S+))?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_ROWS = 160
_EPOCH = ["--epochs", "1"]
_SMALLER = {
    "train": _EPOCH,
    "distill": [*_EPOCH, "--transfer-size", "200"],
    "prune": ["--epochs", "0"],
    "share": ["--epochs", "0"],
    "bench": ["--launches", "2", "--rounds", "2", "--threads", "1"],
    "report": ["--launches", "2", "--no-floor"],
    "inspect": ["--rows", "8"],
    "compress": ["--trials", "2", "--finalists", "1", "--threads", "1"],
    "export": ["--allow-slower"],  # which is the faster is not what is asked here
}
_OVERWRITES = ("train", "distill", "prune", "share", "quantize", "compress", "export", "inspect")
_ELSEWHERE = ("pip ", "make ", "bmc doctor")  # what installs, and what asks every runtime


@dataclass(frozen=True)
class Block:
    """A block of a page.

    Args:
        language: "bash", "python" or "toml".
        file: the file that it is the content of; "" where it is typed.
        code: what stands between the fences.
    """

    language: str
    file: str
    code: str


def blocks(page: Path) -> list[Block]:
    """Return the bash and Python blocks of a page, in the order in which they stand."""
    return [Block(*result) for result in _BLOCK.findall(page.read_text(encoding="utf-8"))]


def commands(page: Path) -> list[str]:
    """Return the shell commands of a page, without their comments."""
    lines = [
        line
        for block in blocks(page)
        if block.language == "bash"
        for line in block.code.splitlines()
    ]
    return [_bare(line) for line in lines if line.strip()]


def prepare(folder: Path, reviews: Path, commands: Sequence[str], layers: int = 2) -> None:
    """Make a folder as a user's: the examples, small data, and what some commands made.

    Args:
        folder: an empty folder.
        reviews: a table of movie reviews, of which some are taken.
        commands: what the user typed before.
        layers: of the BERT that stands in the place of MiniLM.
    """
    (folder / "examples").symlink_to(ROOT / "examples")
    with reviews.open(encoding="utf-8") as file:
        rows = list(csv.reader(file))[: _ROWS + 1]
    with (folder / "movie-reviews.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    _save_bert(folder / "little", layers)
    generator = np.random.default_rng(0)
    for kind, shade in (("cat", 60), ("dog", 180)):
        (folder / "photos" / kind).mkdir(parents=True)
        for number in range(20):
            pixels = generator.integers(shade, shade + 60, (24, 24, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "photos" / kind / f"{number}.png")
    write_folder(folder / "words", 10)
    np.savez(folder / "rows.npz", image=_onnx.images(8))
    _onnx.cnn(folder / "detector.onnx")
    for command in commands:
        run_command(command, folder)


def _save_bert(folder: Path, layers: int) -> None:
    """Save an untrained BERT, 128 wide, which stands in the place of MiniLM.

    Its matrices have few directions that matter, as trained ones do: low rank finds work.
    """
    spec = {
        "model_type": "bert",
        "architectures": ["BertForSequenceClassification"],
        "vocab_size": 30522,
        "hidden_size": 128,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "intermediate_size": 256,
        "max_position_embeddings": 128,
        "type_vocab_size": 2,
        "pad_token_id": 0,
    }
    torch.manual_seed(0)
    network = bert.build(spec)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if weight.dim() == 2 and "embeddings" not in name:
                rows, columns = weight.shape
                weight.copy_(0.005 * torch.randn(rows, 16) @ torch.randn(16, columns))
    network.save_pretrained(folder)  # type: ignore[operator]
    TextEncoder(built_in_tokenizer("minilm"), TextSettings(max_length=64)).save(folder)


def run_page(page: Path, folder: Path) -> None:
    """Run every command and snippet of a page in such a folder."""
    for block in blocks(page):
        if block.file:
            (folder / block.file).write_text(block.code, encoding="utf-8")
        elif block.language == "toml":
            continue
        elif block.language == "python":
            run_python(block.code, folder)
        else:
            for line in block.code.splitlines():
                if line.strip():
                    run_command(_bare(line), folder)


def run_command(command: str, folder: Path) -> None:
    """Run one command of a page, made small; fail where its exit code is not 0."""
    if command.startswith(_ELSEWHERE):
        return
    assert command.startswith("bmc "), f"no test knows how to run {command!r}"
    words = smaller(shlex.split(command)[1:])
    if words[0] == "run" and (folder / words[1]).exists():
        words[1] = str(write_sliced(folder / words[1], folder / "slices"))
    with _inside(folder):
        assert cli.run(words) == 0, f"{command}, run as bmc {shlex.join(words)}"


def run_python(code: str, folder: Path) -> None:
    """Run one Python snippet of a page, made small, as a script."""
    code = code.replace("compare(bundles)", "compare(bundles, threads=(1,), launches=2, rounds=2)")
    if not HAS_VNNI:
        code = code.replace("samples=128)", "samples=128, weight_bits=7)")
    for name in re.findall(r'bmc\.run\("([\w.]+)"\)', code):
        code = code.replace(name, str(write_sliced(folder / name, folder / "slices")))
    with _inside(folder):
        exec(compile(code, "snippet", "exec"), {"__name__": "__main__"})


def smaller(words: list[str]) -> list[str]:
    """Return a command with fewer epochs and launches, small data, and a small BERT for MiniLM.

    The names of what it makes stay those that the page shows.
    """
    verb = words[0]
    if "--help" in words:
        return words
    words = ["digits" if word == "fashion-mnist" else word for word in words]
    is_static = verb == "quantize" and "--method" not in words
    if is_static and not HAS_VNNI:
        words += ["--set", "weight_bits=7"]  # as the pages say for such processors
    if "--epochs" in words:
        index = words.index("--epochs")
        del words[index : index + 2]
    if verb in ("train", "distill") and "--data" not in words:
        words += ["--data", "movie-reviews.csv"]
    if words[:2] == ["train", "bert"]:
        name = "bert-" + Path(words[words.index("--data") + 1]).stem
        words[1] = "little"
        words += ["-o", f"bmc-runs/{name}"]
    if verb == "distill":
        words = ["bert-movie-reviews" if word == "bert" else word for word in words]
    if verb == "compress":  # whether so small a model can meet them is not what is asked here
        for option in ("--max-drop", "--max-latency"):
            index = words.index(option) if option in words else len(words)
            del words[index : index + 2]
    words += _SMALLER.get(verb, [])
    if verb == "inspect" and "onnx" in words[1]:
        words = words[:-2]
    if verb == "quantize" and words[1].endswith(".onnx"):
        words.append("--allow-slower")
    return words + ["--force"] * (verb in _OVERWRITES)


class _inside:  # noqa: N801  a context manager that reads as a word
    """Work in a user's folder: its workspace, its modules."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._patch = pytest.MonkeyPatch()

    def __enter__(self) -> None:
        self._patch.chdir(self._folder)
        self._patch.delenv("BMC_HOME", raising=False)
        self._patch.syspath_prepend(str(self._folder))
        bin_folder = Path(sys.executable).parent
        self._patch.setenv("PATH", f"{bin_folder}{os.pathsep}{os.environ['PATH']}")

    def __exit__(self, *error: object) -> None:
        self._patch.undo()


def _bare(line: str) -> str:
    return re.split(r"\s{2,}#", line)[0].strip()
