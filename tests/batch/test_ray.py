"""The same batch on Ray; skipped where Ray is not installed."""

import os
import sys
from pathlib import Path

import pytest
from poison import job, make_photo, make_poison, read_rows, without_times

from pnp_ovss.batch.job import Resources
from pnp_ovss.batch.run import run_batch
from pnp_ovss.errors import ConfigError, DependencyError, ModelError


def _run(inputs: Path, out: Path, **options) -> dict:
    jobs = options.pop("jobs", job())
    return run_batch([str(inputs)], out, jobs, Resources(workers=2, time_s=120), shard_size=8, **options)


def test_without_ray_one_line_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    make_photo(tmp_path / "in" / "a.png", 0)
    with pytest.raises(DependencyError, match=r"pip install '.\[ray\]'"):
        _run(tmp_path / "in", tmp_path / "out", engine="ray")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
class TestOnRay:
    """With a Ray of our own on this machine."""

    @pytest.fixture(autouse=True)
    def _needs_ray(self, monkeypatch):
        pytest.importorskip("ray", reason="needs Ray: pip install '.[ray]'")
        paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))

    def test_the_same_rows_as_here(self, tmp_path):
        for i in range(30):
            make_photo(tmp_path / "in" / f"{i:03}.png", i)
        make_poison(tmp_path / "in" / "004-kill.png", "kill")
        (tmp_path / "in" / "005-empty.png").touch()
        manifest = _run(tmp_path / "in", tmp_path / "ray", engine="ray")
        _run(tmp_path / "in", tmp_path / "here")
        rows = read_rows(tmp_path / "ray")
        assert without_times(rows) == without_times(read_rows(tmp_path / "here"))
        assert [row["cause"] for row in rows if row["status"] == "failed"] == ["killed", "image"]
        run = manifest["runs"][-1]
        assert (run["photos"], run["failed"], run["restarts"], run["outcome"]) == (32, 2, 2, "complete")

    def test_resume_does_only_what_is_missing(self, tmp_path):
        for i in range(20):
            make_photo(tmp_path / "in" / f"{i:03}.png", i)
        _run(tmp_path / "in", tmp_path / "out")
        before = read_rows(tmp_path / "out")
        (tmp_path / "out" / "shards" / "part-000001.parquet").unlink()
        manifest = _run(tmp_path / "in", tmp_path / "out", engine="ray", resume=True)
        assert manifest["runs"][-1]["photos"] == 8
        assert without_times(read_rows(tmp_path / "out")) == without_times(before)
        assert _run(tmp_path / "in", tmp_path / "out", engine="ray", resume=True)["runs"][-1]["photos"] == 0

    def test_a_model_that_cannot_be_loaded_is_one_line(self, tmp_path):
        make_photo(tmp_path / "in" / "a.png", 0)
        with pytest.raises(ModelError, match="no worker can start: ModuleNotFoundError"):
            _run(tmp_path / "in", tmp_path / "out", engine="ray", jobs=job(kind="missing"))

    def test_a_cluster_that_is_not_there(self, tmp_path):
        make_photo(tmp_path / "in" / "a.png", 0)
        with pytest.raises(ConfigError, match="no Ray cluster at 'auto'"):
            _run(tmp_path / "in", tmp_path / "out", engine="ray", address="auto")
