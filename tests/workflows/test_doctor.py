"""What the doctor sees, one law at a time, on arrays made for it."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ptycho.config.choices import DataSource, PositionUnit
from ptycho.config.config import DataConfig
from ptycho.config.data_config import PositionsConfig, PreprocessConfig
from ptycho.data.frames import ArrayFrames
from ptycho.data.measurement import Measurement
from ptycho.data.preparation import prepare
from ptycho.data.scan import DataError
from ptycho.physics.forward import Experiment
from ptycho.physics.illumination import propagate
from ptycho.report.diagnosis import Diagnosis, Finding, Views, Weight
from ptycho.workflows.doctor.beam import Beam, find_beam
from ptycho.workflows.doctor.consult import left_open
from ptycho.workflows.doctor.defocus import find_defocus
from ptycho.workflows.doctor.examine import examine
from ptycho.workflows.doctor.frames_seen import broken_found, defects_found
from ptycho.workflows.doctor.light import look_at_light
from ptycho.workflows.doctor.pictures import probe_of
from ptycho.workflows.doctor.pixels import Defects, find_defects, plateau
from ptycho.workflows.doctor.places import areal_overlap, look_at_steps
from ptycho.workflows.doctor.places_seen import doubt_found, steps_found
from ptycho.workflows.doctor.reading import read_for_doctor
from ptycho.workflows.doctor.region import make_region
from ptycho.workflows.doctor.scene import Scene, look_around
from ptycho.workflows.doctor.settings_seen import against
from ptycho.workflows.doctor.survey import survey
from ptycho.workflows.doctor.trials import Scale
from ptycho.workflows.doctor.trials_seen import guessed_found, scale_found
from ptycho.workflows.doctor.turns import AS_IT_IS, TURNS, Turn
from ptycho.workflows.doctor.values import nature, noise

SIZE = 32
FILE = DataConfig(source=DataSource.file)


def lopsided_probe() -> Any:
    """A defocused beam without any symmetry, ``(1, N, N)``."""
    y, x = (np.arange(SIZE) - SIZE // 2)[:, None], np.arange(SIZE) - SIZE // 2
    shape = np.exp(-((y / 6) ** 2) - (x / 4.5) ** 2) * (1 + 0.4 * np.tanh((y + 2 * x) / 6))
    bent = 0.05 * (y**2 + 0.8 * x**2) + 0.002 * y**3 + 0.003 * x**2 * y + 0.04 * x * y
    return (60 * shape * np.exp(1j * bent)).astype(np.complex64)[None]


@pytest.fixture(scope="module")
def scan() -> Measurement:
    """100 patterns of an object of noise, whose probe tells all turns apart."""
    rng = np.random.default_rng(3)
    steps = np.stack(np.meshgrid(np.arange(10.0), np.arange(10.0), indexing="ij"), -1) * 4.0
    positions = steps.reshape(-1, 2) + rng.uniform(-1, 1, (100, 2)) + SIZE
    smooth = torch.nn.functional.avg_pool2d
    noise_ = smooth(torch.from_numpy(rng.normal(size=(2, 1, 112, 112))), 5, 1, 2)[:, 0]
    obj = (1 - 0.2 * noise_[0].abs()) * torch.polar(torch.ones(112, 112).double(), 5 * noise_[1])
    probe = lopsided_probe()
    experiment = Experiment(torch.from_numpy(probe), torch.from_numpy(positions))
    light = experiment(obj.to(torch.complex64), torch.arange(100))
    counts = torch.poisson(light, generator=torch.Generator().manual_seed(0)).numpy()
    frames = ArrayFrames(counts.astype(np.uint16), Path("made.npz"), "diffraction")
    return Measurement(frames=frames, positions=positions, probe=probe)


def with_patterns(scan: Measurement, patterns: Any) -> Measurement:
    return replace(scan, frames=ArrayFrames(patterns, scan.path, "diffraction"))


def diagnosis(*findings: Finding) -> Diagnosis:
    return Diagnosis(source="made.npz", label="made", findings=findings, views=Views())


def patterns_of(scan: Measurement) -> Any:
    return scan.frames.read(slice(None))


def of(found: Diagnosis, topic: str) -> Finding:
    return next(one for one in found.findings if one.topic == topic)


class TestWhole:
    """The doctor as a whole, on a scan in memory."""

    def test_a_clean_scan_needs_nothing_but_that_wrong_settings_are_taken_back(
        self, scan: Measurement
    ):
        typed = DataConfig(source=DataSource.file)
        typed.positions.swap = True
        found = examine(scan, typed)
        assert found.settings == {"data.positions.swap": False}
        assert of(found, "axes").weight == Weight.set
        assert of(found, "axes").figures["alike"] == ["as they are"]
        assert of(found, "order").weight == Weight.fine
        assert of(found, "pixel size").weight == Weight.fine
        assert abs(of(found, "pixel size").figures["factor"] - 1) < 0.07  # of so few patterns

    @pytest.mark.slow  # two seconds; its parts are tested below
    def test_lengths_that_nobody_names_are_no_pixels(self, scan: Measurement):
        found = examine(replace(scan, positions=0.02 * scan.positions), FILE)
        assert found.settings.pop("data.positions.unit") == "um"
        length = found.settings["data.geometry.pixel_size_m"]
        assert length == pytest.approx(0.02e-6, rel=0.07)  # of so few patterns
        said = of(found, "positions")
        assert said.weight == Weight.note  # one that is mended contradicts no other
        assert said.said.startswith("these cannot be object pixels: a step of 0.07")
        assert said.said.endswith('"pixel size" says what they are.')
        assert of(found, "axes").weight == Weight.fine

    @pytest.mark.slow  # the same on measured patterns: tests/test_doctor.py
    def test_several_faults_at_once(self, scan: Measurement):
        spoilt = np.fft.ifftshift(patterns_of(scan).transpose(0, 2, 1), axes=(1, 2))
        middle = scan.positions.mean(0)
        positions = middle + 1.15 * (scan.positions - middle) * [1, -1]
        found = examine(replace(with_patterns(scan, spoilt), positions=positions), FILE)
        settings = found.settings
        assert settings.pop("data.positions.scale") == pytest.approx(1 / 1.15, rel=0.05)
        assert settings == {
            "data.preprocess.zero_frequency": "corner",
            "data.preprocess.transpose": True,
            "data.positions.flip_x": True,
        }

    @pytest.mark.slow  # the same on measured patterns: tests/test_doctor.py
    def test_shuffled_positions_belong_to_nothing(self, scan: Measurement):
        order = np.random.default_rng(0).permutation(100)
        found = examine(replace(scan, positions=scan.positions[order]), FILE)
        assert of(found, "order").weight == Weight.look
        assert of(found, "axes").weight == Weight.open
        assert found.settings == {}

    def test_without_positions_or_probe_the_rest_is_told(self, scan: Measurement):
        nowhere = replace(scan, positions=np.zeros((100, 2)), probe=None)
        found = examine(nowhere, FILE)
        assert of(found, "positions").weight == Weight.look
        assert of(found, "axes").weight == Weight.open
        assert of(found, "probe").settings == {"data.probe.kind": "average"}
        assert of(found, "values").weight == Weight.fine
        assert "data.probe.defocus_m=METRES" in of(found, "probe").said

    def test_no_probe_is_proposed_beside_one_that_was_typed(self, scan: Measurement):
        typed = DataConfig(source=DataSource.file, probe_file="absent.npy")
        _, said = look_around(replace(scan, probe=None), typed)
        assert {name for one in said for name in one.settings} == set()
        assert said[0].weight == Weight.look


@pytest.mark.parametrize(
    ("factor", "typed", "doubted"),
    [
        (0.02, {}, True),  # of the step, or of the whole scan
        (0.06, {}, False),
        (5, {}, True),  # neighbours do not touch
        (5, {"unit": PositionUnit.px}, False),
        (5, {"scale": 0.2}, False),
        (1e-9, {}, True),
        (0.02, {"scale": 50.0}, False),
    ],
)
def test_positions_are_doubted_where_nobody_names_their_unit(
    scan: Measurement, factor: float, typed: dict[str, Any], doubted: bool
):
    data = DataConfig(source=DataSource.file, positions=PositionsConfig(**typed))
    around, _ = look_around(replace(scan, positions=factor * scan.positions), data)
    assert bool(around.doubt) == doubted
    assert (around.guessed is not None) == doubted
    assert around.steps is not None
    assert 2 < around.steps.step * (1 if doubted else 1 / factor / typed.get("scale", 1)) < 5
    assert doubt_found(around.doubt, mended=False).weight == Weight.look


@pytest.mark.parametrize(
    ("scene", "pixels", "settings"),
    [
        (Scene(), 50, {"unit": "um", "pixel_size_m": 2e-8, "scale": 1.0}),
        (Scene(), 0.05, {"unit": "nm", "pixel_size_m": 2e-8, "scale": 1.0}),
        (Scene(), 5, {"scale": 5.0}),  # of pixels that were binned, as well
        (Scene(pixel_size_m=2e-7), 5, {"unit": "um", "pixel_size_m": 2e-7, "scale": 1.0}),
        (Scene(pixel_size_m=2e-8), 5, {"scale": 5.0}),
        (Scene(unit="m"), 5, {"unit": "m", "pixel_size_m": 0.2, "scale": 1.0}),
        (Scene(), 1.01, {"scale": 1.0}),
    ],
)
def test_the_unit_is_that_of_which_an_object_pixel_is_a_length(
    scene: Scene, pixels: float, settings: dict[str, Any]
):
    scale = Scale(pixels / 2, 0.001, np.zeros((0, 2)))
    found = guessed_found(scale, 2.0, scene, typed=1.0)
    assert {name.rpartition(".")[2]: value for name, value in found.settings.items()} == settings
    assert found.weight == (Weight.fine if pixels == 1.01 else Weight.set)


def test_what_stays_open_is_said_before_what_to_type():
    axes = Finding("axes", Weight.open, "so.")
    mended = Finding("pixels", Weight.set, "so.", {"data.preprocess.mask_hot": True})
    assert left_open(diagnosis(mended)) == ""
    assert left_open(diagnosis(axes)) == '"axes" above stays open, and no setting mends that.'
    order = Finding("order", Weight.look, "so.")
    assert left_open(diagnosis(order, axes, mended)) == (
        '"order" and "axes" above stay open: the settings below are right by themselves, but do '
        "not mend that."
    )


@pytest.mark.parametrize("turn", TURNS, ids=lambda turn: turn.name)
def test_a_turn_of_a_pixel_is_that_of_the_image(turn: Turn):
    image = torch.zeros(3, 5)
    image[2, 1] = 1
    y, x = turn.pixel(np.array([2.0, 1.0]), (3, 5)).astype(int)
    assert turn.patterns(image)[y, x] == 1
    assert (turn.pixel_before(np.array([float(y), float(x)]), (3, 5)) == [2, 1]).all()


class TestValues:
    def test_whole_numbers(self):
        counts = np.random.default_rng(0).poisson(5.0, 4000).astype(np.float64)
        roots = np.sqrt(counts.astype(np.float32)).astype(np.float64)
        assert nature(counts).kind == "counts"
        assert nature(roots).kind == "amplitude"
        assert nature(np.square(roots.astype(np.float32)).astype(np.float64)).kind == "counts"
        assert nature(counts * 0.0123).unit == pytest.approx(0.0123)
        assert nature(counts + 0.3).kind == ""
        assert nature(np.zeros(5)).kind == ""

    def test_photons_vary_by_their_mean(self):
        mean = np.random.default_rng(0).uniform(0.1, 20, (1, 24, 24))
        first, second = np.random.default_rng(1).poisson(mean, (2, 200, 24, 24)).astype(float)
        points, ratio = noise(first, second)
        assert ratio == pytest.approx(1, abs=0.1)
        assert points.shape[1] == 2
        assert noise(3 * first, 3 * second)[1] == pytest.approx(3, abs=0.3)


@pytest.mark.parametrize("shift", [(0, 0), (5, -4), (16, 16)])
def test_zero_frequency_is_where_the_light_is(shift: tuple[int, int]):
    spectrum = np.abs(np.fft.fftshift(np.fft.fft2(lopsided_probe()))[0]) ** 2
    moved = np.roll(spectrum, shift, axis=(0, 1))
    for like in (spectrum, None):
        beam = find_beam(moved, like)
        assert beam.corner == (shift == (16, 16))
        if like is not None:
            place = beam.in_the_middle((SIZE, SIZE))
            wanted = np.array([16.0, 16.0]) + np.array(shift) * (not beam.corner)
            assert np.abs(place - wanted).max() < 0.2


def test_defects_are_found_and_light_is_none():
    y, x = np.mgrid[-16:16, -16:16]
    mean = 200 * np.exp(-(y**2 + x**2) / 60.0) + 1
    highest, lowest = 3 * mean, 0 * mean
    nothing = np.zeros(mean.shape, bool)
    assert not find_defects(mean, lowest, highest, nothing, 100).bad.any()
    mean[4, 5], mean[14, 14], highest[14, 14] = 60, 0, 0
    lowest[20, 20] = highest[20, 20] = 7
    found = find_defects(mean, lowest, highest, nothing, 100)
    assert np.argwhere(found.hot).tolist() == [[4, 5]]
    assert np.argwhere(found.dead).tolist() == [[14, 14]]
    assert np.argwhere(found.stuck).tolist() == [[20, 20]]


def test_what_the_file_masks_is_said():
    nothing = Defects(*(np.zeros((4, 4), bool) for _ in range(4)))
    beam = Beam(2.0, 2.0, corner=False, contrast=1.0, against_probe=True)
    assert defects_found(nothing, beam, 0).said == "none is hot, dead or stuck."
    assert defects_found(nothing, beam, 0.0915).said == (
        "9.2 % of the detector are masked by the file; of the others none is hot, dead or stuck."
    )
    hot = replace(nothing, hot=np.eye(4, dtype=bool))
    said = defects_found(hot, beam, 0.25)
    assert said.said.startswith("25 % of the detector are masked by the file; 4 hot, at [0, 0]")
    assert said.said.endswith("beam stop: to leave it out costs nothing.")


def test_a_plateau_is_where_counting_stopped():
    light = np.random.default_rng(0).gamma(2, 100, 4000)
    assert not plateau(np.round(light))[2]
    assert plateau(np.minimum(np.round(light), 255.0)) == (255.0, (light >= 254.5).sum(), True)


def test_patterns_without_light_are_sorted_out():
    photons = np.full(50, 1000.0)
    photons[[3, 7, 9]] = 0, 20, 9000
    light = look_at_light(photons, np.arange(50) + 100)
    assert (light.empty, light.dim, light.bright) == ([103], [107], [109])
    assert 20 < light.drop_below < 1000 < light.drop_above < 9000


def test_a_survey_sees_broken_lost_and_repeated_patterns():
    patterns = np.random.default_rng(0).normal(9, 1, (40, 8, 8)).astype(np.float32)
    patterns[5] = patterns[4]
    patterns[7] = np.nan
    patterns[:, 1, 2] = np.inf
    seen = survey(ArrayFrames(patterns, Path("x.npz"), "p"))
    assert seen.copies.tolist() == [5]
    assert seen.lost.tolist() == [7]
    assert np.argwhere(seen.broken == 39).tolist() == [[1, 2]]
    few = survey(ArrayFrames(patterns, Path("x.npz"), "p"), at_most=1)
    assert len(few.numbers) == 40  # at least so many, however large they are


@pytest.mark.parametrize("value", [2**32 - 1, 2**32 - 2])
def test_marks_of_a_detector_are_masked_as_nan_is(scan: Measurement, value: int):
    patterns = patterns_of(scan).astype(np.uint32)
    patterns[:, 5, 5] = value
    patterns[3:5, 20, 14:16] = value
    patterns[9] = value
    seen = survey(ArrayFrames(patterns, Path("x.npz"), "p"))
    assert np.argwhere(seen.broken == 99).tolist() == [[5, 5]]
    assert np.argwhere(seen.broken == 2).tolist() == [[20, 14], [20, 15]]
    assert seen.lost.tolist() == [9]
    assert seen.top < 1e5
    (lost, masked) = broken_found(seen)
    assert lost.said.startswith("pattern 9: a detector's mark for no reading in many pixels")
    assert "3 pixels hold a detector's mark for no reading, 1 of them in every" in masked.said


@pytest.mark.parametrize("kind", ["uint16", "uint32"])
def test_the_mask_of_the_doctor_makes_marked_patterns_usable(
    scan: Measurement, kind: str, tmp_path: Path
):
    patterns = patterns_of(scan).astype(kind)
    patterns[:, 5, 5] = np.iinfo(kind).max
    found = with_patterns(scan, patterns)
    with pytest.raises(DataError, match="mark for a pixel without a reading"):
        prepare(found)
    seen = survey(found.frames)
    # what find_defects is given by examine()
    defects = find_defects(seen.mean, seen.lowest, seen.highest, seen.broken > 0, len(seen.numbers))
    assert defects.bad[5, 5]
    np.save(tmp_path / "mask.npy", defects.bad)
    how = PreprocessConfig(bad_pixels_file=str(tmp_path / "mask.npy"))
    assert np.signbit(prepare(found, preprocess=how).amplitude)[:, 5, 5].all()


def test_a_pipe_is_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "a.npz")
    data = DataConfig(source=DataSource.file, train_data_file=str(tmp_path / "a.npz"))
    with pytest.raises(DataError, match="but a pipe, a socket or a device"):
        read_for_doctor(data, 0)


def test_steps_and_overlap():
    grid = np.stack(np.meshgrid(np.arange(12.0), np.arange(9.0)), -1).reshape(-1, 2) * 3
    steps = look_at_steps(np.concatenate([grid, [[300.0, 300.0]], grid[:2]]))
    assert steps.nearest == 3
    assert steps.repeated == 4
    assert steps.lonely.tolist() == [108]
    assert look_at_steps(grid).regular
    assert not look_at_steps(grid + np.random.default_rng(0).normal(0, 0.2, grid.shape)).regular
    assert areal_overlap(0, 10) == 1
    assert areal_overlap(10, 10) == 0
    assert areal_overlap(5, 10) == pytest.approx(0.391, abs=1e-3)


def test_overlap_and_pixel_size_say_what_they_were_judged_by():
    grid = np.stack(np.meshgrid(np.arange(12.0), np.arange(9.0)), -1).reshape(-1, 2) * 3
    steps = look_at_steps(grid)
    for width, words in ((12.0, "12 px."), (4.0, "4 px. That is little"), (2.5, "2 px; neigh")):
        (_, said) = steps_found(steps, width, None)
        assert f"areal: a step of {steps.step:.2f} px against a beam of {words}" in said.said
    nothing = np.zeros((0, 2))
    for scale, words in (
        (Scale(0.994, 0.002, nothing), "0.994 ± 0.002, and within 2% counts as 1."),
        (Scale(0.95, 0.03, nothing), "0.950 ± 0.030, and within 6% counts as 1."),
        (Scale(0.95, 0.01, nothing, gains=False), "0.950 ± 0.010, and as they are no worse."),
    ):
        assert scale_found(scale, 1.0, None).said.endswith(words)


@pytest.mark.parametrize(
    ("flip", "focused_enough"),
    [
        (1, False),
        pytest.param(-1, False, marks=pytest.mark.slow),
        pytest.param(1, True, marks=pytest.mark.slow),
    ],
)
def test_the_defocus_of_a_probe_that_the_file_lacks_is_found(flip: int, focused_enough: bool):
    y, x = np.arange(SIZE) - SIZE // 2, (np.arange(SIZE) - SIZE // 2)[:, None]
    pupil = ((np.hypot(y, x) < 9) & (np.hypot(y, x) > 3)).astype(float)
    focused = torch.from_numpy(probe_of(pupil)).to(torch.complex128)
    beam = 400 * propagate(focused, 25.0)
    rng = np.random.default_rng(1)
    positions = rng.uniform(20, 44, (60, 2))
    noise_ = torch.from_numpy(rng.normal(size=(1, 1, 64, 64)))
    phase = 8 * torch.nn.functional.avg_pool2d(noise_, 5, 1, 2)[0, 0]
    experiment = Experiment(beam.to(torch.complex64), torch.from_numpy(positions))
    obj = torch.polar(torch.ones_like(phase), phase).to(torch.complex64)
    light = torch.poisson(experiment(obj, torch.arange(60)))
    probe = beam if focused_enough else focused
    region = make_region({AS_IT_IS: light.sqrt()}, positions * [1, flip], probe, SIZE)
    found = find_defocus(region, probe, (AS_IT_IS, AS_IT_IS))
    if focused_enough:
        assert found is None
        return
    assert found is not None
    assert abs(found.value) == pytest.approx(25, rel=0.1)
    assert found.found().settings == {"data.probe.defocus": found.value}


def test_only_what_differs_from_the_settings_is_to_be_typed():
    wanted = Finding("axes", Weight.set, "so.", {"data.positions.swap": True})
    typed = DataConfig(source=DataSource.file)
    assert against(wanted, typed) == wanted
    typed.positions.swap = True
    assert against(wanted, typed).weight == Weight.fine
    assert against(wanted, typed).settings == {}
    assert against(wanted, DataConfig()).settings == {}  # simulated: nothing is read
