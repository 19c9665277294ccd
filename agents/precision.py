"""Which arithmetic training uses: bfloat16 where the processor has it, float32 elsewhere.

Without instructions of its own bfloat16 is emulated: on an AVX2 processor training took 13 times
as long as in float32 (measured: 60 and 750 frames/s on one core).
"""

from typing import Literal, TypeAlias

import torch

Precision: TypeAlias = Literal["auto", "bf16", "float32"]

#: What `torch.cpu.get_capabilities` calls processors' instructions for bfloat16.
_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device computes in bfloat16 itself."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    found = getattr(torch.cpu, "get_capabilities", dict)()  # lacking in older versions
    return any(found.get(name, False) for name in _INSTRUCTIONS)


def arithmetic(precision: Precision, device: torch.device) -> torch.dtype:
    """bfloat16 or float32; "auto" takes the faster one for the device."""
    half = precision == "bf16" or (precision == "auto" and has_bfloat16(device))
    return torch.bfloat16 if half else torch.float32


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """Automatic casting to that precision; "auto" takes the faster one for the device."""
    on = arithmetic(precision, device) is torch.bfloat16
    return torch.autocast(device.type, torch.bfloat16, enabled=on)
