import itertools

import pytest

from ptycho.config.choices import SweepSampler
from ptycho.config.config import ConfigError, SweepConfig
from ptycho.config.space import Dimension, Space
from ptycho.config.typed_space import read_space

GRID = SweepConfig()
DRAWN = SweepConfig(sampler=SweepSampler.tpe, n_trials=3)


def dimension(text: str, sweep: SweepConfig = DRAWN) -> Dimension:
    (found,) = read_space([text], sweep).dimensions
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("trainer.tv_weight=interval(0,0.1)", {"low": 0.0, "high": 0.1}),
        ("trainer.tv_weight=tag(log,interval(1e-4,1e-2))",
         {"low": 1e-4, "high": 1e-2, "log": True}),
        ("seed=interval(1,9)", {"low": 1, "high": 9, "whole": True}),
        ("trainer.tv_weight=int(interval(1,9))", {"low": 1, "high": 9, "whole": True}),
        ("model.N=interval(16,64)", {"low": 16, "high": 64, "whole": True}),
        ("seed=range(1,9)", {"low": 1, "high": 8, "step": 1, "whole": True}),
        ("seed=range(1,10,3)", {"low": 1, "high": 7, "step": 3, "whole": True}),
        ("seed=tag(log,range(1,9))", {"low": 1, "high": 8, "step": 1, "log": True, "whole": True}),
        ("trainer.tv_weight=range(0,1,0.25)", {"low": 0, "high": 0.75, "step": 0.25}),
        ("trainer.tv_weight=range(0,0.3,0.1)", {"low": 0, "high": 0.2, "step": 0.1}),
        ("model=pinn,object_pinn", {"values": ("pinn", "object_pinn")}),
        ("seed=choice(3,1,2)", {"values": ("3", "1", "2")}),
        ("data.label='a b',c", {"values": ("'a b'", "c")}),
        ("data.n_images=null,100", {"values": ("null", "100")}),
        ("seed=range(9,1,-4)", {"values": ("9", "5")}),
        ("trainer.devices=1,auto", {"values": ("1", "auto")}),
        ("sweep_free=1", {}),
    ],
)  # fmt: skip
def test_what_is_typed_is_what_is_drawn(text: str, expected: dict):
    if not expected:
        assert read_space([text, "seed=1,2"], DRAWN).fixed == (text,)
        return
    found = dimension(text)
    assert found == Dimension(
        *text.split("=", 1), **{k: pytest.approx(v) if k == "high" else v
                                for k, v in expected.items()}
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "sampler", "words"),
    [
        ("trainer.tv_weight=interval(1,0)", "tpe", "must be the smaller one, got 1 and 0."),
        ("trainer.tv_weight=tag(log,interval(0,1))", "tpe", "must be greater than 0, got 0."),
        ("trainer.tv_weight=tag(lin,interval(0,1))", "tpe", "only tag that means something is log"),
        ("seed=tag(log,choice(1,2))", "tpe", "tag(..) is for interval(a,b)"),
        ("trainer.tv_weight=tag(log,range(1,2,0.1))", "tpe", "whole numbers in steps of 1"),
        ("seed=range(3,3)", "tpe", "is empty: there is no value to try."),
        ("seed=range(3,3)", "grid", "is empty: there is no value to try."),
        ("seed=range(0,1000000)", "grid", "lists more than 100,000 values; sample instead"),
        ("launcher=basic,joblib", "grid", "launcher is the same for all jobs"),
        ("execution.resume=never,auto", "grid", "execution.resume is the same for all jobs"),
    ],
)
def test_what_cannot_be_varied_is_told(text: str, sampler: str, words: str):
    with pytest.raises(ConfigError) as caught:
        read_space([text], SweepConfig(sampler=SweepSampler(sampler), n_trials=1))
    (said,) = caught.value.faults
    assert said.startswith(text)
    assert words in said


def test_a_grid_is_every_combination_the_last_moving_fastest():
    space = read_space(["seed=1,2", "a=range(0,2)", "b=7"], GRID)
    assert list(space.combinations()) == [
        ("seed=1", "a=0"), ("seed=1", "a=1"), ("seed=2", "a=0"), ("seed=2", "a=1"),
    ]  # fmt: skip
    assert space.fixed == ("b=7",)
    assert list(Space().combinations()) == [()]


def test_typed_ones_replace_the_list_of_a_preset():
    sweep = SweepConfig(sampler=SweepSampler.tpe, n_trials=1, params={"seed": "1,2", "x": "3,4"})
    assert read_space(["y=1"], sweep).params == {"seed": "1,2", "x": "3,4"}
    assert read_space(["seed=5,6", "y=1"], sweep).params == {"seed": "5,6"}
    assert read_space(["seed=5"], sweep).params == {"x": "3,4"}, "one value keeps it"
    assert read_space(["seed=5"], sweep).fixed == ("seed=5",)
    with pytest.raises(ConfigError, match="draws what is varied, and nothing is"):
        read_space(["seed=5", "x=1"], sweep)


def test_a_value_is_typed_as_it_is_read_again():
    one = dimension("trainer.tv_weight=interval(0,1)")
    for value in (1e-05, 0.1 + 0.2, 1e22):
        assert float(one.typed(value).partition("=")[2]) == value
    assert list(itertools.chain(*read_space(["seed=1,2"], DRAWN).samples())) == ["seed=1", "seed=2"]
