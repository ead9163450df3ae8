from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ptycho.config.data_config import GeometryConfig, PositionsConfig, PreprocessConfig
from ptycho.data.frames import ArrayFrames
from ptycho.data.lengths import in_pixels, object_pixel, pixel_from
from ptycho.data.measurement import Geometry, Measurement
from ptycho.data.preparation import prepare
from ptycho.data.scan import DataError

POSITIONS = np.array([[10.0, 20.0], [14.0, 21.0], [12.0, 29.0]])
ALL = {"energy_ev": 8000.0, "distance_m": 2.0, "detector_pixel_m": 75e-6}
N = 128

PROBE = np.ones((1, N, N), np.complex64)


def measured(**changes):
    frames = ArrayFrames(np.ones((3, N, N)), Path("star.h5"), "patterns")
    return Measurement(frames, POSITIONS, **changes)


def placed(how=None, geometry=None, factor=1.0, **changes):
    found = measured(**changes)
    pixel = object_pixel(found, GeometryConfig(**(geometry or {})), N)
    return in_pixels(found, PositionsConfig(**(how or {})), pixel, factor)


def test_the_pixel_of_a_known_beamline():
    """8 keV is 0.15498 nm; 128 pixels of 75 um are 9.6 mm; two metres away."""
    assert pixel_from(8000, 2, N * 75e-6) == pytest.approx(1.5498e-10 * 2 / 9.6e-3, rel=1e-4)


def test_what_was_typed_wins_over_the_file():
    says = {"pixel_size_m": 1e-8, "geometry": Geometry(**ALL)}
    found, from_lengths = measured(**says), pixel_from(8000, 2, N * 75e-6)
    usual, typed = object_pixel(found, GeometryConfig(), N), GeometryConfig(pixel_size_m=2e-8)
    assert (usual.size_m, usual.typed) == (1e-8, False)
    assert object_pixel(found, typed, N).size_m == 2e-8
    one = object_pixel(found, GeometryConfig(energy_ev=4000.0), N)
    assert (one.size_m, one.typed) == (2 * from_lengths, True)
    assert (
        object_pixel(replace(found, pixel_size_m=None), GeometryConfig(), N).size_m == from_lengths
    )
    assert object_pixel(measured(), GeometryConfig(), N).size_m is None


def test_contradictions_are_said():
    says = {"pixel_size_m": 1e-8, "geometry": Geometry(**ALL)}
    (doubt,) = object_pixel(measured(**says), GeometryConfig(), N).doubts
    assert doubt.endswith("is 10 nm as the file says, 32.29 nm as the file's geometry says")
    near = measured(pixel_size_m=pixel_from(8000, 2, N * 75e-6) * 1.005, geometry=Geometry(**ALL))
    assert object_pixel(near, GeometryConfig(), N).doubts == ()


def test_lengths_that_lead_nowhere_are_refused():
    words = r"energy_ev alone says no length .* know data\.geometry\.distance_m and .*Type them as"
    with pytest.raises(DataError, match=words):
        object_pixel(measured(), GeometryConfig(energy_ev=8000.0), N)
    object_pixel(measured(), GeometryConfig(energy_ev=8000.0, pixel_size_m=1e-8), N)


def test_pixels_stay_as_they_are():
    positions, done = placed()
    np.testing.assert_array_equal(positions, POSITIONS)
    assert done == []


@pytest.mark.parametrize(("unit", "one"), [("m", 1.0), ("um", 1e-6), ("nm", 1e-9)])
def test_lengths_become_pixels(unit, one):
    found = replace(measured(), positions=POSITIONS * 1e-8 / one)
    pixel = object_pixel(found, GeometryConfig(pixel_size_m=1e-8), N)
    positions, done = in_pixels(found, PositionsConfig(unit=unit), pixel)
    np.testing.assert_allclose(positions, POSITIONS, rtol=1e-12)
    assert done == [f"positions in {unit}, an object pixel is 10 nm"]
    said_by_the_file = replace(found, positions=POSITIONS * 1e-8, unit="m")
    np.testing.assert_allclose(in_pixels(said_by_the_file, PositionsConfig(), pixel)[0], POSITIONS)


def test_swap_comes_first_then_flips_then_scale():
    y, x = POSITIONS.T
    swapped, done = placed({"swap": True, "flip_y": True, "scale": 2.0})
    middle = np.array([24.5, 12.0])
    wanted = np.stack([49 - x, y], axis=1)
    np.testing.assert_allclose(swapped, middle + 2 * (wanted - middle))
    assert done == [
        "y and x of positions exchanged", "positions turned round along y", "positions spread by 2",
    ]  # fmt: skip
    np.testing.assert_allclose(placed({"flip_x": True})[0], np.stack([y, 49 - x], axis=1))


@pytest.mark.parametrize("how", [{"flip_y": True}, {"flip_x": True}, {"swap": True}])
def test_twice_is_nothing(how):
    once, _ = placed(how)
    pixel = object_pixel(measured(), GeometryConfig(), N)
    again, _ = in_pixels(replace(measured(), positions=once), PositionsConfig(**how), pixel)
    np.testing.assert_allclose(again, POSITIONS)


def test_coarser_pixels_bring_positions_together():
    np.testing.assert_array_equal(placed(factor=0.5)[0], POSITIONS / 2)


@pytest.mark.parametrize(
    ("positions", "how", "words"),
    [
        (
            POSITIONS * 1e-8,
            {},
            r"which must be metres; type data\.positions\.unit=m and data\.geom",
        ),
        (
            POSITIONS * 1e8,
            {},
            r"2\.9e\+09 object pixels, which cannot be; .*type data\.positions\.unit",
        ),
        (POSITIONS, {"unit": "m"}, r"positions are in m, and nothing says .*pixel_size_m=METRES"),
        (POSITIONS * np.nan, {}, "positions hold NaN"),
    ],
)
def test_what_cannot_be_pixels_is_refused(positions, how, words):
    found = replace(measured(), positions=positions)
    with pytest.raises(DataError, match=r"^star\.h5: .*" + words):
        in_pixels(found, PositionsConfig(**how), object_pixel(found, GeometryConfig(), N))


@pytest.mark.parametrize(
    ("unit", "words"),
    [
        ("nm", r"with positions in nm, the whole scan is 0\.9 obj"),
        ("m", r"in m, positions reach 2"),
    ],
)
def test_a_unit_that_makes_no_scan_is_refused(unit, words):
    with pytest.raises(DataError, match=words + r".*is data\.positions\.unit right"):
        placed({"unit": unit}, {"pixel_size_m": 1e-8})


def test_near_fields_are_refused_by_name():
    near = measured(probe=PROBE, geometry=Geometry(far_field=False))
    with pytest.raises(
        DataError, match=r"^star\.h5: .*near field.*data\.geometry\.near_field=false"
    ):
        prepare(near)
    assert len(prepare(near, geometry=GeometryConfig(near_field=False))) == 3


NEAR = GeometryConfig(near_field=True, energy_ev=8000.0, distance_m=0.02, detector_pixel_m=1e-6)


def test_a_near_pixel_is_the_detectors_and_its_number_follows():
    """8 keV is 0.15498 nm: (1 um)^2 / (0.15498 nm * 2 cm)."""
    near = prepare(measured(probe=PROBE), geometry=NEAR)
    assert near.pixel_size_m == 1e-6
    assert near.fresnel == pytest.approx(1e-12 / (1.5498e-10 * 0.02), rel=1e-4)
    assert not near.geometry.far_field


def test_a_diverging_beam_magnifies():
    """Focus 5 mm before the sample, detector 20 behind: five times."""
    diverging = replace(NEAR, focus_distance_m=0.005)
    one, other = (prepare(measured(probe=PROBE), geometry=how) for how in (NEAR, diverging))
    assert other.pixel_size_m == pytest.approx(one.pixel_size_m / 5)
    assert other.fresnel == pytest.approx(one.fresnel / 5)


def test_what_was_typed_of_a_near_field_wins_over_the_files_number():
    found = measured(probe=PROBE, fresnel=0.5, geometry=Geometry(8000.0, 0.02, 1e-6))
    assert prepare(found).fresnel == 0.5
    assert prepare(found, geometry=GeometryConfig(near_field=False)).fresnel is None
    typed = prepare(found, geometry=GeometryConfig(distance_m=0.04)).fresnel
    assert typed == pytest.approx(1e-12 / (1.5498e-10 * 0.04), rel=1e-4)


@pytest.mark.parametrize(
    ("geometry", "preprocess", "words"),
    [
        (
            {"near_field": True, "energy_ev": 8e3},
            {},
            r"nothing says how near; type data\.geometry\.distance_m and data\.geometry\.det",
        ),
        (
            {"focus_distance_m": 0.1},
            {},
            r"focus_distance_m=0\.1 is for the near field; leave",
        ),
        (vars(NEAR), {"crop": 16}, r"data\.preprocess\.crop=16 changes spatial frequencies"),
        (vars(NEAR), {"zero_frequency": "corner"}, r"data\.preprocess\.zero_frequency=corner ch"),
        (vars(NEAR) | {"distance_m": 1e4}, {}, r"Fresnel number of a pixel, .* is too small"),
    ],
)
def test_what_a_near_field_does_not_bear_is_refused(geometry, preprocess, words):
    with pytest.raises(DataError, match=r"^star\.h5: .*" + words):
        prepare(
            measured(probe=PROBE),
            geometry=GeometryConfig(**geometry),
            preprocess=PreprocessConfig(**preprocess),
        )
