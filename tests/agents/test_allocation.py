"""Blocks that are freed and wanted again cost no page faults."""

import platform
import subprocess
import sys

import pytest

import agents.training
from agents.config import TrainingConfig
from agents.training import RunOptions, Trainer
from tests.agents.examples import tiny
from tests.agents.made_up import MadeUp

#: Allocates and frees 64 MB, until there is a place for it and then ten times more; prints how many
#: pages the system had to find for these.
FAULTS = """
import resource, torch
from agents.allocation import keep_memory
if {keep}:
    assert keep_memory() and keep_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def use():
    torch.ones(16 * 2**20)
for _ in range(20):
    use()
before = faults()
for _ in range(10):
    use()
print(faults() - before)
"""
PAGES = 64 * 2**20 // 4096


def faults(keep: bool) -> int:
    code = FAULTS.format(keep=keep)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc is not glibc's")
def test_memory_that_is_kept_is_not_asked_for_again() -> None:
    assert faults(keep=True) < PAGES


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc is not glibc's")
def test_without_that_every_large_block_is() -> None:
    # Else there is nothing to be gained, and this module can go.
    assert faults(keep=False) >= 10  # 4 KB each, or huge ones


def test_training_on_a_cpu_keeps_it(tmp_path, monkeypatch) -> None:
    called: list[bool] = []
    monkeypatch.setattr(agents.training, "keep_memory", lambda: called.append(True))
    config = TrainingConfig(frames=60, batch_episodes=6, batch_frames=60, warmup_steps=1)
    options = RunOptions(device="cpu")
    run = Trainer(
        tmp_path, MadeUp(6), tiny(image_size=(16, 16)), config, options, say=lambda _: None
    )
    assert not called, "not before there is anything to train"
    run.train()
    assert called
