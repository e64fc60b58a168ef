"""The package as others get it: every folder is in the wheel, and the wheel works elsewhere."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

import bmc
from bmc import artifact, cli

ROOT = Path(__file__).parents[1]
TOP = ("bmc", "compress", "export", "targets")
LINKED = TOP[1:]


def folders() -> set[Path]:
    """Return every folder with Python code, relative to the repository, links not followed."""
    results = set()
    for top in TOP:
        for folder, below, names in os.walk(ROOT / top, followlinks=False):
            below[:] = [name for name in below if not (Path(folder) / name).is_symlink()]
            if any(name.endswith(".py") for name in names):
                results.add(Path(folder).relative_to(ROOT))
    return results


def package_of(folder: Path) -> str:
    parts = folder.parts if folder.parts[0] == "bmc" else ("bmc", *folder.parts)
    return ".".join(parts)


def settings() -> dict[str, dict[str, object]]:
    whole = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    result: dict[str, dict[str, object]] = whole["tool"]["setuptools"]
    return result


def test_every_folder_with_code_is_a_package_and_listed() -> None:
    assert all((ROOT / folder / "__init__.py").is_file() for folder in folders())
    listed = settings()["packages"]
    assert sorted(listed) == sorted(package_of(folder) for folder in folders())
    assert len(listed) == len(set(listed))


def test_every_package_outside_bmc_says_where_it_lies() -> None:
    outside = {folder for folder in folders() if folder.parts[0] != "bmc"}
    expected = {package_of(folder): folder.as_posix() for folder in outside}
    assert settings()["package-dir"] == expected


@pytest.mark.parametrize("name", LINKED)
def test_a_link_shows_type_checkers_the_folder(name: str) -> None:
    link = ROOT / "bmc" / name
    assert link.is_symlink()
    assert os.readlink(link) == f"../{name}"


def test_the_version_is_the_newest_release_of_the_changelog_or_being_developed_after_it() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    releases = re.findall(r"^## \[(\d[^]]*)\] - \d{4}-\d\d-\d\d$", text, re.MULTILINE)
    released, _, _ = bmc.__version__.partition(".dev")
    is_developed = released != bmc.__version__
    assert is_developed is ("## [Unreleased]" in text)
    newest, here = (tuple(map(int, text.split("."))) for text in (releases[0], released))
    assert here > newest if is_developed else here == newest
    assert len(set(releases)) == len(releases) > 1


def test_doctor_and_model_directories_say_the_version_of_the_code_that_runs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.run(["doctor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["version"] == bmc.__version__
    assert artifact.versions()["bmc-toolkit"] == bmc.__version__


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of the sources, with the setuptools that is installed."""
    copy = tmp_path_factory.mktemp("source")
    for name in TOP:
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=ignore)
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, copy)
    output = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(output)]
    done = subprocess.run([*command, str(copy)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (created,) = output.glob(f"bmc_toolkit-{bmc.__version__}-*.whl")
    return created


def test_the_wheel_holds_every_module_once_and_nothing_else_of_ours(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        names = packed.namelist()
    expected = {
        f"{package_of(folder).replace('.', '/')}/{file.name}"
        for folder in folders()
        for file in (ROOT / folder).glob("*.py")
    }
    ours = [name for name in names if ".dist-info/" not in name]
    assert expected <= set(ours)
    assert "bmc/py.typed" in ours
    assert {name.partition("/")[0] for name in ours} == {"bmc"}
    assert len(names) == len(set(names))


def test_the_wheel_works_in_a_fresh_environment(wheel: Path, tmp_path: Path) -> None:
    home = tmp_path / "environment"
    venv.create(home, with_pip=False, symlinks=True)
    places = sysconfig.get_paths(vars={"base": str(home), "platbase": str(home)})
    fresh, scripts = Path(places["purelib"]), Path(places["scripts"])
    command = [sys.executable, "-m", "pip", "--python", str(scripts / "python"), "install"]
    command += ["--no-deps", "--no-index", "--quiet", "--disable-pip-version-check", str(wheel)]
    subprocess.run(command, check=True, capture_output=True)
    # The dependencies that are installed here, but not the bmc that is: the wheel's comes first.
    installed = [path for path in sys.path if path.endswith("site-packages")]
    (fresh / "dependencies.pth").write_text("\n".join(installed) + "\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def run(*command: str) -> str:
        done = subprocess.run(
            command, cwd=elsewhere, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    code = (
        "import bmc, bmc.compress, bmc.export, bmc.targets\n"
        "for package in (bmc, bmc.compress, bmc.export, bmc.targets): print(package.__file__)"
    )
    for line in run(str(scripts / "python"), "-c", code).splitlines():
        assert Path(line).is_relative_to(fresh)
    text = run(str(scripts / "bmc"), "doctor")
    assert text.startswith(f"bmc {bmc.__version__}, Python ")
    assert "target onnx" in text
    assert not list(elsewhere.iterdir())
