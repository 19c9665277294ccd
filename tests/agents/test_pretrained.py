"""The agents in the repository: whoever changes what a checkpoint holds must still read these."""

from pathlib import Path

import pytest
import torch

from agents.actor import load_policy
from agents.checkpoint import load_agent
from oddoneout.evaluation import evaluate

FOLDER = Path(__file__).parents[2] / "agents" / "pretrained"
FILES = sorted(FOLDER.glob("*.safetensors"))
pytestmark = pytest.mark.skipif(
    not FOLDER.exists(), reason="source distributions come without the trained agents"
)


def test_there_is_one_for_each_explained_dimension_for_none_and_for_interventions():
    explained = {f"confounded-{what}" for what in ("color", "shape", "texture", "nothing")}
    assert {file.stem for file in FILES} == {*explained, "intervention"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_agent_loads_and_acts(file):
    assert file.stat().st_size < 12e6, "a few megabytes each"
    agent, meta = load_agent(file, image_size=(64, 64))
    assert meta.training.frames > 0
    images = torch.randint(256, (2, 64, 64, 3), dtype=torch.uint8)
    instructions = torch.ones(2, agent.config.instruction_words, dtype=torch.int64)
    before = torch.full((2,), agent.config.no_action)
    with torch.no_grad():
        never = torch.zeros(2, dtype=torch.bool)
        logits, states, _ = agent.step(
            images, instructions, before, torch.zeros(2), never, never, never, agent.begin(2)
        )
    assert torch.isfinite(logits).all()
    assert agent.speak(states).shape == (2, 2, agent.config.sentence_words)


@pytest.mark.parametrize("dimension", ["color", "shape", "texture"])
def test_what_was_explained_still_decides(dimension):
    policy = load_policy(FOLDER / f"confounded-{dimension}.safetensors", temperature=0.25)
    env = "OddOneOut/Deconfounded-v0"
    scores = evaluate(policy, env, {"dimension": dimension}, episodes=12, seed=11, slots=12)
    assert scores.odd_in[dimension].value >= 0.75, "0.95 to 0.99 in its table"


def test_the_experimenter_still_finds_the_dimension():
    policy = load_policy(FOLDER / "intervention.safetensors", temperature=0.25)
    env = "OddOneOut/Intervention-v0"
    scores = evaluate(policy, env, {"difficulty": "easy"}, episodes=8, seed=11, slots=8)
    assert scores.success.value >= 0.75, "0.97 in its table"
    assert scores.says["properties"].accuracy.value >= 0.9, "0.98 in its table"
