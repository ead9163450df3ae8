"""pty-chi: LSQML on the CPU, as its examples run it."""

import logging

import numpy as np
from protocol import BudgetSpentError, Recorder, arguments, describe, one_thread, read

_MARGIN = 4


def main() -> None:
    one_thread()
    options = arguments()

    import ptychi.api as api
    import torch
    import torch._dynamo  # optimisers would import it when they first step, on the clock
    from ptychi.api.task import PtychographyTask

    torch.set_num_threads(1)
    logging.disable(logging.INFO)
    scan, settings = read(options.scan), options.settings
    origin, shape = scan.canvas(_MARGIN)

    how = api.LSQMLOptions()
    run = how.reconstructor_options
    run.num_epochs, run.batch_size, run.random_seed = 100_000, settings["batch_size"], 0
    run.default_device = api.Devices.CPU
    run.batching_mode = api.BatchingModes[settings["batching"]]
    run.noise_model = api.NoiseModels[settings["noise"]]
    run.momentum_acceleration_gain = settings["momentum"]
    run.displayed_loss_function = None
    how.data_options.fft_shift = True
    how.object_options.pixel_size_m = 1e-8
    how.object_options.determine_position_origin_coords_by = (
        api.ObjectPosOriginCoordsMethods.SPECIFIED
    )
    how.object_options.position_origin_coords = np.zeros(2)
    how.object_options.step_size = settings["step"]
    if "scheduler" in settings:
        plan = how.object_options.optimization_plan
        plan.step_size_scheduler_class = settings["scheduler"]["name"]
        plan.step_size_scheduler_options = settings["scheduler"]["options"]
    how.probe_options.optimizable = options.fit_probe
    # pty-chi calls pixel (N - 1) / 2 the middle of a patch, ptycho pixel N / 2
    y, x = (scan.positions - origin).T - 0.5
    task = PtychographyTask(
        how,
        diffraction_data=scan.counts,
        object_data=np.ones((1, *shape), np.complex64),
        probe_data=scan.probe[None],
        probe_position_x_px=x,
        probe_position_y_px=y,
    )

    def take() -> np.ndarray:
        return task.get_data_to_cpu("object", as_numpy=True)[0]

    recorder = Recorder(options.out, options.budget, take, origin)
    try:
        while True:
            task.run(1)
            recorder.tick()
    except BudgetSpentError:
        pass
    describe(options.out, ["ptychi", "torch", "numpy"], torch.get_num_threads())


if __name__ == "__main__":
    main()
