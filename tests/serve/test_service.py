"""The service, asked as programs ask it: answers, refusals, many at once, limits."""

import asyncio
import base64
import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from pnp_ovss import Segmenter, SegmenterConfig
from pnp_ovss.masks.rasterise import rasterise_polygon
from pnp_ovss.masks.rle import decode_mask
from pnp_ovss.testing.fake_vlm import FakeVLM
from tests.scenes import two_squares

pytest.importorskip("fastapi")
pytest.importorskip("multipart")
pytestmark = pytest.mark.filterwarnings("ignore")  # starlette's own deprecations of its test client
from starlette.testclient import TestClient  # noqa: E402

from pnp_ovss.serve.app import ServiceConfig, make_app  # noqa: E402
from pnp_ovss.serve.guards import GuardSize  # noqa: E402

CONFIG = SegmenterConfig(layer=2, head=2, size_px=96, refine="none")


def png(image):
    data = io.BytesIO()
    Image.fromarray(image).save(data, "png")
    return data.getvalue()


class Gate(FakeVLM):
    """Waits in `encode` until it is opened."""

    def __init__(self):
        super().__init__()
        self.open, self.reached = threading.Event(), threading.Event()

    def encode(self, pixels, visible=None):
        self.reached.set()
        assert self.open.wait(300)
        return super().encode(pixels, visible)


def client(vlm=None, **config):
    return TestClient(
        make_app(Segmenter(vlm or FakeVLM(), CONFIG), ServiceConfig(**config)), base_url="http://localhost"
    )


def ask(service, image=None, names="red, green, blue", **fields):
    photo = {"photo": ("scene.png", png(two_squares() if image is None else image))}
    headers = fields.pop("headers", None)
    return service.post("/segment", files=photo, data={"names": names, **fields}, headers=headers)


@pytest.fixture(scope="module")
def service():
    with client() as running:
        yield running


@pytest.fixture(scope="module")
def expected():
    return Segmenter(FakeVLM(), CONFIG)(two_squares(), ["red", "green", "blue"])


def test_json_has_masks_shares_matches_and_provenance(service, expected):
    answer = ask(service).json()
    red, green, blue = answer["classes"]
    for entry in (red, blue):
        np.testing.assert_array_equal(decode_mask(entry["rle"], 96, 128), expected[entry["name"]])
        filled = np.zeros((96, 128), dtype=bool)
        for ring in (ring for region in entry["polygons"] for ring in region):
            filled ^= rasterise_polygon([x for point in ring for x in point], 96, 128)
        np.testing.assert_array_equal(filled, expected[entry["name"]])
        assert entry["share"] == pytest.approx(expected.shares[entry["name"]], abs=1e-6)
    assert "rle" not in green
    assert green["verdict"] == "0.00 < 0.5"
    assert answer["model"] == "fake"
    assert answer["config"]["size_px"] == 96
    assert answer["image"] == "scene.png"


def test_png(service, expected):
    labels = ask(service, answer="labels")
    assert labels.headers["content-type"] == "image/png"
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(labels.content))), expected.labels)
    overlay = ask(service, answer="overlay")
    assert Image.open(io.BytesIO(overlay.content)).tobytes() == expected.overlay().tobytes()


def test_settings_of_a_request(service):
    answer = ask(service, policy="all", match_threshold="0.7", threshold="0.9").json()
    config = answer["config"]
    assert (config["policy"], config["match_threshold"], config["threshold"]) == ("all", 0.7, 0.9)


@pytest.mark.parametrize(
    ("fields", "status", "says"),
    [
        ({"names": "cat, cat"}, 422, "given twice"),
        ({"names": ", ".join(f"n{i}" for i in range(201))}, 422, "takes 200 at once"),
        ({"match_threshold": "7"}, 422, "out of range"),
        ({"answer": "gif"}, 422, "answer"),
    ],
)
def test_bad_requests_are_sentences(service, fields, status, says):
    answer = ask(service, **fields)
    assert answer.status_code == status
    assert says in answer.text


def test_every_refusal_is_one_error(service):
    photo = {"photo": ("scene.png", png(two_squares()))}
    answers = {
        "photo": service.post("/segment", data={"names": "red"}),
        "names": service.post("/segment", data={"names": ""}, files=photo),
        "threshold": ask(service, threshold="high"),
        "JSON": service.post("/predict", content=b"{", headers={"content-type": "application/json"}),
        "Not Found": service.get("/nothing"),
        "Method Not Allowed": service.get("/segment"),
    }
    for says, answer in answers.items():
        assert answer.status_code in (404, 405, 422)
        assert set(answer.json()) == {"error"}
        assert says in answer.json()["error"]
        assert len(answer.json()["error"].splitlines()) == 1


def test_fields_that_would_change_nothing_are_refused(service):
    photo = {"photo": ("scene.png", png(two_squares()))}
    answers = {
        "a field 'treshold'; its fields are photo, names,": ask(service, treshold="0.9"),
        "2 fields 'names'; write all names into one": service.post("/segment", files=photo, data={"names": ["a", "b"]}),
        "2 fields 'photo'": service.post("/segment", files=[*photo.items()] * 2, data={"names": "red"}),
        "threshold stands in the address": service.post("/segment?threshold=1", files=photo, data={"names": "red"}),
    }
    for says, answer in answers.items():
        assert answer.status_code == 422
        assert says in answer.json()["error"]


def test_what_is_no_photo_and_what_is_an_address(service):
    for data in (b"hello", b"", b"http://127.0.0.1/secret"):
        answer = service.post("/segment", files={"photo": ("a.png", data)}, data={"names": "cat"})
        assert answer.status_code == 422
        assert answer.json()["error"]


def test_twenty_at_once_get_what_one_gets():
    scenes = [np.roll(two_squares(), shift, axis=1) for shift in range(0, 120, 6)]
    with client(waiting=20) as running:
        serial = [ask(running, scene).json()["classes"] for scene in scenes]
        with ThreadPoolExecutor(20) as pool:
            parallel = [answer.json()["classes"] for answer in pool.map(lambda scene: ask(running, scene), scenes)]
    assert parallel == serial
    assert len({str(classes) for classes in serial}) == 20


def test_who_finds_the_line_full_is_told_to_come_again():
    vlm = Gate()
    with client(vlm, waiting=1) as running, ThreadPoolExecutor(3) as pool:

        def put(jobs):
            """Ask, and come back once the answer is there or the service has so many jobs."""
            asked = pool.submit(ask, running)
            while not asked.done() and running.get("/health").json()["jobs"] < jobs:
                time.sleep(0.01)
            return asked

        asked = [put(1), put(2), put(3)]
        vlm.open.set()  # whatever was let in ends
        answers = [one.result() for one in asked]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert answers[2].headers["retry-after"] == "30"
        assert running.get("/health").json()["jobs"] == 0


def test_who_waits_too_long_is_told():
    vlm = Gate()
    with client(vlm, timeout_s=2) as running:
        late = ask(running)
        vlm.open.set()
        assert late.status_code == 504
        assert any(ask(running).status_code == 200 for _ in range(50))  # a slow machine may be late again


def test_large_requests_are_turned_away():
    noise = np.random.default_rng(0).integers(0, 256, (800, 800, 3), dtype=np.uint8)
    with client(max_upload_mb=1) as running:
        assert ask(running, noise).status_code == 413
        assert ask(running).status_code == 200


def chunked(photo):
    """The body of a request that says nothing of its length, in pieces."""
    yield b'--x\r\nContent-Disposition: form-data; name="names"\r\n\r\nred\r\n--x\r\n'
    yield b'Content-Disposition: form-data; name="photo"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
    yield from (photo[start : start + (1 << 16)] for start in range(0, len(photo), 1 << 16))
    yield b"\r\n--x--\r\n"


def test_a_request_that_does_not_say_its_length_is_counted():
    small = png(two_squares())
    with client(max_upload_mb=1) as running:
        for photo, status in ((small, 200), (small + bytes(1 << 20), 413), (small, 200)):
            headers = {"content-type": "multipart/form-data; boundary=x"}
            answer = running.post("/segment", content=chunked(photo), headers=headers)
            assert "content-length" not in answer.request.headers
            assert answer.status_code == status
        assert answer.json()["classes"][0]["name"] == "red"


def test_what_is_over_the_limit_is_not_read():
    """The guard alone: the piece that passes the limit is the last that is asked for, and an answer that began goes on."""
    pieces, sent = iter([b"12345", b"67890", b"more"]), []

    async def receive():
        return {"type": "http.request", "body": next(pieces), "more_body": True}

    async def send(message):
        sent.append(message)

    async def app(_, receive, send):
        try:
            while True:
                await receive()
        except Exception as error:  # as frameworks do
            await send({"type": "http.response.start", "status": 400, "headers": [], "error": error})
            await send({"type": "http.response.body", "body": b"no body"})

    asyncio.run(GuardSize(app, 9)({"type": "http", "headers": []}, receive, send))
    assert [message.get("status") for message in sent] == [413, None]
    assert b"more than 9 bytes" in sent[1]["body"]
    assert next(pieces) == b"more"


def test_a_token_is_asked_for_where_there_is_one():
    basic = base64.b64encode(b"anyone:secret").decode()
    with client(token="secret") as running:
        assert running.get("/health").json()["status"] == "UP"
        for wrong in (None, "Bearer other", "Basic !", "Basic " + base64.b64encode(b"secret").decode(), "secret"):
            answer = ask(running, headers={"authorization": wrong} if wrong else None)
            assert answer.status_code == 401
        for right in ("Bearer secret", f"Basic {basic}"):
            assert ask(running, headers={"authorization": right}).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://["])
def test_other_pages_are_refused(service, origin):
    answer = ask(service, headers={"origin": origin})
    assert answer.status_code == 403
    assert "takes orders of other web pages from none" in answer.json()["error"]


def test_other_hosts_are_refused(service):
    for name in ("evil.example", "localhost.evil.example", "[", ""):
        answer = service.get("/health", headers={"host": name})
        assert answer.status_code == 400
        assert f"does not answer as '{name.strip('[')}'" in answer.json()["error"]
    for name in ("LOCALHOST:8000", "127.0.0.1", "[::1]:8000"):
        assert service.get("/health", headers={"host": name}).status_code == 200


def test_an_error_of_the_program_is_an_error_like_the_others():
    class Broken(FakeVLM):
        def encode(self, pixels, visible=None):
            raise RuntimeError("secret")

    app = make_app(Segmenter(Broken(), CONFIG), ServiceConfig())
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as running:
        answer = ask(running)
        assert answer.status_code == 500
        assert "an error of the program" in answer.json()["error"]
        assert "secret" not in answer.text
        assert running.get("/health").json()["jobs"] == 0


def test_it_describes_itself_without_other_hosts(service):
    schema = service.get("/openapi.json").json()
    assert {"/segment", "/health", "/setup", "/predict"} <= set(schema["paths"])
    page = service.get("/docs").text
    assert "POST /segment" in page
    assert "match_threshold" in page
    assert "://" not in page
