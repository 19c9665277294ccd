"""What demonstrations leave open, by sentences made by hand."""

import contextlib
import itertools

import pytest
import torch
from torch import Tensor

from agents.batches import Position
from agents.config import TrainingConfig
from agents.curriculum import Curriculum, Stage
from agents.interruption import Stop
from agents.losses import spelled_loss
from agents.model import Agent
from agents.ranks import Ranks
from agents.unmet import left_open, nothing_unmet, unmet
from oddoneout.rules import language
from oddoneout.rules.attributes import Color, Shape, Texture
from oddoneout.rules.splits import Split, allows_values, held_out_pair
from tests.agents.examples import tiny
from tests.agents.made_up import MadeUp

SAID = (
    "this is a red striped cube",
    "this is a red dotted ball",
    "this is a blue striped cube",
    "this is a blue solid cone",
)
WORDS = {word: i for i, word in enumerate(language.VOCABULARY)}


def encoded(*sentences: str) -> Tensor:
    ids = [language.encode(sentence, language.MAX_WORDS) for sentence in sentences]
    return torch.stack([torch.from_numpy(row).long() for row in ids])


def instead(sentence: str, word: str, apart: Tensor) -> set[str]:
    """What could stand there as well as that word of the sentence."""
    (found,) = left_open(encoded(sentence), apart)
    place = found[sentence.split().index(word)].tolist()
    return {other for other, is_open in zip(language.VOCABULARY, place, strict=True) if is_open}


def test_what_the_rest_of_a_sentence_has_never_met_could_stand_there_as_well():
    apart = unmet(SAID)
    assert instead(SAID[0], "striped", apart) == {"dotted", "solid"}, "no cube was either"
    assert instead(SAID[0], "cube", apart) == {"ball", "cone"}, "neither was striped"
    assert instead(SAID[0], "red", apart) == set(), "a blue striped cube was shown: not this one"
    assert instead(SAID[1], "dotted", apart) == {"striped", "solid"}
    assert instead(SAID[1], "red", apart) == {"blue"}, "nothing blue was dotted, or a ball"


def test_a_word_that_stands_there_is_right_though_it_never_met_the_others():
    held_out = "this is a red striped ball"  # no ball was, nor anything red
    assert instead(held_out, "striped", unmet(SAID)) == {"solid"}
    assert "ball" not in instead(held_out, "ball", unmet(SAID))


@pytest.mark.parametrize("word", ["this", "is", "a"])
def test_words_that_are_no_values_are_never_open(word):
    assert instead(SAID[0], word, unmet(SAID)) == set()


def test_words_that_were_never_said_are_not_open():
    assert "green" not in instead(SAID[1], "red", unmet(SAID))


def test_other_sentences_count_and_dimensions_that_are_named_do_not():
    said = ("correct it is uniquely red color matters", "incorrect others share red cube", *SAID)
    apart = unmet([*said, "incorrect others share dotted cube"])
    assert instead(said[0], "red", apart) == set(), "alone it could be any color"
    assert instead(SAID[0], "striped", apart) == {"solid"}, "dotted cubes exist"


def test_nothing_is_open_after_the_end():
    words = encoded("this is red")
    words[0, 4:] = -100
    assert not left_open(words, unmet(SAID))[0, 3:].any()


def test_of_the_training_split_exactly_the_held_out_pairs_are_apart():
    things = itertools.product(Color, Shape, Texture)
    shown = [thing for thing in things if allows_values(Split.TRAIN, *thing)]
    apart = unmet(f"this is a {color} {texture} {shape}" for color, shape, texture in shown)
    values = [*Color, *Shape, *Texture]
    for first, second in itertools.combinations(values, 2):
        held_out = type(first) is not type(second) and held_out_pair(first, second)
        assert bool(apart[WORDS[str(first)], WORDS[str(second)]]) == held_out, (first, second)
    assert torch.equal(apart, apart.T)
    everything = itertools.product(Color, Shape, Texture)
    assert not unmet(f"this is a {c} {t} {s}" for c, s, t in everything).any()


def test_a_word_that_is_left_open_is_neither_right_nor_wrong():
    apart, words = unmet(SAID), encoded(SAID[0])
    place = SAID[0].split().index("striped")
    scores = torch.zeros(1, language.MAX_WORDS, len(WORDS), requires_grad=True)
    (gradient,) = torch.autograd.grad(spelled_loss(scores, words, apart), scores)
    assert gradient[0, place, WORDS["dotted"]] == 0
    assert gradient[0, place, WORDS["halved"]] > 0, "never said of anything: wrong"
    assert gradient[0, place, WORDS["striped"]] < 0
    (plain,) = torch.autograd.grad(spelled_loss(scores, words, nothing_unmet()), scores)
    assert plain[0, place, WORDS["dotted"]] > 0


@pytest.mark.parametrize("leave_open", [True, False])
def test_every_stage_leaves_open_what_the_demonstrations_do(tmp_path, leave_open):
    curriculum = Curriculum(
        MadeUp(40),
        Agent(tiny(image_size=(16, 16))),
        TrainingConfig(batch_episodes=6, batch_frames=60, leave_open=leave_open),
        tmp_path,
        Ranks.join("cpu"),
        passes=1,
        stop=Stop(),
        say=lambda line: None,
    )
    for stage in Stage:
        with contextlib.closing(curriculum.stream(stage, Position())) as portions:
            apart = next(portions).batches[0].targets.apart
        # It is said that things are red, and of a striped cube, but never that one is red.
        assert bool(apart[WORDS["red"], WORDS["cube"]]) == leave_open
        assert not apart[WORDS["striped"], WORDS["cube"]]
