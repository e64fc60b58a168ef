"""The page runs bundles of text, images and sound in Chromium, and refuses the others."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

import bmc
from bmc import artifact
from bmc import bundle as bundles
from bmc.contracts import families
from bmc.data import Dataset
from bmc.export import ExportOptions, flow
from bmc.export.source import source_of
from bmc.inputs.audio import RATE
from bmc.model import Model
from tests import _sounds
from tests.browser import _site
from tests.fuzz import _edits

TEXT = "It's an hour of wit and charm, but naïve ΣΑΣ 電影"
CLOSE = 1e-3
CHROMIUM = ("--no-sandbox", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory, clips: Dataset) -> Path:
    """Return the built page, with a bundle of each kind in a folder of its name."""
    folder = tmp_path_factory.mktemp("page")
    site = _site.copied(folder / "browser")
    _edits.unpack(folder / "seeds")
    for kind in ("text", "image"):
        seed = folder / "seeds" / f"{kind}-onnx"
        bundles.write(seed, bundles.read(seed).manifest)  # with sizes and a digest
    built = _build(site, folder / "seeds" / "text-onnx", "dist")
    for name in ("image-onnx", "image-openvino", "series-onnx"):
        shutil.copytree(folder / "seeds" / name, built / name)
    _export_sound(clips, folder / "sound", built / "sound-onnx")
    return built


def _build(site: Path, bundle: Path, name: str, *options: str) -> Path:
    command = ["npm", "run", "build", "--", str(bundle), "--out", name, *options]
    done = subprocess.run(command, cwd=site, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return site / name


def _export_sound(clips: Dataset, folder: Path, output: Path) -> None:
    settings = families.family("ds-cnn").settings(width=4, blocks=1)
    model: Model = families.network("ds-cnn").baseline("ds-cnn", clips, settings)
    model.data = {"reference": clips.name, "fingerprint": clips.fingerprint}
    with source_of(artifact.save(model, folder), clips, ExportOptions()) as source:
        flow.export(source, "onnx", output, force=False)


@pytest.fixture(scope="module")
def address(dist: Path) -> Iterator[str]:
    """Return the address at which the page is served."""
    with _site.served(dist) as url:
        yield url


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Return Chromium, whose microphone hears a rising tone."""
    sound = tmp_path_factory.mktemp("microphone") / "tone.wav"
    soundfile.write(sound, np.tile(_sounds.clip("rise", 1), 4), RATE)
    arguments = [*CHROMIUM, f"--use-file-for-fake-audio-capture={sound}"]
    path = _site.browser()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    """Return a context of its own, which no other test has filled."""
    with chromium.new_context() as context:
        yield context


@contextmanager
def opened(context: BrowserContext, address: str, bundle: str = "") -> Iterator[Page]:
    """Open the page with a bundle; check that it asks no other server and logs no error."""
    page = context.new_page()
    requests: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{address}?bundle={bundle}" if bundle else address)
    yield page
    assert all(url.startswith((address, f"blob:{address}", "data:")) for url in requests)
    assert not errors


def ready(page: Page) -> dict[str, Any]:
    """Wait until a page has loaded its bundle, and return what it says."""
    state: dict[str, Any] = page.evaluate("window.bmc.ready")
    return state


def shown(page: Page, selector: str) -> str:
    """Wait until an element has a text, and return it."""
    page.wait_for_function("selector => document.querySelector(selector).textContent", arg=selector)
    return page.inner_text(selector)


def check(page: Page) -> dict[str, Any]:
    """Press the button Check, and return the result for machines."""
    page.click("#check")
    page.wait_for_function("() => window.bmcCheck")
    result: dict[str, Any] = page.evaluate("window.bmcCheck")
    return result


def compare(page: Page, bundle: Path, row: Any) -> None:
    """Compare the shown label, and its score, with those of Python."""
    with bmc.load(bundle, threads=1) as pipeline:
        expected = pipeline(row)
    assert shown(page, "#answer") == expected.label
    assert float(page.inner_text("#scores dd:nth-of-type(2)")) == pytest.approx(
        expected.score, abs=CLOSE
    )


def test_a_text_is_answered_while_it_is_typed(
    context: BrowserContext, address: str, dist: Path
) -> None:
    seed = dist.parents[1] / "seeds" / "text-onnx"
    with opened(context, address) as page:
        state = ready(page)
        assert state["problem"] is None
        assert state["isWorker"]
        assert state["info"]["threads"] >= 1
        assert page.evaluate("crossOriginIsolated")
        page.type("#text", TEXT)
        page.wait_for_function("() => document.querySelector('#time').textContent")
        with bmc.load(seed, threads=1) as pipeline:
            rows = [(TEXT,), ("a bore " * 300,)]
            expected = pipeline.outputs(rows)
        found = page.evaluate(
            "rows => window.bmc.engine.outputs(rows)", [list(row) for row in rows]
        )
        assert np.abs(np.float32(found) - expected).max() < CLOSE
        page.fill("#text", "")
        page.fill("#text", TEXT)
        compare(page, seed, TEXT)
        result = check(page)
        assert result["ok"]
        assert result["first_difference"] is None
        assert result["max_error"] <= result["allowed"]
        assert result["digest"] == json.loads((seed / "manifest.json").read_text())["digest"]
        assert result["p50_ms"] > 0
        assert page.inner_text("#verdict").startswith("right: ")
        assert json.loads(page.inner_text("#report")) == result
        page.evaluate("window.bmc.engine.predict(['x'.repeat(200001)]).catch(e => window.e = e)")
        page.wait_for_function("() => window.e")
        assert "up to 200000: cut it before" in page.evaluate("window.e.message")


def test_an_image_is_read_by_a_canvas_and_resized_as_in_python(
    context: BrowserContext, address: str, dist: Path, tmp_path: Path
) -> None:
    file, transparent = tmp_path / "color.png", tmp_path / "transparent.png"
    pixels = np.random.default_rng(0).integers(0, 256, (23, 11, 3), np.uint8)
    Image.fromarray(pixels).save(file)
    Image.fromarray(pixels).convert("RGBA").resize((9, 9)).rotate(45).save(transparent)
    with opened(context, address, "image-onnx/") as page:
        assert ready(page)["problem"] is None
        page.set_input_files("#file", transparent)
        assert "save it without transparency" in shown(page, "#problem")
        page.set_input_files("#file", file)
        compare(page, dist / "image-onnx", file)
        assert page.is_hidden("#problem")
        assert check(page)["ok"]


def test_a_sound_file_and_the_microphone_are_answered(
    context: BrowserContext, address: str, dist: Path, tmp_path: Path
) -> None:
    file = tmp_path / "rise.wav"
    soundfile.write(file, _sounds.clip("rise", 2), RATE)
    with opened(context, address, "sound-onnx/") as page:
        assert ready(page)["problem"] is None
        page.set_input_files("#file", file)
        compare(page, dist / "sound-onnx", file)
        assert check(page)["ok"]
        page.evaluate("document.querySelector('#answer').textContent = ''")
        page.click("#listen")
        assert shown(page, "#answer") in _sounds.WORDS
        assert page.inner_text("#listen") == "Stop"
        page.click("#listen")


def test_a_packed_bundle_is_run(context: BrowserContext, address: str, dist: Path) -> None:
    bmc.pack(dist / "image-onnx", dist / "image.bmc")
    with opened(context, address, "image.bmc") as page:
        assert ready(page)["info"]["preprocessing"]["kind"] == "image"
        assert check(page)["ok"]


def test_a_bundle_with_a_model_for_phones_is_run_without_it(
    context: BrowserContext, address: str, dist: Path, tmp_path: Path
) -> None:
    bundle = Path(shutil.copytree(dist / "image-onnx", tmp_path / "mobile"))
    manifest = bundles.read(bundle).manifest
    mobile = {"model": "model.ort", "operators": "required_operators.config"}
    for name in mobile.values():
        (bundle / name).write_text("for phones")
    bundles.write(bundle, replace(manifest, build={**manifest.build, "mobile": mobile}))
    built = _build(dist.parent, bundle, str(tmp_path / "dist"))
    assert not set(mobile.values()) & {path.name for path in built.rglob("*")}
    shutil.copytree(built / "bundle", dist / "mobile")
    with opened(context, address, "mobile/") as page:
        assert ready(page)["problem"] is None
        assert check(page)["ok"]


def test_where_workers_are_blocked_the_page_computes_itself(
    context: BrowserContext, dist: Path
) -> None:
    blocked = ("--header", "Content-Security-Policy: worker-src 'none'")
    with _site.served(dist, *blocked) as address:
        page = context.new_page()
        page.goto(address)
        state = ready(page)
        assert state["problem"] is None
        assert state["isWorker"] is False
        assert state["info"]["threads"] == 1
        assert "workers are blocked" in page.inner_text("#about")
        page.fill("#text", TEXT)
        assert shown(page, "#answer") in state["info"]["labels"]


def test_a_browser_without_simd_is_refused(context: BrowserContext, address: str) -> None:
    context.add_init_script("WebAssembly.validate = () => false")
    with opened(context, address) as page:
        assert "WebAssembly without SIMD" in str(ready(page)["problem"])
        assert "update the browser" in page.inner_text("#problem")
        assert page.is_hidden("#form")


def test_a_bundle_for_another_target_a_changed_one_and_other_kinds_are_refused(
    context: BrowserContext, address: str, dist: Path
) -> None:
    changed = dist / "changed"
    shutil.copytree(dist / "image-onnx", changed)
    model = changed / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"\x01")
    edited = dist / "edited"
    shutil.copytree(dist / "image-onnx", edited)
    manifest = (edited / "manifest.json").read_text(encoding="utf-8")
    (edited / "manifest.json").write_text(manifest.replace('"name": "', '"name": "x'))
    ngram = dist / "ngram"
    shutil.copytree(dist / "series-onnx", ngram)
    content = json.loads((ngram / "manifest.json").read_text(encoding="utf-8"))
    content["preprocessing"]["kind"] = "ngram"
    del content["digest"], content["sizes"]  # as in bundles of bmc 0.1
    (ngram / "manifest.json").write_text(json.dumps(content), encoding="utf-8")
    problems = {
        "image-openvino": "--target onnx",
        "changed": "its sha256 is not that in manifest.json",
        "edited": "manifest.json was changed",
        "series-onnx": '"series" as input',
        "ngram": "bmc distill --student tiny",
    }
    page = context.new_page()
    for bundle, problem in problems.items():
        page.goto(f"{address}?bundle={bundle}/")
        assert problem in str(ready(page)["problem"]), bundle
        assert page.is_visible("#problem")
    page.goto(f"{address}?bundle=missing/")
    assert "HTTP 404; put a bundle there" in str(ready(page)["problem"])
    page.goto(f"{address}?bundle={address.replace('127.0.0.1', 'localhost')}image-onnx/")
    assert "is on another server" in str(ready(page)["problem"])


def test_a_bundle_that_cannot_be_loaded_leaves_the_one_before(
    context: BrowserContext, address: str, dist: Path
) -> None:
    broken = Path(shutil.copytree(dist / "image-onnx", dist / "broken"))
    (broken / "model.onnx").write_bytes(b"no model")
    bundles.write(broken, bundles.read(dist / "image-onnx").manifest)
    options = "{assets: location.href, device: 'wasm'}"
    load = f"window.bmc.engine.load(location.origin + '/broken/', {options})"
    with opened(context, address) as page:
        assert ready(page)["problem"] is None
        problem = page.evaluate(f"{load}.catch((error) => error.message)")
        assert "ONNX Runtime cannot load model.onnx" in problem
        page.fill("#text", TEXT)
        assert shown(page, "#answer") in ("bad", "good")


@pytest.mark.slow
def test_a_gpu_is_used_where_the_browser_has_one(
    chromium: Browser, dist: Path, tmp_path: Path
) -> None:
    seed = dist.parents[1] / "seeds" / "text-onnx"
    built = _build(dist.parent, seed, str(tmp_path / "dist"), "--webgpu")
    software = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--no-sandbox")
    browser = chromium.browser_type.launch(executable_path=_site.browser(), args=software)
    with _site.served(built) as address, opened(browser.new_context(), address) as page:
        assert ready(page)["problem"] is None
        if not page.query_selector("#gpu"):
            pytest.skip("this Chromium offers no GPU, not even in software")
        page.click("#gpu")
        page.wait_for_function("() => document.querySelector('#about').textContent.includes('GPU')")
        result = check(page)
        assert result["ok"]
        assert result["execution"]["device"] == "webgpu"
    browser.close()
