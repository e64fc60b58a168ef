"""Files: hashes, checked JSON, and names that stay inside."""

from __future__ import annotations

from pathlib import Path

import pytest

from bmc import checksums, files, untrusted
from bmc.errors import ArtifactError

EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_the_sha256_of_nothing_is_the_known_one(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert files.sha256(tmp_path / "empty") == EMPTY_SHA256


def test_every_file_below_a_folder_is_hashed_but_the_one_left_out(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("a", "deep/b", "manifest.json"):
        (tmp_path / name).touch()
    hashes = files.sha256_of_folder(tmp_path, leave_out="manifest.json")
    assert hashes == {"a": EMPTY_SHA256, "deep/b": EMPTY_SHA256}


def test_a_changed_or_missing_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    checksums.check_files(tmp_path, {"a": EMPTY_SHA256}, "bundle")
    (tmp_path / "a").write_text("other")
    with pytest.raises(ArtifactError, match="'a' was changed"):
        checksums.check_files(tmp_path, {"a": EMPTY_SHA256}, "bundle")
    with pytest.raises(ArtifactError, match="lacks its file 'b'"):
        checksums.check_files(tmp_path, {"b": EMPTY_SHA256}, "bundle")


@pytest.mark.parametrize(
    "name",
    [
        "../outside",
        "deep/../../outside",
        "/etc/passwd",
        "C:\\windows",
        "c:file",
        "deep\\file",
        "a\0b",
        "a\nb",
        "\ud800",
        "n" * 256,
    ],
)
def test_a_name_that_leaves_its_folder_or_names_no_file_is_refused(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(ArtifactError, match="refused"):
        files.inside(tmp_path, name, "bundle")


def test_a_link_out_of_the_folder_or_in_a_circle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "secret").touch()
    (tmp_path / "bundle" / "out").symlink_to(tmp_path / "secret")
    (tmp_path / "bundle" / "up").symlink_to(tmp_path)
    for name in ("out", "up/secret"):
        with pytest.raises(ArtifactError, match="leaves its folder"):
            files.inside(tmp_path / "bundle", name, "bundle")
    (tmp_path / "bundle" / "circle").symlink_to("circle")
    with pytest.raises(ArtifactError):
        checksums.check_files(tmp_path / "bundle", {"circle": EMPTY_SHA256}, "bundle")


def test_names_and_links_that_stay_inside_are_followed(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").touch()
    (tmp_path / "link").symlink_to("deep/file")
    assert files.inside(tmp_path, "deep/file", "bundle") == tmp_path / "deep" / "file"
    assert files.inside(tmp_path, "link", "bundle").is_file()


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", "7", "null", '"text"', "[" * 100_000, "9" * 5000, "\x00"]
)
def test_what_is_no_json_object_is_refused_with_the_files_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ArtifactError, match=r"manifest\.json"):
        untrusted.read_json(tmp_path / "manifest.json", "bundle")


def test_a_key_that_stands_twice_among_very_many_is_found_at_once(tmp_path: Path) -> None:
    keys = ",".join(f'"{number}":0' for number in [*range(200_000), 199_999])
    with pytest.raises(ArtifactError, match="the key '199999' is repeated"):
        untrusted.parse_json(f"{{{keys}}}".encode(), tmp_path / "a.json")


def test_binary_json_and_a_folder_in_its_place_are_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "bmc.json").mkdir()
    for name, why in (("manifest.json", "not readable JSON"), ("bmc.json", "not a regular file")):
        with pytest.raises(ArtifactError, match=why):
            untrusted.read_json(tmp_path / name, "bundle")
    with pytest.raises(ArtifactError, match=r"is not a bundle: it has no nothing\.json"):
        untrusted.read_json(tmp_path / "nothing.json", "bundle")


def test_written_json_is_read_back_and_never_holds_nan(tmp_path: Path) -> None:
    files.write_json(tmp_path / "a.json", {"label": "größer", "score": 0.5})
    assert untrusted.read_json(tmp_path / "a.json", "bundle") == {"label": "größer", "score": 0.5}
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "b.json", {"score": float("nan")})


def test_the_size_of_a_folder_is_that_of_all_its_files(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "a").write_bytes(b"123")
    (tmp_path / "deep" / "b").write_bytes(b"4567")
    assert files.size_of(tmp_path) == 7
    assert files.size_of(tmp_path / "a") == 3
