"""Measuring on another machine: a real server, the OpenSSH client, real bundles."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tokenizers

import bmc as package
from bmc import console
from bmc.console import Callback, Event
from bmc.errors import ArtifactError, BmcError, MissingError, StorageError, UsageError
from bmc.files import sha256
from bmc.measure import results
from bmc.measure.latency import BenchSettings
from bmc.measure.results import Run
from bmc.remote import session
from bmc.remote.destination import Destination
from bmc.remote.parcel import Parcel
from bmc.report import table
from tests._ssh_server import Server
from tests.remote._parcels import SHORT, short_parcel, with_other_golden_outputs

LONG = BenchSettings(launches=2, rounds=1000, length=8)


def measure_on(server: Server, parcel: Parcel, python: str = sys.executable) -> Run:
    return session.measure_on(Destination.read(server.destination), parcel, python)


def wait_until(is_true: Callable[[], bool], seconds: float = 20) -> bool:
    """Wait until a condition holds; return whether it does in the end."""
    end = time.monotonic() + seconds
    while not is_true() and time.monotonic() < end:
        time.sleep(0.05)
    return is_true()


def test_bundles_are_checked_and_measured_there_and_nothing_is_left(
    device: Server, bundle_of: Callable[[str], Path], tmp_path: Path
) -> None:
    wrong = with_other_golden_outputs(bundle_of("onnx"), tmp_path / "wrong")
    settings = replace(SHORT, batches=(4,))
    events: list[Event] = []
    with console.reporting(Callback(events.append)):
        run = measure_on(device, short_parcel([bundle_of("onnx"), wrong], settings))
    (row,) = run.rows
    assert (row.name, row.manifest_sha256) == ("onnx", sha256(bundle_of("onnx") / "manifest.json"))
    assert run.device == device.destination
    assert run.machine["cores"] == os.cpu_count()
    assert run.checks["onnx"].max_error <= run.checks["onnx"].allowed
    assert run.failed == ("wrong",)
    assert "wrong has other outputs on this device" in run.skipped["wrong"]
    assert str(device.temporary) not in str(run)
    assert [[len(turn) >= 5 for turn in launch] for launch in run.samples[0].nanoseconds] == [
        [True, True],
        [True, True],
    ]
    assert set(row.throughput) == {"1", "4"}
    assert any(event.text == "measuring" and event.done == event.total for event in events)
    assert wait_until(lambda: not device.leftovers())


def test_python_compares_bundles_on_another_machine(
    device: Server, bundle_of: Callable[[str], Path], workspace: Path
) -> None:
    compared = package.compare(
        bundle_of("onnx"),
        on=device.destination,
        python=sys.executable,
        threads=(1,),
        length=8,
        launches=2,
        rounds=2,
    )
    assert compared.rows[0].p50 is not None
    assert f"{device.destination}: " in repr(table.notes(compared.report))
    (saved,) = (workspace / ".bench").glob("*.json")
    assert results.read(saved).device == device.destination


def test_an_unknown_host_key_is_refused_with_the_way_to_accept_it(
    device: Server, parcel: Parcel, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = device.write_client(known=False)
    monkeypatch.setenv("PATH", f"{client}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(MissingError, match="unknown host key") as refusal:
        measure_on(device, parcel)
    assert f"ssh -p {device.port} someone@127.0.0.1" in str(refusal.value)
    assert not (client / "known_hosts").read_text()


def test_a_machine_that_refuses_the_key_or_the_connection_is_named(
    device: Server, parcel: Parcel, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = os.environ["PATH"]
    monkeypatch.setenv("PATH", f"{device.write_client(key=False)}{os.pathsep}{path}")
    with pytest.raises(MissingError, match=rf"ssh-copy-id -p {device.port} someone@127\.0\.0\.1"):
        measure_on(device, parcel)
    closed = Destination.read("someone@127.0.0.1:1")
    with pytest.raises(MissingError, match=r"Connection refused.*ssh -p 1 someone@127\.0\.0\.1"):
        session.measure_on(closed, parcel, "python3")
    monkeypatch.setenv("PATH", str(device.folder))
    with pytest.raises(MissingError, match="install it"):
        measure_on(device, parcel)


def test_a_machine_without_python_or_the_runtime_says_what_to_install(
    device: Server, parcel: Parcel
) -> None:
    with pytest.raises(MissingError, match=r"has no python3\.99; install it there"):
        measure_on(device, parcel, "python3.99")
    packages = device.folder / "packages"
    packages.mkdir()
    for module in (np, tokenizers):
        folder = Path(module.__path__[0])
        (packages / folder.name).symlink_to(folder)
    bare = device.folder / "bare"  # a Python without site-packages, run as a relative path
    bare.write_text(f'#!/bin/sh\nPYTHONPATH={packages} exec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    message = r"lacks onnxruntime; run there: \./bare -m pip install onnxruntime"
    with pytest.raises(MissingError, match=message):
        measure_on(device, parcel, "./bare")
    assert wait_until(lambda: not device.leftovers())


@pytest.mark.parametrize(
    ("line", "refusal"),
    [
        ('{"bmc": "hello", "python": 3}', "ended with code 3"),
        ('{"bmc": ["hello"]}', "ended with code 3"),
        ("[" * 50_000, "ended with code 3"),
        ('{"bmc": "received"}', "sent 'received' in place of 'hello'"),
    ],
    ids=["a member of another type", "another kind", "deep", "another order"],
)
def test_a_message_that_no_runner_writes_is_no_traceback(
    device: Server, parcel: Parcel, line: str, refusal: str
) -> None:
    device.prefix = f"echo '{line}'; exit 3; "
    with pytest.raises(BmcError, match=refusal):
        measure_on(device, parcel)


def test_a_full_disk_there_is_said_and_nothing_is_left(device: Server, parcel: Parcel) -> None:
    device.prefix = "ulimit -f 100; "  # blocks of 512 bytes; the model's files are larger
    with pytest.raises(
        StorageError, match=r"cannot store what it was sent: File too large.*TMPDIR"
    ):
        measure_on(device, parcel)
    assert wait_until(lambda: not device.leftovers())


def test_a_bundle_that_changes_on_the_way_is_refused(
    device: Server, bundle_of: Callable[[str], Path], tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(bundle_of("onnx"), copy)
    parcel = short_parcel([copy])
    with (copy / "model.onnx").open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(
        ArtifactError, match=r"bundles/copy/model\.onnx arrived at .* other content"
    ):
        measure_on(device, parcel)
    assert wait_until(lambda: not device.leftovers())


@pytest.mark.parametrize("how", ["the connection is cut", "the receiver is killed"])
def test_a_run_that_is_cut_in_the_middle_leaves_nothing_there(
    device: Server, bundle_of: Callable[[str], Path], how: str
) -> None:
    events: list[Event] = []

    def interrupt() -> None:
        if wait_until(lambda: any(event.text == "measuring" for event in events)):
            if how == "the connection is cut":
                device.cut()
            else:
                os.kill(device.processes[-1], signal.SIGKILL)

    thread = threading.Thread(target=interrupt)
    thread.start()
    parcel = short_parcel([bundle_of("onnx")], LONG)
    with (
        console.reporting(Callback(events.append)),
        pytest.raises(BmcError, match=r"was cut|ended with"),
    ):
        measure_on(device, parcel)
    thread.join()
    assert wait_until(lambda: not device.leftovers()), device.leftovers()


def test_ctrl_c_here_ends_what_runs_there(
    device: Server, bundle_of: Callable[[str], Path], tmp_path: Path
) -> None:
    # A shell lets what it starts in the background ignore SIGINT, and Python leaves it so.
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    command = [sys.executable, "-c", f"{heard}from bmc.cli import main; main()", "bench"]
    command += [str(bundle_of("onnx")), "--on", device.destination, "--python", sys.executable]
    process = subprocess.Popen(
        [*command, "--rounds", "1000"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    assert wait_until(lambda: any("worker" in line for line in device.leftovers()), 60)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "stopped. Nothing was kept" in errors
    assert wait_until(lambda: not device.leftovers()), device.leftovers()


@pytest.mark.parametrize(
    ("text", "login", "port"),
    [
        ("pi@board", "pi@board", None),
        ("board", "board", None),
        ("pi@10.0.0.7:2222", "pi@10.0.0.7", 2222),
        ("pi@[fe80::1]:22", "pi@fe80::1", 22),
    ],
)
def test_a_destination_is_user_host_and_port(text: str, login: str, port: int | None) -> None:
    destination = Destination.read(text)
    assert (destination.login, destination.port) == (login, port)


@pytest.mark.parametrize("text", ["", "-oProxyCommand=x", "pi@", "a b", "pi@-x", "pi@h:0", "h:x"])
def test_what_is_no_destination_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="write user@host"):
        Destination.read(text)
