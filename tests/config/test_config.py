"""The dataclasses: described, light to import, and usable by a client that fills them in later."""

import ast
import copy
import dataclasses
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ptycho.config import config
from ptycho.config.config import (
    ConfigError,
    InferenceConfig,
    PyTorchExecutionConfig,
    RunConfig,
    TrainingConfig,
    UserError,
)

CLASSES = [one for one in vars(config).values() if dataclasses.is_dataclass(one)]
REPOSITORY = Path(__file__).parents[2]


def undescribed() -> Iterator[str]:
    """Fields without a line of description below them; groups are described by their class."""
    tree = ast.parse(Path(config.__file__).read_text())
    for node in (one for one in tree.body if isinstance(one, ast.ClassDef)):
        for field, below in zip(node.body, [*node.body[1:], None], strict=True):
            if not isinstance(field, ast.AnnAssign) or "default_factory" in ast.unparse(field):
                continue
            described = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
            if not described:
                yield f"{node.name}.{ast.unparse(field.target)}"


def test_every_setting_says_what_it_is():
    assert list(undescribed()) == []


@pytest.mark.parametrize("kind", CLASSES)
def test_every_group_says_what_it_is(kind: type):
    # dataclasses without a docstring get their signature instead
    assert not (kind.__doc__ or "").startswith(f"{kind.__name__}(")


@pytest.mark.parametrize("kind", CLASSES)
def test_configs_start_from_defaults_and_stay_writable(kind: type):
    made = kind()
    first = dataclasses.fields(kind)[0].name
    setattr(made, first, "changed")
    assert getattr(made, first) == "changed"
    assert getattr(kind(), first) != "changed"


@pytest.mark.parametrize("kind", CLASSES)
def test_configs_travel_to_other_processes_and_copy(kind: type):
    made = kind()
    assert pickle.loads(pickle.dumps(made)) == made
    assert copy.deepcopy(made) == made


def test_groups_are_not_shared_between_configs():
    one, other = RunConfig(), RunConfig()
    one.data.synthetic.seed = 7
    copied = copy.deepcopy(one)
    copied.trainer.nepochs = 3
    assert other.data.synthetic.seed == 0
    assert one.trainer.nepochs == 50


def test_a_client_fills_in_the_pattern_size_later():
    training, inference = TrainingConfig(nepochs=2), InferenceConfig()
    assert training.model.N is None
    training.model.N = inference.model.N = 128
    assert training.model.N == inference.model.N == 128


def test_a_shared_setting_has_one_default():
    defaults: dict[str, set[str]] = {}
    for kind in (TrainingConfig, InferenceConfig, PyTorchExecutionConfig):
        for item in dataclasses.fields(kind):
            defaults.setdefault(item.name, set()).add(repr(item.default))
    assert [name for name, values in defaults.items() if len(values) > 1] == []


def test_a_user_error_is_a_value_error_with_a_sentence_a_line():
    error = ConfigError("one.", "two.")
    assert isinstance(error, UserError)
    assert isinstance(error, ValueError)
    assert str(error) == "one.\ntwo."


HEAVY = ("torch", "numpy", "hydra", "omegaconf", "yaml", "lightning", "mlflow", "h5py")


@pytest.mark.parametrize("module", ["config.config", "config.validate", "config.legacy", "params"])
def test_settings_cost_a_parent_process_nothing(module: str):
    program = (
        f"import sys, ptycho.{module}, ptycho.config.config as c\n"
        "c.PyTorchExecutionConfig()\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
