"""Lightning loggers by name; none of their packages is imported unless it is used."""

from lightning.pytorch.loggers import CSVLogger, Logger

from ptycho.config.choices import LoggerBackend
from ptycho.workflows.session import Session


def make_loggers(session: Session) -> list[Logger]:
    """Loggers of the per-epoch figures besides MLflow, which the session's dashboard feeds."""
    backend = session.run.logger.backend
    many = backend == LoggerBackend.many
    chosen: list[Logger] = []
    if many or backend == LoggerBackend.csv:
        chosen.append(CSVLogger(session.folder, name="csv", version=""))
    if many or backend == LoggerBackend.tensorboard:
        from lightning.pytorch.loggers import TensorBoardLogger

        chosen.append(TensorBoardLogger(session.folder, name="tensorboard", version=""))
    return chosen
