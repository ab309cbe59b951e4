"""How close is close, by the precision of the computation: the one table that all tests use."""

import torch

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5, torch.float16: 1e-3, torch.bfloat16: 1e-2}
"""Relative and absolute alike. A limit that is approached, and not reached, states its own tolerance and why."""

SLACK = TOLERANCE[torch.float64]
"""What an inequality between float64 numbers may be missed by."""


def assert_close(actual, expected, *, precision=None):
    """Compare a tensor with a tensor, an array or a number at the tolerance of `precision` (None: of `actual`)."""
    tolerance = TOLERANCE[precision or actual.dtype]
    wanted = torch.as_tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(actual.detach().to(torch.float64), wanted, rtol=tolerance, atol=tolerance)
