"""Front door to the old parameter dictionary; the code is in ptycho.config.legacy."""

from ptycho.config.legacy import cfg, get, set

__all__ = ["cfg", "get", "set"]
