"""The lattice filter against a plain-Python lattice written from the paper, and against exact Gaussian sums."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pnp_ovss.errors import RefinerError
from pnp_ovss.refiners.permutohedral import build_lattice


def enclosing_simplex(feature):
    """Vertices, d+1 tuples of integers, and barycentric coordinates (d+1,) around one feature vector (d,) float64.

    Of equal residues the earlier counts as larger: vertices of weight 0 are occupied too and carry the blur on.
    """
    d = len(feature)
    scaled = feature * (d + 1) * np.sqrt(2 / 3) / np.sqrt(np.arange(1, d + 1) * np.arange(2, d + 2))
    sums = np.append(np.cumsum(scaled[::-1])[::-1], 0.0)
    elevated = sums - np.arange(d + 1) * np.append(0.0, scaled)
    base = (d + 1) * np.floor(elevated / (d + 1) + 0.5).astype(int)
    excess = int(base.sum()) // (d + 1)
    ascending = np.argsort(base - elevated, kind="stable")[::-1]
    if excess > 0:
        base[ascending[:excess]] -= d + 1
    elif excess < 0:
        base[ascending[excess:]] += d + 1
    ascending = np.argsort(base - elevated, kind="stable")[::-1]
    vertices = []
    for remainder in range(d + 1):
        vertex = base + remainder
        vertex[ascending[:remainder]] -= d + 1
        vertices.append(tuple(vertex.tolist()))
    system = np.vstack([np.array(vertices, dtype=float).T, np.ones(d + 1)])
    weights = np.linalg.lstsq(system, np.append(elevated, 1), rcond=None)[0]
    assert np.allclose(system @ weights, np.append(elevated, 1))
    assert weights.min() > -1e-9
    return vertices, weights


def lattice_matrix(features):
    """alpha · S B Sᵀ (N, N) float64 of features (d, N), one point and one neighbour at a time."""
    d, count = features.shape
    simplices = [enclosing_simplex(feature) for feature in features.T.astype(float)]
    index = {}
    for vertices, _ in simplices:
        for vertex in vertices:
            index.setdefault(vertex, len(index))
    splat = np.zeros((len(index), count))
    for column, (vertices, weights) in enumerate(simplices):
        splat[[index[vertex] for vertex in vertices], column] = weights
    values = splat
    for axis in range(d + 1):
        blurred = values.copy()
        for vertex, row in index.items():
            for sign in (-1, 1):
                step = np.full(d + 1, sign)
                step[axis] = -sign * d
                neighbour = index.get(tuple((np.array(vertex) + step).tolist()))
                if neighbour is not None:
                    blurred[row] += values[neighbour] / 2
        values = blurred
    return splat.T @ values / (1 + 2.0**-d)


def bilateral_features(image, sxy, srgb):
    """x, y, r, g, b of every pixel (5, N) float32 in units of the standard deviations.

    The origin is shifted so that no pixel lies between two simplices, where rounding would choose.
    """
    y, x = np.indices(image.shape[:2]) + np.array([0.37, 0.21])[:, None, None]
    rows = [x.ravel() / sxy, y.ravel() / sxy, *(image.reshape(-1, 3).T / srgb)]
    return torch.tensor(np.stack(rows), dtype=torch.float32)


def filter_matrix(features):
    return build_lattice(features).filter(torch.eye(features.shape[1])).numpy()


def normalised(matrix):
    scale = 1 / np.sqrt(matrix.sum(1))
    return scale[:, None] * matrix * scale


@pytest.mark.parametrize("dimensions", [1, 2, 3, 5])
@pytest.mark.parametrize("spread", [0.05, 1.0, 30.0])
def test_the_filter_is_the_papers(dimensions, spread):
    features = torch.randn(dimensions, 90, generator=torch.Generator().manual_seed(dimensions)) * spread
    np.testing.assert_allclose(filter_matrix(features), lattice_matrix(features.numpy()), atol=1e-4)


@pytest.mark.parametrize(("height", "width"), [(12, 12), (1, 40), (9, 1), (1, 1)])
def test_the_filter_of_a_picture_is_the_papers(height, width):
    image = np.random.default_rng(height).integers(0, 40, (height, width, 3), dtype=np.uint8)
    for features in (bilateral_features(image, 3, 5), bilateral_features(image, 3, 5)[:2]):
        np.testing.assert_allclose(filter_matrix(features), lattice_matrix(features.numpy()), atol=1e-4)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 5), st.integers(1, 40), st.integers(0, 2**31), st.sampled_from([0.1, 2.0, 500.0]))
def test_the_filter_does_not_depend_on_the_order_of_the_points(dimensions, count, seed, spread):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(dimensions, count, generator=generator) * spread
    values = torch.rand(count, 3, generator=generator)
    order = torch.randperm(count, generator=generator)
    expected = build_lattice(features).filter(values)[order]
    torch.testing.assert_close(build_lattice(features[:, order]).filter(values[order]), expected, atol=1e-4, rtol=1e-4)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 5), st.integers(1, 40), st.integers(0, 2**31), st.sampled_from([0.1, 2.0, 500.0]))
def test_every_point_is_a_weighted_mean_of_its_simplex(dimensions, count, seed, spread):
    features = torch.randn(dimensions, count, generator=torch.Generator().manual_seed(seed)) * spread
    lattice = build_lattice(features)
    assert lattice.weights.min() > -1e-4
    torch.testing.assert_close(lattice.weights.sum(1), torch.ones(count), atol=1e-4, rtol=0)
    assert all(len(set(simplex)) == dimensions + 1 for simplex in lattice.vertices.tolist())


def test_large_coordinates_use_64_bit_numbers():
    """Here the points need more than 31 bits, and the result must not change."""
    features = torch.randn(5, 60, generator=torch.Generator().manual_seed(1))
    features[:, 0] *= 400
    assert build_lattice(features).vertices.shape == (60, 6)
    np.testing.assert_allclose(filter_matrix(features), lattice_matrix(features.numpy()), atol=2e-4)


def test_more_cells_than_can_be_numbered_is_a_refiner_error():
    with pytest.raises(RefinerError, match="use a larger standard deviation"):
        build_lattice(torch.randn(5, 60) * 1e5)


# Exact Gaussian sums. The lattice replaces the Gaussian by splines of the simplex grid, and what the blur would carry
# through unoccupied lattice points is lost, most at the border of the picture. The message of diagonal stripes of 0 and
# 1, with the CRF's normalisation, is between 0 and about 1; it was seen to be off by 0.008 to 0.017 on average and by
# 0.04 to 0.08 at the worst pixel. The tolerances leave a little room for rounding.
@pytest.mark.parametrize(
    ("bilateral", "sxy", "srgb", "mean_tolerance", "worst_tolerance"),
    [(False, 1.5, 1, 0.02, 0.1), (False, 3, 1, 0.02, 0.1), (True, 4, 30, 0.02, 0.1), (True, 8, 20, 0.02, 0.1)],
)
def test_the_filter_is_close_to_exact_gaussian_sums(bilateral, sxy, srgb, mean_tolerance, worst_tolerance):
    rng = np.random.default_rng(3)
    image = np.clip(rng.normal(120, 12, (24, 24, 3)) + np.arange(24)[None, :, None] * 3, 0, 255).astype(np.uint8)
    features = bilateral_features(image, sxy, srgb)[: 5 if bilateral else 2]
    exact = np.exp(-((features[:, :, None] - features[:, None, :]).numpy() ** 2).sum(0) / 2)
    values = (np.indices((24, 24)).sum(0) % 16 < 8).ravel()
    error = np.abs((normalised(filter_matrix(features)) - normalised(exact)) @ values)
    assert error.mean() < mean_tolerance
    assert error.max() < worst_tolerance
