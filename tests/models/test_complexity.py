import os
import platform
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from twostagealign.models.checkpoint import find_checkpoint, open_restorer
from twostagealign.models.complexity import count_flops, count_parameters
from twostagealign.runtime.memory import give_back_memory, memory_used


class OneConvolution(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, lq, noise_map):
        middle = lq.shape[1] // 2
        return self.conv(torch.cat([lq[:, middle], noise_map[:, middle]], dim=1))


def test_convolution_is_counted_by_hand() -> None:
    network = OneConvolution().double()
    assert count_parameters(network) == 3 * (8 * 9 + 1)
    assert count_flops(network, frames=3, side=10) == 2 * 3 * 8 * 9 * 10 * 10
    assert network.conv.weight.device.type == "cpu"


def test_network_that_asks_for_values_is_not_counted() -> None:
    class Asks(OneConvolution):
        def forward(self, lq, noise_map):
            return super().forward(lq, noise_map) if lq.max() > 0 else lq

    assert count_flops(Asks(), frames=3, side=10) is None


def test_mistakes_of_a_network_are_not_hidden() -> None:
    class Mistaken(OneConvolution):
        def forward(self, lq, noise_map):
            return super().forward(lq[:, :, :3], noise_map)

    with pytest.raises(RuntimeError, match="Invalid channel dimensions"):
        count_flops(Mistaken(), frames=3, side=10)


class Operations(TorchDispatchMode):
    """Counts a product and a sum for each weight of a convolution and for each element of a matrix product's row."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        output = function(*args, **(kwargs or {}))
        if function is torch.ops.aten.convolution.default:
            transposed = args[6]
            self.total += 2 * (args[0] if transposed else output).numel() * args[1][0].numel()
        elif function is torch.ops.aten.baddbmm.default:
            self.total += 2 * output.numel() * args[1].shape[-1]
        return output


def test_the_shipped_network_is_counted_as_if_it_restored_a_tile() -> None:
    network = open_restorer(find_checkpoint("tiny")).network
    tile = torch.rand(1, 3, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), Operations() as operations:
        network(tile, tile)
    assert operations.total > 1e8
    assert count_flops(network, frames=3, side=16) == operations.total


def test_whole_network_is_counted_without_being_run(make_restorer) -> None:
    network = make_restorer().network
    small, large = (count_flops(network, frames=3, side=side) for side in (16, 32))
    assert 3.9 < large / small < 4.1


def test_memory_in_use_is_seen() -> None:
    block = torch.ones(2**26)
    used = memory_used(torch.device("cpu"))
    assert block.nbytes < used.resident < 2**36
    assert used.device is None


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
def test_freed_memory_is_given_back() -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    give_back_memory()
    before = resident()
    blocks = [torch.ones(2**14) for _ in range(3000)]  # of 64 KiB: the C library keeps such blocks
    last = blocks[-1]
    del blocks
    kept = resident()
    give_back_memory()
    assert resident() - before < 2**24
    assert kept >= resident()
    assert last.sum() == 2**14


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_freed_memory_is_kept() -> None:
    """In a process of its own: the setting cannot be taken back."""
    program = """
        import resource, torch
        from twostagealign.runtime.memory import keep_freed_memory
        keep_freed_memory()
        for size in (8, 16, 24):
            pages, faults = 8 * size * 2**20 // resource.getpagesize(), []
            for _ in range(8):
                before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
                blocks = [torch.ones(size * 2**18) for _ in range(8)]
                del blocks
                faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
            assert min(faults) < 0.01 * pages, faults
            assert sum(faults[4:]) < pages, faults
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True)
