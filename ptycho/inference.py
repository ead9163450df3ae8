"""``python -m ptycho.inference``: the older command line for reconstruction."""

import sys

from ptycho.compat.command import Command
from ptycho.compat.flags import INFERENCE
from ptycho.compat.request import requested
from ptycho.config.legacy import legacy_params
from ptycho.config.process import exit_codes, gentle_threads

COMMAND = Command(
    prog="python -m ptycho.inference",
    about="Reconstruct a scan with a trained network, all of its patterns, and score the result:\n"
    "what `python -m ptycho.run task=reconstruct data=file` does, with the flags of PtychoPINN.\n"
    "The settings of the network come from its bundle.",
    examples="""\
examples:
  python -m ptycho.inference --model_path OUT --test_data scan.npz --output_dir OUT2
  python -m ptycho.inference --model_path OUT --test_data scan.npz --output_dir OUT2 --n_images 512

It leaves reconstruction.npz (object, probe, positions), pictures and metrics.json.
Flags are settings of python -m ptycho.run, which has more of them: docs/reference.md.
What became of the flags and settings of PtychoPINN: docs/migration.md.
""",
    groups=INFERENCE,
    usual={"data.holdout_fraction": 0.0},  # nothing is trained that they could judge
    begins=("task=reconstruct", "data=file"),
)


def main(arguments: list[str] | None = None) -> None:
    """Reconstruct as the flags say.

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
            payload = factory.create_inference_payload(
                request.bundle, request.scan, request.folder, request.overrides, how
            )
            launch_payload(payload, request.folder, request.hydra)


if __name__ == "__main__":
    main()
