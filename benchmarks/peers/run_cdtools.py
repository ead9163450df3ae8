"""cdtools: FancyPtycho with Adam, as its examples run it."""

import numpy as np
from protocol import BudgetSpentError, Recorder, arguments, describe, one_thread, read

_PADDING = 4  # pixels around the scanned area
_PIXEL = 1e-8  # metres; any


def main() -> None:
    one_thread()
    options = arguments()

    import torch
    import torch._dynamo  # optimisers would import it when they first step, on the clock
    from cdtools.datasets import Ptycho2DDataset
    from cdtools.models import FancyPtycho
    from cdtools.reconstructors import AdamReconstructor

    torch.set_num_threads(1)
    torch.manual_seed(0)
    scan, settings = read(options.scan), options.settings
    # rows run along the detector's first axis and +y, columns along its second and +x
    wavelength, distance = 1e-9, 1.0
    pitch = wavelength * distance / (scan.size * _PIXEL)
    basis = np.array([[0, pitch], [pitch, 0], [0, 0]], dtype=np.float32)
    y, x = scan.positions.T * _PIXEL
    dataset = Ptycho2DDataset(
        np.stack([x, y, np.zeros_like(x)], axis=1),
        torch.from_numpy(scan.counts),
        wavelength=wavelength,
        detector_geometry={"distance": distance, "basis": basis, "corner": None},
    )
    model = FancyPtycho.from_dataset(
        dataset, n_modes=len(scan.probe), obj_padding=_PADDING, loss=settings["loss"]
    )
    with torch.no_grad():
        probe = torch.from_numpy(scan.probe)
        model.probe_norm.copy_(probe[0].abs().max())
        model.probe.copy_(probe / model.probe_norm)
        # whole pixels, so that the object lies on the scan's own grid
        model.min_translation.floor_()
    model.probe.requires_grad = options.fit_probe
    for known in (model.background, model.weights, model.translation_offsets):
        known.requires_grad = False
    origin = model.min_translation.round().int().numpy() - scan.size // 2

    recorder = Recorder(options.out, options.budget, lambda: model.obj.detach().numpy(), origin)
    reconstructor = AdamReconstructor(model, dataset)
    try:
        for stage in settings["stages"]:
            epochs = reconstructor.optimize(
                stage["epochs"], lr=stage["lr"], batch_size=stage["batch_size"],
                schedule=stage.get("schedule", False), thread=False,
                calculation_width=stage["batch_size"],
            )  # fmt: skip
            for _ in epochs:
                recorder.tick()
    except BudgetSpentError:
        pass
    describe(options.out, ["cdtools-py", "torch", "numpy"], torch.get_num_threads())


if __name__ == "__main__":
    main()
