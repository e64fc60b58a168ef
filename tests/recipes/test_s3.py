"""Results of steps in an object store: pip install s3fs 'moto[s3]' flask flask-cors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

s3fs: Any = pytest.importorskip("s3fs")
server: Any = pytest.importorskip("moto.server")

from bmc.errors import StorageError  # noqa: E402
from bmc.recipes.store import ChangedResultError, StepStore  # noqa: E402

KEY = "a" * 64
LOCATION = "s3://steps-of-all/steps"


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return the files of a bucket on this machine."""
    started = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    started.start()
    host, port = started.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "anything")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    s3fs.S3FileSystem.clear_instance_cache()
    files = s3fs.S3FileSystem()
    files.makedirs("steps-of-all", exist_ok=True)  # servers of a process share what they hold
    yield files
    s3fs.S3FileSystem.clear_instance_cache()
    started.stop()


@pytest.fixture
def made(tmp_path: Path) -> Path:
    folder = tmp_path / "work" / "small"
    (folder / "parts").mkdir(parents=True)
    (folder / "bmc.json").write_text("{}")
    (folder / "parts" / "more.txt").write_text("more")
    return folder


def test_another_machine_takes_a_result_and_refuses_a_changed_one(
    bucket: Any, made: Path, tmp_path: Path
) -> None:
    one = StepStore(LOCATION, tmp_path / "one")
    assert not one.has(KEY)
    one.add(KEY, made)
    path = StepStore(LOCATION, tmp_path / "two").path(KEY)
    assert (path / "parts" / "more.txt").read_text() == "more"
    (changed,) = (each for each in bucket.find("steps-of-all") if each.endswith("more.txt"))
    bucket.pipe_file(changed, b"changed")
    with pytest.raises(ChangedResultError, match=r"more\.txt of aaaa"):
        StepStore(LOCATION, tmp_path / "three").path(KEY)
    one.remove(KEY)
    assert bucket.find("steps-of-all") == []


def test_a_bucket_that_does_not_exist_is_refused_and_not_created(
    bucket: Any, made: Path, tmp_path: Path
) -> None:
    with pytest.raises(StorageError, match="no bucket 'step-of-all'; create it first"):
        StepStore("s3://step-of-all/steps", tmp_path / "one").add(KEY, made)
    assert not bucket.exists("step-of-all")


def test_a_store_that_cannot_be_reached_is_named(
    bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    bucket.clear_instance_cache()
    with pytest.raises(StorageError, match=f"{LOCATION} cannot be read.*kept"):
        StepStore(LOCATION, tmp_path / "one").has(KEY)
