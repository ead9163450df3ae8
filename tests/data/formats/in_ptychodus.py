"""Opens a folder of files with ptychodus itself, in its own environment, and saves what it sees.

Run by test_opens_in_ptychodus.py: PYTHON in_ptychodus.py FOLDER, with ``pair/`` and
``training.h5`` in it. Writes ``seen.npz``, and what ptychodus itself writes of the same scan:
``theirs.h5`` (product), ``theirs_d.h5`` (patterns), ``theirs_t.h5``, ``theirs.npz`` (training
data), ``theirs_p.npz`` (product).
"""

import sys
from pathlib import Path

import numpy as np
from ptychodus.api import io
from ptychodus.api.reconstruct import ReconstructInput
from ptychodus.plugins.npz_product_file import NPZProductFileIO
from ptychodus.plugins.training_data_file import (
    TrainingDataDiffractionFileReader,
    TrainingDataProductFileReader,
)


def about(name, product):
    """The numbers of a product."""
    obj, positions = product.object_, product.probe_positions
    geometry = obj.get_geometry()
    return {
        f"{name}_x": geometry.map_probe_positions_to_object_x_px(positions),
        f"{name}_y": geometry.map_probe_positions_to_object_y_px(positions),
        f"{name}_indexes": np.array(positions.get_indexes()),
        f"{name}_object": obj.get_array(),
        f"{name}_probe": product.probes.get_array(),
        f"{name}_pixel": geometry.pixel_width_m,
        f"{name}_energy": product.metadata.photon_energy_eV,
        f"{name}_distance": product.metadata.detector_distance_m,
        f"{name}_far": product.metadata.far_field,
        f"{name}_name": product.metadata.name,
        f"{name}_comments": product.metadata.comments,
    }


def main(folder):
    """Read what is there; see above."""
    product = io.load_product(folder / "pair" / "product.h5")
    data = io.load_diffraction_data(folder / "pair" / "diffraction.h5")
    training = folder / "training.h5"
    again = TrainingDataProductFileReader().read(training)
    dataset = TrainingDataDiffractionFileReader().read(training)
    patterns = np.concatenate([np.asarray(one.get_patterns()) for one in dataset])
    np.savez(
        folder / "seen.npz",
        **about("pair", product),
        **about("training", again),
        pair_patterns=data.get_patterns(),
        pair_numbers=data.get_indexes(),
        pair_bad=data.get_bad_pixels(),
        pair_detector=data.get_pixel_geometry().width_m,
        training_patterns=patterns,
        training_bad=dataset.get_bad_pixels(),
        training_detector=dataset.get_metadata().detector_pixel_geometry.width_m,
    )
    io.save_product(folder / "theirs.h5", product)
    io.save_diffraction_data(folder / "theirs_d.h5", data)
    NPZProductFileIO().write(folder / "theirs_p.npz", product)
    parameters = ReconstructInput(
        diffraction_patterns=data.get_patterns(), product=product, bad_pixels=data.get_bad_pixels()
    )
    io.save_training_data(folder / "theirs_t.h5", parameters)
    io.save_ptychopinn_training_data(folder / "theirs.npz", parameters)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
