"""``ptycho``: runs by default, or one of the commands that look at what runs left behind."""

import sys
from importlib import import_module

COMMANDS = {
    "convert": "ptycho.convert",
    "doctor": "ptycho.doctor",
    "evaluate": "ptycho.evaluate",
    "inference": "ptycho.inference",
    "reproduce": "ptycho.reproduce",
    "resume": "ptycho.resume",
    "simulate": "ptycho.simulate",
    "sweep-report": "ptycho.sweep_report",
    "sync": "ptycho.sync",
    "train": "ptycho.train",
}
"""Word -> module whose ``main`` takes the other words."""


def main() -> None:
    """Run the command that was typed; each loads what it needs and nothing else."""
    module = COMMANDS.get(sys.argv[1]) if len(sys.argv) > 1 else None
    if module:
        import_module(module).main(sys.argv[2:])
        return
    if len(sys.argv) > 1 and sys.argv[1].replace("-", "").isalpha() and sys.argv[1][0] != "-":
        print(
            f"ptycho: there is no command {sys.argv[1]}; commands are {', '.join(COMMANDS)}. "
            "A run takes settings, NAME=VALUE; see ptycho --help.",
            file=sys.stderr,
        )
        sys.exit(2)
    from ptycho.run import main as run

    run()
