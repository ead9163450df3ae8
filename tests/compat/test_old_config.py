"""``--config FILE.json``: the settings of PtychoPINN's older interface."""

import json
import re

import pytest
import yaml

from ptycho.compat.old_config import read_old_config
from ptycho.compat.old_fields import CLIENT, SECTIONS, translated
from ptycho.config.config import RunConfig, UserError
from ptycho.config.describe import settings
from ptycho.config.validate import check
from ptycho.data.formats.npz import write_npz
from ptycho.train import main
from tests.runs import put, tiny_scan

TYPICAL = {
    "data_config": {
        "N": 32, "normalize": "Batch", "n_subsample": 1, "C": 4, "K": 5,
        "neighbor_function": "4_quadrant", "probe_scale": 1.0, "x_bounds": [0.05, 0.95],
    },
    "model_config": {
        "mode": "Unsupervised", "object_big": True, "probe_big": True, "batch_norm": False,
        "loss_function": "Poisson", "amp_activation": "silu", "amp_loss": None,
        "amp_loss_coeff": 4.0, "intensity_scale_trainable": True, "eca_decoder": False,
    },
    "training_config": {
        "epochs": 2, "batch_size": 16, "learning_rate": 1e-3, "n_devices": 1, "strategy": "ddp",
        "device": "cpu", "orchestrator": "Lightning", "scheduler": "Cosine", "accum_steps": 2,
        "num_workers": 0, "gradient_clip_val": 1.0, "experiment_name": "mine", "nll": True,
    },
    "inference_config": {"middle_trim": 32, "window": 20, "batch_size": 400},
    "datagen_config": {"object_class": "dead_leaves"},
}  # fmt: skip


@pytest.fixture
def read(tmp_path):
    """Read sections; text is the file itself."""

    def written(content="", **sections):
        path = tmp_path / "old.json"
        path.write_text(content or json.dumps(sections))
        return read_old_config(path)

    return written


def accepted(found):
    """The settings of a training that are those found, once nothing is refused."""
    run = RunConfig()
    run.model.architecture = "pinn"
    for name, value in {"data.source": "file", "data.train_data_file": "a.npz", **found}.items():
        put(run, name, value)
    return check(run)


def test_a_typical_file_is_understood(read, capsys):
    found = read(**TYPICAL)
    assert found == {
        "model.N": 32, "model.gridsize": 2, "data.neighbor_count": 6,
        "model.architecture": "pinn", "model.object_big": True, "model.probe_big": True,
        "model.amp_activation": "swish", "trainer.torch_loss_mode": "poisson",
        "trainer.intensity_scale_trainable": True, "trainer.nepochs": 2, "trainer.batch_size": 16,
        "trainer.learning_rate": 1e-3, "trainer.accelerator": "cpu", "logger.backend": "none",
        "trainer.scheduler": "WarmupCosine", "trainer.accum_steps": 2, "execution.num_workers": 0,
        "trainer.gradient_clip_val": 1.0, "logger.experiment": "mine", "execution.middle_trim": 32,
    }  # fmt: skip
    accepted(found)
    (line,) = capsys.readouterr().err.splitlines()
    assert "data_config.n_subsample=1, data_config.neighbor_function=" in line
    assert "amp_loss=" not in line  # it says nothing
    assert "eca_decoder" not in line


def test_a_typical_file_trains(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scans").mkdir()
    write_npz(tmp_path / "scans" / "one.npz", tiny_scan())
    (tmp_path / "old.json").write_text(json.dumps(TYPICAL))
    main(["--ptycho_dir", "scans", "--config", "old.json", "--batch_size", "8"])
    (folder,) = (tmp_path / "outputs" / "runs").iterdir()
    resolved = yaml.safe_load((folder / "config.resolved.yaml").read_text())
    assert (folder / "reconstruction.npz").exists()
    assert resolved["model"]["gridsize"] == 2
    assert resolved["model"]["amp_activation"] == "swish"
    assert resolved["trainer"]["batch_size"] == 8  # flags win
    assert resolved["trainer"]["learning_rate"] == 1e-3  # the file wins over what is usual
    assert "left out" in capsys.readouterr().err


def test_what_ancestors_write_by_themselves_says_nothing(read, capsys):
    every = {
        section: {name: old.usual for name, old in table.items() if "*" not in name}
        for section, table in SECTIONS.items()
    }
    every["training_config"]["device"] = "cpu"
    found = read(**every)
    assert capsys.readouterr().err == ""
    accepted(found)
    assert found["model.gridsize"] == 2


def test_every_counterpart_is_a_setting():
    for name, old in translated():
        for setting in old.setting.split(", "):
            assert setting in settings(), name
    for kind, table in CLIENT.items():
        for name, old in table.items():
            assert not old.setting or old.setting in {*settings(), "hydra.run.dir"}, (kind, name)


def test_every_field_says_where_it_went():
    for table in [*SECTIONS.values(), *CLIENT.values()]:
        for name, old in table.items():
            assert old.setting or old.note, name


@pytest.mark.parametrize(
    ("section", "fields", "wanted"),
    [
        ("model_config", {"mode": "Supervised"}, {"model.architecture": "supervised"}),
        ("model_config", {"architecture": "fno"}, {"model.generator": "fno"}),
        (
            "model_config", {"architecture": "hybrid_resnet", "generator_output_mode": "amp_phase"},
            {"model.generator": "hybrid_resnet", "model.output": "amplitude_phase"},
        ),
        (
            "model_config", {"architecture": "fno", "generator_output_mode": "real_imag",
                             "amp_activation": "silu"},
            {"model.generator": "fno", "model.output": "real_imag"},
        ),
        ("model_config", {"generator_output_mode": "real_imag"}, {}),  # not that of a cnn
        ("model_config", {"cnn_output_mode": "real_imag"}, {"model.output": "real_imag"}),
        ("model_config", {"pad_object": False, "probe_big": False}, {"model.pad_object": False}),
        (
            "model_config", {"loss_function": "MAE"},
            {"trainer.nll_weight": 0.0, "trainer.mae_weight": 1.0},
        ),
        (
            "model_config", {"loss_function": "MAE", "mode": "Supervised"},
            {"model.architecture": "supervised", "trainer.realspace_weight": 0.0,
             "trainer.realspace_mae_weight": 1.0},
        ),
        (
            "training_config", {"torch_loss_mode": "mae"},
            {"trainer.nll_weight": 0.0, "trainer.mae_weight": 1.0},
        ),
        (
            "training_config", {"nll": False},
            {"trainer.nll_weight": 0.0, "trainer.mae_weight": 1.0},
        ),
        (
            "training_config", {"nll": False, "torch_loss_mode": "poisson"},
            {"trainer.torch_loss_mode": "poisson"},
        ),
        ("training_config", {"n_devices": 1, "strategy": None}, {}),
        ("training_config", {"n_devices": 0}, {}),
        ("training_config", {"n_devices": "auto"}, {}),
        ("training_config", {"n_devices": 2}, {"trainer.devices": 2, "trainer.strategy": "ddp"}),
        ("training_config", {"device": "cuda:1"}, {"trainer.accelerator": "cuda"}),
        ("training_config", {"gradient_clip_val": 0}, {"trainer.gradient_clip_val": None}),
        ("training_config", {"weight_decay": 0.0}, {"trainer.weight_decay": 0.0}),
        (
            "training_config", {"gradient_clip_val": 5, "gradient_clip_algorithm": "value"},
            {"trainer.gradient_clip_val": 5, "trainer.gradient_clip_algorithm": "value"},
        ),
        ("training_config", {"orchestrator": "Mlflow"}, {"logger.backend": "mlflow"}),
        ("data_config", {"grid_size": [2, 2], "C": 4}, {"model.gridsize": 2}),
        ("data_config", {"grid_size": [1, 1], "K": 6}, {"model.gridsize": 1}),
        ("data_config", {"C": 9}, {"model.gridsize": 3}),
        ("data_config", {"subsample_seed": 7}, {"seed": 7}),
        (
            "data_config", {"subsample_seed": 7, "gridsize": 2, "K": 6},
            {"model.gridsize": 2, "data.neighbor_count": 7, "seed": 7, "data.subsample_seed": 7},
        ),
        (
            "inference_config", {"middle_trim": 16, "pad_eval": False},
            {"execution.middle_trim": 16, "execution.pad_eval": False},
        ),
        ("inference_config", {"pad_eval": True}, {}),
        (
            "inference_config", {"log_patch_stats": True, "patch_stats_limit": 3},
            {"execution.log_patch_stats": True, "execution.patch_stats_limit": 3},
        ),
        (
            "inference_config", {"log_patch_stats": False, "patch_stats_limit": 3},
            {"execution.log_patch_stats": False},
        ),
    ],
)  # fmt: skip
def test_fields_become_settings(section, fields, wanted, read, capsys):
    found = read(**{section: fields})
    assert found == wanted
    assert capsys.readouterr().err == ""
    architecture = found.get("model.architecture")
    if architecture == "supervised":  # what its preset sets
        found = {"trainer.nll_weight": 0.0, "trainer.realspace_weight": 1.0} | found
    accepted({"execution.middle_trim": 16} | found if "execution.pad_eval" in found else found)


def test_patches_that_stand_alone_have_no_groups(read, capsys):
    found = read(model_config={"object_big": False}, data_config={"grid_size": [2, 2], "K": 6})
    assert found == {"model.object_big": False}
    accepted(found)


def test_supervised_leaves_the_photons_alone(read, capsys):
    found = read(
        model_config={"mode": "Supervised", "intensity_scale_trainable": True},
        training_config={"torch_loss_mode": "poisson", "nll": True},
    )
    assert found == {"model.architecture": "supervised"}
    assert "model_config.intensity_scale_trainable=true" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("section", "fields", "said"),
    [
        ("data_config", {"K_quadrant": 60}, "data_config.K_quadrant=60"),
        ("data_config", {"grid_size": [1, 1], "C": 4}, "data_config.C=4"),
        ("model_config", {"cbam_decoder": True}, "model_config.cbam_decoder=true"),
        ("model_config", {"hybrid_width": 24}, "model_config.hybrid_width=24"),
        ("training_config", {"stage_2_epochs": 5}, "training_config.stage_2_epochs=5"),
        ("training_config", {"optimizer": "sgd"}, 'training_config.optimizer="sgd"'),
        ("training_config", {"strategy": "fsdp"}, 'training_config.strategy="fsdp"'),
        (
            "training_config", {"gradient_clip_val": 0.1, "gradient_clip_algorithm": "agc"},
            'training_config.gradient_clip_algorithm="agc", '
            "training_config.gradient_clip_val=0.1",
        ),
        ("inference_config", {"pad_eval": False}, "inference_config.pad_eval=false"),
        ("datagen_config", {"image_size": [250, 250]}, "datagen_config.image_size=[250, 250]"),
    ],
)  # fmt: skip
def test_what_has_no_counterpart_is_named(section, fields, said, read, capsys):
    assert set(read(**{section: fields})) <= {"model.gridsize"}
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f"without a counterpart and left out (docs/migration.md): {said}.")


def test_what_was_never_heard_of_is_named(read, capsys):
    assert read(data_config={"wavelets": 0}, my_config={"a": 1, "b": None}) == {}
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("never heard of and left out: data_config.wavelets, my_config.a.")


@pytest.mark.parametrize(
    ("section", "fields", "words"),
    [
        ("data_config", {"grid_size": [1, 2]}, r"data_config\.grid_size must be two equal whole"),
        ("data_config", {"grid_size": 2}, r"data_config\.grid_size must be two equal .*got 2\."),
        ("data_config", {"grid_size": [True, True]}, "two equal whole numbers"),
        ("data_config", {"C": 5}, r"data_config\.C must be a square, .* got 5\."),
        ("data_config", {"C": 4, "K": "six"}, r'data_config\.K must be a whole number, got "six"'),
        ("model_config", {"loss_function": "MSE"}, r'loss_function must be Poisson or MAE, got "M'),
        ("model_config", {"architecture": "ffno"}, r"model_config\.architecture must be one of un"),
        ("model_config", {"mode": "PINN"}, r"model_config\.mode: model\.architecture must be one"),
        (
            "model_config",
            {"probe_mask": [[1]]},
            r"model_config\.probe_mask: .*probe_mask must",
        ),
        ("model_config", {"amp_activation": "tanh"}, r"model_config\.amp_activation: .* swish"),
        ("training_config", {"epochs": "ten"}, r"epochs: trainer\.nepochs must be a whole number"),
        ("training_config", {"epochs": 0}, r"training_config\.epochs: .* at least 1, got 0"),
        ("training_config", {"n_devices": -1}, r"n_devices must be a whole number of devices"),
        ("training_config", {"device": 0}, r"training_config\.device: trainer\.accelerator must"),
    ],
)
def test_what_cannot_be_is_refused_by_the_name_in_the_file(section, fields, words, read):
    with pytest.raises(UserError, match=rf"old\.json: .*{words}"):
        read(**{section: fields})


def test_all_faults_at_once(read):
    with pytest.raises(UserError) as caught:
        read(training_config={"epochs": "ten", "batch_size": 1.5})
    assert len(caught.value.faults) == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", r"--config: .*old\.json is no JSON file: "),
        ("[" * 100_000, r"--config: .*old\.json is no JSON file: "),
        ("[1, 2]", r"old\.json must hold sections such as data_config, and holds \[1, 2\]"),
        ('{"data_config": 3}', r"old\.json: data_config must be a section with fields, got 3"),
    ],
)
def test_files_that_are_none_are_refused(content, words, read):
    with pytest.raises(UserError, match=words):
        read(content)


def test_a_file_from_windows_is_read(tmp_path):
    (tmp_path / "old.json").write_text('{"training_config": {"epochs": 3}}', encoding="utf-8-sig")
    assert read_old_config(tmp_path / "old.json") == {"trainer.nepochs": 3}


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"--config: .*none\.json: No such file"):
        read_old_config(tmp_path / "none.json")


def test_the_command_speaks_of_flags_and_fields(tmp_path, capsys):
    write_npz(tmp_path / "one.npz", tiny_scan())
    (tmp_path / "old.json").write_text(json.dumps({"training_config": {"epochs": "ten"}}))
    with pytest.raises(SystemExit) as ended:
        main(["--ptycho_dir", str(tmp_path), "--config", str(tmp_path / "old.json")])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert re.search(r"training_config\.epochs: --max_epochs must be a whole number, got ten", said)
