import csv
import json
import math
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from ptycho.config.config import RunConfig
from ptycho.data.appearing import appearing
from ptycho.data.reconstruction import Reconstruction, Stage
from ptycho.report import files
from ptycho.report.files import (
    plain,
    plain_config,
    write_csv,
    write_json,
    write_reconstruction,
    write_yaml,
)


class Colour(StrEnum):
    red = "red"


def test_file_appears_when_the_block_succeeds(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with appearing(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt, SystemExit])
def test_failure_leaves_the_old_file_and_no_litter(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail() -> None:
        with appearing(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "write", [write_json, write_yaml, lambda path, content: write_csv(path, [content])]
)
def test_writers_leave_the_old_file_when_the_content_is_bad(tmp_path: Path, write: Any) -> None:
    path = tmp_path / "file"
    write(path, {"a": 1})
    before = path.read_bytes()

    class Bad:
        def __str__(self) -> str:
            raise OSError("disk full")

    with pytest.raises((TypeError, OSError, yaml.YAMLError)):
        write(path, {"a": Bad()})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (math.nan, None), (math.inf, None), (-math.inf, None), (np.float32("nan"), None),
        (1.5, 1.5), (np.float64(1.5), 1.5), (np.int64(3), 3), (np.bool_(True), True),
        (Colour.red, "red"), (Path("a/b"), "a/b"), ((1, 2), [1, 2]), (None, None), ("x", "x"),
        ({1: {"a": [Colour.red, math.nan]}}, {"1": {"a": ["red", None]}}), (True, True),
    ],
)  # fmt: skip
def test_plain_values(value: Any, expected: Any) -> None:
    result = plain(value)
    assert result == expected
    assert type(result) is type(expected)


def test_settings_become_plain_and_survive_yaml(tmp_path: Path) -> None:
    content = plain_config(RunConfig())
    assert content["trainer"]["accelerator"] == "auto"
    assert type(content["trainer"]["accelerator"]) is str
    write_yaml(tmp_path / "c.yaml", content)
    assert yaml.safe_load((tmp_path / "c.yaml").read_text()) == content
    assert list(yaml.safe_load((tmp_path / "c.yaml").read_text())) == list(content)


def test_json_is_strict(tmp_path: Path) -> None:
    write_json(tmp_path / "m.json", {"a": math.nan, "b": np.float32(0.5)})
    text = (tmp_path / "m.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail) == {"a": None, "b": 0.5}


def test_csv_has_the_columns_of_all_rows(tmp_path: Path) -> None:
    write_csv(tmp_path / "m.csv", [{"a": 1, "b": 2}, {"b": 3, "c": 4}])
    with (tmp_path / "m.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["a", "b", "c"]
    assert rows == [{"a": "1", "b": "2", "c": ""}, {"a": "", "b": "3", "c": "4"}]


def found(pixel_size_m: float | None = None) -> Reconstruction:
    rng = np.random.default_rng(0)
    obj = (rng.normal(size=(2, 40, 48, 2)) @ [1, 1j]).astype(np.complex64)
    probe = (rng.normal(size=(3, 16, 16, 2)) @ [1, 1j]).astype(np.complex64)
    positions = rng.uniform(10, 30, (7, 2))
    stages = (Stage("lift", obj[0], 0.1), Stage("network", obj[1], 0.1))
    return Reconstruction(stages, probe, positions, pixel_size_m=pixel_size_m)


def test_reconstruction_holds_the_last_stage(tmp_path: Path) -> None:
    result = found()
    write_reconstruction(tmp_path / "r.npz", result)
    with np.load(tmp_path / "r.npz") as file:
        assert set(file) == {"object", "probe", "xcoords", "ycoords"}
        np.testing.assert_array_equal(file["object"], result.stages[1].obj)
        assert file["object"].dtype == file["probe"].dtype == np.complex64
        assert file["object"].shape == (40, 48)
        assert file["probe"].shape == (3, 16, 16)
        np.testing.assert_array_equal(file["xcoords"], result.positions[:, 1])
        np.testing.assert_array_equal(file["ycoords"], result.positions[:, 0])
    assert [file.name for file in tmp_path.iterdir()] == ["r.npz"]


def test_reconstruction_knows_its_pixel_size(tmp_path: Path) -> None:
    write_reconstruction(tmp_path / "r.npz", found(5e-9))
    with np.load(tmp_path / "r.npz") as file:
        assert float(file["pixel_size_m"]) == 5e-9


def test_reconstruction_survives_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "r.npz"
    write_reconstruction(path, found())
    before = path.read_bytes()

    def full(path: Path, **_: Any) -> None:
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(files.np, "savez", full)
    with pytest.raises(OSError, match="disk full"):
        write_reconstruction(path, found(1e-9))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
