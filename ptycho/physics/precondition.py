"""Low spatial frequencies of the phase, which patterns hardly see, strengthened."""

import math

import torch
from torch import Tensor

_LARGEST_TURN = 0.5  # radians of preconditioned phase per iteration


class Preconditioner:
    """Steps along what patterns ask for, and further where they ask too softly.

    Patterns see only *gradients* of the phase: a step along what they ask for crawls on low
    frequencies. The phase it asks for, with these strengthened, turns the object in addition.

    Args:
        shape: ``(H, W)`` of the object.
        cutoff: frequency in cycles per pixel, about 1 / beam width, below which.
        cap: largest factor.
        device: where the objects are.
    """

    def __init__(
        self, shape: tuple[int, int], cutoff: float, cap: float, device: torch.device
    ) -> None:
        self.shape = shape
        self._padded = (fast_length(1.15 * shape[0]), fast_length(1.15 * shape[1]))
        self._gain = low_frequency_filter(self._padded, cutoff, cap).to(device)

    def step(self, obj: Tensor, pull: Tensor, trusted: Tensor) -> Tensor:
        """The object after a step.

        Args:
            obj: complex ``(H, W)``.
            pull: complex ``(H, W)``, the plain step.
            trusted: ``(H, W)``, 1 where patterns tell the phase, else 0.
        """
        turn = (pull * obj.conj()).imag / (obj.real.square() + obj.imag.square() + 0.05)
        turn *= trusted
        turn -= turn.sum() / trusted.sum() * trusted
        height, width = self.shape
        spectrum = torch.fft.rfft2(turn, s=self._padded) * self._gain
        smooth = torch.fft.irfft2(spectrum, s=self._padded)[:height, :width]
        smooth = smooth.clamp(-_LARGEST_TURN, _LARGEST_TURN)
        return (obj + pull) * torch.polar(torch.ones_like(smooth), smooth)


def low_frequency_filter(shape: tuple[int, int], cutoff: float, cap: float) -> Tensor:
    """Gain ``min((k0 / k)^2, cap) exp(-k^2 / (8 k0^2))`` for ``rfft2``; zero at k = 0.

    Args:
        shape: ``(H, W)`` of the real array.
        cutoff: ``k0`` in cycles per pixel, about 1 / beam width.
        cap: largest gain.
    """
    ky, kx = torch.fft.fftfreq(shape[0]), torch.fft.rfftfreq(shape[1])
    square = ky[:, None].square() + kx[None, :].square()
    capped = (cutoff**2 / square.clamp_min(1e-12)).clamp_max(cap)
    gain: Tensor = capped * torch.exp(-square / (8 * cutoff**2))
    gain[0, 0] = 0
    return gain


def fast_length(at_least: float) -> int:
    """The next length that is quick to transform: a product of 2, 3 and 5."""
    length = math.ceil(at_least)
    while True:
        rest = length
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length
        length += 1
