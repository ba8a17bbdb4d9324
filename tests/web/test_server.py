"""The server's start on a machine that is slow."""

import pytest

pytest.importorskip("gradio", reason="the page needs gradio: pip install '.[web]'")

from pnp_ovss.errors import ConfigError
from pnp_ovss.web import server
from pnp_ovss.web.fields import Offer
from pnp_ovss.web.server import ServerConfig, served


class Slow:
    """A page that answers gradio's look at it after some tries."""

    def __init__(self, late):
        self.late, self.shared, self.closed = late, [], 0

    def queue(self, **_):
        pass

    def launch(self, *, share, **_):
        self.shared.append(share)
        if len(self.shared) <= self.late:
            raise ValueError(
                "When localhost is not accessible, a shareable link must be created. Please set share=True"
            )
        return None, "http://127.0.0.1:1/", None

    def close(self, **_):
        self.closed += 1


@pytest.mark.parametrize("late", [0, 2, 4])
def test_a_page_that_answers_late_is_started_again_and_never_shared(monkeypatch, late):
    page = Slow(late)
    monkeypatch.setattr(server, "build_page", lambda *_: page)
    with served(lambda _: None, Offer(["m"]), ServerConfig(port=0)) as address:
        assert address == "http://127.0.0.1:1/"
    assert page.shared == [False] * (late + 1)
    assert page.closed == late + 1


def test_a_page_that_never_answers_is_one_line(monkeypatch):
    page = Slow(99)
    monkeypatch.setattr(server, "build_page", lambda *_: page)
    with (
        pytest.raises(ConfigError, match="did not answer on this machine") as said,
        served(lambda _: None, Offer(["m"]), ServerConfig(port=0)),
    ):
        pass
    assert "share" not in str(said.value)
    assert page.shared == [False] * 5
