import json
import signal
import sys
from dataclasses import replace

import pytest

from agents import checkpoint
from agents.config import TrainingConfig
from agents.interruption import Interrupted
from oddoneout.demos.manifest import Manifest, vocabulary_fingerprint, write_manifest
from oddoneout.demos.shards import ShardWriter
from oddoneout.demos.storage import Dataset
from oddoneout.rules.language import INSTRUCTION_WORDS
from scripts import common, train
from scripts.common import UserError
from tests.agents.made_up import MadeUp


@pytest.fixture
def stored(tmp_path):
    """A set of made-up demonstrations on disk."""

    def store(
        name: str,
        size: tuple[int, int] = (16, 16),
        renderer: str = "classic",
        of: str = "",
        seed: int = 4,
    ):
        data = MadeUp(12, size)
        manifest = Manifest(
            env_id="OddOneOut/Basic-v0",
            env_args={} if renderer == "classic" else {"renderer": renderer},
            policy="made up",
            policy_args={},
            seed=seed,
            episodes=12,
            shard_episodes=12,
            image_size=size,
            instruction_words=INSTRUCTION_WORDS,
            versions={"renderer": of} if of else {},
            vocabulary=vocabulary_fingerprint(),
        )
        write_manifest(tmp_path / name, manifest)
        with ShardWriter(tmp_path / name, manifest, 0) as writer:
            for i in range(12):
                writer.add(data.episode(i))
            writer.finish()
        return tmp_path / name

    return store


def arguments(*data, out, **changes) -> train.Arguments:
    training = TrainingConfig(frames=150, batch_episodes=4, warmup_steps=2)
    return train.Arguments(
        data=data, out=out, preset="tiny", training=training, device="cpu", **changes
    )


def test_damaged_pictures_are_refused_unless_they_are_not_to_be_checked(stored, tmp_path):
    (pictures,) = stored("a").glob("shard-*/images.bin")
    damaged = bytearray(pictures.read_bytes())
    damaged[100] ^= 1
    pictures.write_bytes(damaged)
    args = arguments(tmp_path / "a", out=tmp_path / "run")
    with pytest.raises(UserError, match=r"images\.bin"):
        train.train(args)
    assert not (tmp_path / "run").exists()
    train.train(replace(args, verify=False))


def test_the_script_trains_on_several_sets_and_remembers_them(stored, tmp_path, capsys):
    args = arguments(stored("a"), stored("b"), out=tmp_path / "run", agent='{"heads": 1}')
    train.train(args)
    train.train(args)
    assert "is finished" in capsys.readouterr().out
    agent, meta = checkpoint.load_agent(tmp_path / "run")
    assert agent.config.image_size == (16, 16)
    assert agent.config.heads == 1
    assert [part["seed"] for part in meta.demonstrations] == [4, 4]
    assert json.loads((tmp_path / "run" / "config.json").read_text())["training"]["frames"] == 150


def test_pictures_of_two_renderers_are_never_mixed(stored, tmp_path):
    with pytest.raises(UserError, match="different renderers: classic and warp"):
        train.train(arguments(stored("a"), stored("b", renderer="warp"), out=tmp_path / "run"))
    assert not (tmp_path / "run").exists()
    sets = [Dataset(stored(name, of=f"classic: {name}"), verify=False) for name in ("c", "d")]
    with pytest.warns(UserWarning, match="2 versions of the classic renderer: classic: c; classic"):
        train.check_renderers(sets)


def test_wrong_arguments_are_refused_in_words(stored, tmp_path):
    with pytest.raises(UserError, match="differ in image size"):
        train.train(arguments(stored("a"), stored("b", (16, 24)), out=tmp_path / "run"))
    for changes in ("{", '{"wings": 2}', '{"layers": 0}', "3", '{"recollect": "false"}'):
        with pytest.raises(UserError, match="--agent"):
            train.train(arguments(stored("a"), out=tmp_path / "run", agent=changes))
    with pytest.raises(UserError, match="should read"):
        train.train(arguments(stored("a"), out=tmp_path / "run", evaluate=("x=:{}",)))
    for exam in ("Nope", 'OddOneOut/Basic-v0:{"dimension": "colour"}'):
        with pytest.raises(UserError, match=r"--evaluate: .*(Nope|colour)"):
            train.train(arguments(stored("a"), out=tmp_path / "run", evaluate=(exam,)))
    with pytest.raises(UserError, match=r"no \['wings'\]; it has image_size, actions"):
        train.train(arguments(stored("a"), out=tmp_path / "run", agent='{"wings": 2}'))
    with pytest.raises(UserError, match="actions, vocabulary are the demonstrations'"):
        train.train(
            arguments(stored("a"), out=tmp_path / "run", agent='{"vocabulary": 9, "actions": 5}')
        )
    sized = ('OddOneOut/Basic-v0:{"image_size": 32}',)
    with pytest.raises(UserError, match=r"in the size that the agent sees, .*got 32"):
        train.train(arguments(stored("a"), out=tmp_path / "run", evaluate=sized))
    wide = replace(arguments(stored("a"), out=tmp_path / "run"), training=TrainingConfig(shift=16))
    with pytest.raises(UserError, match="up to 16 pixels"):
        train.train(wide)
    long = ('OddOneOut/Intervention-v0:{"experiments": 8}',)
    with pytest.raises(UserError, match="may take 927 steps, and the agent remembers 448"):
        train.train(arguments(stored("a"), out=tmp_path / "run", evaluate=long))
    with pytest.raises(UserError, match="--threads must be at least 0"):
        train.train(arguments(stored("a"), out=tmp_path / "run", threads=-1))
    with pytest.raises(UserError, match="--evaluate-frames wants something to evaluate by"):
        train.train(arguments(stored("a"), out=tmp_path / "run", evaluate_frames=100))
    for changes in ({"evaluate_episodes": 0}, {"temperature": float("nan")}):
        with pytest.raises(UserError, match="--evaluate-episodes must be at least 1"):
            train.train(arguments(stored("a"), out=tmp_path / "run", **changes))
    for exams in (
        ("basic=OddOneOut/Basic-v0", "basic=OddOneOut/Confounded-v0"),
        ("OddOneOut/Basic-v0", 'OddOneOut/Basic-v0:{"describe": "near"}', "OddOneOut/Basic-v0"),
    ):
        with pytest.raises(UserError, match=r"several environments are named 'basic': .*NAME=ID"):
            train.train(arguments(stored("a"), out=tmp_path / "run", evaluate=exams))
    assert not (tmp_path / "run").exists()


def test_held_out_demonstrations_of_the_rooms_that_are_learnt_from_are_refused(stored, tmp_path):
    with pytest.raises(UserError, match=r"b is of the same level and seed .*, 4\) as .*another"):
        train.train(arguments(stored("a"), out=tmp_path / "run", validation=(stored("b"),)))
    held_out = stored("c", seed=5)
    train.train(arguments(stored("a"), out=tmp_path / "run", validation=(held_out,)))
    assert '"validation"' in (tmp_path / "run" / "metrics.jsonl").read_text()


def test_two_processes_do_not_train_in_one_folder(stored, tmp_path):
    run = tmp_path / "run"
    with (
        common.alone(run, "training"),
        pytest.raises(UserError, match="another process is training in"),
    ):
        train.train(arguments(stored("a"), out=run))
    train.train(arguments(stored("a"), out=run))
    assert (run / checkpoint.FINAL).exists()


@pytest.mark.parametrize(("finished", "code"), [(False, 128 + signal.SIGTERM), (True, 0)])
def test_an_interrupted_run_ends_as_the_signal_would_end_it(finished, code, monkeypatch, capsys):
    def stopped(args: train.Arguments) -> None:
        raise Interrupted("stopped", signal.SIGTERM, finished)

    monkeypatch.setattr(train, "train", stopped)
    monkeypatch.setattr(sys, "argv", ["train", "--data", "demos", "--out", "run"])
    with pytest.raises(SystemExit) as ended:
        train.main()
    assert ended.value.code == code
    assert ("the same command goes on" in capsys.readouterr().err) is not finished
