"""Every sentence that can be said encodes, decodes, fits, and is said of one meaning only."""

from itertools import combinations, product

import numpy as np
import pytest

from oddoneout.rules.attributes import CORE_DIMENSIONS, VALUES, Dimension
from oddoneout.rules.language import (
    INSTRUCTION_WORDS,
    INSTRUCTIONS,
    MAX_WORDS,
    VOCABULARY,
    WALLS,
    WORD_KINDS,
    Explanation,
    Outcome,
    Properties,
    Surroundings,
    decode,
    encode,
    sentence,
)


def reachable() -> list[Explanation]:
    """Every explanation that some level can give."""
    everything = [
        *(Properties(values) for values in product(*VALUES.values())),
        *(Properties(values) for values in product(*(VALUES[d] for d in CORE_DIMENSIONS))),
        *(Properties((value,)) for d in CORE_DIMENSIONS for value in VALUES[d]),
        *(Surroundings(wall) for wall in WALLS),
    ]
    for named in (None, *CORE_DIMENSIONS):
        everything += [Outcome(True, (v,), named) for d in Dimension for v in VALUES[d]]
        for count in (1, 2, 3):
            for dims in combinations(Dimension, count):
                everything += [
                    Outcome(False, values, named) for values in product(*(VALUES[d] for d in dims))
                ]
    return everything


def test_every_reachable_sentence_round_trips_and_fits() -> None:
    for explanation in reachable():
        text = sentence(explanation)
        ids = encode(text, MAX_WORDS)
        assert ids.shape == (MAX_WORDS,)
        assert ids.dtype == np.int32
        assert decode(ids) == text


def test_different_meanings_have_different_sentences() -> None:
    said = [sentence(explanation) for explanation in reachable()]
    assert len(set(said)) == len(said)


def test_instructions_round_trip_and_one_fills_the_space() -> None:
    for text in INSTRUCTIONS.values():
        assert decode(encode(text, INSTRUCTION_WORDS)) == text
    assert max(len(text.split()) for text in INSTRUCTIONS.values()) == INSTRUCTION_WORDS


def test_the_vocabulary_has_no_word_twice_and_pads_with_the_empty_word() -> None:
    assert len(set(VOCABULARY)) == len(VOCABULARY)
    assert VOCABULARY[0] == ""
    assert all(word == word.lower() and " " not in word for word in VOCABULARY)


def test_an_unknown_word_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'turquoise'"):
        encode("this is turquoise", MAX_WORDS)


def test_a_sentence_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="more than the 2 that fit"):
        encode("this is red", 2)


def test_an_id_outside_the_vocabulary_is_refused() -> None:
    with pytest.raises(ValueError, match="token ids must lie in"):
        decode([len(VOCABULARY)])


def test_words_are_of_one_kind_where_they_are_values_of_one_dimension():
    kinds = dict(zip(VOCABULARY, WORD_KINDS, strict=True))
    for dimension in Dimension:
        (kind,) = {kinds[str(value)] for value in VALUES[dimension]}
        alike = [word for word in VOCABULARY if kinds[word] == kind]
        assert alike == [str(value) for value in VALUES[dimension]]
    assert len({kinds[wall] for wall in WALLS}) == 1
    assert all(kinds[word] == VOCABULARY.index(word) for word in ("", "this", "uniquely", "color"))
