"""What a sweep varies, read from what was typed or from a preset; knows Hydra's grammar."""

import typing
from collections.abc import Iterable, Sequence
from itertools import islice

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    ChoiceSweep,
    IntervalSweep,
    Override,
    RangeSweep,
    ValueType,
)
from hydra.errors import HydraException

from ptycho.config.choices import SweepSampler
from ptycho.config.config import ConfigError, RunConfig, SweepConfig
from ptycho.config.space import Dimension, Space
from ptycho.config.validate import leaves

MOST = 100_000
"""Values of one setting that a grid lists."""

_KINDS = "1,2,3, choice(..), range(a,b), interval(a,b) and tag(log,interval(a,b))"
_NEVER = ("sweep", "launcher", "hydra", "execution.resume")


def read_space(
    arguments: Sequence[str], sweep: SweepConfig, loader: ConfigLoader | None = None
) -> Space:
    """What is varied: what was typed, or, where nothing was, ``sweep.params``.

    Of those, settings that were given one value keep it.

    Args:
        arguments: overrides as typed.
        sweep: settings of the sweep, which decide what can be varied how.
        loader: lists the options of groups for ``glob(..)``.

    Raises:
        ConfigError: with a sentence for everything that cannot be varied so.
    """
    typed = _parsed(arguments, loader)
    fixed = [str(one.input_line) for one in typed if not one.is_sweep_override()]
    varied = [one for one in typed if one.is_sweep_override()]
    if not varied:
        given = {one.key_or_group.lstrip("+") for one in typed}
        preset = {name: text for name, text in sweep.params.items() if name not in given}
        lines = [f"{name}={text}" for name, text in preset.items()]
        varied = _parsed(lines, loader, "sweep.params: ")
    found: dict[str, Dimension] = {}
    faults: list[str] = []
    for one in varied:
        try:
            dimension = dimension_of(one, sweep.sampler)
            found[dimension.name] = dimension
        except ConfigError as error:
            faults += error.faults
    if not varied and sweep.sampler.draws:
        faults.append(
            f"sweep.sampler={sweep.sampler} draws what is varied, and nothing is; type for "
            "instance 'trainer.learning_rate=tag(log,interval(3e-4,1e-2))'."
        )
    if faults:
        raise ConfigError(*faults)
    return Space(tuple(fixed), tuple(found.values()))


def dimension_of(one: Override, sampler: SweepSampler) -> Dimension:
    """One typed setting with several values.

    Raises:
        ConfigError: it cannot be varied, or not so.
    """
    name, line = one.get_key_element(), str(one.input_line)
    text = line.partition("=")[2]
    group = one.key_or_group.lstrip("+")
    if any(group == never or group.startswith((f"{never}.", f"{never}/")) for never in _NEVER):
        raise ConfigError(
            f"{line}: {group} is the same for all jobs of a sweep; give it one value, or start "
            "one sweep for each."
        )
    value = one.value()
    sampled = sampler != SweepSampler.grid
    if isinstance(value, IntervalSweep):
        if not sampled:
            raise ConfigError(
                f"{line}: sweep.sampler=grid tries every value, and an interval has no list of "
                f"them; type the values ({name}=1,2,3), or sample: sweep=tpe."
            )
        return _between(one, name, text, value)
    if getattr(value, "shuffle", False):
        raise ConfigError(
            f"{line}: shuffle(..) would number the jobs otherwise at every start; leave it out, "
            "or sample: sweep=tpe sweep.sampler=random."
        )
    if isinstance(value, RangeSweep) and sampled and value.step and float(value.step) > 0:
        return _steps(one, name, text, value)
    values = _listed(one, line)
    if isinstance(value, ChoiceSweep | RangeSweep) and value.tags:
        raise ConfigError(
            f"{line}: tag(..) is for interval(a,b) and, with whole numbers, range(a,b), got "
            f"tag({','.join(sorted(value.tags))},..). Leave it out."
        )
    return Dimension(name, text, values)


def _parsed(lines: Iterable[str], loader: ConfigLoader | None, where: str = "") -> list[Override]:
    parser = OverridesParser.create(config_loader=loader)
    found: list[Override] = []
    faults: list[str] = []
    for line in lines:
        try:
            found += parser.parse_overrides([line])  # which knows the loader, for glob(..)
        except HydraException:
            faults.append(f"{where}cannot read {line!r}. What can be varied is {_KINDS}.")
        else:
            if where and not found[-1].is_sweep_override():
                faults.append(
                    f"{where}{line} names one value, and this is the list of what is varied by "
                    f"{_KINDS}."
                )
    if faults:
        raise ConfigError(*faults)
    return found


def _listed(one: Override, line: str) -> tuple[str, ...]:
    try:
        values = tuple(islice(one.sweep_string_iterator(), MOST + 1))
    except HydraException as error:
        said = str(error).splitlines()[0].rstrip(".")
        raise ConfigError(f"{line}: {said}. What can be varied is {_KINDS}.") from None
    if not values:
        kind = "matches nothing" if one.value_type == ValueType.GLOB_CHOICE_SWEEP else "is empty"
        raise ConfigError(f"{line} {kind}: there is no value to try.")
    if len(values) > MOST:
        raise ConfigError(f"{line} lists more than {MOST:,} values; sample instead: sweep=tpe.")
    return tuple(dict.fromkeys(values))


def _between(one: Override, name: str, text: str, value: IntervalSweep) -> Dimension:
    low, high = value.start, value.end
    assert low is not None
    assert high is not None
    log = _logarithmic(one, value.tags)
    whole = isinstance(low, int) or _whole(one.key_or_group)
    if low >= high:
        raise ConfigError(
            f"{one.input_line}: the first number must be the smaller one, got {low:g} and {high:g}."
        )
    if log and low <= 0:
        raise ConfigError(
            f"{one.input_line}: with tag(log,..) both ends must be greater than 0, got {low:g}."
        )
    return Dimension(name, text, low=low, high=high, log=log, whole=whole)


def _steps(one: Override, name: str, text: str, value: RangeSweep) -> Dimension:
    start, stop, step = value.start, value.stop, value.step
    assert start is not None
    assert stop is not None
    log = _logarithmic(one, value.tags)
    whole = all(isinstance(number, int) for number in (start, stop, step))
    if log and not (whole and step == 1):
        raise ConfigError(
            f"{one.input_line}: tag(log,range(a,b)) is for whole numbers in steps of 1; use "
            "tag(log,interval(a,b)), or leave the tag out."
        )
    count = _count(float(start), float(stop), float(step))
    if count < 1:
        raise ConfigError(f"{one.input_line} is empty: there is no value to try.")
    return Dimension(
        name, text, low=start, high=start + (count - 1) * step, step=step, log=log, whole=whole
    )


def _count(start: float, stop: float, step: float) -> int:
    """Values from ``start`` in steps below ``stop``; a rounding error is no value."""
    whole, rest = divmod((stop - start) / step, 1)
    return int(whole) + (rest > 1e-9)


def _logarithmic(one: Override, tags: set[str]) -> bool:
    if tags - {"log"}:
        raise ConfigError(
            f"{one.input_line}: the only tag that means something is log, got "
            f"{', '.join(sorted(tags))}."
        )
    return "log" in tags


def _whole(name: str) -> bool:
    """Whether a setting takes whole numbers only."""
    hints = {leaf: hint for leaf, _, hint, _ in leaves(RunConfig())}
    kinds = typing.get_args(hints.get(name)) or (hints.get(name),)
    return int in kinds and float not in kinds
