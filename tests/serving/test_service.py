"""`bmc serve` over real HTTP: answers, refusals, counts, and how it ends."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import bmc as package
from tests.serving._service import start

TEXTS = ["a triumph of wit and charm", "a bore", "it never finds its feet", "warm and funny"]
LIMITS = ("--max-waiting", "64", "--max-body", "0.2", "--timeout", "2", "--max-batch", "8")


@pytest.fixture(scope="module")
def bundle(bundle_of: Callable[[str], Path]) -> Path:
    return bundle_of("onnx")


@pytest.fixture(scope="module")
def address(bundle: Path) -> Iterator[str]:
    """Return the address of a service with small limits."""
    process, address = start(bundle, *LIMITS)
    yield address
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0


@pytest.fixture(scope="module")
def expected(bundle: Path) -> dict[str, dict[str, Any]]:
    """Return the predictions of the bundle in Python."""
    with package.load(bundle) as predict:
        pairs = zip(TEXTS, predict(TEXTS), strict=True)
        return {text: {"label": each.label, "score": each.score} for text, each in pairs}


def is_close(answer: dict[str, Any], expected: dict[str, Any]) -> bool:
    same: bool = answer["label"] == expected["label"]
    return same and abs(answer["score"] - expected["score"]) < 1e-5


def test_it_answers_as_the_bundle_does_in_python(
    address: str, expected: dict[str, dict[str, Any]]
) -> None:
    answer = httpx.post(f"{address}/predict", json={"rows": TEXTS})
    assert answer.status_code == 200
    answers = answer.json()["predictions"]
    assert all(is_close(*pair) for pair in zip(answers, expected.values(), strict=True))
    plain = {"content-type": "text/plain"}
    one = httpx.post(f"{address}/predict", content=TEXTS[0], headers=plain).json()
    assert is_close(one["predictions"][0], expected[TEXTS[0]])
    assert httpx.post(f"{address}/predict", json={"rows": []}).json()["predictions"] == []


def test_many_clients_at_once_get_their_own_answers_or_are_told_to_come_again(
    address: str, expected: dict[str, dict[str, Any]]
) -> None:
    wrong: list[Any] = []

    def ask(number: int) -> None:
        with httpx.Client() as client:
            for turn in range(25):
                texts = [TEXTS[(number + turn + offset) % 4] for offset in range(3)]
                answer = client.post(f"{address}/predict", json={"rows": texts})
                if answer.status_code == 429:
                    continue
                pairs = zip(texts, answer.json()["predictions"], strict=True)
                wrong.extend(pair for pair in pairs if not is_close(pair[1], expected[pair[0]]))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_row_without_a_prediction_is_noted_beside_the_others(address: str) -> None:
    answer = httpx.post(f"{address}/predict", json={"rows": ["a film", " ", "a bore"]})
    assert answer.status_code == 200
    content = answer.json()
    assert [each is None for each in content["predictions"]] == [False, True, False]
    assert [note["row"] for note in content["notes"]] == [2]
    alone = httpx.post(f"{address}/predict", json={"rows": [""]})
    assert alone.status_code == 422
    assert "empty" in alone.json()["error"]


def test_an_error_counts_rows_of_its_request_also_where_requests_share_a_batch(
    address: str,
) -> None:
    errors: set[str] = set()

    def ask() -> None:
        with httpx.Client() as client:
            for _ in range(20):
                answer = client.post(f"{address}/predict", json={"rows": ["a film", " "]})
                if answer.status_code != 429:
                    errors.update(note["note"] for note in answer.json()["notes"])

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == {"row 2 is an empty text; leave it out"}


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        (b"[", 400, "not JSON"),
        (b'{"rows": ["\xff"]}', 400, "not UTF-8"),
        (json.dumps({"rows": ["a"] * 10_000}).encode(), 413, "10,000 rows"),
        (b" " * 10_000_000, 413, "10,000,000 bytes"),
        (json.dumps({"rows": [7]}).encode(), 422, "row 1"),
    ],
    ids=["cut", "not UTF-8", "10,000 texts", "10 MB", "a number"],
)
def test_a_request_that_cannot_be_answered_says_why(
    address: str, content: bytes, status: int, message: str
) -> None:
    answer = httpx.post(
        f"{address}/predict", content=content, headers={"content-type": "application/json"}
    )
    assert answer.status_code == status
    assert message in answer.json()["error"]


def test_a_body_without_a_length_is_cut_off_at_the_limit(address: str) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(1000):
            yield b" " * 10_000

    answer = httpx.post(f"{address}/predict", content=endless(), timeout=10)
    assert answer.status_code == 413


def test_a_slow_client_gets_408_and_one_that_hangs_up_harms_nobody(address: str) -> None:
    host, port = address.removeprefix("http://").split(":")
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    with socket.create_connection((host, int(port))) as leaving:
        leaving.sendall(head + b"Content-Length: 30\r\n\r\n{")
    with socket.create_connection((host, int(port))) as slow:
        slow.sendall(head + b"Content-Length: 30\r\n\r\n{")
        slow.settimeout(10)
        assert slow.recv(4096).startswith(b"HTTP/1.1 408")
    assert httpx.post(f"{address}/predict", json={"rows": ["a film"]}).status_code == 200


def test_health_bundle_metrics_and_page_describe_the_service(address: str, bundle: Path) -> None:
    assert httpx.get(f"{address}/health").json() == {"status": "ok"}
    about = httpx.get(f"{address}/bundle").json()
    assert about["name"] == bundle.name
    assert about["kind"] == "text"
    assert len(about["labels"]) == 2
    counts = httpx.get(f"{address}/metrics").text
    assert re.search(r'^bmc_requests_total\{status="200"\} [1-9]', counts, re.MULTILINE)
    assert re.search(r"^bmc_waiting_rows 0\.0$", counts, re.MULTILINE)
    page = httpx.get(address)
    assert "<title>bmc serve</title>" in page.text
    assert not re.search(r"(src|href)=\"(https?:)?//", page.text)
    assert httpx.get(f"{address}/predict").status_code == 405


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_signal_ends_it_with_code_0(bundle: Path, number: signal.Signals) -> None:
    process, address = start(bundle)
    assert httpx.post(f"{address}/predict", json={"rows": TEXTS}).status_code == 200
    process.send_signal(number)
    assert process.wait(10) == 0


def test_a_port_that_is_taken_is_refused_with_the_way_out(
    address: str, bundle: Path, bmc: Callable[..., tuple[int, str, str]]
) -> None:
    port = address.rpartition(":")[2]
    code, _, err = bmc("serve", bundle, "--port", port)
    assert code == 2
    assert f"port {port}" in err
    assert "--port 0 takes a free port" in err


@pytest.fixture
def made_copy(bundle: Path, tmp_path: Path) -> Path:
    """Return a copy of the bundle that a test may damage."""
    return Path(shutil.copytree(bundle, tmp_path / "bundle"))


def test_a_damaged_bundle_is_not_served(
    made_copy: Path, bmc: Callable[..., tuple[int, str, str]]
) -> None:
    (made_copy / "model.onnx").write_bytes(b"no model")
    code, _, err = bmc("serve", made_copy, "--port", 0)
    assert code == 2
    assert "was changed" in err
