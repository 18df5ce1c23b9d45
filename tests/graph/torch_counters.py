"""Counters of torch modules that do not use OpenVINO."""

import torch

from ovtool.core.third_party import captured

PRODUCTS = ("conv", "linear", "addmm", "matmul", "mm", "bmm", "einsum")
"""Operators of fvcore with multiply-adds; it also counts norms and pooling, by other rules."""


def module_flops(module, *inputs):
    """Return 2 x multiply-adds of products and convolutions by the counter of torch.

    It counts the products of an attention, but not its fused operation on a CPU.
    """
    from torch.utils.flop_counter import FlopCounterMode

    products = torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)
    with FlopCounterMode(display=False) as counter, torch.no_grad(), products:
        module(*inputs)
    return counter.get_total_flops()


def fvcore_macs(module, *inputs):
    """Return the multiply-adds of a module by operator of fvcore, and the uncounted operators.

    fvcore traces the module and counts by shapes; it calls 1 multiply-add 1 FLOP.
    """
    with captured("fvcore"), torch.no_grad():  # torch.jit is deprecated
        from fvcore.nn import FlopCountAnalysis

        analysis = FlopCountAnalysis(module, inputs)
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        counts = {name: int(count) for name, count in analysis.by_operator().items()}
        skipped = set(analysis.unsupported_ops())
    return {name: count for name, count in counts.items() if name in PRODUCTS}, skipped
