"""Counters of torch modules that know nothing of OpenVINO."""

import torch

from ovtool.core.third_party import captured

PRODUCTS = ("conv", "linear", "addmm", "matmul", "mm", "bmm", "einsum")
"""What fvcore calls its multiply-adds; it counts norms and pooling too, by rules of its own."""


def module_flops(module, *inputs):
    """Return 2 x multiply-adds by torch's own counter, which knows products and convolutions.

    Of attention it knows the two products, not the fused operation of a CPU.
    """
    from torch.utils.flop_counter import FlopCounterMode

    products = torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)
    with FlopCounterMode(display=False) as counter, torch.no_grad(), products:
        module(*inputs)
    return counter.get_total_flops()


def fvcore_macs(module, *inputs):
    """Return the multiply-adds of a module by fvcore's names of operators, and what it left out.

    fvcore traces the module and counts by shapes; 1 multiply-add is its 1 FLOP.
    """
    with captured("fvcore"), torch.no_grad():  # importing warns that torch.jit will go
        from fvcore.nn import FlopCountAnalysis

        analysis = FlopCountAnalysis(module, inputs)
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        found = {name: int(count) for name, count in analysis.by_operator().items()}
        left = set(analysis.unsupported_ops())
    return {name: count for name, count in found.items() if name in PRODUCTS}, left
