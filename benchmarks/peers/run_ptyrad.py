"""PtyRAD: Adam on the CPU, its own solver's steps."""

import logging

import numpy as np
from protocol import BudgetSpentError, Recorder, arguments, describe, one_thread, read

_MARGIN = 4


def main() -> None:
    one_thread()
    options = arguments()

    import torch
    from ptyrad.core import PtychoModel
    from ptyrad.params.ptyrad_params import PtyRADParams
    from ptyrad.solver import PtyRADSolver
    from ptyrad.solver.reconstruction import (
        compute_loss,
        create_optimizer,
        create_scheduler,
        prepare_recon,
        recon_step,
        toggle_grad_requires,
    )

    torch.set_num_threads(1)
    logging.disable(logging.INFO)
    scan = read(options.scan)
    origin, shape = scan.canvas(_MARGIN)
    params = PtyRADParams(**parameters(scan, origin, shape, options)).model_dump()
    solver = PtyRADSolver(params, device="cpu", seed=0)
    model = PtychoModel(solver.init.init_variables, params["model_params"], device="cpu")
    optimizer = create_optimizer(model.optimizer_params, model.optimizable_params)
    scheduler = create_scheduler(model.scheduler_params, optimizer)
    _, batches, _ = prepare_recon(model, solver.init, params)
    batches = [torch.from_numpy(batch) for batch in batches]

    def take() -> np.ndarray:
        obj = torch.polar(model.opt_obja.detach(), model.opt_objp.detach())
        return obj[0, 0].numpy()

    # each iteration calls this, and the first call imports torch's compiler: not on the clock
    torch.compiler.cudagraph_mark_step_begin()
    recorder = Recorder(options.out, options.budget, take, origin)
    iteration = 0
    try:
        while True:
            iteration += 1
            toggle_grad_requires(model, iteration)
            recon_step(
                batches, 1, model, optimizer, scheduler, solver.loss_fn, solver.constraint_fn,
                iteration, compute_loss_fn=compute_loss,
            )  # fmt: skip
            recorder.tick()
    except BudgetSpentError:
        pass
    describe(options.out, ["ptyrad", "torch", "numpy"], torch.get_num_threads())


def parameters(scan, origin, shape, options):
    settings = options.settings
    n, size = len(scan.counts), scan.size
    off = {"start_iter": None, "lr": 0}
    on = {"start_iter": 1, "lr": settings["object_lr"]}
    probe = {"start_iter": 1, "lr": settings["probe_lr"]} if options.fit_probe else off
    never = {"start_iter": None}
    rows = max(d for d in range(1, int(n**0.5) + 1) if n % d == 0)
    return {
        "init_params": {
            # lengths in pixels called Angstrom: with the probe given they mean nothing else
            "probe_kv": 80, "probe_conv_angle": 10.0, "meas_Npix": size,
            "pos_N_scans": n, "pos_N_scan_slow": rows, "pos_N_scan_fast": n // rows,
            "pos_scan_step_size": 1.0, "pos_scan_rand_std": None,
            "meas_calibration": {"mode": "dx", "value": 1.0},
            "probe_pmode_max": len(scan.probe), "obj_Nlayer": 1, "obj_slice_thickness": 1.0,
            "meas_source": "custom", "meas_params": scan.counts,
            "probe_source": "custom", "probe_params": scan.probe,
            "pos_source": "custom", "pos_params": scan.positions - origin - size // 2,
            "obj_source": "custom",
            "obj_params": np.ones((1, 1, *shape), np.complex64),
        },
        "model_params": {
            "update_params": {
                "obja": on, "objp": on, "obj_tilts": off, "slice_thickness": off,
                "probe": probe, "probe_pos_shifts": off,
            },
            "scheduler_params": settings.get("scheduler"),
        },
        "loss_params": settings.get("loss", {}),
        "constraint_params": {
            "ortho_pmode": never, "obj_rblur": never, "obj_zblur": never, "pos_recenter": never,
        },
        "recon_params": {
            "BATCH_SIZE": {"size": settings["batch_size"], "grad_accumulation": 1},
            "GROUP_MODE": settings["grouping"], "SAVE_ITERS": None,
        },
    }  # fmt: skip


if __name__ == "__main__":
    main()
