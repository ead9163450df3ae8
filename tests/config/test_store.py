"""What Hydra composes: every option, who wins, and what is said about a slip."""

import copy
import os
import subprocess
import sys
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra._internal.utils import create_config_search_path
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from ptycho.config import store
from ptycho.config.choices import Accelerator, DataSource, LoggerBackend
from ptycho.config.config import ConfigError, RunConfig
from ptycho.config.describe import quoted
from ptycho.config.store import check_command_line, conf_dir, register
from ptycho.config.sweep_rules import missing_extras
from ptycho.config.validate import leaves

CONF = Path(conf_dir())
REPOSITORY = CONF.parent
OPTIONS = sorted(
    (folder.name, path.stem)
    for folder in CONF.iterdir()
    if folder.is_dir()
    for path in folder.glob("*.yaml")
)
OURS = {one.path for one in create_config_search_path(str(CONF)).get_path()}
NEED_A_FILE = (("data", "npz"), ("data", "file"))


@pytest.fixture(autouse=True, scope="module")
def _schema():
    register()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "compose", each_once(store.compose))
        # Hydra copies every schema it knows for each composition, and each again when it reads it
        patch.setattr(ConfigStore, "__deepcopy__", lambda self, _: self, raising=False)
        yield


def each_once(real: Callable[..., DictConfig]) -> Callable[..., DictConfig]:
    """Compose the same words over our own files once: it takes a tenth of a second."""
    known: dict[tuple[str, ...], DictConfig] = {}

    def composing(name: str, overrides: list[str]) -> DictConfig:
        places = GlobalHydra.instance().config_loader().get_search_path().get_path()
        if {one.path for one in places} != OURS:
            return real(name, overrides=overrides)  # a test may change those of its own
        if (words := (name, *overrides)) not in known:
            known[words] = real(name, overrides=overrides)
        return copy.deepcopy(known[words])

    return composing


def settled(*typed: str) -> RunConfig:
    """The settings of one command line, or of the first of many jobs."""
    run, *_ = check_command_line(list(typed))
    return run


def complaints(*typed: str) -> list[str]:
    """What is said about a command line."""
    with pytest.raises(ConfigError) as caught:
        check_command_line(list(typed))
    return list(caught.value.faults)


def composed(*overrides: str, folder: Path | None = None, hydra: bool = False) -> DictConfig:
    """What Hydra makes of overrides, before validation."""
    own = [f"hydra.searchpath=[file://{folder}]"] if folder else []
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", overrides=[*overrides, *own], return_hydra_config=hydra)


def written(folder: Path, **files: str) -> Path:
    """A folder of a user's own options; ``trainer__lab`` is ``trainer/lab.yaml``."""
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_the_groups_are_those_the_documents_name():
    assert {group for group, _ in OPTIONS} == {
        "data", "model", "instrument", "trainer", "execution", "experiment", "logger", "paths",
        "debug", "sweep", "launcher",
    }  # fmt: skip
    assert {option for group, option in OPTIONS if group == "trainer"} == {
        "auto", "cpu", "gpu", "mps", "ddp", "smoke",
    }  # fmt: skip
    assert {option for group, option in OPTIONS if group == "logger"} == set(LoggerBackend)


@pytest.mark.parametrize("choice", [one for one in OPTIONS if one not in NEED_A_FILE], ids="=".join)
def test_every_option_composes_to_typed_settings(choice: tuple[str, str]):
    if missing := [*missing_extras(["=".join(choice)])]:
        pytest.skip(missing[0])
    of_many = ["-m", "seed=1,2"] if choice[0] in ("sweep", "launcher") else []
    run = settled("=".join(choice), *of_many)
    assert isinstance(run, RunConfig)
    assert isinstance(run.trainer.accelerator, Accelerator)
    assert isinstance(run.logger.backend, LoggerBackend)


@pytest.mark.parametrize("choice", OPTIONS, ids="=".join)
def test_every_option_says_something(choice: tuple[str, str]):
    content = yaml.safe_load(CONF.joinpath(*choice).with_suffix(".yaml").read_text())
    assert isinstance(content, dict)
    assert content


def test_a_scan_of_your_own_needs_its_file():
    assert complaints("data=npz") == [
        "data.train_data_file must name the scan for data.source=file, got nothing; "
        "type data.train_data_file=FILE.npz."
    ]
    run = settled("data=npz", "data.train_data_file=a.npz")
    assert run.data.source is DataSource.file
    assert run.data.train_data_file == "a.npz"


def test_fly001_is_expected_below_paths_data():
    assert settled("data=fly001").data.train_data_file == "data/fly001.npz"
    assert settled("data=fly001", "paths.data=/d").data.train_data_file == "/d/fly001.npz"


def test_options_mean_what_they_say():
    for name in ("cpu", "gpu", "mps", "auto"):
        assert settled(f"trainer={name}").trainer.accelerator == name
    assert settled("trainer=ddp").trainer.strategy == "ddp"
    assert settled("trainer=smoke").trainer.nepochs == 1
    assert settled("experiment=low_dose").data.nphotons == 3e3
    assert settled("debug=default").execution.limit_train_batches == 2
    assert settled("debug=default").logger.backend is LoggerBackend.none
    assert settled("debug=profiler").execution.profiler == "simple"
    assert settled().logger.backend is LoggerBackend.mlflow


def alternatives(value: Any, hint: Any) -> tuple[Any, Any, Any]:
    """Three values of the kind of a default; each differs from the one before."""
    if isinstance(value, Enum):
        members = [one for one in type(value) if one is not value] or [value]
        return members[0], value, members[-1]
    if isinstance(value, bool) or bool in get_args(hint):
        return not value, bool(value), not value
    if isinstance(value, int):
        return value + 1, value + 2, value + 3
    if isinstance(value, float):
        return value + 0.25, value + 0.5, value + 0.75
    if isinstance(value, list):
        texts = ["min", "max", "min"] if "Direction" in str(hint) else ["3", "4", "5"]
        return [texts[0]], [texts[1]], [texts[2]]
    return "3", "4", "5"  # fits texts and numbers that are empty by default


EVERY = [
    (name, *alternatives(value, hint))
    for name, value, hint, _ in leaves(RunConfig())
    if name != "sweep.params"  # whose names add up
]


def nested(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Dotted names as a tree of plain values."""
    tree: dict[str, Any] = {}
    for name, value in pairs:
        node = tree
        *groups, last = name.split(".")
        for group in groups:
            node = node.setdefault(group, {})
        node[last] = value.value if isinstance(value, Enum) else value
    return tree


@pytest.fixture(scope="module")
def levels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder with a group option and an experiment that set every field."""
    folder = tmp_path_factory.mktemp("conf")
    groups = nested([(name, first) for name, first, *_ in EVERY])
    texts = {
        f"{group}__mine": yaml.safe_dump(content)
        for group, content in groups.items()
        if (CONF / group).is_dir()
    }
    every = yaml.safe_dump(nested([(name, second) for name, _, second, _ in EVERY]))
    return written(folder, experiment__every=f"# @package _global_\n{every}", **texts)


def assert_holds(cfg: DictConfig, expected: dict[str, Any]) -> None:
    got = {name: OmegaConf.select(cfg, name) for name in expected}
    got |= {n: [f"{one:g}" if isinstance(one, float) else str(one) for one in v]
            for n, v in got.items() if OmegaConf.is_list(v)}  # fmt: skip
    wrong = {n: (got[n], v) for n, v in expected.items() if str(got[n]) != str(v)
             and not (isinstance(got[n], float) and got[n] == float(v))}  # fmt: skip
    assert wrong == {}


def test_precedence_holds_for_every_field(levels: Path):
    mine = [f"{group}=mine" for group in
            ("data", "model", "trainer", "execution", "logger", "sweep", "paths")]  # fmt: skip
    grouped = {name: first for name, first, *_ in EVERY if name.split(".")[0] in
               {one.partition("=")[0] for one in mine}}  # fmt: skip
    assert len(grouped) > 50
    assert_holds(composed(*mine, folder=levels), grouped)  # over the dataclass
    experiment = {name: second for name, _, second, _ in EVERY}
    assert_holds(composed(*mine, "experiment=every", folder=levels), experiment)
    typed = {name: third for name, _, _, third in EVERY}
    line = [f"{name}={str(value).lower() if isinstance(value, bool) else value}"
            for name, value in typed.items()]  # fmt: skip
    assert_holds(composed(*mine, "experiment=every", *line, folder=levels), typed)


def test_the_order_of_typing_does_not_matter():
    assert settled("experiment=quick", "trainer=smoke").trainer.nepochs == 10
    assert settled("trainer.nepochs=3", "experiment=quick").trainer.nepochs == 3
    assert settled("debug=default", "experiment=quick").trainer.nepochs == 1


def test_paths_outputs_moves_everything():
    cfg = composed("paths.outputs=/elsewhere", hydra=True)
    assert cfg.hydra.run.dir.startswith("/elsewhere/runs/")
    assert cfg.hydra.run.dir.endswith("_train_synthetic")
    assert cfg.hydra.sweep.dir.startswith("/elsewhere/sweeps/")


@pytest.mark.parametrize("plus", ["", "+", "++"])
@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("model.lrr=3", "there is no setting model.lrr. Did you mean trainer.learning_rate?"),
        ("lr=1", "there is no setting lr. Did you mean trainer.learning_rate?"),
        ("traner=cpu", "there is no setting traner. Did you mean trainer?"),
        ("refine.foo=1", "there is no setting refine.foo. refine has iterations, poisson_itera"),
        ("seed.foo=1", "there is no setting seed.foo."),
        ("slver.iterations=1", "there is no setting slver.iterations. Did you mean solver.iter"),
    ],
)
def test_an_unknown_name_is_refused_whatever_its_sign(plus: str, typed: str, words: str):
    (said,) = complaints(plus + typed)
    assert said.startswith(words)


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("~trainer.nepochs", "trainer.nepochs cannot be removed; every setting has a value"),
        ("~model.N", "model.N cannot be removed"),
        ("~nonsense", "there is no setting nonsense"),
        ("trainer=nope", "trainer=nope does not exist; trainer may be auto, cpu, ddp, gpu, mps, "),
        (
            "experiment=nope",
            "experiment=nope does not exist; experiment may be distill, low_dose, quick",
        ),
        ("planer=x", "there is no setting planer."),
        ("experiment=null", "experiment=null names no option of experiment; leave it out"),
        ("data=3", "data=3 names no option of data; leave it out, or type data=OPTION"),
        ("hydra=3", "hydra=3 names no option of hydra"),
        ("+experiment=quick", "experiment is there already; type experiment=quick without the"),
        ("++data=npz", "data is there already; type data=npz without the plus"),
        ("solver=fast", "solver is a group; type solver.NAME=VALUE with coarse_iterations, "),
        ("data.synthetic=3", "data.synthetic is a group; type data.synthetic.NAME=VALUE"),
        ("data.synthetic={n_pattern: 64}", "Could not override 'data.synthetic'. Key 'n_pattern'"),
        ("trainer.nepochs", "cannot read 'trainer.nepochs': missing EQUAL"),
        ("trainer.nepochs==3", "cannot read 'trainer.nepochs==3': extraneous input '='. Setting"),
        ("data.train_data_file=a=b", "cannot read 'data.train_data_file=a=b': mismatched input"),
        ("=3", "cannot read '=3': the name is missing."),
        ("trainer.nepochs=", "trainer.nepochs=: Value '' of type 'str' could not be converted"),
        ("trainer.nepochs=abc", "trainer.nepochs=abc: Value 'abc' of type 'str' could not be"),
        ("trainer.nepochs=null", "trainer.nepochs=null: field 'trainer.nepochs' is not Optional"),
        ("seed=1.5", "seed=1.5: Value '1.5' of type 'float' could not be converted to Integer"),
        (
            "execution.deterministic=maybe",
            "execution.deterministic must be true or false, got maybe.",
        ),
        (
            "task=fly",
            "task=fly: Invalid value 'fly', expected one of [train, reconstruct, solve, adapt]",
        ),
        ("trainer.devices=[1]", "trainer.devices=[1]: Value '[1]' of type 'list' is incompatible"),
        ("paths.data=${paths.nope}", "paths.data: Interpolation key 'paths.nope' not found"),
        ("trainer.nepochs=1,2", "trainer.nepochs=1,2 names several values; add -m"),
        ("seed=range(3)", "seed=range(3) names several values; add -m"),
        ("--config-name=other", "Cannot find primary config 'other'"),
        ("--config-dir=/nowhere", "--config-dir: no such folder: /nowhere"),
    ],
)
def test_a_slip_gets_one_sentence(typed: str, words: str):
    (said,) = complaints(typed)
    assert said.startswith(words)
    assert "\n" not in said


@pytest.mark.parametrize("value", ["-1", '"3"', "99999999999999999999", "1.0", "2", "maybe", "y"])
def test_a_switch_is_on_or_off(value: str):
    (said,) = complaints("data=npz", "data.train_data_file=x", f"data.positions.flip_y={value}")
    assert said == f"data.positions.flip_y must be true or false, got {value}."


@pytest.mark.parametrize("value", ["true", "YES", "on", "1", "'true'", "${data.positions.flip_x}"])
def test_a_switch_may_be_typed_in_many_ways(value: str):
    run = settled(
        "data=npz", "data.train_data_file=x", "data.positions.flip_x=true",
        f"data.positions.flip_y={value}",
    )  # fmt: skip
    assert run.data.positions.flip_y is True


def test_what_cannot_be_read_is_told_how_to_quote():
    (said,) = complaints("data.train_data_file=a(1)b=c.npz")
    assert said.endswith("needs quotes of its own: 'NAME=\"VALUE\"'.")
    run = settled("data=npz", 'data.train_data_file="a (1), b=c.npz"')
    assert run.data.train_data_file == "a (1), b=c.npz"


def test_a_value_that_cannot_be_read_is_not_said_to_be_missing():
    (said,) = complaints("data=file", "data.train_data_file=ünï.npz")
    assert said.endswith("""needs quotes of its own: data.train_data_file="'ünï.npz'".""")
    run = settled("data=npz", "data.train_data_file='ünï.npz'")
    assert run.data.train_data_file == "ünï.npz"


@pytest.mark.parametrize(
    "name",
    [
        "ünï.npz", "日本.npz", "null", "true", "1e3", ".5", "1_0", "inf", "${x}.npz", "a\\${x}",
        "it's", '"it"', "back\\slash", "end\\", "\\'", "a b", "a=b", "a,b", "[a]", "{a}", "",
    ],
)  # fmt: skip
def test_a_name_is_typed_as_it_is(name: str):
    parsed = OverridesParser.create().parse_override(f"a={quoted(name)}")
    assert OmegaConf.create({"a": parsed.value()}).a == name


def test_a_file_alone_is_told_how_to_be_typed(tmp_path: Path):
    file = tmp_path / "my scan.npz"
    file.touch()
    (said,) = complaints(str(file))
    assert said == (
        f"{file}: to reconstruct a file, type data=file data.train_data_file='{file}'; to look at "
        f"it first, ptycho doctor '{file}'."
    )


def test_all_slips_come_at_once():
    said = complaints(
        "nonsense", "+model.lrr=3", "trainer.nepochs=abc", "data.nphotons=-1", "model.gridsize=2"
    )
    assert [one.split()[-1] if "cannot read" in one else one.split("=")[0].split()[0:5]
            for one in said] == [
        "'NAME=\"VALUE\"'.",
        ["there", "is", "no", "setting", "model.lrr."],
        ["trainer.nepochs"],
        ["data.nphotons", "must", "be", "greater", "than"],
        ["model.gridsize", "must", "be", "1", "for"],
    ]  # fmt: skip


@pytest.mark.parametrize("typed", ["~experiment", "~model", "++model.N=32", "+model.N=32"])
def test_what_does_no_harm_is_allowed(typed: str):
    assert settled(typed).model.N in (None, 32)


def test_a_sweep_is_every_job():
    runs = check_command_line(["-m", "trainer.nepochs=1,2", "seed=range(0,3)"])
    assert [(run.trainer.nepochs, run.seed) for run in runs] == [
        (1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (
            ["task=solve", "refine.iterations=3"],
            "refine.iterations says how the physics finishes what a network began, and task=solve "
            "has none; leave it out, or type solver.iterations.",
        ),
        (
            ["-m", "task=solve", "refine.poisson_iterations=3,4"],
            "refine.poisson_iterations says how the physics finishes what a network began, and "
            "task=solve has none; leave it out, or type solver.poisson_iterations.",
        ),
        (
            ["task=solve", "trainer={nepochs: 3}"],
            "trainer.nepochs is for learning, and task=solve learns nothing; leave it out, or use "
            "task=train.",
        ),
        (
            ["task=reconstruct", "bundle=b.zip", "trainer.tv_weight=0"],
            "trainer.tv_weight is for learning, and task=reconstruct learns nothing; leave it out, "
            "or use task=adapt.",
        ),
        (
            ["solver.iterations=9"],
            "solver.iterations is for task=solve and for the labels of data.labels=solver, and "
            "this is task=train without; leave it out, or type refine.iterations.",
        ),
        (
            ["task=adapt", "bundle=b.zip", "solver.coarse_iterations=9"],
            "solver.coarse_iterations is for task=solve and for the labels of data.labels=solver, "
            "and this is task=adapt without; leave it out, or type model.lift_coarse_iterations.",
        ),
        *(
            (
                ["task=solve", f"execution.{typed}"],
                f"execution.{typed.partition('=')[0]} is for learning, and task=solve learns "
                "nothing; leave it out, or use task=train.",
            )
            for typed in (
                "enable_checkpointing=false",
                "checkpoint_save_top_k=2",
                "checkpoint_mode=max",
                "checkpoint_monitor_metric=val_loss",
                "early_stop_patience=3",
                "collapse_guard=false",
                "recon_log_every_n_epochs=1",
                "limit_train_batches=1",
                "detect_anomaly=true",
                "profiler=simple",
            )
        ),
        *(
            (
                ["task=solve", "execution={num_workers: 0}", f"execution.{typed}"],
                [
                    f"execution.{name} says how networks get what they work on, and task=solve has "
                    "none; leave it out."
                    for name in dict.fromkeys(("num_workers", typed.partition("=")[0]))
                ],
            )
            for typed in ("num_workers=1", "pin_memory=true", "inference_batch_size=1")
        ),
        (
            [
                "task=reconstruct",
                "bundle=b.zip",
                "execution.num_workers=1",
                "execution.persistent_workers=true",
            ],
            "execution.persistent_workers keeps workers from one epoch to the next, and "
            "task=reconstruct has no epochs; leave it out.",
        ),
    ],
)
def test_what_is_typed_and_read_by_no_job_is_refused(typed: list[str], words: str | list[str]):
    assert complaints(*typed) == ([words] if isinstance(words, str) else words)


@pytest.mark.parametrize(
    "typed",
    [
        ["experiment=quick", "task=solve"],  # a preset is not typed
        ["trainer=smoke", "task=solve", "trainer.precision=bf16-mixed"],
        ["-m", "task=solve,train", "refine.iterations=3", "trainer.nepochs=3"],
        ["experiment=distill", "solver.iterations=9", "trainer.nepochs=3"],
        ["task=solve", "solver.iterations=9"],
        ["task=reconstruct", "bundle=b.zip", "refine.iterations=3", "solver.cap=9"],
        ["task=adapt", "bundle=b.zip", "trainer.tv_weight=0"],
        ["-m", "task=solve,train", "seed=range(0,30)", "trainer.nepochs=3"],  # not all looked at
        ["task=reconstruct", "bundle=b.zip", "execution={num_workers: 1, prefetch_factor: 3}"],
        ["task=adapt", "bundle=b.zip", "execution.num_workers=1", "execution.profiler=simple"],
        ["task=solve", "execution={threads: 1, deterministic: false, resume: auto, quiet: true}"],
        ["-m", "task=solve,train", "execution.num_workers=1", "execution.profiler=simple"],
    ],
)
def test_what_is_typed_and_read_is_allowed(typed: list[str]):
    assert check_command_line(typed)


def test_distilling_a_file_is_told_what_to_do():
    (said,) = complaints("experiment=distill", "data=npz", "data.train_data_file=a.npz")
    assert said == (
        "data.synthetic.object=mixed, data.synthetic.n_objects=6: this describes a simulated scan, "
        "and data.source=file reads one instead. experiment=distill learns from simulated scans: "
        "run it without data=npz, then type task=reconstruct bundle=RUN_FOLDER data=npz "
        "data.train_data_file=FILE. Or leave experiment=distill out and let the solver teach on "
        "this scan alone: data.labels=solver trainer.realspace_weight=1."
    )


def test_a_sweep_over_files_or_groups_is_allowed():
    runs = check_command_line(["-m", "data=npz", "data.train_data_file=a.npz,b.npz"])
    assert [run.data.train_data_file for run in runs] == ["a.npz", "b.npz"]
    runs = check_command_line(["-m", "trainer=cpu,gpu"])
    assert [run.trainer.accelerator for run in runs] == ["cpu", "gpu"]


def test_every_value_of_a_sweep_is_judged_before_the_first_job():
    assert complaints("-m", "trainer.nepochs=0,1,-2") == [
        "trainer.nepochs must be at least 1, got 0.",
        "trainer.nepochs must be at least 1, got -2.",
    ]
    (said,) = complaints("-m", "trainer=cpu,nope")
    assert said.startswith("trainer=nope does not exist")
    (said,) = complaints("-m", "model.lrr=1,2")
    assert said.startswith("there is no setting model.lrr")
    (said,) = complaints("-m", "trainer.nepochs=1,abc")
    assert "trainer.nepochs=abc" in said
    assert "could not be converted to Integer" in said


def test_a_long_sweep_is_not_composed_to_the_end(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(store, "_JOBS_LOOKED_AT", 3)
    assert len(check_command_line(["-m", "seed=range(0,100000)", "task=train,solve"])) == 3


def test_a_folder_of_the_users_own(tmp_path: Path):
    mine = written(
        tmp_path,
        trainer__lab="nepochs: 7\n",
        sample__one="# @package _global_\nseed: 4\n",
        experiment__mine="# @package _global_\ndefaults:\n  - override /trainer: lab\n",
    )
    assert settled("--config-dir", str(mine), "trainer=lab").trainer.nepochs == 7
    assert settled("--config-dir", str(mine), "experiment=mine").trainer.nepochs == 7
    assert settled("--config-dir", str(mine), "+sample=one").seed == 4
    (said,) = complaints("--config-dir", str(mine), "trainer=other")
    assert (
        said == "trainer=other does not exist; trainer may be auto, cpu, ddp, gpu, lab, mps, smoke."
    )


def test_a_main_file_of_the_users_own(tmp_path: Path):
    mine = written(
        tmp_path,
        extended="defaults: [config, _self_]\nseed: 3\n",
        bare="seed: 3\ndata: {nphotons: 1e4}\n",
        slips="sed: 3\ndata: {nphoton: 1e4}\n",
        wrong="seed: many\n",
    )
    asked = ("--config-dir", str(mine), "--config-name")
    assert settled(*asked, "extended", "trainer=smoke").seed == 3
    assert settled(*asked, "bare").data.nphotons == 1e4
    assert complaints(*asked, "slips") == [
        "there is no setting sed. Did you mean seed?",
        "there is no setting data.nphoton. Did you mean data.nphotons?",
    ]
    (said,) = complaints(*asked, "wrong")
    assert said.startswith("seed: Value 'many' of type 'str' could not be converted to Integer")


def test_our_options_come_before_the_users_of_the_same_name(tmp_path: Path):
    mine = written(tmp_path, trainer__cpu="nepochs: 7\n")
    assert settled("--config-dir", str(mine), "trainer=cpu").trainer.nepochs == 50  # as Hydra does


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "learning_rat: 1\n",
            "there is no setting trainer.learning_rat (in trainer/lab.yaml). "
            "Did you mean trainer.learning_rate?",
        ),
        (
            "# @package _global_\ntrainr: {nepochs: 1}\n",
            "there is no setting trainr (in trainer/lab.yaml). Did you mean trainer?",
        ),
        (
            "nepochs: many\n",
            "trainer.nepochs: Value 'many' of type 'str' could not be converted to Integer "
            "(in trainer/lab.yaml)",
        ),
        ("nepochs: 0\n", "trainer.nepochs must be at least 1, got 0."),
    ],
)
def test_a_slip_in_the_users_own_file(text: str, words: str, tmp_path: Path):
    mine = written(tmp_path, trainer__lab=text)
    assert complaints("--config-dir", str(mine), "trainer=lab") == [words]


def test_a_file_that_is_no_yaml_is_named(tmp_path: Path):
    mine = written(tmp_path, trainer__lab="nepochs: [\n")
    (said,) = complaints("--config-dir", str(mine), "trainer=lab")
    assert f'"{mine}/trainer/lab.yaml", line 2' in said


def test_what_only_hydra_knows_is_left_to_hydra():
    assert check_command_line(["data.label=${hydra:job.name}"]) == []


@pytest.mark.parametrize("asked", ["--help", "--hydra-help", "--cfg=job", "--info=all", "--shell"])
def test_nothing_is_composed_for_a_question(asked: str):
    arguments = [asked, "data=npz"] if asked != "--shell" else ["--shell-completion"]
    assert check_command_line(arguments) == []


def test_a_printed_config_is_still_checked_for_names():
    assert complaints("--cfg", "job", "model.lrr=3") == [
        "there is no setting model.lrr. Did you mean trainer.learning_rate?"
    ]


def ptycho(*arguments: str, folder: Path, flags: tuple[str, ...] = ()) -> Any:
    """Run the real command in a folder."""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, *flags, "-m", "ptycho.run", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60
    )


def test_the_config_is_printed_without_loading_torch(tmp_path: Path):
    done = ptycho("--cfg", "job", "trainer.nepochs=3", folder=tmp_path, flags=("-X", "importtime"))
    assert done.returncode == 0
    printed = yaml.safe_load(done.stdout)
    assert printed["trainer"]["nepochs"] == 3
    assert printed["data"]["source"] == "synthetic"
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "ptycho.config.store" in loaded  # or the names below would say nothing
    assert not loaded & {"torch", "lightning", "mlflow", "h5py", "numpy", "ptycho.workflows"}
    assert not list(tmp_path.iterdir())


def test_help_lists_groups_and_settings(tmp_path: Path):
    done = ptycho("--help", folder=tmp_path)
    assert done.returncode == 0
    for group, option in OPTIONS:
        assert any(
            line.startswith(f"{group}: ") and option in line for line in done.stdout.splitlines()
        )
    assert "n_filters_scale" in done.stdout
    assert not list(tmp_path.iterdir())


def test_info_shows_where_options_come_from(tmp_path: Path):
    done = ptycho("--info", "searchpath", folder=tmp_path)
    assert done.returncode == 0
    assert str(CONF) in done.stdout


def test_a_reader_who_has_seen_enough_sees_no_traceback(tmp_path: Path):
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"}
    reading, writing = os.pipe()
    os.close(reading)  # as `| head` does when it has its lines
    with os.fdopen(writing, "wb") as gone:
        done = subprocess.run(
            [sys.executable, "-m", "ptycho.run", "--help"],
            cwd=tmp_path, env=environment, stdout=gone, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["sweep=tpe"], ["sweep=tpe is for many runs, and this is one; add -m, or leave it out."]),
        (
            ["launcher=joblib", "sweep.workers=2"],
            [
                "launcher=joblib is for many runs, and this is one; add -m, or leave it out.",
                "sweep.workers=2 is for many runs, and this is one; add -m, or leave it out.",
            ],
        ),
        (
            ["-m", "trainer.tv_weight=interval(0,1)"],
            [
                "trainer.tv_weight=interval(0,1): sweep.sampler=grid tries every value, and an "
                "interval has no list of them; type the values (trainer.tv_weight=1,2,3), or "
                "sample: sweep=tpe."
            ],
        ),
        (
            ["-m", "seed=shuffle(1,2)"],
            [
                "seed=shuffle(1,2): shuffle(..) would number the jobs otherwise at every start; "
                "leave it out, or sample: sweep=tpe sweep.sampler=random."
            ],
        ),
        (
            ["-m", "sweep.n_trials=3", "seed=1,2"],
            [
                "sweep.n_trials=3 has no effect: sweep.sampler=grid tries every combination once. "
                "Leave it out, or sample: sweep=tpe."
            ],
        ),
        (
            ["-m", "sweep=tpe", "sweep.seed=1,2"],
            [
                "sweep.seed=1,2: sweep.seed is the same for all jobs of a sweep; give it one "
                "value, or start one sweep for each."
            ],
        ),
        (
            ["-m", "sweep=tpe", "trainer.nepochs=interval(0,50)"],
            ["trainer.nepochs must be at least 1, got 0."],
        ),
        (
            ["-m", "sweep=tpe", "trainer.lr=interval(0,50)"],
            ["there is no setting trainer.lr. Did you mean trainer.learning_rate?"],
        ),
        (
            ["-m", "sweep=tpe", "sweep.metric=[phase_psn]"],
            ["sweep.metric: there is no figure phase_psn. Did you mean phase_psnr?"],
        ),
        (
            ["-m", "sweep=tpe", "sweep.metric=[C,R]"],
            [
                "sweep.pruner=median gives trials up by one metric, and sweep.metric names 2; "
                "type sweep.pruner=none."
            ],
        ),
        (
            ["-m", "sweep=tpe", "sweep.metric=[seconds]"],
            [
                "sweep.pruner=median gives trials up by how well they explain the patterns, and "
                "sweep.metric=[seconds] says nothing of that; type sweep.pruner=none."
            ],
        ),
        (
            ["-m", "sweep.sampler=tpe", "seed=1,2"],
            [
                "sweep.n_trials must say how many trials sweep.sampler=tpe draws, got nothing; "
                "type sweep.n_trials=20."
            ],
        ),
        (
            ["-m", "task=solve", "sweep.metric=[train/loss]", "seed=1,2"],
            [
                "sweep.metric: train/loss is a figure of a training, and task=solve learns "
                "nothing; choose another, such as C."
            ],
        ),
        (
            ["-m", "seed=1,2", "sweep.direction=[min,max]"],
            [
                "sweep.direction must be min or max for each of the 1 names of sweep.metric, "
                "got 2; leave it out for what is usual."
            ],
        ),
        (
            ["-m", "seed=1,2", "sweep.metric=[train/epochs]"],
            [
                "sweep.metric: whether more or less of train/epochs is better is for you to say; "
                "type sweep.direction=[min] or [max]."
            ],
        ),
        (
            ["-m", "seed=1,2", "hydra.sweep.subdir=x"],
            [
                "hydra.sweep.subdir=x: the folder of a job is its number, by which a sweep goes "
                "on where it stopped; leave it out. hydra.sweep.dir=FOLDER is the folder of all."
            ],
        ),
        (
            ["-m", "sweep=random", "sweep.params={seed: '3'}"],
            [
                "sweep.params is the list of a preset (sweep/NAME.yaml in --config-dir); on the "
                "command line type the settings themselves, as in seed=1,2."
            ],
        ),
        (
            ["-m", "sweep.sampler=random", "sweep.n_trials=3"],
            [
                "sweep.sampler=random draws what is varied, and nothing is; type for instance "
                "'trainer.learning_rate=tag(log,interval(3e-4,1e-2))'."
            ],
        ),
    ],
)
def test_what_a_sweep_cannot_be_is_told(typed: list[str], words: list[str]):
    assert complaints(*typed) == words


@pytest.mark.parametrize("name", ["grid", "random", "tpe", "pareto"])
def test_every_preset_of_a_sweep_is_possible(name: str):
    runs = check_command_line(["-m", f"sweep={name}"])
    assert {str(run.sweep.sampler) for run in runs} == {
        {"pareto": "nsga2"}.get(name, name),
    }


def test_both_ends_of_an_interval_and_every_choice_are_tried_before_the_first_job():
    runs = check_command_line(
        ["-m", "sweep=random", "trainer.learning_rate=interval(0.001,0.01)", "seed=1,2,3"]
    )
    assert [(run.trainer.learning_rate, run.seed) for run in runs] == [
        (0.001, 1), (0.01, 2), (0.01, 3),
    ]  # fmt: skip


def test_a_launcher_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ptycho.config.sweep_rules.find_spec", lambda name: None)
    assert complaints("-m", "launcher=joblib", "seed=1,2") == [
        "launcher=joblib is not installed; type: pip install 'ptycho[sweep]'"
    ]


def test_options_of_a_glob_are_jobs_too():
    runs = check_command_line(["-m", "trainer=glob(c*)"])
    assert [str(run.trainer.accelerator) for run in runs] == ["cpu"]


def test_a_preset_of_the_users_own_says_what_is_varied(tmp_path: Path):
    mine = written(
        tmp_path,
        sweep__mine="sampler: random\nn_trials: 3\nparams: {seed: 'range(1,4)'}\n",
        sweep__one="sampler: random\nn_trials: 3\nparams: {seed: '3'}\n",
        sweep__slip="sampler: random\nn_trials: 3\nparams: {trainer.lr: '1,2'}\n",
    )
    asked = ("--config-dir", str(mine), "-m")
    runs = check_command_line([*asked, "sweep=mine"])
    assert [run.seed for run in runs] == [1, 3]
    assert complaints(*asked, "sweep=one") == [
        "sweep.params: seed=3 names one value, and this is the list of what is varied by "
        "1,2,3, choice(..), range(a,b), interval(a,b) and tag(log,interval(a,b))."
    ]
    assert complaints(*asked, "sweep=slip")[0] == (
        "sweep.params: there is no setting trainer.lr. Did you mean trainer.learning_rate?"
    )
