"""`python -m bmc.slim`: what no bundle opens goes, what is needed stays, training is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from bmc.errors import UsageError
from bmc.slim import removable, remove


def install(site: Path, name: str, *needs: str, files: tuple[str, ...] = ()) -> None:
    """Write a package as pip does: its files, its metadata, and the list of both."""
    info = site / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    requires = "".join(f"Requires-Dist: {need}\n" for need in needs)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{requires}")
    for file in files:
        (site / file).parent.mkdir(parents=True, exist_ok=True)
        (site / file).write_text("0" * 100)
    listed = [*files, f"{info.name}/METADATA", f"{info.name}/RECORD"]
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in listed))


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Return a folder of packages as bmc-toolkit[onnx] installs them."""
    site = tmp_path / "site-packages"
    needs = ("numpy", "tokenizers", "rich>=13", "typer>=0.29", "onnxruntime ; extra == 'onnx'")
    install(site, "bmc-toolkit", *needs)
    files = ("numpy/__init__.py", "numpy/lib/tests/test_io.py", "numpy/lib/io.py", "numpy/a.pyi")
    install(site, "numpy", files=files)
    library = "onnxruntime/capi/libonnxruntime.so.1"
    install(site, "onnxruntime", "packaging", files=("onnxruntime/capi/state.so", library))
    install(site, "tokenizers", "huggingface-hub<3.0", files=("tokenizers/__init__.py",))
    hub = ("huggingface_hub/__init__.py", "huggingface_hub/hf/api.py")
    hub_needs = ("hf-xet; platform_machine == 'x86_64'", "packaging", "typer")
    install(site, "huggingface_hub", *hub_needs, files=hub)
    install(site, "typer", "rich>=12", "pydantic", files=("typer/__init__.py",))
    install(site, "rich", files=("rich/__init__.py",))
    install(site, "pydantic", files=("pydantic/__init__.py",))
    install(site, "hf-xet", files=("hf_xet/hf.so",))
    install(site, "packaging", files=("packaging/__init__.py",))
    return site


def test_tests_copies_the_client_for_downloads_and_the_command_line_are_removed_and_nothing_else(
    site: Path,
) -> None:
    remove((path for paths in removable(site).values() for path in paths), site)
    left = {path.relative_to(site).as_posix() for path in site.rglob("*.*") if path.is_file()}
    assert {name for name in left if "dist-info" not in name} == {
        *("numpy/__init__.py", "numpy/lib/io.py", "onnxruntime/capi/state.so"),
        *("tokenizers/__init__.py", "packaging/__init__.py"),
    }
    assert not (site / "huggingface_hub").exists()
    assert removable(site) == {}


def test_the_command_line_stays_where_it_is_to_be_kept(site: Path) -> None:
    kept = removable(site, keep_cli=True)
    assert not {"typer", "rich", "pydantic"} & set(kept)
    assert {"typer", "rich", "pydantic"} == set(removable(site)) - set(kept)
    install(site, "fastapi", "pydantic")
    assert {"typer", "rich"} == set(removable(site)) - set(kept)


def test_a_package_that_was_asked_for_or_that_another_needs_stays(site: Path) -> None:
    (site / "hf_xet-1.0.dist-info" / "REQUESTED").touch()
    assert "hf-xet" not in removable(site)
    install(site, "datasets", "huggingface-hub")
    assert "huggingface-hub" not in removable(site)


def test_a_file_outside_the_packages_stays_although_a_package_lists_it(
    site: Path, tmp_path: Path
) -> None:
    outside = (tmp_path / "absolute.so", tmp_path / "relative.so")
    install(site, "hf-xet", files=(str(outside[0]), "../relative.so", "hf_xet/hf.so"))
    remove((path for paths in removable(site).values() for path in paths), site)
    assert not (site / "hf_xet").exists()
    assert all(path.exists() for path in outside)


def test_an_environment_that_trains_is_refused(site: Path) -> None:
    install(site, "torch")
    with pytest.raises(UsageError, match="this environment trains models"):
        removable(site)
