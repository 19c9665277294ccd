"""A frozen encoder: every picture is encoded once, and all else trains as it would have."""

import errno
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from agents import checkpoint
from agents.batches import Batches, Position
from agents.checkpoint import CheckpointError
from agents.config import AgentConfig, TrainingConfig
from agents.curriculum import FEATURES, Stage, cost
from agents.encoded import Encoded, features_of
from agents.interruption import Interrupted, Stop
from agents.losses import losses
from agents.model import Agent
from agents.training import RunOptions, Trainer
from oddoneout.demos.trajectory import Trajectory
from tests.agents.examples import tiny
from tests.agents.made_up import MadeUp

AGENT = tiny(image_size=(16, 16))
BEFORE = TrainingConfig(frames=120, batch_episodes=6, batch_frames=60, precision="float32")
OPTIONS = RunOptions(save_seconds=0.0, device="cpu")


@pytest.fixture
def begun(tmp_path) -> Path:
    """A finished run to start from."""
    Trainer(tmp_path / "begun", MadeUp(20), AGENT, BEFORE, OPTIONS, say=lambda _: None).train()
    return tmp_path / "begun"


def frozen(begun: Path, **changes) -> TrainingConfig:
    values = {"start": str(begun), "freeze_at": 0.0, "glimpses": 0.0, **changes}
    return replace(BEFORE, frames=300, **values)


def trainer(run: Path, training: TrainingConfig, agent: AgentConfig = AGENT, **kwargs) -> Trainer:
    return Trainer(run, MadeUp(20), agent, training, OPTIONS, say=lambda _: None, **kwargs)


def test_time_left_is_told_by_what_frames_cost_in_the_stage_they_belong_to():
    """Else a run of four fifths features would seem to take three times as long as it does."""
    config = TrainingConfig(frames=1000, glimpses=0.2, freeze_at=0.2)
    assert cost(config, 0.1) == pytest.approx(100)
    assert cost(config, 0.2) == pytest.approx(200)
    assert cost(config, 1.0) == pytest.approx(200 + 0.2 * 800)
    assert cost(replace(config, freeze_at=1.0), 1.0) == pytest.approx(1000), "nothing is frozen"


def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path, monkeypatch):
    """Pages of a mapped file that the disk cannot hold would end the process without a word."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    agent = Agent(AGENT)
    with pytest.raises(OSError, match="No space left"):
        features_of(
            MadeUp(2),
            agent.encoder,
            AGENT.width,
            tmp_path / "features.npy",
            mirrored=False,
            device=torch.device("cpu"),
            precision="float32",
            stop=Stop(),
            say=print,
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("mirrored", "encoder"), [(False, "conv"), (True, "conv"), (True, "parts")]
)
def test_features_stand_for_their_pictures(tmp_path, mirrored, encoder):
    torch.manual_seed(0)
    # As in training, where an encoder may draw at random, what no features should depend on.
    agent, demonstrations = Agent(replace(AGENT, encoder=encoder)).train(), MadeUp(20)
    path = tmp_path / "features.npy"
    features_of(
        demonstrations,
        agent.encoder,
        AGENT.width,
        path,
        mirrored=mirrored,
        device=torch.device("cpu"),
        precision="float32",
        stop=Stop(),
        say=print,
    )
    encoded = Encoded(demonstrations, np.load(path))
    # An encoder that stays as it is no longer learns to name what it sees.
    plain = replace(BEFORE, mirror=0.5 if mirrored else 0.0, shift=0, naming_weight=0.0)
    for seen, read in zip(
        Batches(demonstrations, AGENT, plain).stream(),
        Batches(encoded, AGENT, plain).stream(),
        strict=False,
    ):
        picture, feature = seen.batches[0], read.batches[0]
        assert torch.equal(picture.targets.labels, feature.targets.labels)
        expected = losses(agent(picture), picture, plain).total
        found = losses(agent(feature), feature, plain).total
        assert found.item() == pytest.approx(expected.item(), rel=1e-3)
        if seen.next.epoch:
            break


def test_pictures_that_are_the_same_have_the_same_features_to_the_last_bit(tmp_path):
    class Still(MadeUp):
        """Every other picture is the one before it."""

        def episode(self, index: int, /) -> Trajectory:
            episode = super().episode(index)
            episode.seen.images[1::2] = episode.seen.images[:-1:2]
            return episode

    demonstrations, path = Still(3, shortest=9, longest=9), tmp_path / "features.npy"
    encoder = Agent(AGENT).eval().encoder
    on = torch.device("cpu")
    features_of(
        demonstrations,
        encoder,
        AGENT.width,
        path,
        mirrored=True,
        device=on,
        precision="float32",
        stop=Stop(),
        say=print,
    )
    for index in range(3):
        rows = Encoded(demonstrations, np.load(path)).episode(index).seen.images
        changed = (rows[1:] != rows[:-1]).any((1, 2))
        assert changed.tolist() == [False, True] * 4


def test_the_encoder_stays_and_the_rest_learns(tmp_path, begun):
    before = checkpoint.load_agent(begun)[0].state_dict()
    after = trainer(tmp_path / "run", frozen(begun)).train().state_dict()
    for name, values in before.items():
        same = torch.equal(values, after[name])
        assert same == name.startswith("encoder."), name


def test_an_encoder_frozen_on_the_way_learns_until_then_and_stays(tmp_path):
    """Glimpses, episodes, then features: the encoder at the end is that of the second stage."""
    encoders: dict[Stage, dict[str, torch.Tensor]] = {}

    def keep(running: Trainer) -> None:
        weights = running.agent.encoder.state_dict()
        encoders[running.state.stage] = {name: values.clone() for name, values in weights.items()}

    training = replace(BEFORE, frames=400, glimpses=0.3, freeze_at=0.6)
    end = trainer(tmp_path / "run", training, on_step=keep).train().encoder.state_dict()
    assert list(encoders) == [Stage.GLIMPSES, Stage.EPISODES, Stage.FEATURES]
    for name, values in encoders[Stage.FEATURES].items():
        assert torch.equal(values, end[name]), name
        assert not torch.equal(values, encoders[Stage.GLIMPSES][name]), name


def test_features_go_on_among_the_episodes_where_pictures_ended(tmp_path):
    """Else the same batches would come twice, and others not at all."""
    next_batch: list[tuple[Stage, Position]] = []
    training = replace(BEFORE, frames=200, glimpses=0.0, freeze_at=0.5)
    trainer(
        tmp_path / "run",
        training,
        on_step=lambda running: next_batch.append((running.state.stage, running.state.position)),
    ).train()
    positions = [position for _, position in next_batch]
    assert {stage for stage, _ in next_batch} == {Stage.EPISODES, Stage.FEATURES}
    assert len(set(positions)) == len(positions)


def test_features_of_a_run_that_got_no_further_are_made_anew(tmp_path, begun):
    run = tmp_path / "run"
    run.mkdir()
    np.save(run / FEATURES, np.zeros((3, AGENT.width), np.float16))  # of other demonstrations
    found: list[tuple[int, ...]] = []
    trainer(
        run, frozen(begun), on_step=lambda _: found.append(np.load(run / FEATURES).shape)
    ).train()
    assert found[0] == (sum(MadeUp(20).lengths), 2, AGENT.width)
    assert not (run / FEATURES).exists(), "a finished run needs none"


def test_a_run_asked_to_stop_while_it_encodes_stops_and_goes_on_later(tmp_path):
    """Encoding takes minutes, in which a scheduler's patience would end."""
    run, training = tmp_path / "run", replace(BEFORE, frames=300, freeze_at=0.5)

    class Asking(MadeUp):
        def episode(self, index: int, /) -> Trajectory:
            if (run / f".{FEATURES}").exists():
                os.kill(os.getpid(), signal.SIGTERM)
            return super().episode(index)

    whole = trainer(tmp_path / "whole", training).train().state_dict()
    with pytest.raises(Interrupted, match="encoded") as stopped:
        Trainer(run, Asking(20), AGENT, training, OPTIONS, say=lambda _: None).train()
    assert stopped.value.signal == signal.SIGTERM
    assert not list(run.glob("*features*")), "half of the features are none"
    again = trainer(run, training).train().state_dict()
    assert all(torch.equal(whole[name], again[name]) for name in whole)


@pytest.mark.parametrize("freeze_at", [0.0, 0.5])
def test_a_killed_run_goes_on_with_the_same_weights(tmp_path, begun, freeze_at):
    class Killed(Exception):
        pass

    def kill_at(step: int):
        def kill(running: Trainer) -> None:
            if running.state.step == step:
                raise Killed

        return kill

    training = frozen(begun, freeze_at=freeze_at)
    whole = trainer(tmp_path / "whole", training).train().state_dict()
    for step in (3, 6):
        with pytest.raises(Killed):
            trainer(tmp_path / "killed", training, on_step=kill_at(step)).train()
    assert (tmp_path / "killed" / FEATURES).exists()
    again = trainer(tmp_path / "killed", training).train().state_dict()
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_a_run_that_an_earlier_version_began_goes_on_with_features(tmp_path, begun):
    class Stopped(Exception):
        pass

    def stop(running: Trainer) -> None:
        if running.state.step == 3:
            raise Stopped

    run = tmp_path / "run"
    with pytest.raises(Stopped):
        trainer(run, frozen(begun), on_step=stop).train()
    tensors, meta = checkpoint.read(run / checkpoint.LAST)
    state = {name: value for name, value in meta.state.items() if name != "stage"}
    checkpoint.save(run / checkpoint.LAST, tensors, replace(meta, state=state))
    assert trainer(run, frozen(begun)).state.stage is Stage.FEATURES


def test_a_deeper_agent_begins_as_the_one_it_starts_from(tmp_path, begun):
    start = replace(BEFORE, start=str(begun))
    deeper = trainer(tmp_path / "deeper", start, replace(AGENT, layers=4)).agent.eval()
    other = checkpoint.load_agent(begun)[0].eval()
    batch = next(Batches(MadeUp(20), AGENT, BEFORE).stream()).batches[0]
    assert (deeper(batch).logits - other(batch).logits).abs().max() < 0.05
    with pytest.raises(CheckpointError, match="another shape"):
        trainer(tmp_path / "shallower", start, replace(AGENT, layers=1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start": ""}, "name one"),
        ({"glimpses": 0.1}, "not below glimpses"),
        ({"freeze_at": 1.5}, "at most 1"),
    ],
    ids=["no start", "glimpses", "too late"],
)
def test_contradictions_are_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        frozen(tmp_path, **changes)


def test_an_agent_that_redraws_pictures_needs_them(tmp_path, begun):
    with pytest.raises(ValueError, match="freeze_at"):
        trainer(tmp_path / "run", frozen(begun), replace(AGENT, reconstruct=True))
