"""The least time a network can take on a GPU, by its sums and by the bytes it moves."""

import torch
from torch import nn

from ..network import half


def work(model, people):
    """What the convolutions of a network do for a batch of crops, in half precision.

    Returns:
        list of (floating-point operations, bytes in, out and of weights), layer by layer.
    """
    layers = []

    def note(layer, given, out):
        weights = layer.weight.numel()
        each = weights // layer.out_channels        # of one number of the output
        numbers = given[0].numel() + out.numel() + weights
        layers.append((2 * each * out.numel(), 2 * numbers))

    network = half.halved(model).to('meta')
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(note)
    side = model.config.size
    with torch.inference_mode():
        network(torch.empty(people, 3, side, side, dtype=torch.float16, device='meta'))
    return layers


def peaks(device, size=8192, megabytes=1024, rounds=10):
    """What this device reaches: operations a second in half precision, bytes a second."""
    x = torch.randn(size, size, dtype=torch.float16, device=device)
    y = torch.empty(megabytes << 19, dtype=torch.float16, device=device)
    z = torch.empty_like(y)
    product = _seconds(lambda: x @ x, rounds)
    copy = _seconds(lambda: z.copy_(y), rounds)
    return 2 * size ** 3 / product, 2 * 2 * y.numel() / copy


def _seconds(call, rounds):
    call()
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    first.record()
    for _ in range(rounds):
        call()
    last.record()
    torch.cuda.synchronize()
    return 1e-3 * first.elapsed_time(last) / rounds


def floor(layers, operations, bandwidth):
    """Milliseconds: each layer takes the longer of its sums and its bytes."""
    return 1e3 * sum(max(f / operations, b / bandwidth) for f, b in layers)
