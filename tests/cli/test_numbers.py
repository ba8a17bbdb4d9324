"""Every number that a command takes has a range, and outside it is one line before any work."""

import inspect
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest

from pnp_ovss.cli.main import app
from pnp_ovss.cli.options import parse_settings
from pnp_ovss.config import SegmenterConfig
from pnp_ovss.datasets.base import Dataset, Sample
from pnp_ovss.datasets.vocabulary import get_vocabulary
from pnp_ovss.errors import ConfigError
from pnp_ovss.settings import MAX_SEED
from pnp_ovss.tuning.search import SearchPlan

UNBOUNDED = {"limit", "min_region"}
"""Larger than there is anything means all of it."""
OF_A_SETTING = {"size_px", "size"}
"""The setting has the range."""


def _commands(typer_app, before=()):
    for group in typer_app.registered_groups:
        yield from _commands(group.typer_instance, (*before, group.name or group.typer_instance.info.name))
    for command in typer_app.registered_commands:
        yield (*before, command.name or command.callback.__name__), command.callback


def _numbers():
    """(words, parameter, lowest, highest) of every number option of every command."""
    for words, callback in _commands(app):
        hints = get_type_hints(callback, include_extras=True)
        for name in inspect.signature(callback).parameters:
            found = getattr(hints[name], "__metadata__", ())
            kind = getattr(hints[name], "__origin__", None)
            if found and {kind, *get_args(kind)} & {int, float}:
                yield words, name, found[0].min, found[0].max


NUMBERS = list(_numbers())


def test_the_options_are_found():
    names = {name for _, name, _, _ in NUMBERS}
    assert {"seed", "size_px", "workers", "time_limit", "port", "trials"} <= names


def test_each_has_a_range():
    for words, name, low, high in NUMBERS:
        if name not in OF_A_SETTING:
            assert low is not None, (words, name)
            assert high is not None or name in UNBOUNDED, (words, name)


@pytest.mark.parametrize(
    "option",
    [
        *("--time-limit=nan", "--time-limit=inf", "--time-limit=0", "--memory-limit=nan", "--memory-limit=-1"),
        *(
            "--workers=0",
            "--workers=9999999",
            "--gpus-per-worker=nan",
            "--gpus-per-worker=2",
            "--shard-size=0",
            "--at-once=0",
        ),
        "--threads=1.5",
    ],
)
def test_outside_it_is_said_before_any_work(run, photo, tmp_path, option):
    code, out, err = run("batch", photo, "-c", "red", "--out", tmp_path / "o", option)
    assert code == 2
    assert "Traceback" not in out + err
    assert not (tmp_path / "o" / "manifest.json").exists()


@pytest.mark.parametrize("seed", ["-1", "18446744073709551616", "99999999999999999999", "nan", "1.5"])
@pytest.mark.parametrize(
    "words", [("evaluate", "folder", "."), ("compare", "a.json", "b.json"), ("tune", ".", "--tags=t")]
)
def test_a_seed_out_of_range_is_said(run, words, seed):
    code, out, err = run(*words, f"--seed={seed}")
    assert code == 2
    assert "--seed" in err
    assert "Traceback" not in out + err


@pytest.mark.parametrize("seed", [-1, MAX_SEED + 1, 99999999999999999999])
def test_a_seed_out_of_range_is_one_line_from_the_library_too(seed):
    samples = tuple(Sample(str(i), Path(), np.zeros) for i in range(2))
    data = Dataset("x", get_vocabulary("voc20"), True, samples)
    with pytest.raises(ConfigError, match=r"from 0 to 2\^63 - 1"):
        data.subset(1, seed)
    with pytest.raises(ConfigError, match=r"from 0 to 2\^63 - 1"):
        SearchPlan(seed=seed)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e400", "-1e9"])
@pytest.mark.parametrize(
    "name",
    [name for name, f in SegmenterConfig.__dataclass_fields__.items() if type(f.default) in (int, float)],
)
def test_no_setting_takes_what_is_no_finite_number(run, photo, tmp_path, name, value):
    code, _, err = run("segment", photo, "-c", "red", "--out", tmp_path / "o", "--set", f"{name}={value}")
    assert code == 2
    assert name in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("said", "meant"), [(".5", 0.5), ("-.25", -0.25), ("+.1", 0.1), ("0.5", 0.5), (".5.", ".5."), ("..", "..")]
)
def test_a_number_without_its_zero_is_one(said, meant):
    assert parse_settings([f"blur={said}"]) == {"blur": meant}
