"""Settings of a run that was recorded elsewhere."""

from pathlib import Path

from ptycho.config.config import RunConfig


def find_files(run: RunConfig, place: str | None) -> None:
    """Let relative paths that lead nowhere from here lead from where the run was begun.

    Args:
        run: its settings, which are changed.
        place: the folder in which it was begun; None: unknown.
    """
    if not place:
        return
    for group, name in (
        (run.data, "train_data_file"),
        (run.data, "test_data_file"),
        (run.data, "positions_file"),
        (run.data, "probe_file"),
        (run.data.preprocess, "bad_pixels_file"),
        (run.data.preprocess, "background_file"),
        (run, "bundle"),
    ):
        if path := getattr(group, name):
            setattr(group, name, _found(path, place))
    further = run.data.further_data_files
    run.data.further_data_files = [_found(path, place) for path in further]


def _found(path: str, place: str) -> str:
    there = Path(place, path)
    return path if Path(path).exists() or not there.exists() else str(there)
