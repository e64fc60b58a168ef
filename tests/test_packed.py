"""Packed bundles: the same bytes for the same bundle, loaded like a folder, of one form alone."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import bmc as package
from bmc import bundle as bundles
from bmc import packed
from bmc.errors import ArtifactError, UnknownError, UsageError
from bmc.pipeline import Pipeline
from bmc.sessions import with_files
from tests.cli._refusals import Run, refused

BundleOf = Callable[[str], Path]
TEXT = "a warm and witty film"


@pytest.fixture(scope="module")
def archive(bundle_of: BundleOf, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the packed ONNX bundle."""
    return package.pack(bundle_of("onnx"), tmp_path_factory.mktemp("packed") / "small.bmc")


def test_the_same_bundle_has_the_same_bytes_and_any_zip_tool_reads_them(
    bundle_of: BundleOf, archive: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(bundle_of("onnx"), copy)
    (copy / "notes.txt").write_text("not the bundle's")
    assert package.pack(copy, tmp_path / "again.bmc").read_bytes() == archive.read_bytes()
    with zipfile.ZipFile(archive) as file:
        assert file.testzip() is None
        names = file.namelist()
        assert names == ["manifest.json", *sorted(names[1:])]
        assert set(names[1:]) == set(bundles.read(copy).files)
        assert all(file.read(name) == (copy / name).read_bytes() for name in names)


def test_a_bundle_is_unpacked_as_it_was(
    bundle_of: BundleOf, archive: Path, tmp_path: Path, workspace: Path
) -> None:
    handle = package.unpack(archive)
    assert handle.path == workspace / "small"
    for path in handle.path.iterdir():
        assert path.read_bytes() == (bundle_of("onnx") / path.name).read_bytes()
    with pytest.raises(UsageError, match="force=True replaces it"):
        package.unpack(archive)
    assert package.unpack(archive, force=True) == handle
    with pytest.raises(UnknownError, match="folder already; bmc pack"):
        package.unpack("small")


@pytest.mark.parametrize("target", ["onnx", "openvino", "pytorch"])
def test_a_packed_bundle_predicts_like_its_folder_and_leaves_no_file(
    bundle_of: BundleOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    path = package.pack(bundle_of(target), tmp_path / "x.bmc")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    with package.load(bundle_of(target), threads=1) as folder:
        expected = folder.outputs([(TEXT,)])
    with package.load(path, threads=1) as pipeline:
        assert len(list(temporary.iterdir())) == (target == "pytorch")
        np.testing.assert_allclose(pipeline.outputs([(TEXT,)]), expected, atol=1e-6)
        assert pipeline.bundle.model_size() == bundles.read(bundle_of(target)).model_size()
    assert list(temporary.iterdir()) == []
    with pytest.raises(UsageError, match="is closed"):
        pipeline(TEXT)


def test_a_model_with_external_data_is_unpacked(bundle_of: BundleOf, tmp_path: Path) -> None:
    import onnx

    folder = tmp_path / "external"
    shutil.copytree(bundle_of("onnx"), folder)
    model = onnx.load(folder / "model.onnx")
    onnx.save_model(
        model, folder / "model.onnx", save_as_external_data=True, location="w", size_threshold=1024
    )
    bundles.write(folder, bundles.read(bundle_of("onnx")).manifest)
    bundle = bundles.read(package.pack(folder))
    assert not bundle.runs_from_memory
    unpacked, remove = with_files(bundle, bundle)
    assert (unpacked.path / "w").is_file()
    remove()
    assert not unpacked.path.exists()
    with package.load(tmp_path / "external.bmc") as pipeline:
        assert pipeline(TEXT).label in ("negative", "positive")


def test_the_files_of_a_pipeline_that_is_forgotten_are_removed(
    bundle_of: BundleOf, tmp_path: Path
) -> None:
    bundle = bundles.read(package.pack(bundle_of("pytorch"), tmp_path / "x.bmc"))
    owner = Pipeline.__new__(Pipeline)
    unpacked, _ = with_files(bundle, owner)
    assert unpacked.path.is_dir()
    del owner
    assert not unpacked.path.exists()


_FORK = """
import os, sys
from pathlib import Path
import bmc
from bmc import bundle
from bmc.sessions import with_files

class Owner: pass

owner = Owner()
unpacked, _ = with_files(bundle.read(Path(sys.argv[2])), owner)
pipeline = bmc.load(sys.argv[1])
before = pipeline("a fine film").score
child = os.fork()
if not child:
    print(abs(pipeline("a fine film").score - before) < 1e-5, flush=True)
    sys.exit(0)
os.waitpid(child, 0)
print(unpacked.path.is_dir(), pipeline("a fine film").score == before)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_reads_the_archive_again_and_leaves_the_parents_files(
    archive: Path, bundle_of: BundleOf, tmp_path: Path
) -> None:
    needs_files = package.pack(bundle_of("pytorch"), tmp_path / "x.bmc")
    command = [sys.executable, "-c", _FORK, str(archive), str(needs_files)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout.split() == ["True"] * 3, done.stderr


def _entry(data: bytes, name: str) -> zipfile.ZipInfo:
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return file.getinfo(name)


def _as_link(data: bytes) -> bytes:
    plain, link = (struct.pack("<L", mode << 16) for mode in (0o100644, 0o120777))
    at = data.rindex(plain)
    return data[:at] + link + data[at + 4 :]


def _with_size(data: bytes) -> bytes:
    """Let the directory claim more bytes of the tokenizer than its header does."""
    size = struct.pack("<LL", *[_entry(data, "tokenizer.json").file_size] * 2)
    at = data.rindex(size)
    return data[:at] + struct.pack("<LL", *[2**31] * 2) + data[at + 8 :]


def _repacked(data: bytes, method: int) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        files = {name: file.read(name) for name in file.namelist()}
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w", method) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return output.getvalue()


def _flipped(data: bytes) -> bytes:
    at = _entry(data, "model.onnx").header_offset + 200
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


HOSTILE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "nothing": (lambda data: b"", "no zip file"),
    "half": (lambda data: data[: len(data) // 2], "no zip file"),
    "before": (lambda data: b"#!" + data, "not at its end"),
    "behind": (lambda data: data + b"x", "no zip file"),
    "comment": (lambda data: data[:-2] + b"\1\0x", "no zip file"),
    "count": (
        lambda data: data.replace(b"PK\5\6\0\0\0\0\7\0\7", b"PK\5\6\0\0\0\0\6\0\6"),
        "between",
    ),
    "outside": (
        lambda data: data.replace(b"tokenizer.json", b"z/../../x.json"),
        "leaves its folder",
    ),
    "absolute": (lambda data: data.replace(b"README.md", b"/etc/pass"), "leaves its folder"),
    "empty part": (lambda data: data.replace(b"tokenizer.json", b"tokeniz//.json"), "not a valid"),
    "twice": (lambda data: data.replace(b"model.onnx", b"golden.npz"), "there twice"),
    "below a file": (
        lambda data: data.replace(b"tokenizer.json", b"model.onnx/a.b"),
        "not a valid file name",
    ),
    "order": (lambda data: data.replace(b"README.md", b"zzzzzz.md"), "order"),
    "link": (_as_link, "plain file, stored"),
    "size": (_with_size, "not that of the directory|reaches into"),
    "stored elsewhere": (lambda data: _repacked(data, zipfile.ZIP_STORED), "plain file, stored"),
    "compressed": (lambda data: _repacked(data, zipfile.ZIP_DEFLATED), "plain file, stored"),
    "changed": (_flipped, "'model.onnx' was changed"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_refused_before_anything_is_written(
    archive: Path, tmp_path: Path, workspace: Path, name: str
) -> None:
    change, words = HOSTILE[name]
    data = change(archive.read_bytes())
    assert data != archive.read_bytes()
    path = tmp_path / "folder" / "x.bmc"
    path.parent.mkdir()
    path.write_bytes(data)
    readers: tuple[Callable[[Path], object], ...] = (package.load, package.unpack)
    for read in readers:
        with pytest.raises(ArtifactError, match=words):
            read(path)
    assert [item.name for item in path.parent.iterdir()] == ["x.bmc"]
    assert not workspace.exists()


def test_a_link_to_a_packed_bundle_is_followed(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "current.bmc").symlink_to(archive)
    with package.load(tmp_path / "current.bmc") as classify:
        assert classify(TEXT).label in ("negative", "positive")


def test_a_file_that_the_manifest_does_not_list_is_refused(
    bundle_of: BundleOf, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    shutil.copytree(bundle_of("onnx"), folder)
    (folder / "extra.txt").write_text("more")
    names = (bundles.MANIFEST, *bundles.read(folder).files)
    packed.write(tmp_path / "more.bmc", folder, (*names, "extra.txt"))
    with pytest.raises(
        ArtifactError, match=r"holds 'extra\.txt', which its manifest does not list"
    ):
        package.load(tmp_path / "more.bmc")
    packed.write(tmp_path / "less.bmc", folder, names[:-1])
    with pytest.raises(ArtifactError, match=f"lacks its file {names[-1]!r}"):
        package.load(tmp_path / "less.bmc")


def test_an_archive_that_is_replaced_is_noticed(archive: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.bmc"
    shutil.copy(archive, path)
    bundle = bundles.read(path)
    path.write_bytes(_flipped(archive.read_bytes()))
    with pytest.raises(ArtifactError, match="was changed while it was read"):
        bundle.read_file("model.onnx")
    path.write_bytes(archive.read_bytes()[:1000])
    with pytest.raises(ArtifactError, match="was cut while it was read"):
        bundle.read_file("model.onnx")


def test_the_folder_in_which_one_works_is_packed_beside_itself(
    bundle_of: BundleOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "reviews"
    shutil.copytree(bundle_of("onnx"), folder)
    (folder / "inner").mkdir()
    for working, reference in ((folder, "."), (folder / "inner", "..")):
        monkeypatch.chdir(working)
        path = package.pack(reference)
        assert path.resolve() == tmp_path.resolve() / "reviews.bmc"
        path.unlink()


def test_a_pipeline_that_is_pickled_names_the_packed_file(
    bundle_of: BundleOf, tmp_path: Path
) -> None:
    path = package.pack(bundle_of("pytorch"), tmp_path / "x.bmc")
    with (
        package.load(path, threads=1) as pipeline,
        pytest.raises(UsageError, match=r"x\.bmc'\)$"),
    ):
        pickle.dumps(pipeline)


def test_what_cannot_be_packed_is_refused(bundle_of: BundleOf, tmp_path: Path) -> None:
    folder = bundle_of("onnx")
    with pytest.raises(UsageError, match=r"must end in \.bmc"):
        package.pack(folder, tmp_path / "x.zip")
    (tmp_path / "x.bmc").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        package.pack(folder, tmp_path / "x.bmc")
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / "tokenizer.json").write_text("{}")
    with pytest.raises(ArtifactError, match="was changed"):
        package.pack(copy)
    assert not (tmp_path / "copy.bmc").exists()
    with pytest.raises(UnknownError, match="no packed bundle"):
        package.unpack(tmp_path / "gone.bmc")


def test_every_verb_takes_a_packed_bundle_or_says_what_does(
    bmc: Run, archive: Path, bundle_of: BundleOf, tmp_path: Path
) -> None:
    path = tmp_path / "small.bmc"
    code, out, _ = bmc("pack", bundle_of("onnx"), "-o", path, "--json")
    assert code == 0
    assert json.loads(out)["bytes"] == path.stat().st_size
    refused(bmc("pack", bundle_of("onnx"), "-o", path), "--force replaces it")
    assert bmc("check", path)[0] == 0
    assert bmc("check", path, "--isolated")[0] == 0
    assert json.loads(bmc("predict", path, TEXT, "--json")[1])["answers"][0]["label"]
    for words in (("bench", path), ("report", path), ("show", path), ("inspect", path)):
        refused(bmc(*words), "is a packed bundle", f"bmc unpack {path}")
    assert bmc("unpack", path, "-o", tmp_path / "folder")[0] == 0
    assert bmc("check", tmp_path / "folder")[0] == 0
    with pytest.raises(UnknownError, match=r"bmc\.load take"):
        package.open(path)
