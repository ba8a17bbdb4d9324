"""Label Studio itself and the service, in the system's Chromium: `pytest -m e2e`, its command in LABEL_STUDIO or on the PATH."""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
import uuid
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pnp_ovss.web.port import bound

playwright = pytest.importorskip("playwright.sync_api")

STUDIO = os.environ.get("LABEL_STUDIO") or shutil.which("label-studio")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
    pytest.mark.skipif(STUDIO is None, reason="Label Studio is not installed: LABEL_STUDIO=.../bin/label-studio"),
]

KEY, USER, PASSWORD = "0123456789abcdef0123456789abcdef01234567", "a@b.example", "of-this-test"
CONFIG = """<View><Image name="photo" value="$image"/><BrushLabels name="brush" toName="photo">
<Label value="cup" background="#e69f00"/><Label value="cat" background="#56b4e9"/><Label value="person" background="#009e73"/>
</BrushLabels></View>"""
PHOTOS = {"coffee.png": "cup", "chelsea.png": "cat", "astronaut.png": "person"}


def free_port():
    with bound("127.0.0.1", 0) as taken:
        return taken.getsockname()[1]


def started(command, address, environment, log):
    """The process, once it answers /health; Label Studio's first start makes its database, which takes a busy machine long."""
    environment = {**os.environ, **environment}
    process = subprocess.Popen(command, env=environment, stdout=log.open("wb"), stderr=subprocess.STDOUT)
    for _ in range(3600):
        try:
            assert json.load(urllib.request.urlopen(f"{address}/health", timeout=20))["status"] == "UP"
            return process
        except OSError:
            assert process.poll() is None, log.read_text(errors="replace")[-2000:]
            time.sleep(0.5)
    process.kill()
    process.wait()
    raise AssertionError(f"{command[0]} does not answer")


@pytest.fixture
def studio(tmp_path):
    """Label Studio's address. It may ask addresses of this machine only where its own list of banned ones is off."""
    address = f"http://127.0.0.1:{(port := free_port())}"
    command = [STUDIO, "start", "--no-browser", "--port", str(port), "--username", USER, "--password", PASSWORD]
    environment = {
        "LABEL_STUDIO_BASE_DATA_DIR": str(tmp_path / "studio"), "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "USE_DEFAULT_BANNED_SUBNETS": "false", "COLLECT_ANALYTICS": "false", "LATEST_VERSION_CHECK": "false",
        "SENTRY_RATE": "0", "PYTHONPATH": "",
    }  # fmt: skip
    process = started([*command, "--user-token", KEY], address, environment, tmp_path / "studio.log")
    yield address
    process.terminate()
    process.wait(30)


@pytest.fixture
def backend(studio, tmp_path):
    """The address of `pnp-ovss serve` with the built-in model."""
    address = f"http://127.0.0.1:{(port := free_port())}"
    command = [sys.executable, "-m", "pnp_ovss", "serve", "--port", str(port), "--label-studio", studio]
    process = started(command, address, {"LABEL_STUDIO_API_KEY": KEY}, tmp_path / "serve.log")
    yield address
    process.terminate()
    assert process.wait(60) == 0


def call(address, path, body=None, kind="application/json"):
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    headers = {"Authorization": f"Token {KEY}", "Content-Type": kind}
    return json.load(urllib.request.urlopen(urllib.request.Request(f"{address}{path}", data, headers), timeout=300))


def upload(address, project, photo):
    mark = uuid.uuid4().hex
    head = f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="{photo.name}"\r\nContent-Type: image/png\r\n\r\n'
    body = head.encode() + photo.read_bytes() + f"\r\n--{mark}--\r\n".encode()
    call(address, f"/api/projects/{project}/import", body, f"multipart/form-data; boundary={mark}")


def test_three_photos_of_a_project_get_masks_that_can_be_seen(studio, backend, tmp_path):
    skimage = pytest.importorskip("skimage.data")
    project = call(studio, "/api/projects/", {"title": "Three photos", "label_config": CONFIG})["id"]
    for name in PHOTOS:
        upload(studio, project, Path(skimage.__file__).parent / name)
    connected = call(studio, "/api/ml/", {"url": backend, "project": project, "title": "PnP-OVSS"})
    assert connected["state"] == "CO"
    assert connected["model_version"].startswith("pnp-ovss pocket")

    every = {"selectedItems": {"all": True, "excluded": []}, "project": str(project)}
    call(studio, f"/api/dm/actions/?id=retrieve_tasks_predictions&project={project}", every)
    tasks = call(studio, f"/api/tasks?project={project}&fields=all")["tasks"]
    found = {}
    for task in tasks:
        regions = [region for prediction in task["predictions"] for region in prediction["result"]]
        found[task["data"]["image"].rpartition("-")[2]] = [region["value"]["brushlabels"] for region in regions]
    assert found == {name: [[label]] for name, label in PHOTOS.items()}

    cup = next(task["id"] for task in tasks if task["data"]["image"].endswith("coffee.png"))
    picture = seen(studio, f"/projects/{project}/data?task={cup}", tmp_path / "label-studio.png")
    pixels = np.asarray(picture, dtype=int)[90:540, 250:910]
    orange = (pixels[..., 0] > 180) & (abs(pixels[..., 1] - 130) < 40) & (pixels[..., 2] < 30)
    assert orange.mean() > 0.1, "the cup's mask in its label's colour"


def seen(studio, path, file):
    """A screenshot of a page of Label Studio; kept in the folder PNP_OVSS_PICTURES where that is set."""
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 820})
        page.set_default_timeout(120_000)
        page.goto(f"{studio}/user/login/")
        page.locator("input[name=email]").fill(USER)
        page.locator("input[name=password]").fill(PASSWORD)
        page.locator("input[name=password]").press("Enter")
        page.wait_for_url(lambda url: "login" not in url)
        page.goto(f"{studio}{path}")
        page.get_by_text("Submit", exact=True).wait_for()
        page.wait_for_timeout(10_000)
        page.screenshot(path=file)
        browser.close()
    picture = Image.open(file).convert("RGB")
    if folder := os.environ.get("PNP_OVSS_PICTURES"):
        picture.quantize(256).save(Path(folder) / file.name, optimize=True)
    return picture
