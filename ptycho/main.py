"""``ptycho``: evaluates a reconstruction, or hands over to ``ptycho.run``."""

import sys


def main() -> None:
    """Run the command that was typed; each loads what it needs and nothing else."""
    if sys.argv[1:2] == ["evaluate"]:
        from ptycho.evaluate import main as evaluate

        return evaluate(sys.argv[2:])
    from ptycho.run import main as run

    run()
