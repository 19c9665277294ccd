import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from agents import checkpoint, progress
from agents.checkpoint import CheckpointError
from agents.config import TrainingConfig
from agents.counts import counts, named, part
from agents.curriculum import Stage
from agents.interruption import Interrupted
from agents.losses import losses
from agents.model import Agent
from agents.training import RunOptions, Trainer, measure
from agents.unmet import nothing_unmet
from oddoneout.rules import language
from tests.agents.examples import random_batch, tiny
from tests.agents.made_up import MadeUp

AGENT = tiny(image_size=(16, 16), dropout=0.1)
TRAINING = TrainingConfig(
    frames=600, batch_episodes=6, batch_frames=60, warmup_steps=4, schedule="cosine", shift=1
)
#: Saves after every step, as a run that is killed may have done last.
SAVING = RunOptions(save_seconds=0.0, log_seconds=0.0, device="cpu")


def trainer(run: Path, training: TrainingConfig = TRAINING, agent=AGENT, **kwargs) -> Trainer:
    kwargs.setdefault("options", SAVING)
    kwargs.setdefault("say", lambda line: None)
    return Trainer(run, MadeUp(20), agent, training, **kwargs)


def finished(run: Path) -> dict[str, torch.Tensor]:
    """All numbers of a finished run: weights, and the optimizer's."""
    return checkpoint.read(run / checkpoint.LAST)[0]


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


class Killed(Exception):
    pass


def kill_at(*steps: int):
    def on_step(trainer: Trainer) -> None:
        if trainer.state.step in steps:
            raise Killed

    return on_step


@pytest.mark.parametrize("changes", [{}, {"deed_layers": 1, "forget_transformed": True}])
def test_a_run_killed_again_and_again_ends_as_if_it_had_not_been(tmp_path, changes):
    agent = replace(AGENT, **changes)
    trainer(tmp_path / "whole", agent=agent).train()
    for step in (1, 6, 7):  # the first 6 take glimpses
        with pytest.raises(Killed):
            trainer(tmp_path / "killed", agent=agent, on_step=kill_at(step)).train()
    trainer(tmp_path / "killed", agent=agent).train()
    assert_same(finished(tmp_path / "whole"), finished(tmp_path / "killed"))
    kept = (tmp_path / "killed" / "metrics.jsonl").read_text().splitlines()
    steps = [json.loads(line)["step"] for line in kept]
    assert steps == sorted(set(steps)), "steps that were done twice are recorded once"


def test_a_record_that_was_half_written_is_passed_over_and_goes_once_the_run_goes_on(tmp_path):
    path = tmp_path / "metrics.jsonl"
    assert progress.records(path) == []
    whole = [{"kind": "train", "step": step, "loss": 0.1} for step in (1, 2)]
    lines = "".join(f"{json.dumps(record)}\n" for record in whole)
    path.write_text(lines + '{"kind": "train", "st')
    assert progress.records(path) == whole
    progress.Record(tmp_path, step=2).close()
    assert path.read_text() == lines


def test_what_was_half_written_when_a_run_was_killed_is_gone_once_it_goes_on(tmp_path):
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from agents import checkpoint\n"
        "from agents.config import AgentConfig, TrainingConfig\n"
        "checkpoint.save_file = lambda *_, **__: (\n"
        "    Path(_[1]).write_bytes(b'half'), os.kill(os.getpid(), signal.SIGKILL))\n"
        "meta = checkpoint.Meta(AgentConfig(), TrainingConfig())\n"
        "checkpoint.save(Path(sys.argv[1]) / checkpoint.LAST, {}, meta)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert list(tmp_path.glob(".last.safetensors.*")) == list(tmp_path.iterdir()) != []
    trainer(tmp_path).train()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_asked_to_stop_saves_and_goes_on_later(tmp_path, number):
    def ask(trainer: Trainer) -> None:
        if trainer.state.step == 3:
            os.kill(os.getpid(), number)

    rarely = replace(SAVING, save_seconds=1e9)
    trainer(tmp_path / "whole", options=rarely).train()
    before = signal.getsignal(number)
    with pytest.raises(Interrupted):
        trainer(tmp_path / "asked", options=rarely, on_step=ask).train()
    assert signal.getsignal(number) is before
    assert checkpoint.read(tmp_path / "asked" / checkpoint.LAST)[1].state["step"] >= 3
    trainer(tmp_path / "asked", options=rarely).train()
    assert_same(finished(tmp_path / "whole"), finished(tmp_path / "asked"))


def test_a_second_sigterm_asks_no_more_than_the_first(tmp_path):
    """Schedulers send it to a whole group of processes, whose parents pass it on."""

    def ask(trainer: Trainer) -> None:
        if trainer.state.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match="saved"):
        trainer(tmp_path, on_step=ask).train()
    assert checkpoint.read(tmp_path / checkpoint.LAST)[1].state["step"] >= 3


def test_an_exam_in_which_a_run_was_killed_is_held_again_at_the_end_of_a_stage_too(tmp_path):
    """Whatever is saved for the stage to come must not leave that exam behind."""
    staged = replace(TRAINING, glimpses=0.5)  # both end with the first frames beyond 300
    options = replace(SAVING, save_seconds=1e9, evaluate_frames=300)

    def passed(agent: Agent) -> tuple[dict[str, float], float]:
        return {"score": 1.0}, 1.0

    def killed(agent: Agent) -> tuple[dict[str, float], float]:
        raise Killed

    def exams(run: Path) -> list[int]:
        records = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
        return [record["frames"] for record in records if record["kind"] == "active"]

    trainer(tmp_path / "whole", staged, options=options, evaluation=passed).train()
    with pytest.raises(Killed):
        trainer(tmp_path / "killed", staged, options=options, evaluation=killed).train()
    trainer(tmp_path / "killed", staged, options=options, evaluation=passed).train()
    assert exams(tmp_path / "killed") == exams(tmp_path / "whole")
    assert len(exams(tmp_path / "whole")) == 2


def test_more_minutes_do_not_lead_a_run_back_to_an_earlier_stage(tmp_path):
    def leave(running: Trainer) -> None:
        if running.state.step == 1:
            # As if the one minute that there is had been used up by half.
            running.state.seconds = 30.0
        if running.state.stage is not Stage.GLIMPSES:
            running.stop.signal = signal.SIGTERM

    options = replace(SAVING, max_minutes=1.0)
    with pytest.raises(Interrupted):
        trainer(tmp_path, options=options, on_step=leave).train()
    seen = []
    longer = replace(SAVING, max_minutes=1000.0)
    trainer(tmp_path, options=longer, on_step=lambda run: seen.append(run.state.stage)).train()
    assert set(seen) == {Stage.EPISODES}


def test_a_run_asked_to_stop_in_its_last_evaluation_stops_finished(tmp_path):
    def ask(agent: Agent) -> tuple[dict[str, float], float]:
        os.kill(os.getpid(), signal.SIGTERM)
        return {"score": 0.0}, 0.0

    with pytest.raises(Interrupted, match="finished"):
        trainer(tmp_path, evaluation=ask).train()
    assert finished(tmp_path)


def test_a_last_evaluation_that_is_held_again_is_recorded_once(tmp_path, monkeypatch):
    save = checkpoint.save

    def die(path, *rest):
        if path.name == checkpoint.BEST:  # after the exam's record
            raise Killed
        save(path, *rest)

    def run() -> None:
        trainer(tmp_path, evaluation=lambda agent: ({"score": 0.0}, 0.0)).train()

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", die)
        with pytest.raises(Killed):
            run()
    run()
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["kind"] for line in lines].count("active") == 1


def test_a_run_that_freezes_nothing_ends_with_episodes(tmp_path):
    ended = trainer(tmp_path, replace(TRAINING, freeze_at=1.0))
    ended.train()
    assert ended.state.stage is Stage.EPISODES
    assert all(p.requires_grad for p in ended.agent.encoder.parameters())


def test_a_run_stopped_where_an_evaluation_is_due_holds_it_first(tmp_path):
    def evaluated(name: str, stops_at: int | None) -> list[int]:
        options = replace(SAVING, evaluate_frames=150, save_seconds=1e9)

        def ask(trainer: Trainer) -> None:
            if trainer.state.step == stops_at:
                trainer.stop.signal = signal.SIGTERM

        def run() -> None:
            trainer(
                tmp_path / name,
                options=options,
                on_step=ask,
                evaluation=lambda agent: ({"score": 0.0}, 0.0),
            ).train()

        if stops_at is not None:
            with pytest.raises(Interrupted):
                run()
        run()
        lines = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        return [v["step"] for line in lines if (v := json.loads(line))["kind"] == "active"]

    whole = evaluated("whole", stops_at=None)
    # A run ends after the step that follows the one at which it is asked to.
    assert evaluated("stopped", stops_at=whole[0] - 1) == whole


def test_numbers_that_are_none_are_never_saved(tmp_path):
    def spoil(trainer: Trainer) -> None:
        if trainer.state.step == 3:
            trainer.agent.policy.weight.data.fill_(float("nan"))

    with pytest.raises(FloatingPointError, match="diverged"):
        trainer(tmp_path, options=replace(SAVING, log_seconds=1e9), on_step=spoil).train()
    saved = finished(tmp_path)
    assert all(torch.isfinite(values).all() for values in saved.values())


def test_a_finished_run_is_left_alone(tmp_path):
    trainer(tmp_path).train()
    before = (tmp_path / checkpoint.LAST).read_bytes()
    trainer(tmp_path, on_step=kill_at(*range(1000))).train()
    assert (tmp_path / checkpoint.LAST).read_bytes() == before


def test_another_seed_trains_another_agent(tmp_path):
    first = trainer(tmp_path / "0").train().policy.weight
    second = trainer(tmp_path / "1", replace(TRAINING, seed=1)).train().policy.weight
    assert not torch.equal(first, second)


def test_a_run_does_not_go_on_with_other_settings(tmp_path):
    trainer(tmp_path).train()
    with pytest.raises(CheckpointError, match=r"explanation_weight was 1\.0, is 0\.0"):
        trainer(tmp_path, replace(TRAINING, explanation_weight=0.0))
    with pytest.raises(CheckpointError, match="width was 32, is 64"):
        trainer(tmp_path, agent=replace(AGENT, width=64))
    with pytest.raises(CheckpointError, match="other demonstrations"):
        trainer(tmp_path, summaries=[{"seed": 1}])


def test_words_that_training_leaves_open_are_not_wrong_in_held_out_demonstrations():
    agent = Agent(replace(AGENT, dropout=0.0)).eval()
    leaving = replace(TRAINING, leave_open=True)
    never_met = nothing_unmet()
    never_met[:, language.VOCABULARY.index("magenta")] = True  # which is never said here
    wrong, left_open = (
        measure(agent, MadeUp(20), leaving, apart=apart)["explanation"]
        for apart in (None, never_met)
    )
    assert left_open < wrong


def test_the_run_learns_what_the_demonstrations_show(tmp_path):
    training = replace(TRAINING, frames=4000, lr=3e-3, mirror=0.0, schedule="wsd")
    agent = trainer(tmp_path, training, replace(AGENT, dropout=0.0)).train()
    values = measure(agent.eval(), MadeUp(20), training)
    assert values["action_accuracy"] > 0.5, "chance is 1/9"
    recorded = [json.loads(line) for line in (tmp_path / "metrics.jsonl").open()]
    assert recorded[-1]["action"] < recorded[0]["action"]
    assert list((tmp_path / "curves").glob("events.*"))


def test_evaluations_come_when_due_and_the_best_agent_is_kept(tmp_path):
    scores = iter((0.2, 0.9, 0.5, 0.4, 0.3, 0.1, 0.0))
    weights = []

    def evaluation(agent: Agent):
        assert not agent.training
        weights.append(agent.policy.weight.detach().clone())
        score = next(scores)
        return {"room/success": score}, score

    options = replace(SAVING, evaluate_frames=200)
    trainer(tmp_path, evaluation=evaluation, validation=MadeUp(4, seed=1), options=options).train()
    assert len(weights) == 3
    best, meta = checkpoint.load_agent(tmp_path / checkpoint.BEST)
    assert torch.equal(best.policy.weight, weights[1])
    assert meta.state["best"] == 0.9
    kinds = [json.loads(line)["kind"] for line in (tmp_path / "metrics.jsonl").open()]
    assert kinds.count("active") == kinds.count("validation") == 3


def test_which_agent_is_best_is_asked_anew_of_another_exam(tmp_path):
    def once_examined(running: Trainer) -> None:
        if running.state.best is not None and running.state.judged == "easy":
            raise Killed

    def examined(score: float, judged: str) -> float:
        run = trainer(
            tmp_path,
            evaluation=lambda agent: ({}, score),
            judged=judged,
            options=replace(SAVING, evaluate_frames=200),
            on_step=once_examined,
        )
        with contextlib.suppress(Killed):
            run.train()
        return checkpoint.read(tmp_path / checkpoint.BEST)[1].state["best"]

    assert examined(0.9, "easy") == 0.9
    assert examined(0.5, "hard") == 0.5


def test_a_run_of_a_version_to_come_is_refused(tmp_path):
    trainer(tmp_path).train()
    last = tmp_path / checkpoint.LAST
    tensors, meta = checkpoint.read(last)
    checkpoint.save(last, tensors, replace(meta, state={**meta.state, "wings": 2}))
    with pytest.raises(CheckpointError, match=r"last\.safetensors .*wings"):
        trainer(tmp_path)


def test_nothing_is_recorded_of_what_was_not_measured(tmp_path):
    trainer(tmp_path, agent=replace(AGENT, recollect=False)).train()
    (*_, last) = progress.records(tmp_path / "metrics.jsonl")
    absent = {"naming", "naming_accuracy", "recollection", "recollection_accuracy", "reward"}
    assert not absent & last.keys()
    assert {"action", "explanation", "properties_accuracy"} <= last.keys()


@pytest.mark.parametrize(
    "otherwise",
    [
        {},
        {"dropout": 0.1},
        {"forget_transformed": True},
        {"forget_transformed": True, "forget_vain": True},
        {"trial_memory": True},
        {"deed_layers": 1},
        {"context": 999},
        {"encoder": "parts", "bleach": 0.5},
    ],
)
def test_a_run_may_begin_from_another_runs_weights(tmp_path, otherwise):
    encoder = otherwise.get("encoder", AGENT.encoder)
    first = trainer(tmp_path / "first", agent=replace(AGENT, encoder=encoder)).train()
    training = replace(TRAINING, start=str(tmp_path / "first"))
    second = trainer(tmp_path / "second", training, replace(AGENT, **otherwise))
    weights = second.agent.state_dict()
    for name, value in first.state_dict().items():
        assert torch.equal(weights.pop(name), value), name
    assert all(
        "deeds" in name or name == "changed" for name in weights
    )  # what the other lacks begins anew
    assert (second.state.step, second.state.frames) == (0, 0)


@pytest.mark.parametrize("fewer", [{"layers": 1}, {"deed_layers": 0}])
def test_weights_of_another_shape_are_no_beginning(tmp_path, fewer):
    more = replace(AGENT, layers=2, deed_layers=1)
    trainer(tmp_path / "first", agent=more).train()
    training = replace(TRAINING, start=str(tmp_path / "first"))
    with pytest.raises(CheckpointError, match=r"another shape: \w*layers \d instead of \d$"):
        trainer(tmp_path / "second", training, replace(more, **fewer))


def test_a_budget_in_minutes_ends_the_run_and_its_schedule(tmp_path):
    options = replace(SAVING, max_minutes=1e-9)
    run = trainer(tmp_path, replace(TRAINING, frames=10**9), options=options)
    run.train()
    assert run.done == 1.0
    assert run.state.step == 1


def test_passes_add_up_to_the_whole_batch(tmp_path):
    # More passes than the smallest batch has episodes: some have nothing to do. Muon makes as much
    # of directions that hold nothing but rounding as of all others.
    exact = replace(TRAINING, optimizer="adamw", precision="float32", decisive_weight=3.0)
    agent = replace(AGENT, dropout=0.0, reconstruct=True, predict_reward=True)
    once = trainer(tmp_path / "1", exact, agent).train()
    often = trainer(tmp_path / "4", exact, agent, options=replace(SAVING, passes=4)).train()
    for one, other in zip(once.parameters(), often.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_counts_are_those_that_the_losses_divide_by():
    config = replace(TRAINING, decisive_weight=2.5, label_smoothing=0.1)
    agent = Agent(tiny(reconstruct=True, predict_reward=True))
    torch.manual_seed(0)
    long, short = random_batch(agent.config, (14,)), random_batch(agent.config, (5,), seed=1)
    sizes = [counts(batch, config) for batch in (long, short)]
    whole = sizes[0] + sizes[1]
    assert whole.gt(0).all()
    alone = losses(agent(long), long, config)
    torch.testing.assert_close(part(alone, named(sizes[0] / sizes[0]), config), alone.total)


def test_what_cannot_work_is_refused_before_any_work(tmp_path):
    longest = int(MadeUp(20).lengths.max())
    with pytest.raises(ValueError, match=rf"of {longest} steps outgrows .* context of 8"):
        trainer(tmp_path, agent=replace(AGENT, context=8))
    long = MadeUp(1, shortest=90, longest=90)
    with pytest.raises(ValueError, match="of 90 steps outgrows"):
        trainer(tmp_path, agent=replace(AGENT, context=longest), validation=long)
    with pytest.raises(ValueError, match="forget_transformed"):
        trainer(tmp_path, replace(TRAINING, lapse=0.1))
    with pytest.raises(ValueError, match=r"sentence_words must be at least 9, .*got 4"):
        trainer(tmp_path, agent=replace(AGENT, sentence_words=4))
    for wrong in (
        {"max_minutes": 0.0},
        {"passes": 0},
        {"passes": 1.5},
        {"save_seconds": float("nan")},
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            RunOptions(**wrong)
    assert not list(tmp_path.iterdir())


def test_held_out_demonstrations_are_measured_without_lapses():
    agent = Agent(replace(AGENT, dropout=0.0, forget_transformed=True)).eval()
    plain, lapsing = (
        measure(agent, MadeUp(20), replace(TRAINING, lapse=lapse)) for lapse in (0.0, 0.5)
    )
    assert plain == lapsing


#: A few steps of every stage: glimpses, episodes, features.
EXACT = replace(TRAINING, precision="float32", frames=200, freeze_at=0.6)
WORKER = """
import sys, torch
from dataclasses import replace
from pathlib import Path
from tests.agents.test_training import AGENT, EXACT, trainer
torch.set_num_threads(1)
run = trainer(Path(sys.argv[1]), EXACT, replace(AGENT, dropout=0.0))
run.train()
run.ranks.leave()
"""


def test_two_processes_train_the_agent_that_one_would(tmp_path):
    command = [sys.executable, "-c", WORKER]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    workers = [
        subprocess.Popen(
            [*command, str(tmp_path / "two")],
            env={**os.environ, **port, "RANK": str(rank), "WORLD_SIZE": "2"},
        )
        for rank in range(2)
    ]
    assert [worker.wait(timeout=240) for worker in workers] == [0, 0]
    trainer(tmp_path / "one", EXACT, replace(AGENT, dropout=0.0)).train()
    one, two = finished(tmp_path / "one"), finished(tmp_path / "two")
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-3, atol=1e-4, msg=name)
    # What they record is of the whole batch, not of a share.
    logs = [(tmp_path / run / "metrics.jsonl").read_text() for run in ("one", "two")]
    steps = [[json.loads(line) for line in log.splitlines()] for log in logs]
    for first, second in zip(*steps, strict=True):
        for name in first.keys() - {"kind", "time", "frames_per_second"}:
            assert second[name] == pytest.approx(first[name], rel=1e-3, abs=1e-4), name
