"""The simulated GPU refuses what a real GPU would, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.core.numerics import fixed_arithmetic
from tests.devices.simulated_gpu import CPU, GPU, WrongDeviceError, simulated_gpu


def test_results_of_gpu_tensors_are_on_the_gpu() -> None:
    with simulated_gpu():
        ones = torch.ones(2, 3, device=GPU)
        assert (ones @ ones.T).sum().device == GPU
        assert ones.new_zeros(4).device == GPU
        assert torch.zeros_like(ones)[0].device == GPU
        assert ones.to(CPU).device == CPU
        assert ones.to(torch.float64).device == GPU
        assert torch.ones(2).to(ones).device == GPU
        assert torch.ones(2).device == CPU
        assert (ones * torch.tensor(2.0)).device == GPU  # a CPU's scalar may take part
        assert ones[torch.tensor([1])].device == GPU  # and its indices


def test_gradients_are_where_their_tensors_are() -> None:
    with simulated_gpu():
        layer = nn.Linear(3, 3).to(GPU)
        layer(torch.ones(2, 3, device=GPU)).sum().backward()
        optimizer = torch.optim.Adam(layer.parameters())
        optimizer.step()
        assert layer.weight.device == GPU
        assert layer.weight.grad is not None
        assert layer.weight.grad.device == GPU


def test_memory_is_not_shared_with_the_cpu() -> None:
    with simulated_gpu():
        there = torch.zeros(2)
        here = there.to(GPU)
        there += 1
        assert here.tolist() == [0, 0]


@pytest.mark.parametrize(
    "work",
    [
        lambda gpu, cpu: gpu + cpu,
        lambda gpu, cpu: torch.cat([gpu, cpu]),
        lambda gpu, cpu: gpu @ cpu.T,
        lambda gpu, cpu: torch.where(gpu > 0, gpu, cpu),
        lambda gpu, cpu: cpu * gpu.sum(),
        lambda gpu, cpu: cpu[gpu.long()],
        lambda gpu, cpu: nn.Linear(2, 2)(gpu),
        lambda gpu, cpu: gpu.numpy(),
        lambda gpu, cpu: cpu.cuda(),
        lambda gpu, cpu: torch.rand(2, device=GPU, generator=torch.Generator()),
        lambda gpu, cpu: torch.rand(2, generator=torch.Generator(GPU)),
    ],
)  # fmt: skip
def test_work_across_devices_is_refused(work: Callable[[Tensor, Tensor], Any]) -> None:
    with simulated_gpu(), pytest.raises(WrongDeviceError):
        work(torch.ones(2, 2, device=GPU), torch.ones(2, 2))


def test_operations_without_a_required_deterministic_kernel_are_refused() -> None:
    with simulated_gpu():
        ones = torch.ones(3, device=GPU)
        with fixed_arithmetic(wanted=True):
            with pytest.raises(WrongDeviceError, match="cumsum"):
                ones.cumsum(0)
            assert ones.long().cumsum(0).tolist() == [1, 2, 3]
        assert ones.cumsum(0).tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    "wait",
    [
        lambda gpu: gpu.sum().item(),
        lambda gpu: bool(gpu.any()),
        lambda gpu: gpu.tolist(),
        lambda gpu: gpu.cpu(),
        lambda gpu: gpu[gpu > 0],
        lambda gpu: gpu[[0]],
        lambda gpu: gpu.nonzero(),
        lambda gpu: torch.tensor([1], device=gpu.device),
        lambda gpu: torch.ones(2).to(gpu.device),
    ],
)
def test_a_wait_is_counted_once(wait: Callable[[Tensor], Any]) -> None:
    with simulated_gpu() as seen:
        gpu = torch.ones(3, device=GPU)
        wait(gpu)
        assert seen.waits.total() == 1


def test_queued_work_is_no_wait() -> None:
    with simulated_gpu() as seen:
        gpu = torch.ones(3, device=GPU)
        (gpu + gpu).sum()
        gpu[torch.tensor([0]).pin_memory().to(GPU, non_blocking=True)]
        assert not seen.waits
