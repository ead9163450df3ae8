"""Scans of all sorts, for what must survive being written and read."""

import numpy as np
from hypothesis import strategies as st

from ptycho.data.geometry import Geometry
from ptycho.data.scan import Scan

LENGTHS = st.none() | st.floats(1e-12, 1e-2)


@st.composite
def made(draw, one_mask=False):
    """Scans of whole counts or of any amplitudes, with and without all that may come along."""
    n, size = draw(st.integers(1, 5)), draw(st.integers(2, 6))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    if draw(st.booleans()):
        largest = draw(st.sampled_from([1, 255, 256, 65535, 70000, 2**24]))
        counts = rng.integers(0, largest, (n, size, size), endpoint=True)
        counts[:, 0, 0] = np.maximum(counts[:, 0, 0], 1)  # an empty frame would be left out
        amplitude = np.sqrt(counts, dtype="f4")
    else:
        amplitude = rng.gamma(1.0, draw(st.sampled_from([1e-6, 1.0, 1e6])), (n, size, size))
    amplitude = np.array(amplitude, np.float32)
    if draw(st.booleans()):
        bad = rng.random((size, size) if one_mask else (n, size, size)) < 0.3
        bad[..., 0, 0] = False
        amplitude[np.broadcast_to(bad, amplitude.shape)] = -0.0
    modes = rng.normal(size=(draw(st.integers(1, 3)), size, size, 2)) @ [1, 1j]
    positions = rng.uniform(0, 30, (n, 2)) + draw(st.sampled_from([0, size, -50, 1000]))
    truth = None
    if draw(st.booleans()):
        positions = rng.uniform(0, 40, (n, 2))
        truth = np.exp(1j * rng.random((41, 43))).astype(np.complex64)
    pixel = draw(LENGTHS)
    geometry = Geometry(draw(LENGTHS) and 8e3, draw(LENGTHS), draw(LENGTHS) if not pixel else None)
    return Scan(
        amplitude, positions, modes.astype(np.complex64), truth=truth,
        truth_is_known=truth is not None and draw(st.booleans()), pixel_size_m=pixel,
        geometry=geometry, label=draw(st.text(st.characters(codec="utf-8"), max_size=5)) or "scan",
    )  # fmt: skip


def assert_same(again, scan):
    """Patterns, probe and object to the bit, positions to 1e-9 of a pixel or of themselves."""
    for name in ("amplitude", "probe", "truth"):
        one, other = getattr(again, name), getattr(scan, name)
        assert (one is None) == (other is None)
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(np.signbit(again.amplitude), np.signbit(scan.amplitude))
    np.testing.assert_allclose(again.positions, scan.positions, rtol=1e-9, atol=1e-9)
    assert (again.label, again.truth_is_known) == (scan.label, scan.truth_is_known)
