"""What was said so far, counted by hand."""

import torch
from torch import Tensor

from agents.batch import Batch, Inputs, Targets
from agents.memory import forgotten
from agents.recollection import recollections
from agents.unmet import nothing_unmet
from oddoneout.rules import language

RED_BALL, BLUE_BALL, UNIQUE = "this is a red ball", "this is a blue ball", "correct it is uniquely"
SENTENCES = ("", RED_BALL, BLUE_BALL, UNIQUE)


def told(*steps: str, trials: list[int], explaining: list[bool] | None = None) -> Batch:
    """One episode in which that is said, step by step."""
    n = len(steps)
    rows = torch.tensor([[SENTENCES.index(step) for step in steps]])
    zeros = torch.zeros(1, n, dtype=torch.int64)
    ids = [language.encode(text, language.MAX_WORDS) for text in SENTENCES]
    return Batch(
        Inputs(
            images=torch.zeros(n, 8),
            lengths=torch.tensor([n]),
            instructions=zeros[..., None],
            previous_actions=zeros,
            previous_rewards=zeros.float(),
            transformed=zeros > 0,
            changed=zeros > 0,
            settled=zeros > 0,
            trials=torch.tensor([trials]),
        ),
        Targets(
            labels=zeros,
            sentences=torch.stack([torch.from_numpy(row).long() for row in ids]),
            told=rows,
            coming=zeros,
            explaining=torch.tensor([explaining or [False] * n]),
            rewards=zeros.float(),
            apart=nothing_unmet(),
        ),
    )


def said(batch: Batch, word: str, known: Tensor | None = None) -> list[int]:
    """How often, at each step of a search."""
    counts: Tensor = recollections(batch, len(language.VOCABULARY), known)[1]
    return counts[:, language.VOCABULARY.index(word)].tolist()


def test_a_word_counts_once_per_different_sentence():
    batch = told(RED_BALL, "", RED_BALL, BLUE_BALL, RED_BALL, trials=[0] * 5)
    assert said(batch, "red") == [1, 1, 1, 1, 1]
    assert said(batch, "blue") == [0, 0, 0, 1, 1]
    assert said(batch, "ball") == [1, 1, 1, 2, 2]


def test_a_new_trial_begins_with_nothing_said():
    batch = told(RED_BALL, BLUE_BALL, "", BLUE_BALL, RED_BALL, trials=[0, 0, 1, 1, 1])
    assert said(batch, "ball") == [1, 2, 0, 1, 2]
    assert said(batch, "red") == [1, 1, 0, 0, 1]


def test_outcomes_are_not_counted_nor_asked_at():
    batch = told(RED_BALL, UNIQUE, "", trials=[0, 0, 0], explaining=[False, True, False])
    asked, _ = recollections(batch, len(language.VOCABULARY))
    assert asked.tolist() == [[True, False, True]]
    assert said(batch, "uniquely") == [0, 0]


def test_what_a_transform_made_the_agent_forget_is_not_asked_of_it():
    batch = told(RED_BALL, BLUE_BALL, BLUE_BALL, "", RED_BALL, trials=[0] * 5)
    batch.inputs.transformed[0, 2] = True  # the third look comes after it
    known = ~forgotten(batch.inputs.transformed, batch.inputs.settled)
    assert said(batch, "ball", known) == [1, 2, 1, 1, 2]
    assert said(batch, "red", known) == [1, 1, 0, 0, 1]
    assert said(batch, "blue", known) == [0, 1, 1, 1, 1]


def test_the_end_of_a_sentence_is_no_word():
    assert recollections(told(RED_BALL, "", trials=[0, 0]), 61)[1][:, 0].tolist() == [0, 0]
