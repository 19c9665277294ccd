import pytest
import torch

from agents.exams import Exam, sit
from agents.model import Agent
from tests.agents.examples import tiny


@pytest.mark.parametrize(
    ("text", "exam"),
    [
        ("OddOneOut/Basic-v0", Exam("OddOneOut/Basic-v0", {}, "basic")),
        (
            'OddOneOut/Confounded-v0:{"dimension": "color"}',
            Exam("OddOneOut/Confounded-v0", {"dimension": "color"}, "confounded-color"),
        ),
        ('near=A-v0:{"describe": "near"}', Exam("A-v0", {"describe": "near"}, "near")),
    ],
)
def test_exams_are_named_in_one_line(text, exam):
    assert Exam.parse(text) == exam


@pytest.mark.parametrize("text", ["", "A-v0:{", "A-v0:3", "name="])
def test_an_exam_that_cannot_be_read_is_refused(text):
    with pytest.raises(ValueError, match=r"JSON|should read"):
        Exam.parse(text)


@pytest.mark.parametrize("env", ["OddOneOut/Confounded-v0"])
def test_an_agent_sits_the_same_exam_twice_alike(env):
    torch.manual_seed(0)
    agent = Agent(tiny(context=128)).eval()
    exams = [Exam.parse(env)]
    first, score = sit(agent, exams, episodes=2)
    assert 0.0 <= score <= 1.0
    assert first["confounded/success"] == score
    assert sit(agent, exams, episodes=2) == (first, score)
