"""Files whose patterns lie otherwise than here are read as the scan that they are."""

from pathlib import Path

import numpy as np
import pytest

from ptycho.config.data_config import PreprocessConfig
from ptycho.data.formats.npz import measure_npz, write_npz
from ptycho.data.frames import ArrayFrames
from ptycho.data.measurement import Measurement
from ptycho.data.preparation import prepare
from ptycho.data.scan import Scan

n, N = 5, 12
rng = np.random.default_rng(0)
COUNTS = rng.poisson(20, (n, N, N)).astype(np.uint16)
PROBE = (rng.normal(size=(2, N, N)) + 1j * rng.normal(size=(2, N, N))).astype(np.complex64)
POSITIONS = 30 + 10 * rng.random((n, 2))


def measured(patterns=COUNTS, **changes) -> Measurement:
    frames = ArrayFrames(patterns, Path("star.h5"), "patterns")
    arguments = {"frames": frames, "positions": POSITIONS, "probe": PROBE} | changes
    return Measurement(**arguments)


def prepared(patterns=COUNTS, changes=None, **how) -> Scan:
    return prepare(measured(patterns, **(changes or {})), preprocess=PreprocessConfig(**how))


def test_nothing_is_done_unasked():
    scan = prepared()
    np.testing.assert_array_equal(scan.amplitude, np.sqrt(COUNTS, dtype=np.float32))
    assert scan.notes == {"values": "counts (integer dtype uint16)"}


@pytest.mark.parametrize(
    ("how", "spoiled"),
    [
        ({"transpose": True}, COUNTS.swapaxes(1, 2)),
        ({"flip_y": True}, COUNTS[:, ::-1]),
        ({"flip_x": True}, COUNTS[:, :, ::-1]),
        ({"zero_frequency": "corner"}, np.fft.ifftshift(COUNTS, axes=(1, 2))),
        ({"transpose": True, "flip_y": True}, COUNTS[:, ::-1].swapaxes(1, 2)),
        (
            {"transpose": True, "flip_x": True, "zero_frequency": "corner"},
            np.fft.ifftshift(COUNTS, axes=(1, 2))[:, :, ::-1].swapaxes(1, 2),
        ),
    ],
)
def test_what_was_turned_is_turned_back(how, spoiled):
    """Patterns and bad pixels alike; the probe is nobody's business."""
    brightest = COUNTS.max()
    bad = brightest == COUNTS
    turned = spoiled == brightest
    scan = prepared(spoiled, {"bad_pixels": turned}, **how)
    np.testing.assert_array_equal(scan.amplitude, np.sqrt(np.where(bad, 0, COUNTS), dtype="f4"))
    np.testing.assert_array_equal(np.signbit(scan.amplitude), bad)
    np.testing.assert_array_equal(scan.probe, PROBE)
    assert "prepared" in scan.notes


def test_odd_patterns_have_their_middle_moved_right():
    one = np.zeros((1, 5, 5), np.uint8)
    one[0, 0, 0] = 9
    probe = PROBE[:, :5, :5]
    changes = {"positions": POSITIONS[:1], "probe": probe}
    scan = prepared(one, changes, zero_frequency="corner")
    assert np.argwhere(scan.amplitude[0]).tolist() == [[2, 2]]


def test_a_file_is_as_good_as_memory(tmp_path):
    write_npz(tmp_path / "scan.npz", prepared())
    again = prepare(measure_npz(tmp_path / "scan.npz"), preprocess=PreprocessConfig(transpose=True))
    np.testing.assert_array_equal(again.amplitude, prepared(transpose=True).amplitude)
    assert again.notes["prepared"] == "patterns transposed"
