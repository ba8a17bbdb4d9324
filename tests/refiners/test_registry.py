"""Refiners by name."""

import subprocess
import sys

import pytest

from pnp_ovss.errors import ConfigError, DependencyError
from pnp_ovss.refiners import Refiner, get_refiner, list_refiners


def test_every_listed_refiner_can_be_made_and_has_its_name():
    for name in list_refiners():
        if name not in ("densecrf-compiled", "densecrf-reference"):
            refiner = get_refiner(name)
            assert isinstance(refiner, Refiner)
            assert refiner.name.partition(" ")[0] == name  # sam says what it was trained on


def test_the_paper_settings_are_the_default():
    crf = get_refiner("densecrf")
    assert (crf.iterations, crf.gaussian_sxy, crf.gaussian_compat) == (10, 3, 7)
    assert (crf.bilateral_sxy, crf.bilateral_srgb, crf.bilateral_compat) == (50, 5, 10)
    assert (crf.unary, crf.temperature, crf.absent_classes) == ("softmax", 1, 0)


def test_unknown_names_are_answered_with_the_known_ones():
    with pytest.raises(
        ConfigError,
        match=r"'crf' is unknown: use one of densecrf, densecrf-compiled, densecrf-reference, pamr, sam, none",
    ):
        get_refiner("crf")


def test_unknown_options_are_answered_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"'densecrf' has no option sxy: its options are iterations, gaussian_sxy"):
        get_refiner("densecrf", sxy=3)
    with pytest.raises(ConfigError, match=r"'none' has no option iterations: its options are none"):
        get_refiner("none", iterations=3)


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("densecrf", "unary", "logits"),
        ("densecrf", "iterations", -1),
        ("densecrf", "temperature", 0),
        ("densecrf", "bilateral_srgb", float("nan")),
        ("densecrf", "gaussian_sxy", -3),
        ("densecrf", "bilateral_compat", float("inf")),
        ("densecrf", "absent_classes", -2),
        ("pamr", "iterations", -1),
        ("pamr", "dilations_px", ()),
        ("pamr", "dilations_px", (0, 1)),
        ("pamr", "bandwidth", 0),
    ],
)
def test_impossible_values_are_config_errors_that_name_them(name, option, value):
    with pytest.raises(ConfigError, match=option):
        get_refiner(name, **{option: value})


def test_a_missing_numba_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(DependencyError, match=r"'densecrf-compiled' needs numba: pip install '\.\[fast\]'"):
        get_refiner("densecrf-compiled")


def test_a_missing_reference_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydensecrf", None)
    monkeypatch.setitem(sys.modules, "pydensecrf.densecrf", None)
    with pytest.raises(DependencyError, match="pip install pydensecrf2"):
        get_refiner("densecrf-reference")


def test_importing_refiners_does_not_import_torch():
    code = "import sys, pnp_ovss.refiners as r; r.list_refiners(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
