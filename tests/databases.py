"""MLflow's empty database, made once a process: its migrations take most of a second."""

import sqlite3
import sys
import threading
from collections.abc import Callable
from typing import Any

_EMPTY = sqlite3.connect(":memory:", check_same_thread=False)
_ONE_AT_A_TIME = threading.Lock()


def copy_empty_ones() -> None:
    """From now on give every new SQLite file the tables that MLflow gave the first one."""
    made: Any = sys.modules.get("mlflow.store.db.utils")
    if made is not None and not hasattr(made._initialize_tables, "copies"):
        made._initialize_tables = _copying(made._initialize_tables)


def _copying(real: Callable[[Any], None]) -> Callable[[Any], None]:
    def initialise(engine: Any) -> None:
        if engine.dialect.name != "sqlite":
            real(engine)
            return
        with _ONE_AT_A_TIME, engine.connect() as opened:
            file = opened.connection.driver_connection
            if _is_empty(file) and not _is_empty(_EMPTY):
                _EMPTY.backup(file)
                return
            is_new = _is_empty(file)
            real(engine)
            if is_new:
                file.backup(_EMPTY)

    initialise.copies = True  # type: ignore[attr-defined]
    return initialise


def _is_empty(database: sqlite3.Connection) -> bool:
    (count,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return int(count) == 0
