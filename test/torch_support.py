"""What several tests of the network need."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class NoHost(TorchDispatchMode):
    """Notes what a CUDA graph does not allow.

    ``calls`` are all operations, ``kernels`` those that are neither a view nor an allocation;
    without gradients but not in inference mode, where composed ones come in one piece.
    """

    def __init__(self):
        super().__init__()
        self.calls, self.kernels, self.forbidden = 0, 0, []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        name = str(func)
        self.calls += 1
        seen = [r.alias_info for r in func._schema.returns]
        view = any(a is not None and not a.is_write for a in seen)
        self.kernels += not view and 'empty' not in name and '_unsafe_view' not in name
        devices = {t.device.type for t in tree_leaves((args, kwargs, out))
                   if isinstance(t, torch.Tensor) and t.dim()}
        # lift_fresh: a Python list or number that became a tensor
        if len(devices) > 1 or any(word in name for word in (
                'lift_fresh', '_local_scalar_dense', 'nonzero', 'masked_select', 'unique')):
            self.forbidden.append((name, devices))
        return out
