"""Mutate files of benches, sensitivities and teachers' logits. Each file must be read, reported as
damaged, or refused with a BmcError, and a report must still render."""

from __future__ import annotations

import copy
import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.ma  # imported here, because a case must not import modules
from hypothesis import strategies as st

from bmc.inspect import kept
from bmc.inspect.sensitivity import Loss, Sensitivity
from bmc.measure import results
from bmc.measure.latency import BenchSettings, Candidate, Measured
from bmc.measure.results import Row, Run
from bmc.measure.scores import Interval
from bmc.report import table
from bmc.report.collect import Report, collect, newest_run
from bmc.training import teacher_logits

_FINGERPRINT = "ab" * 32
_INTERVAL = Interval(1.0, 0.5, 1.5)
_MANIFEST: dict[str, Any] = {
    "schema": 1,
    "family": "mlp",
    "task": "classification",
    "labels": ["a", "b"],
    "inputs": {},
    "data": {},
    "steps": [],
    "scores": {},
    "origin": {},
    "files": {},
}


def cases() -> st.SearchStrategy[dict[str, Any]]:
    """Return mutated files of the three kinds; some get valid hashes after the mutation."""
    values = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**40), 2**70),
        st.floats(),
        st.text(max_size=8),
        st.just([]),
        st.just({}),
        st.lists(st.integers(-2, 2), max_size=3),
    )
    edits = st.tuples(st.floats(0, 1), st.sampled_from(["set", "drop", "add", "repeat"]), values)
    changes = st.tuples(
        st.floats(0, 1), st.sampled_from(["flip", "cut", "end", "insert"]), st.binary(max_size=9)
    )
    return st.fixed_dictionaries(
        {
            "kind": st.sampled_from(["bench", "sensitivity", "answers"]),
            "edits": st.lists(edits, max_size=3),
            "bytes": st.one_of(st.just([]), st.lists(changes, max_size=3)),
            "rehashed": st.booleans(),
        }
    )


def check(case: dict[str, Any], folder: Path) -> None:
    """Read a changed file, and show what was read.

    Raises:
        BmcError: the file is refused.
        AssertionError: damaged logits were accepted.
    """
    before = os.environ.get("BMC_HOME")
    os.environ["BMC_HOME"] = str(folder / "runs")
    try:
        {"bench": _bench, "sensitivity": _sensitivity, "answers": _logits}[case["kind"]](
            case, folder
        )
    finally:
        del os.environ["BMC_HOME"]
        if before is not None:
            os.environ["BMC_HOME"] = before


def _bench(case: dict[str, Any], folder: Path) -> None:
    content = _edited(_saved_bench(), case["edits"])
    if case["rehashed"] and isinstance(content, dict):
        content.pop("sha256", None)
    path = folder / "runs" / ".bench" / "20260101-000000.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(_changed(json.dumps(content).encode(), case["bytes"]))
    newest_run([])
    run = results.read(path)
    for name in {row.name for row in run.rows}:
        results.ratio(run, name, name)
    results.cut_rows(run)
    json.dumps([row.to_json() for row in run.rows])
    collect(run)
    table.notes(Report((), {}, run))


def _sensitivity(case: dict[str, Any], folder: Path) -> None:
    model = folder / "model"
    model.mkdir()
    (model / "bmc.json").write_text(json.dumps(_MANIFEST))
    for name in ("config.json", "model.safetensors"):
        (model / name).write_bytes(b"{}")
    loss = Loss("layer", "int8", _INTERVAL, 0.1)
    path = kept.write(model, Sensitivity("accuracy", _INTERVAL, 9, (loss,)), _FINGERPRINT)
    content = _edited(json.loads(path.read_text()), case["edits"])
    if case["rehashed"]:
        _rehash(content)
    path.write_bytes(_changed(json.dumps(content).encode(), case["bytes"]))
    read = kept.read(model, _FINGERPRINT)
    if read:
        json.dumps({name: each.moved for name, each in read.of("int8").items()})
    kept.write(model, Sensitivity("accuracy", _INTERVAL, 8, (loss,)), _FINGERPRINT)
    assert kept.read(model, _FINGERPRINT) is not None


def _logits(case: dict[str, Any], folder: Path) -> None:
    path = folder / "chunk.npy"
    logits = np.arange(6, dtype=np.float32).reshape(3, 2)
    teacher_logits.write_logits(path, logits)
    content = path.read_bytes()
    path.write_bytes(_changed(content, case["bytes"]))
    read = teacher_logits.read_logits(path, (3, 2))
    assert (read is not None) == (path.read_bytes() == content)
    assert read is None or np.array_equal(read, logits)
    assert teacher_logits.read_logits(path, (2, 3)) is None


@cache
def _saved_bench() -> dict[str, Any]:
    """Return the JSON content of a `bmc bench` of two bundles."""
    turns = [[[1000, 1100, 1200]] * 2] * 2
    samples = [
        Measured(Candidate(Path(name), 1), {"precision": "f32"}, turns, [0.1], [0.1], [50.0])
        for name in ("one", "two")
    ]
    rows = [
        Row(
            str(sample.candidate.bundle),
            "ab",
            1,
            True,
            {"device": "CPU", "precision": "f32", "cut_to": 8},
            _INTERVAL,
            None,
            None,
            1,
            2,
            3,
        )
        for sample in samples
    ]
    machine = {"processor": "one", "cores": 2, "instructions": ["avx2"]}
    run = Run("20260101-000000", machine, BenchSettings(), tuple(rows), {}, tuple(samples))
    content = {**vars(run), "settings": vars(run.settings)}
    content["rows"] = [row.to_json() for row in run.rows]
    content["samples"] = [{**vars(item), "candidate": vars(item.candidate)} for item in samples]
    saved: dict[str, Any] = json.loads(json.dumps(content, default=str))
    return {**saved, "sha256": "ab" * 32}


def _edited(content: Any, edits: list[Any]) -> Any:
    """Change values anywhere in a JSON document."""
    content = copy.deepcopy(content)
    for where, how, value in edits:
        places = list(_places(content))
        if not places:
            return value
        holder, key = places[int(where * (len(places) - 1))]
        if how == "drop":
            del holder[key]
        elif how == "repeat" and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        elif how == "add" and isinstance(holder, dict):
            holder[f"{key} "] = value
        else:
            holder[key] = value
    return content


def _places(content: Any) -> Any:
    """Yield the container and the key or index of every value in a JSON document."""
    if not isinstance(content, (dict, list)):
        return
    for key in list(content) if isinstance(content, dict) else range(len(content)):
        yield content, key
        yield from _places(content[key])


def _rehash(content: Any) -> None:
    """Recompute the hashes of a sensitivity file; a reader stops at a wrong hash."""
    entries = content.get("entries") if isinstance(content, dict) else None
    for entry in entries.values() if isinstance(entries, dict) else ():
        if isinstance(entry, dict):
            entry["sha256"] = kept.digest_of(entry.get("measured"))


def _changed(content: bytes, changes: list[Any]) -> bytes:
    changed = bytearray(content)
    for where, how, new in changes:
        index = int(where * max(len(changed) - 1, 0))
        if how == "flip" and changed:
            changed[index] ^= 1 << (len(new) % 8)
        elif how == "cut":
            del changed[index : index + len(new)]
        elif how == "end":
            del changed[index:]
        else:
            changed[index:index] = new
    return bytes(changed)
