"""``python -m ptycho.train``: the older command line for training."""

import sys

from ptycho.compat.command import Command
from ptycho.compat.flags import TRAIN
from ptycho.compat.request import requested
from ptycho.config.legacy import legacy_params
from ptycho.config.process import exit_codes, gentle_threads

COMMAND = Command(
    prog="python -m ptycho.train",
    about="Train a network on a scan, reconstruct with it and score the result: what\n"
    "`python -m ptycho.run data=file model=pinn` does, with the flags of PtychoPINN.",
    examples="""\
examples:
  python -m ptycho.train --train_data_file scan.npz --output_dir OUT --max_epochs 20
  python -m ptycho.train --train_data_file scan.npz --output_dir OUT --gridsize 2 --accelerator gpu
  python -m ptycho.train --train_data_file scan.npz --output_dir OUT --resume

Flags are settings of python -m ptycho.run, which has more of them: docs/reference.md.
What became of the flags and settings of PtychoPINN: docs/migration.md.
""",
    groups=TRAIN,
    model="pinn",
)


def main(arguments: list[str] | None = None) -> None:
    """Train as the flags say.

    Args:
        arguments: the command line; taken from ``sys.argv`` when None.
    """
    gentle_threads()
    words = sys.argv[1:] if arguments is None else arguments
    with exit_codes(), COMMAND.speaking(words):
        request = requested(COMMAND, words)
        how = request.execution_config()
        from ptycho.workflows import factory  # heavy from here on: torch
        from ptycho.workflows.launch import launch_payload

        with legacy_params():
            payload = factory.create_training_payload(
                request.scan, request.folder, request.overrides, how
            )
            launch_payload(payload, request.folder, request.hydra)


if __name__ == "__main__":
    main()
