from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from ptycho.config.validate import type_faults
from ptycho.data.beams import MADE, Beam, Optics
from ptycho.data.formats.npz import read_npz, write_npz
from ptycho.data.measurement import Measurement
from ptycho.data.preparation import prepare
from ptycho.data.probe_files import read_probe_file
from ptycho.data.scan import DataError, Scan
from ptycho.data.simulate import zone_plate_probe
from ptycho.physics import illumination
from ptycho.workflows import build
from tests.runs import tiny_run, tiny_scan

SIZE = 32
KNOWN = Optics(pixel_m=10e-9, energy_ev=8000.0)


@pytest.fixture(scope="module")
def scan() -> Scan:
    return tiny_scan()


def likeness(one, other):
    return float(abs(np.vdot(one, other)) / np.linalg.norm(one) / np.linalg.norm(other))


def test_the_usual_beam_is_the_one_that_came(scan):
    assert Beam().of_scan(scan.amplitude, scan.probe, Optics()) is scan.probe


def test_the_usual_beam_of_a_simulation_is_a_zone_plate():
    made = Beam(kind="zone_plate", radius=6.0).alone(SIZE, Optics())
    np.testing.assert_allclose(made[0], zone_plate_probe(SIZE, 6.0), atol=1e-7)


@pytest.mark.parametrize(
    ("metres", "pixels"),
    [
        ({"kind": "disk", "radius_m": 50e-9}, {"kind": "disk", "radius": 5.0}),
        (
            {"kind": "zone_plate", "outer_zone_m": 30e-9, "defocus_m": 20e-6},
            {"kind": "zone_plate", "pupil": 1 / 6, "defocus": 30.996},
        ),
        (
            {"kind": "rectangular", "aperture": 0.002, "radius_m": 50e-9},
            {"kind": "rectangular", "pupil": 0.12905, "radius": 5.0},
        ),
        (
            {"kind": "gaussian", "radius_m": 40e-9, "defocus_m": -20e-6},
            {"kind": "gaussian", "radius": 4.0, "defocus": -30.996},
        ),
    ],
    ids=str,
)
def test_metres_mean_what_pixels_mean(metres, pixels):
    one, other = (Beam(**how).alone(SIZE, KNOWN) for how in (metres, pixels))
    assert likeness(one, other) > 0.99999


def test_the_beam_of_a_file_travels_on(scan):
    found = Beam(defocus=15.0).of_scan(scan.amplitude, scan.probe, Optics())
    wanted = illumination.propagate(torch.from_numpy(scan.probe).to(torch.complex128), 15.0)
    np.testing.assert_allclose(found, wanted.numpy(), atol=1e-4)


def test_the_average_pattern_gives_the_beam_but_for_its_focus(scan):
    flat = tiny_scan(photons=1e7)
    empty = np.sqrt(np.mean(np.square(flat.amplitude), 0, keepdims=True))
    true_defocus = -6.0 / illumination.PUPIL
    found = Beam(kind="average", defocus=true_defocus).of_scan(empty, None, Optics())
    blind = Beam(kind="average").of_scan(empty, None, Optics())
    assert likeness(found, scan.probe) > 0.9 > likeness(blind, scan.probe)


def test_the_average_leaves_bad_pixels_out(scan):
    bad = scan.amplitude.copy()
    bad[:, 14:16] = -0.0  # a gap: never seen
    bad[::2, 20] = -0.0  # seen in every second pattern
    good = Beam(kind="average").of_scan(scan.amplitude, None, Optics())
    assert likeness(Beam(kind="average").of_scan(bad, None, Optics()), good) > 0.97
    zeros = np.where(np.signbit(bad), np.float32(0), bad)
    assert likeness(Beam(kind="average").of_scan(zeros, None, Optics()), good) < 0.95


def test_modes_are_added_with_their_powers(scan):
    found = Beam(powers=(4.0, 1.0)).of_scan(scan.amplitude, scan.probe, Optics())
    shares = np.square(np.abs(found)).sum((1, 2))
    np.testing.assert_allclose(shares / shares.sum(), [0.8, 0.2], rtol=1e-5)
    assert likeness(found[0], scan.probe[0]) > 0.9999


@pytest.mark.parametrize(
    ("beam", "optics", "words"),
    [
        (
            Beam(),
            Optics(),
            r"holds no probe; type data\.probe\.kind=average .*data\.probe_file=FILE",
        ),
        (
            Beam(kind="disk", radius_m=1e-7),
            Optics(),
            r"data\.probe\.radius_m is in metres, and nobody .*data\.geometry\.pixel_size_m=METRES",
        ),
        (
            Beam(kind="gaussian", radius=4.0, defocus_m=1e-6),
            Optics(pixel_m=1e-8),
            r"data\.probe\.defocus_m needs the photon energy.*data\.geometry\.energy_ev=",
        ),
        (Beam(kind="disk"), KNOWN, r"data\.probe\.radius must say how wide the disk is"),
        (
            Beam(kind="disk", radius=16.0),
            KNOWN,
            r"data\.probe\.kind=disk: the beam does not end within 32 x 32 pixels .*smaller radius",
        ),
        (
            Beam(kind="zone_plate", outer_zone_m=8e-9),
            KNOWN,
            r"data\.probe\.outer_zone_m=8e-09: such optics light more than the detector sees",
        ),
        (
            Beam(kind="rectangular", aperture=0.1),
            KNOWN,
            r"data\.probe\.aperture=0\.1: such optics light more than the detector sees",
        ),
    ],
)
def test_a_beam_that_cannot_be_is_refused_in_a_sentence(beam, optics, words):
    with pytest.raises(DataError, match=words):
        beam.alone(SIZE, optics)


def test_the_average_of_near_patterns_tells_no_beam(scan):
    with pytest.raises(
        DataError, match=r"data\.probe\.kind=average .* are of the near field; make"
    ):
        Beam(kind="average").of_scan(scan.amplitude, scan.probe, Optics(near_field=True))


def test_more_modes_than_a_point_holds_are_refused(scan):
    point = np.zeros((1, SIZE, SIZE), np.complex64)
    point[0, 16, 16] = 1
    with pytest.raises(DataError, match=r"data\.probe\.modes=3: .* too few pixels.* ask for 1"):
        Beam(modes=3).of_scan(scan.amplitude, point, Optics())


# files


@pytest.fixture
def without_probe(scan, tmp_path) -> Path:
    np.savez(
        tmp_path / "scan.npz", diffraction=scan.amplitude, xcoords=scan.positions[:, 1],
        ycoords=scan.positions[:, 0],
    )  # fmt: skip
    return tmp_path / "scan.npz"


def from_file(path, **changes):
    usual = {"data__source": "file", "data__train_data_file": str(path), "data__nphotons": None}
    return build.make_scan(settled(**usual | changes), SIZE)


def settled(**changes):
    run = tiny_run(**changes)
    assert not list(type_faults(run))  # plain strings become choices
    return run.data


def test_a_scan_without_a_probe_gets_the_one_asked_for(without_probe):
    with pytest.raises(DataError, match=r"scan\.npz: holds no probe; type data\.probe\.kind=aver"):
        read_npz(without_probe)
    found = from_file(without_probe, data__probe__kind="gaussian", data__probe__radius=5.0)
    assert likeness(found.probe, illumination.gaussian(SIZE, 5.0, 0.0).numpy()) > 0.9999
    assert found.notes["probe"] == "gaussian, radius 5.0"
    average = from_file(without_probe, data__probe__kind="average")
    assert average.probe.shape == (1, SIZE, SIZE)


def test_what_was_told_of_the_pixel_is_kept(without_probe):
    found = from_file(
        without_probe, data__probe__kind="disk", data__probe__radius_m=4e-8,
        data__geometry__pixel_size_m=1e-8,
    )  # fmt: skip
    assert found.pixel_size_m == 1e-8
    assert likeness(found.probe, illumination.disk(SIZE, 4.0, 0.0).numpy()) > 0.9999


def test_the_energy_of_a_file_serves(scan):
    from ptycho.data.frames import ArrayFrames
    from ptycho.data.measurement import Geometry

    found = Measurement(
        ArrayFrames(scan.amplitude, Path("some.h5"), "data"), scan.positions,
        pixel_size_m=1e-8, geometry=Geometry(energy_ev=8000.0),
    )  # fmt: skip
    beam = Beam(kind="gaussian", radius=4.0, defocus_m=20e-6)
    made = prepare(found, beam=beam).probe
    assert likeness(made, illumination.gaussian(SIZE, 4.0, 30.996).numpy()) > 0.9999


@pytest.mark.parametrize("ending", ["npy", "npz", "h5", "scan.npz"])
def test_a_probe_is_read_from_any_file(scan, tmp_path, ending):
    path = tmp_path / f"probe.{ending}"
    two = np.concatenate([scan.probe, 0.5j * scan.probe])
    if ending == "npy":
        np.save(path, two)
    elif ending == "npz":
        np.savez(path, probe=two)
    elif ending == "h5":
        with h5py.File(path, "w") as file:
            file["probe"] = two[None]  # as products have it: (OPR, modes, N, N)
    else:
        write_npz(path, Scan(scan.amplitude, scan.positions, two))
    np.testing.assert_array_equal(read_probe_file(path), two)


def test_a_probe_file_takes_the_place_of_the_scans_own(scan, without_probe, tmp_path):
    np.save(tmp_path / "probe.npy", scan.probe[0])
    found = from_file(without_probe, data__probe_file=str(tmp_path / "probe.npy"))
    assert likeness(found.probe, scan.probe) > 0.9999
    simulated = build.make_scan(settled(data__probe_file=str(tmp_path / "probe.npy")), SIZE)
    assert likeness(simulated.probe, scan.probe) > 0.9999


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (np.ones((4, 5), complex), r"probe\.npy: the array must be \(N, N\) or .* got \(4, 5\)"),
        (np.zeros((8, 8), complex), r"is zero everywhere"),
        (np.full((8, 8), np.nan), r"holds NaN"),
        (np.full((8, 8), "a"), r"must hold complex numbers, got <U1"),
        (np.full((8, 8), None), r"not an array that can be read"),
        (b"\x93NUMPY", r"not an array that can be read"),
        (b"text", r"not a file with a probe; data\.probe_file may be NPY, or a scan"),
        (b"PK\x03\x04", r"not an NPZ file, or cut short"),
        (b"", r"not a file with a probe"),
    ],
    ids=str,
)
def test_a_bad_probe_file_is_refused_in_a_sentence(content, words, tmp_path):
    path = tmp_path / "probe.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content, allow_pickle=True)
    with pytest.raises(DataError, match=words):
        read_probe_file(path)


def test_files_without_a_probe_in_them_are_refused(scan, without_probe, tmp_path):
    with pytest.raises(DataError, match=r"holds diffraction, xcoords, ycoords, and no probe"):
        read_probe_file(without_probe)
    with pytest.raises(FileNotFoundError, match=r"data\.probe_file: no such file"):
        read_probe_file(tmp_path / "nowhere.npy")
    np.save(tmp_path / "small.npy", scan.probe[0, :16, :16])
    with pytest.raises(DataError, match=r"16 x 16 pixels, and the patterns have 32 x 32"):
        from_file(without_probe, data__probe_file=str(tmp_path / "small.npy"))


@pytest.mark.parametrize("kind", MADE)
def test_every_kind_can_be_simulated(kind):
    scan = build.make_scan(settled(data__probe__kind=kind, data__probe__modes=2), SIZE)
    assert scan.probe.shape == (2, SIZE, SIZE)
    assert np.square(np.abs(scan.probe)).sum() == pytest.approx(1e5, rel=1e-4)
