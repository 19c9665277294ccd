"""The plan: which arms there are, and what tells them apart."""

import dataclasses

import pytest

from agents.config import TrainingConfig
from agents.encoder import build_encoder
from agents.renaming import Renaming
from scripts.reproduction.plan import BASELINES, matrix
from scripts.reproduction.sizes import EXPERIMENTS, PRESETS
from scripts.reproduction.tables import SHOWN

TINY = PRESETS["tiny"]


@pytest.mark.parametrize("preset", PRESETS)
def test_every_cell_of_the_matrix_has_a_name_of_its_own(preset: str) -> None:
    plan = [cell for name in EXPERIMENTS for cell in matrix(name, PRESETS[preset])]
    assert len({cell.name for cell in plan}) == len(plan)
    assert {cell.arm for cell in plan} >= set(BASELINES)
    assert all(cell.rooms for cell in plan)


def plain(training: TrainingConfig) -> TrainingConfig:
    """But for the weights of what is told, which arms may differ in."""
    return dataclasses.replace(
        training, explanation_weight=1.0, foretell_weight=0.5, recollect_weight=0.3
    )


#: Arms that learn otherwise than the others, or from another expert: not only told other things.
ODD_ARMS = (
    "one_trial",
    "none_whole",
    "full_whole",
    "one_memory",
    "one_memory_none",
    "named",
    "opponent",
    "forgetting",
    "straight",
)


def test_arms_held_against_each_other_differ_in_nothing_but_what_they_are_told() -> None:
    for name in EXPERIMENTS:
        trained = [cell for cell in matrix(name, TINY) if cell.training is not None]
        pairs = [(one, other) for one, other, _ in SHOWN[name].against]
        assert {arm for pair in pairs for arm in pair} == {cell.arm for cell in trained}
        for subject in {cell.subject for cell in trained}:
            arms = {c.arm: c for c in trained if c.subject == subject}
            for one, other in [pair for pair in pairs if pair[1] not in ODD_ARMS]:
                first, second = arms[one], arms[other]
                assert plain(first.training) == plain(second.training), f"{one}, {other}"
                assert first.agent_changes == second.agent_changes
                played = [
                    [(d.env, d.episodes, d.seed, dict(d.expert_args)) for d in cell.sets]
                    for cell in (first, second)
                ]
                assert played[0] == played[1]
            assert arms["none"].training.explanation_weight == 0.0


@pytest.mark.parametrize("preset", PRESETS)
def test_agents_that_are_to_rename_values_can(preset: str) -> None:
    renaming = [
        cell
        for name in EXPERIMENTS
        for cell in matrix(name, PRESETS[preset])
        if cell.training is not None and cell.training.rename
    ]
    assert {cell.arm for cell in renaming} >= {"full", "none"}
    for config in {cell.agent_config for cell in renaming}:
        Renaming(build_encoder(config))
