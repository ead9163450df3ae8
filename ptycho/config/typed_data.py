"""Settings of the group ``data`` that are typed after a file and say how it is read."""

from pathlib import Path

from ptycho.config.choices import DataSource
from ptycho.config.config import DataConfig, UserError
from ptycho.config.describe import quoted

_OTHERS = frozenset(
    f"data.{name}"
    for name in (
        "source", "train_data_file", "test_data_file", "further_data_files", "holdout_fraction",
        "nphotons", "labels", "n_groups", "neighbor_count", "enable_oversampling",
    )
)  # fmt: skip


def refusal(name: str, doing: str) -> str | None:
    """Why a setting of a run says nothing about reading a file; None where it does.

    Args:
        name: in full.
        doing: what is done, for the sentence: ``a conversion``.
    """
    if name in _OTHERS or name.startswith("data.synthetic"):
        return f"{name} has no effect on {doing}; leave it out."
    return None


def files_beside(data: DataConfig) -> dict[str, Path]:
    """Files besides the scan that settings of reading name, by the full name of the setting."""
    side = data.preprocess
    named = {
        "data.positions_file": data.positions_file,
        "data.probe_file": data.probe_file,
        "data.preprocess.background_file": side.background_file,
        "data.preprocess.bad_pixels_file": side.bad_pixels_file,
    }
    return {name: Path(path) for name, path in named.items() if path}


def scan_named(words: list[str]) -> list[str]:
    """The settings of a command line on which a scan may stand by its name alone.

    Args:
        words: as typed; one without ``=`` is a file or a folder.

    Returns:
        Settings of a run, ``NAME=VALUE`` each.

    Raises:
        UserError: there is no such file, there are several, or the settings name one as well.
    """
    bare = [word for word in words if "=" not in word and word[:1] != "~"]
    settings = [word for word in words if word not in bare]
    absent = [word for word in bare if not Path(word).exists()]
    if absent:
        raise UserError(
            *(f"no such file: {one}; type a scan, and settings as NAME=VALUE." for one in absent)
        )
    if len(bare) > 1:
        raise UserError(f"{' and '.join(bare)}: one scan at a time; type one of them.")
    if not bare:
        return settings
    name = "data.train_data_file"
    if any(word.lstrip("+").startswith(f"{name}=") for word in settings):
        raise UserError(f"{bare[0]}: {name} names a scan as well; leave one of them out.")
    group = [] if any(word.startswith("data=") for word in settings) else ["data=file"]
    return [*group, f"{name}={quoted(bare[0])}", *settings]


def reading(path: Path, typed: list[str]) -> DataConfig:
    """How a file is read; its label is the file's own unless one is typed.

    Args:
        path: of the scan.
        typed: ``data.NAME=VALUE``.

    Raises:
        ConfigError: a setting does not exist, or is impossible.
    """
    if not typed:
        return DataConfig(label="", source=DataSource.file, train_data_file=str(path))
    from ptycho.config.store import check_command_line, register

    register()
    named = f"data.train_data_file={quoted(str(path))}"
    (run,) = check_command_line(["data=file", named, *typed])
    if not any(text.startswith("data.label=") for text in typed):
        run.data.label = ""
    return run.data
