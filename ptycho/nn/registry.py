"""Names of networks; one line each."""

from collections.abc import Callable

from ptycho.nn.object_net import ObjectNet

NETWORKS: dict[str, Callable[[int], ObjectNet]] = {"object_pinn": ObjectNet}
"""``model.architecture`` -> constructor taking ``n_filters_scale``."""
