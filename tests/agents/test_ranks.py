import pytest
import torch

from agents.ranks import Ranks


def test_a_process_without_a_gpu_of_its_own_is_refused_in_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ValueError, match=r"process 2 .* there are 2; .*--nproc-per-node"):
        Ranks.join("cuda")
