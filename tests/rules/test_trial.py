"""Story tests: hand-made trials, each step's reward and words, and the paths that must fail."""

import pytest

from oddoneout.rules.attributes import CORE_DIMENSIONS, Color, Dimension, Shape, Size, Texture
from oddoneout.rules.language import outcome, properties, sentence
from oddoneout.rules.things import Thing, odd_in, odd_one
from oddoneout.rules.trial import (
    EXPLAIN_STEPS,
    TRIAL_STEPS,
    Choose,
    Mode,
    Pass,
    Phase,
    Transform,
    Trial,
    advance,
    begin,
)


def thing(color: str, shape: str, texture: str) -> Thing:
    return Thing(Color(color), Shape(shape), Texture(texture), Size.LARGE)


IN_PLAY = (
    (Dimension.COLOR, (Color.RED, Color.BLUE)),
    (Dimension.SHAPE, (Shape.CUBE, Shape.BALL)),
    (Dimension.TEXTURE, (Texture.SOLID, Texture.STRIPED)),
)


def trial(*things: Thing, dimension: Dimension = Dimension.COLOR, **changes: object) -> Trial:
    values = {
        "things": things,
        "in_play": IN_PLAY,
        "dimension": dimension,
        "mode": Mode.MAKE,
        "transforms": 1,
        "reward": 1.0,
        "test": False,
        "spoken": CORE_DIMENSIONS,
        "names_dimension": True,
    }
    return Trial(**{**values, **changes})  # type: ignore[arg-type]


ALIKE = (thing("red", "cube", "solid"),) * 4


def test_an_easy_experiment_transforms_one_object_and_chooses_it() -> None:
    game = trial(*ALIKE)
    state, result = advance(game, begin(game), Transform(Dimension.COLOR, 2))
    assert result.repainted == 2
    assert state.things[2] == thing("blue", "cube", "solid")
    assert state.transforms_left == 0
    assert sentence(properties(game, state, 2)) == "this is a blue solid cube"

    state, result = advance(game, state, Choose(2))
    assert (result.chosen, result.reward, result.over) == (True, 1.0, False)
    assert state.phase is Phase.EXPLAIN
    assert sentence(outcome(game, state)) == "correct it is uniquely blue color matters"


def test_an_experiment_on_the_wrong_dimension_pays_nothing_and_is_told_which_pays() -> None:
    game = trial(*ALIKE, dimension=Dimension.TEXTURE)
    state, _ = advance(game, begin(game), Transform(Dimension.COLOR, 0))
    state, result = advance(game, state, Choose(0))
    assert result.reward == 0.0
    assert state.choice is not None
    assert state.choice.odd_in == (Dimension.COLOR,)
    assert sentence(outcome(game, state)) == "incorrect others share solid cube texture matters"


def test_in_a_hard_experiment_the_former_partner_becomes_odd() -> None:
    red, blue = thing("red", "cube", "solid"), thing("blue", "cube", "solid")
    game = trial(red, blue, red, blue)
    assert odd_one(game.things, Dimension.COLOR) is None
    state, _ = advance(game, begin(game), Transform(Dimension.COLOR, 0))
    assert odd_one(state.things, Dimension.COLOR) == 2
    _, wrong = advance(game, state, Choose(0))
    _, right = advance(game, state, Choose(2))
    assert (wrong.reward, right.reward) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("dimension", "odd", "words"),
    [
        (Dimension.COLOR, 1, "correct it is uniquely blue color matters"),
        (Dimension.SHAPE, 2, "correct it is uniquely a ball shape matters"),
        (Dimension.TEXTURE, 3, "correct it is uniquely striped texture matters"),
    ],
)
def test_a_deconfounded_test_pays_for_the_one_odd_in_the_hidden_dimension(
    dimension: Dimension, odd: int, words: str
) -> None:
    game = trial(
        thing("red", "cube", "solid"),
        thing("blue", "cube", "solid"),
        thing("red", "ball", "solid"),
        thing("red", "cube", "striped"),
        dimension=dimension,
        mode=Mode.FIND,
        transforms=0,
        reward=10.0,
        test=True,
    )
    for target in range(4):
        state, result = advance(game, begin(game), Choose(target))
        assert result.reward == (10.0 if target == odd else 0.0)
        if target == odd:
            assert sentence(outcome(game, state)) == words
    state, _ = advance(game, begin(game), Choose(0))
    assert sentence(outcome(game, state)).startswith("incorrect others share red solid cube")


def test_confounding_levels_speak_of_one_dimension_only() -> None:
    game = trial(
        thing("blue", "ball", "striped"),
        *ALIKE[:3],
        mode=Mode.FIND,
        transforms=0,
        test=True,
        spoken=(Dimension.SHAPE,),
        dimension=Dimension.SHAPE,
        names_dimension=False,
    )
    assert odd_in(game.things, 0) == CORE_DIMENSIONS
    assert sentence(properties(game, begin(game), 0)) == "this is a ball"
    right, _ = advance(game, begin(game), Choose(0))
    wrong, _ = advance(game, begin(game), Choose(1))
    assert sentence(outcome(game, right)) == "correct it is uniquely a ball"
    assert sentence(outcome(game, wrong)) == "incorrect others share cube"


def test_a_second_transform_does_nothing_and_costs_only_the_step() -> None:
    game = trial(*ALIKE)
    state, _ = advance(game, begin(game), Transform(Dimension.COLOR, 0))
    after, result = advance(game, state, Transform(Dimension.SHAPE, 1))
    assert after.things == state.things
    assert (result.repainted, result.reward, after.step) == (None, 0.0, state.step + 1)


def test_a_transform_with_nothing_in_focus_is_not_spent() -> None:
    game = trial(*ALIKE)
    state, result = advance(game, begin(game), Transform(Dimension.COLOR, None))
    assert (state.things, state.transforms_left, result.repainted) == (game.things, 1, None)


def test_a_transform_in_a_find_trial_does_nothing() -> None:
    game = trial(*ALIKE, mode=Mode.FIND, transforms=0)
    state, result = advance(game, begin(game), Transform(Dimension.SHAPE, 1))
    assert (state.things, result.repainted) == (game.things, None)


def test_choosing_with_nothing_in_focus_does_nothing() -> None:
    game = trial(*ALIKE)
    state, result = advance(game, begin(game), Choose(None))
    assert (state.phase, result.chosen, result.over) == (Phase.SEARCH, False, False)


def test_the_outcome_stands_for_the_explaining_phase_and_then_the_trial_is_over() -> None:
    game = trial(*ALIKE)
    state, _ = advance(game, begin(game), Choose(0))
    for step in range(1, EXPLAIN_STEPS + 1):
        state, result = advance(game, state, Choose(1))
        assert result.over == (step == EXPLAIN_STEPS)
        assert (result.timed_out, result.reward, result.chosen) == (False, 0.0, False)
    assert state.choice is not None
    assert state.choice.target == 0


def test_a_search_that_outruns_its_limit_ends_without_reward() -> None:
    game = trial(*ALIKE)
    state = begin(game)
    for _ in range(TRIAL_STEPS - 1):
        state, result = advance(game, state, Pass())
        assert not result.over
    for last in (Pass(), Choose(None), Transform(Dimension.COLOR, 0)):
        _, result = advance(game, state, last)
        assert (result.over, result.timed_out, result.reward) == (True, True, 0.0)


def test_a_choice_on_the_last_step_still_counts() -> None:
    game = trial(thing("blue", "cube", "solid"), *ALIKE[:3])
    state = begin(game)
    for _ in range(TRIAL_STEPS - 1):
        state, _ = advance(game, state, Pass())
    state, result = advance(game, state, Choose(0))
    assert (result.reward, result.over, state.phase) == (1.0, False, Phase.EXPLAIN)


def test_switching_a_value_that_is_not_in_play_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"small.*not in play|not in play in size"):
        trial(*ALIKE).switched(ALIKE[0], Dimension.SIZE)


def test_an_outcome_before_a_choice_is_refused() -> None:
    game = trial(*ALIKE)
    with pytest.raises(ValueError, match="only after a choice"):
        outcome(game, begin(game))


def test_a_thing_of_plain_strings_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match=r"color must be one of red.*'red'"):
        Thing("red", Shape.CUBE, Texture.SOLID, Size.LARGE)  # type: ignore[arg-type]
