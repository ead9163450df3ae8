"""What there is to compute with."""

import os

import torch

from ptycho.report.diagnosis import Finding, Weight

_FREE = 0.75


def machine_found() -> Finding:
    """GPU, threads; what ``trainer.accelerator=auto`` will take."""
    threads = torch.get_num_threads()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    figures = {
        "cuda": names,
        "mps": torch.backends.mps.is_available(),
        "cores": cores,
        "threads": threads,
        "torch": torch.__version__,
    }
    if torch.cuda.is_available():
        said = f"{', '.join(names)}; {cores} cores. Runs take the GPU by themselves."
    elif torch.backends.mps.is_available():
        said = f"an Apple GPU (MPS); {cores} cores. Runs take the GPU by themselves."
    else:
        said = f"no GPU that torch {torch.__version__} can use; {cores} cores."
    said += f" torch computes with {threads} thread{'s' * (threads != 1)}."
    if cores and threads < _FREE * cores:
        said += " Fewer than there are cores: OMP_NUM_THREADS or execution.threads says so."
    return Finding("machine", Weight.note, said, figures=figures)
