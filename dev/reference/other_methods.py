"""The methods that Quaff is compared with, in plain PyTorch, each from its own paper: quaff_reference.py runs them.

One class a method. `method(x)` is x W^T as the method computes it, [N,I] -> [N,O], with the gradient of x that it takes;
`weight` [O,I] is what the file holds, `seen` the channels and largest magnitudes of calibration.

llm-int8        O = channels with max_n |X| > threshold:  int8(X without O) + X[:,O] (dW Wq[:,O])^T     arXiv 2208.07339
smooth-static   s = xmax^a / wmax^(1-a), xmax of calibration:  int8(X / s, W s)                         arXiv 2211.10438
smooth-dynamic  the same, xmax of this batch
qlora           X D(NF4(W))^T, blocks of 64, their maxima in E4M3                                       arXiv 2305.14314

The backward pass of the int8 methods is Quaff's: straight through the rounding, an int8 product of 8 gradient bits.
"""

import torch

F = torch.nn.functional


class GivenGradient(torch.autograd.Function):
    """`y`, whose gradient with respect to x is what `back(dy)` says."""

    @staticmethod
    def forward(ctx, x, y, back):
        ctx.back = back
        return y

    @staticmethod
    def backward(ctx, dy):
        return ctx.back(dy), None, None


class Int8Weight:
    """A weight quantised per output row, and the products with it. `rounding` is quaff_reference's."""

    def __init__(self, weight, rounding, grad_bits):
        self.rounding, self.grad_bits = rounding, grad_bits
        self.scale = rounding.row_scale(weight)
        self.wq = rounding.quantise(weight, self.scale)

    def product(self, x):
        scale = self.rounding.row_scale(x)
        return self.rounding.int_matmul(self.rounding.quantise(x, scale), self.wq.T) * scale * self.scale[:, 0]

    def back(self, dy):
        if self.grad_bits == 16:
            return dy @ (self.scale * self.wq)
        g = dy * self.scale[:, 0]
        scale = self.rounding.row_scale(g)
        return self.rounding.int_matmul(self.rounding.quantise(g, scale), self.wq) * scale


class LlmInt8:
    def __init__(self, weight, seen, options, rounding):
        self.int8, self.threshold, self.rounding = Int8Weight(weight, rounding, options["grad_bits"]), options["threshold"], rounding

    def __call__(self, x):
        with torch.no_grad():
            largest = x.abs().amax(dim=0)
            self.rounding.keep_away((largest / self.threshold - 1).abs().min())
            large = (largest > self.threshold).nonzero()[:, 0]
            rest = x.clone()
            rest[:, large] = 0
            kept = (self.int8.scale * self.int8.wq)[:, large]
            y = self.int8.product(rest) + x[:, large] @ kept.T
        return GivenGradient.apply(x, y, self.int8.back)


def smoothing(xmax, weight, alpha):
    """s [I], in fp64 and then rounded."""
    xmax, wmax = xmax.double(), weight.abs().amax(dim=0).double()
    s = xmax.clamp(min=1e-5) ** alpha / wmax.clamp(min=1e-5) ** (1 - alpha)
    return torch.where((xmax > 0) & (wmax > 0), s, torch.ones_like(s)).float()


class SmoothStatic:
    def __init__(self, weight, seen, options, rounding):
        xmax = torch.zeros(weight.shape[1])
        xmax[seen[0]] = torch.tensor(seen[1])
        self.s = smoothing(xmax, weight, options["alpha"])
        self.int8 = Int8Weight(weight * self.s, rounding, options["grad_bits"])

    def __call__(self, x):
        with torch.no_grad():
            y = self.int8.product(x / self.s)
        return GivenGradient.apply(x, y, lambda dy: self.int8.back(dy) / self.s)


class SmoothDynamic:
    def __init__(self, weight, seen, options, rounding):
        self.weight, self.options, self.rounding = weight, options, rounding

    def __call__(self, x):
        with torch.no_grad():
            s = smoothing(x.abs().amax(dim=0), self.weight, self.options["alpha"])
            int8 = Int8Weight(self.weight * s, self.rounding, self.options["grad_bits"])
            y = int8.product(x / s)
        return GivenGradient.apply(x, y, lambda dy: int8.back(dy) / s)


# The paper's appendix E.
NF4 = torch.tensor([-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
                    -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
                    0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
                    0.7229568362236023, 1.0])


def through_nf4(weight):
    """`weight` quantised and dequantised. A row's last block of 64 may be shorter; 256 maxima share a factor."""
    rows, cols = weight.shape
    blocks = F.pad(weight, (0, -cols % 64)).reshape(rows, -1, 64)
    maxima = blocks.abs().amax(dim=2, keepdim=True)
    codes = ((blocks / maxima.clamp(min=1e-30))[..., None] - NF4).abs().argmin(dim=-1)
    flat = maxima.flatten()
    mean = flat.double().mean().float()
    groups = F.pad(flat - mean, (0, -len(flat) % 256)).reshape(-1, 256)
    factor = groups.abs().amax(dim=1, keepdim=True) / 448
    factor = torch.where(factor == 0, torch.ones_like(factor), factor)
    eight_bits = (groups / factor).to(torch.float8_e4m3fn).float()
    maxima = (mean + factor * eight_bits).flatten()[:len(flat)].reshape(maxima.shape)
    return (NF4[codes] * maxima).reshape(rows, -1)[:, :cols]


class Qlora:
    def __init__(self, weight, seen, options, rounding):
        self.weight = through_nf4(weight)

    def __call__(self, x):
        return x @ self.weight.T


METHODS = {"llm-int8": LlmInt8, "smooth-static": SmoothStatic, "smooth-dynamic": SmoothDynamic, "qlora": Qlora}
