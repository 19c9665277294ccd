"""Muon: momentum, of which every matrix is made orthogonal before it is applied.

K. Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024), with the
scale of J. Liu et al., "Muon is scalable for LLM training" (arXiv 2502.16982). All directions of
a matrix then learn alike, however rarely the gradient points their way.
"""

from collections.abc import Iterable
from typing import Any, Final

import torch
from torch import Tensor, nn

# Jordan's quintic: five rounds bring singular values from 0.002 to 1 to between 0.7 and 1.2.
_A, _B, _C = 3.4445, -4.7750, 2.0315
#: After how many rounds the matrix itself is computed. Polynomials of polynomials lose digits, of
#: which bfloat16 has few: in it three rounds on end have made singular values of several thousand.
_ROUNDS: Final = {torch.float32: (5,), torch.bfloat16: (2, 2, 1)}


class Muon(torch.optim.Optimizer):
    """For matrices, and for filters, whose rows are what one output channel sees.

    An update of an (m, n) matrix is orthogonal, times 0.2 sqrt(max(m, n)): entries then change
    by 0.2 of the rate on average, whatever the matrix's shape.

    Args:
        parameters: each with at least two dimensions (all but the first are flattened), or groups
            of them.
        lr: learning rate.
        momentum: decay of the running mean of gradients; its look-ahead is Nesterov's.
        weight_decay: as AdamW's: a share of the weights, times the rate, is taken off.
        dtype: float32 or bfloat16, in which updates are made orthogonal; they need not be exact.

    Raises:
        ValueError: for a parameter that is no matrix, or another dtype.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if dtype not in _ROUNDS:
            raise ValueError(f"dtype must be one of {list(_ROUNDS)}, got {dtype}")
        self.dtype = dtype
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.ndim < 2:
                    raise ValueError(
                        f"Muon is for matrices and filters, got a shape of {tuple(parameter.shape)}"
                    )

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Apply the gradients; parameters without one stay."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._apply(parameter, parameter.grad, group)

    def _apply(self, parameter: nn.Parameter, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        kept = group["momentum"]
        mean = state["momentum"].lerp_(gradient, 1.0 - kept)
        update = orthogonalized(gradient.lerp(mean, kept).flatten(1), self.dtype)
        scale = 0.2 * max(update.shape) ** 0.5
        parameter.mul_(1.0 - group["lr"] * group["weight_decay"])
        parameter.add_(update.view(parameter.shape), alpha=-group["lr"] * scale)


def orthogonalized(matrix: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """About U V' of a matrix U S V': float32 (m, n) -> (m, n), by Newton-Schulz iteration.

    Every round maps X to (a + b XX' + c (XX')^2) X. As all rounds' factors are polynomials of
    the first XX', they are multiplied up in the matrix's smaller dimension, and the matrix itself
    is only touched once for several rounds. It is computed in ``dtype``.
    """
    if matrix.shape[0] > matrix.shape[1]:
        return orthogonalized(matrix.T, dtype).T
    x = (matrix / matrix.norm().clamp_min(1e-12)).to(dtype)
    for rounds in _ROUNDS[dtype]:
        gram = x @ x.T
        factor = _factor(gram)
        for _ in range(rounds - 1):
            factor = _factor(factor @ gram @ factor) @ factor
        x = factor @ x
    return x.float()


def _factor(gram: Tensor) -> Tensor:
    """a + b XX' + c (XX')^2, given XX'."""
    factor = torch.addmm(gram, gram, gram, beta=_B, alpha=_C)
    factor.diagonal().add_(_A)
    return factor
