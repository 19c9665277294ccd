"""What was said so far, counted by hand."""

import torch
from torch import Tensor

from agents.batch import IGNORED, Batch, Inputs, Targets
from agents.recollection import QUESTIONS, recollections
from oddoneout.rules import language

RED_BALL, BLUE_BALL = "this is a red ball", "this is a blue ball"
RIGHT, WRONG = (
    "correct it is uniquely red color matters",
    "incorrect others share red color matters",
)
SENTENCES = ("", RED_BALL, BLUE_BALL, RIGHT, WRONG)
WORDS = len(language.VOCABULARY)


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
            trials=torch.tensor([trials]),
        ),
        Targets(
            labels=zeros,
            sentences=torch.stack([torch.from_numpy(row).long() for row in ids]),
            told=rows,
            coming=zeros,
            explaining=torch.tensor([explaining or [False] * n]),
            rewards=zeros.float(),
            uncounted=torch.zeros(1, WORDS, dtype=torch.bool),
        ),
    )


def asked_of(batch: Batch, word: str) -> tuple[list[int], list[int]]:
    """How often it was said of this trial, and at the end of earlier ones, at steps of searches."""
    counts: Tensor = recollections(batch, WORDS)[1]
    this, earlier = counts.unflatten(-1, (QUESTIONS, WORDS))[
        :, :, language.VOCABULARY.index(word)
    ].T
    return this.tolist(), earlier.tolist()


def said(batch: Batch, word: str) -> list[int]:
    return asked_of(batch, word)[0]


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
    batch = told(RED_BALL, RIGHT, "", trials=[0, 0, 0], explaining=[False, True, False])
    asked, _ = recollections(batch, WORDS)
    assert asked.tolist() == [[True, False, True]]
    assert said(batch, "uniquely") == [0, 0]


def test_outcomes_of_earlier_trials_are_recollected_but_for_their_values():
    batch = told(
        *("", WRONG, WRONG, RED_BALL, RIGHT, "", RIGHT, "", RED_BALL),
        trials=[0, 0, 0, 1, 1, 2, 2, 3, 3],
        explaining=[False, True, True, False, True, False, True, False, False],
    )
    assert asked_of(batch, "incorrect")[1] == [0, 1, 1, 1, 1]
    assert asked_of(batch, "correct")[1] == [0, 0, 1, 2, 2]
    assert asked_of(batch, "color")[1] == [0, 1, 2, 2, 2], "counted to two"
    assert asked_of(batch, "red")[1] == [IGNORED] * 5, "the object is gone"
    assert asked_of(batch, "red")[0] == [0, 1, 0, 0, 1], "an outcome is no description"
    assert asked_of(batch, "this")[1] == [0] * 5, "a description is no outcome"


def test_words_that_do_not_count_are_not_asked_for():
    batch = told(RED_BALL, BLUE_BALL, trials=[0, 0])
    batch.targets.uncounted[0, language.VOCABULARY.index("red")] = True
    assert said(batch, "red") == [IGNORED, IGNORED]
    assert said(batch, "ball") == [1, 2]


def test_the_end_of_a_sentence_is_no_word():
    assert said(told(RED_BALL, "", trials=[0, 0]), "") == [0, 0]
