import numpy as np
import pytest
import tifffile

from ptycho.convert import main
from ptycho.data.formats.npz import write_npz
from ptycho.data.formats.tiff import write_tiffs
from ptycho.data.products import Product
from tests.data.formats.samples import OBJECT, PIXEL, a_scan


def test_pictures_have_the_numbers_and_the_side_of_a_pixel(tmp_path):
    amplitude, phase = write_tiffs(tmp_path / "a.tiff", Product(2 * OBJECT, pixel_size_m=PIXEL))
    assert [one.name for one in (amplitude, phase)] == ["a_amplitude.tiff", "a_phase.tiff"]
    np.testing.assert_array_equal(tifffile.imread(amplitude), np.abs(2 * OBJECT))
    np.testing.assert_array_equal(tifffile.imread(phase), np.angle(2 * OBJECT))
    with tifffile.TiffFile(phase) as file:
        page, said = file.pages[0], file.imagej_metadata
        assert page.dtype == np.float32
        assert said["unit"] == "um"
        for axis in ("XResolution", "YResolution"):
            pixels, micrometres = page.tags[axis].value
            assert micrometres / pixels == pytest.approx(PIXEL * 1e6, rel=1e-6)


def test_no_length_is_made_up(tmp_path):
    amplitude, _ = write_tiffs(tmp_path / "a.tif", Product(OBJECT))
    with tifffile.TiffFile(amplitude) as file:
        assert "unit" not in file.imagej_metadata
        assert file.pages[0].tags["XResolution"].value == (1, 1)


def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_npz("x.npz", a_scan())
    main(["x.npz", "deep/out.tiff"])
    np.testing.assert_array_equal(tifffile.imread("deep/out_phase.tiff"), np.angle(OBJECT))
    said = capsys.readouterr().out
    assert "scan, 40 x 36, pixels of 8 nm" in said
    assert "deep/out_amplitude.tiff, 0.0 MiB" in said
    for arguments, words in (
        (["x.npz", "deep/out.tiff"], "out_amplitude.tiff is there already; add overwrite=true"),
        (["x.npz", "new.tiff", "data.n_images=16"], "data.n_images says how a scan is read"),
        (["gone.npz", "new.tiff"], "gone.npz: no such file"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2
        assert words in " ".join(capsys.readouterr().err.split())
    main(["x.npz", "deep/out", "to=tiff", "overwrite=true"])
    assert len([*tmp_path.rglob("*.tiff")]) == 2
