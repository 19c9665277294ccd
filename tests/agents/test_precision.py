"""bfloat16 only where the processor computes in it: emulated, it is many times slower."""

import pytest
import torch

from agents.precision import autocast, has_bfloat16

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("instructions", "has"),
    [
        ({"avx2": True, "avx512_bf16": False}, False),
        ({"avx512_f": True}, False),
        ({"avx512_bf16": True}, True),
        ({"amx_bf16": True}, True),
        ({"bf16": True, "architecture": "aarch64"}, True),
        ({}, False),
    ],
)
def test_auto_follows_the_processor(monkeypatch, instructions, has):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions, raising=False)
    assert has_bfloat16(CPU) is has
    with autocast("auto", CPU):
        assert torch.is_autocast_enabled("cpu") is has


def test_an_older_torch_that_cannot_say_gets_float32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not has_bfloat16(CPU)


@pytest.mark.parametrize(("precision", "on"), [("bf16", True), ("float32", False)])
def test_whoever_names_a_precision_gets_it(precision, on):
    with autocast(precision, CPU):
        assert torch.is_autocast_enabled("cpu") is on
