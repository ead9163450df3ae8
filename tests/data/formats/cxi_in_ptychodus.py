"""Opens ``x.cxi`` of a folder with ptychodus, in its own environment, and saves what it sees.

Run by test_cxi.py: PYTHON cxi_in_ptychodus.py FOLDER. Writes ``seen.npz``, and what ptychodus
itself writes of the same: ``product.cxi``.
"""

import sys
from pathlib import Path

import numpy as np
from ptychodus.plugins.cxi_file import CXIDiffractionFileReader, CXIProductFileIO


def main(folder):
    """Read what is there; see above."""
    dataset = CXIDiffractionFileReader().read(folder / "x.cxi")
    product = CXIProductFileIO().read(folder / "x.cxi")
    metadata, geometry = dataset.get_metadata(), product.object_.get_geometry()
    np.savez(
        folder / "seen.npz",
        patterns=np.concatenate([np.asarray(one.get_patterns()) for one in dataset]),
        bad=dataset.get_bad_pixels(),
        detector=metadata.detector_pixel_geometry.width_m,
        y=geometry.map_probe_positions_to_object_y_px(product.probe_positions),
        x=geometry.map_probe_positions_to_object_x_px(product.probe_positions),
        object=product.object_.get_array(),
        probe=product.probes.get_array(),
        pixel=geometry.pixel_width_m,
        energy=product.metadata.photon_energy_eV,
        distance=product.metadata.detector_distance_m,
        name=product.metadata.name,
    )
    CXIProductFileIO().write(folder / "product.cxi", product)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
