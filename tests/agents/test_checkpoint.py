import json
from dataclasses import asdict, replace

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from agents import checkpoint
from agents.checkpoint import CheckpointError, Meta, export_pretrained, load_agent
from agents.config import TrainingConfig
from agents.model import Agent
from tests.agents.examples import random_batch, tiny


@pytest.fixture
def agent() -> Agent:
    torch.manual_seed(0)
    return Agent(tiny()).eval()


def meta_of(agent: Agent, **changes) -> Meta:
    return replace(Meta(agent.config, TrainingConfig(lr=0.5)), **changes)


def store(path, agent, **changes):
    tensors = {f"agent.{k}": v for k, v in agent.state_dict().items()}
    checkpoint.save(path, tensors, meta_of(agent, **changes))
    return path


def test_an_agent_comes_back_as_it_was(tmp_path, agent):
    summary = {"env_id": "OddOneOut/Basic-v0", "seed": 3}
    path = store(tmp_path / "a.safetensors", agent, demonstrations=(summary,), state={"step": 7})
    loaded, meta = load_agent(path)
    assert not loaded.training
    for name, value in agent.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)
    assert meta == meta_of(agent, demonstrations=(summary,), state={"step": 7})


def test_a_run_directory_gives_its_final_agent_else_its_last(tmp_path, agent):
    store(tmp_path / checkpoint.LAST, agent, state={"step": 1})
    assert load_agent(tmp_path)[1].state["step"] == 1
    store(tmp_path / checkpoint.FINAL, agent, state={"step": 2})
    assert load_agent(tmp_path)[1].state["step"] == 2


def test_writing_that_fails_leaves_the_old_checkpoint(tmp_path, agent, monkeypatch):
    path = store(tmp_path / "a.safetensors", agent)
    before = path.read_bytes()

    def full(tensors, file, metadata):
        file.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OSError, match="no space"):
        store(path, agent, state={"step": 1})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_another_vocabulary_is_refused_by_its_words(tmp_path, agent):
    words = [word for word in Meta(agent.config, TrainingConfig()).vocabulary if word != "red"]
    path = store(tmp_path / "a.safetensors", agent, vocabulary=(*words, "rouge"))
    with pytest.raises(CheckpointError, match=r"other words .*lacks 'red'; .*besides 'rouge'"):
        load_agent(path)
    swapped = (words[0], words[2], words[1], *words[3:], "red")
    with pytest.raises(CheckpointError, match="in another order"):
        load_agent(store(path, agent, vocabulary=swapped))


def test_another_action_set_is_refused_by_its_actions(tmp_path, agent):
    path = store(tmp_path / "a.safetensors", agent, actions=("NOOP", "JUMP"))
    with pytest.raises(CheckpointError, match=r"other actions .*'CHOOSE'.*besides 'JUMP'"):
        load_agent(path)


def test_another_image_size_is_refused_by_its_numbers(tmp_path, agent):
    path = store(tmp_path / "a.safetensors", agent)
    load_agent(path, image_size=(24, 32))
    with pytest.raises(CheckpointError, match=r"\(24, 32\).*not of \(64, 64\)"):
        load_agent(path, image_size=(64, 64))


def test_damaged_and_foreign_files_are_refused(tmp_path, agent):
    path = store(tmp_path / "a.safetensors", agent)
    whole = path.read_bytes()
    for content in (whole[:-100], whole[:50], b"", b"not a checkpoint at all"):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"a\.safetensors is damaged"):
            load_agent(path)
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        load_agent(path)
    description = {"format": 99, **asdict(meta_of(agent))}
    save_file({"x": torch.zeros(1)}, path, {"oddoneout": json.dumps(description)})
    with pytest.raises(CheckpointError, match="format 99"):
        load_agent(path)
    with pytest.raises(FileNotFoundError):
        load_agent(tmp_path / "nothing.safetensors")


def test_a_directory_that_is_no_run_is_refused_by_what_it_holds(tmp_path, agent):
    with pytest.raises(FileNotFoundError, match=r"no run: .*last\.safetensors$"):
        load_agent(tmp_path)
    store(tmp_path / "color.safetensors", agent)
    with pytest.raises(FileNotFoundError, match=r"name one of color\.safetensors in it"):
        load_agent(tmp_path)


def test_weights_of_another_shape_are_refused(tmp_path, agent):
    tensors = {f"agent.{k}": v for k, v in agent.state_dict().items()}
    other = replace(meta_of(agent), agent=tiny(width=64))
    checkpoint.save(tmp_path / "a.safetensors", tensors, other)
    with pytest.raises(CheckpointError, match="does not hold the weights"):
        load_agent(tmp_path / "a.safetensors")


def test_settings_of_a_later_version_are_refused_by_name(tmp_path, agent):
    path = store(tmp_path / "a.safetensors", agent)
    values = {"format": 1, **asdict(meta_of(agent))}
    values["agent"]["wings"] = 2
    save_file(
        {f"agent.{k}": v.contiguous() for k, v in agent.state_dict().items()},
        path,
        {"oddoneout": json.dumps(values)},
    )
    with pytest.raises(CheckpointError, match="wings"):
        load_agent(path)


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("agent", None),
        ("agent", [1, 2]),
        ("agent", {"width": -1}),
        ("agent", {"dropout": "much"}),
        ("vocabulary", None),
        ("training", {"betas": None}),
    ],
)
def test_a_description_that_makes_no_sense_is_damage(tmp_path, agent, part, value):
    path = store(tmp_path / "a.safetensors", agent)
    tensors = {f"agent.{k}": v.contiguous() for k, v in agent.state_dict().items()}
    whole = {"format": 1, **asdict(meta_of(agent))}
    damaged = {**whole, part: {**whole[part], **value} if isinstance(value, dict) else value}
    lacking = {name: values for name, values in whole.items() if name != part}
    for description in (damaged, lacking, [], None):
        save_file(tensors, path, {"oddoneout": json.dumps(description)})
        with pytest.raises(CheckpointError, match=r"a\.safetensors"):
            load_agent(path)


def test_a_full_disk_is_an_error_of_the_systems_kind(tmp_path, agent, monkeypatch):
    def full(*_: object) -> None:
        raise SafetensorError("I/O error: No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", lambda *args, **kwargs: full())
    with pytest.raises(OSError, match=r"a\.safetensors could not be written: .*No space left"):
        store(tmp_path / "a.safetensors", agent)
    assert list(tmp_path.iterdir()) == []


class Trap:
    """Unpickling it would raise."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('code was executed')",))


def test_a_pickle_in_disguise_is_not_opened(tmp_path):
    torch.save({"agent": Trap()}, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match="damaged"):
        load_agent(tmp_path / "a.safetensors")


def test_an_exported_agent_is_small_and_acts_alike(tmp_path, agent):
    store(tmp_path / checkpoint.FINAL, agent)
    file = export_pretrained(tmp_path, tmp_path / "small.safetensors")
    numbers = sum(parameter.numel() for parameter in agent.parameters())
    assert file.stat().st_size < 2 * numbers + 20_000
    small, meta = load_agent(file)
    assert meta.training.lr == 0.5
    assert small.policy.weight.dtype == torch.float32
    batch = random_batch(agent.config)
    with torch.no_grad():
        torch.testing.assert_close(
            small(batch.inputs).logits, agent(batch.inputs).logits, atol=1e-2, rtol=1e-2
        )
    with pytest.raises(ValueError, match=r"\.safetensors"):
        export_pretrained(tmp_path, tmp_path / "small.pt")
