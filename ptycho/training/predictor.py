"""A patch network where a scan is: it knows what was lifted at every position."""

from torch import Tensor

from ptycho.data.tiles import Lifted
from ptycho.nn.patch_net import First, PatchNet
from ptycho.physics.patches import extract_patches


class PatchPredictor:
    """Patterns in, object windows out, wherever in a scan they were taken.

    Args:
        network: the patch network.
        corners: int64 ``(n, 2)``, first row and column of each patch on the scan's canvas.
        unit: what amplitudes are multiplied by before the network sees them.
        lifted: the first object on that canvas; None where none is shown.
    """

    def __init__(
        self, network: PatchNet, corners: Tensor, unit: float, lifted: Lifted | None
    ) -> None:
        self.network, self.corners, self.unit, self.lifted = network, corners, unit, lifted

    def __call__(self, amplitude: Tensor, which: Tensor) -> Tensor:
        """Windows of some patterns.

        Args:
            amplitude: measured ``(b, N, N)``.
            which: int64 ``(b,)``, their numbers.

        Returns:
            Complex ``(b, window, window)``.
        """
        # hidden pixels are dark to the network, too
        return self.network(self.unit * amplitude, self._first(which, amplitude.shape[-1]))  # type: ignore[no-any-return]

    def _first(self, which: Tensor, size: int) -> First | None:
        if self.lifted is None:
            return None
        here, first = self.corners[which], self.lifted
        return First(*(extract_patches(one, here, size) for one in vars(first).values()))
