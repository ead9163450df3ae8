import pytest
import torch

from ptycho.data.in_order import in_order

BATCHES = [torch.tensor(numbers) for numbers in ([4, 1, 3], [0], [7, 2])]


@pytest.mark.parametrize(
    "workers", [{}, {"num_workers": 2}, {"num_workers": 1, "prefetch_factor": 3}]
)
def test_every_batch_comes_once_in_the_order_given(workers):
    amplitude = torch.rand(8, 4, 4)
    found = list(in_order(amplitude, BATCHES, **workers))
    for numbers, (some, which) in zip(BATCHES, found, strict=True):
        assert torch.equal(which, numbers)
        assert torch.equal(some, amplitude[numbers])


def test_patterns_of_a_device_stay_there():
    amplitude = torch.empty(8, 4, 4, device="meta")  # which nothing can be copied from
    for some, which in in_order(amplitude, BATCHES):
        assert some.device.type == which.device.type == "meta"
    with pytest.raises(NotImplementedError):
        list(in_order(amplitude, BATCHES, num_workers=1))


@pytest.mark.parametrize("workers", [{}, {"num_workers": 1}])
def test_the_global_generator_is_left_alone(workers):
    before = torch.get_rng_state()
    list(in_order(torch.rand(8, 4, 4, generator=torch.Generator()), BATCHES, **workers))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("workers", [{}, {"num_workers": 1}, {"pin_memory": True}])
def test_the_same_on_a_gpu(workers):
    amplitude = torch.rand(8, 4, 4).cuda()
    for numbers, (some, which) in zip(
        BATCHES, in_order(amplitude, BATCHES, **workers), strict=True
    ):
        assert some.is_cuda
        assert which.is_cuda
        assert torch.equal(some, amplitude[numbers.cuda()])
