"""All our refiners pass the contract that plug-in authors get."""

import importlib.util

import pytest

from pnp_ovss.refiners import get_refiner
from pnp_ovss.testing.refiner_contract import RefinerContract


class TestDenseCRF(RefinerContract):
    def make_refiner(self):
        return get_refiner("densecrf")


class TestDenseCRFOnProbabilities(RefinerContract):
    def make_refiner(self):
        return get_refiner("densecrf", unary="probabilities", iterations=20)


class TestDenseCRFWithAbsentClasses(RefinerContract):
    def make_refiner(self):
        return get_refiner("densecrf", absent_classes=7)


@pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="needs numba: pip install '.[fast]'")
class TestCompiledCRF(RefinerContract):
    def make_refiner(self):
        return get_refiner("densecrf-compiled")


class TestPAMR(RefinerContract):
    def make_refiner(self):
        return get_refiner("pamr")


class TestUnrefined(RefinerContract):
    def make_refiner(self):
        return get_refiner("none")


@pytest.mark.skipif(importlib.util.find_spec("pydensecrf") is None, reason="needs pydensecrf2: make crf-oracle")
class TestReferenceCRF(RefinerContract):
    def make_refiner(self):
        return get_refiner("densecrf-reference")
