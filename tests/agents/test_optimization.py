from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from agents.config import TrainingConfig
from agents.model import Agent
from agents.muon import Muon, orthogonalized
from agents.optimization import Optimizers, optimizer, share_of_peak, trained
from tests.agents.examples import tiny

CONFIG = TrainingConfig(weight_decay=0.1)


def rate(config: TrainingConfig, step: int, done: float) -> float:
    """Where the encoder is frozen when it should be."""
    return share_of_peak(config, step, done, frozen=done >= config.freeze_at)


@pytest.mark.parametrize("schedule", ["cosine", "wsd"])
def test_the_rate_rises_stays_below_its_peak_and_ends_at_nothing(schedule):
    config = TrainingConfig(schedule=schedule, warmup_steps=10)
    rates = [rate(config, step, step / 100) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) <= 1.0
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0.0)
    if schedule == "wsd":
        assert rates[79] == 1.0


def test_rates_fall_before_the_encoder_is_frozen_and_rise_again():
    config = TrainingConfig(warmup_steps=10, glimpses=0.5, freeze_at=0.5)
    rates = [rate(config, step, step / 1000) for step in range(1001)]
    assert rates[399] == rates[600] == rates[899] == 1.0
    assert rates[400:500] == sorted(rates[400:500], reverse=True)
    assert rates[499] < 0.02
    assert rates[500] == 0.0
    assert rates[500:520] == sorted(rates[500:520])
    assert rates[1000] == pytest.approx(0.0)
    whole = TrainingConfig(warmup_steps=10)
    begun = TrainingConfig(warmup_steps=10, glimpses=0.0, freeze_at=0.0, start="run")
    for step in range(1001):
        assert rate(begun, step, step / 1000) == rate(whole, step, step / 1000)


def test_a_memory_does_not_rest_where_a_budget_of_minutes_was_raised():
    """What is done may then be less than what froze the encoder."""
    config = TrainingConfig(freeze_at=0.5)
    assert share_of_peak(config, 5000, 0.499, frozen=False) < 0.02
    assert share_of_peak(config, 5000, 0.499, frozen=True) == 1.0


def groups(agent: Agent, config: TrainingConfig) -> dict[str, dict]:
    """The optimizer's group of every parameter, by name."""
    found = {}
    names = {id(parameter): name for name, parameter in agent.named_parameters()}
    for part in optimizer(agent, config).parts:
        for group in part.param_groups:
            for parameter in group["params"]:
                assert id(parameter) in names
                assert names[id(parameter)] not in found, "one optimizer each"
                found[names[id(parameter)]] = {**group, "kind": type(part)}
    assert set(found) == set(names.values())
    return found


@pytest.mark.parametrize("kind", ["muon", "adamw"])
def test_norms_biases_and_tables_do_not_decay(kind):
    agent = Agent(tiny(reconstruct=True, predict_reward=True))
    found = groups(agent, replace(CONFIG, optimizer=kind))
    spared = {name for name, group in found.items() if group["weight_decay"] == 0.0}
    shapes = {name: parameter.shape for name, parameter in agent.named_parameters()}
    assert spared >= {"instruction.weight", "previous_action.weight", "decoder.word.weight"}
    assert spared >= {name for name, shape in shapes.items() if len(shape) < 2}
    assert all(found[name]["weight_decay"] == 0.1 for name in set(found) - spared)


def test_muon_takes_hidden_matrices_and_adamw_what_reads_in_or_out():
    found = groups(Agent(tiny(reconstruct=True, predict_reward=True)), CONFIG)
    muon = {name for name, group in found.items() if group["kind"] is Muon}
    assert {"encoder.stages.0.weight", "encoder.out.weight", "decoder.cell.weight_hh_l0"} <= muon
    assert {"memory.stack.0.qkv.weight", "decoder.state.weight"} <= muon
    assert not muon & {"policy.weight", "decoder.scores.weight", "reward.weight"}
    assert not any(name.startswith("redrawer.") for name in muon)
    assert {found[name]["initial_lr"] for name in muon} == {CONFIG.muon_lr}


def test_adamw_alone_takes_everything():
    found = groups(Agent(tiny()), replace(CONFIG, optimizer="adamw"))
    assert {group["kind"] for group in found.values()} == {torch.optim.AdamW}


def test_frozen_parameters_are_left_alone():
    agent = Agent(tiny())
    agent.encoder.requires_grad_(False)
    assert not any(name.startswith("encoder.") for name in trained(agent))
    before = {name: p.clone() for name, p in agent.named_parameters()}
    whole = optimizer(agent, CONFIG)
    for parameter in trained(agent).values():
        parameter.grad = torch.ones_like(parameter)
    whole.step(1.0)
    changed = {n for n, p in agent.named_parameters() if not torch.equal(p, before[n])}
    assert changed == set(trained(agent))


@given(
    rows=st.integers(1, 24),
    columns=st.integers(1, 24),
    seed=st.integers(0, 2**16),
    size=st.sampled_from([1e-6, 1.0, 1e6]),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
)
def test_an_update_is_nearly_orthogonal_whatever_its_shape_and_size(
    rows, columns, seed, size, dtype
):
    made = torch.Generator().manual_seed(seed)
    left, _ = torch.linalg.qr(torch.randn(rows, rows, generator=made))
    right, _ = torch.linalg.qr(torch.randn(columns, columns, generator=made))
    rank = min(rows, columns)
    values = torch.logspace(0, -1.5, rank)  # as unlike as gradients' are
    matrix = size * (left[:, :rank] * values) @ right[:rank]
    update = orthogonalized(matrix, dtype)
    assert (update.shape, update.dtype) == (matrix.shape, torch.float32)
    found = torch.linalg.svdvals(update)
    assert found.min() > 0.5
    assert found.max() < 1.3
    assert (update * matrix).sum() > 0.0, "it points the way of the matrix"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("steep", [0.3, 1.0, 2.0])
def test_no_direction_of_a_large_matrix_is_blown_up(steep, dtype):
    made = torch.Generator().manual_seed(0)
    left, _ = torch.linalg.qr(torch.randn(128, 128, generator=made))
    right, _ = torch.linalg.qr(torch.randn(256, 128, generator=made))
    matrix = (left * torch.arange(1, 129).float() ** -steep) @ right.T
    update = orthogonalized(matrix, dtype)
    assert torch.linalg.svdvals(update).max() < 1.3
    exact = orthogonalized(matrix)
    assert torch.cosine_similarity(update.flatten(), exact.flatten(), dim=0) > 0.98
    thin = matrix[:, :3] @ matrix[:3] + 1e-3 * matrix  # little but three directions
    assert torch.linalg.svdvals(orthogonalized(thin, dtype)).max() < 1.3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_update_of_nothing_is_nothing(dtype):
    assert torch.equal(orthogonalized(torch.zeros(3, 5), dtype), torch.zeros(3, 5))


def test_muon_moves_entries_by_a_fifth_of_the_rate_in_any_shape():
    for shape in ((8, 8), (4, 64), (64, 4), (16, 3, 5, 5)):
        made = torch.Generator().manual_seed(0)
        parameter = nn.Parameter(torch.zeros(shape))
        parameter.grad = torch.randn(shape, generator=made)
        Muon([parameter], lr=0.1).step()
        assert parameter.detach().square().mean().sqrt() == pytest.approx(0.02, rel=0.2)


def test_muon_lets_weights_decay_as_adamw_does():
    parameter = nn.Parameter(torch.ones(2, 2))
    parameter.grad = torch.zeros(2, 2)
    Muon([parameter], lr=0.1, weight_decay=0.5).step()
    assert torch.allclose(parameter.detach(), torch.full((2, 2), 0.95))


def test_muon_is_not_for_vectors():
    with pytest.raises(ValueError, match=r"matrices and filters, got a shape of \(3,\)"):
        Muon([nn.Parameter(torch.zeros(3))], lr=0.1)


def test_muon_computes_in_single_precision_or_bfloat16():
    with pytest.raises(ValueError, match=r"float32, torch\.bfloat16\], got torch\.float16"):
        Muon([nn.Parameter(torch.zeros(3, 3))], lr=0.1, dtype=torch.float16)


@pytest.mark.parametrize(
    ("precision", "dtype"), [("bf16", torch.bfloat16), ("float32", torch.float32)]
)
def test_muon_computes_as_the_training_does(precision, dtype):
    _, muon = optimizer(Agent(tiny()), replace(CONFIG, precision=precision)).parts
    assert isinstance(muon, Muon)
    assert muon.dtype is dtype


def test_what_is_remembered_of_a_parameter_can_be_put_back():
    def stepped(whole: Optimizers, agent: Agent) -> None:
        for i, parameter in enumerate(trained(agent).values()):
            parameter.grad = torch.full_like(parameter, float(i % 3) - 0.5)
        whole.step(0.5)

    torch.manual_seed(0)
    first, second = Agent(tiny()), Agent(tiny())
    ours, theirs = optimizer(first, CONFIG), optimizer(second, CONFIG)
    assert all(not ours.state(p) for p in trained(first).values())
    stepped(ours, first)
    second.load_state_dict(first.state_dict())
    pairs = zip(trained(first).values(), trained(second).values(), strict=True)
    for one, two in pairs:
        theirs.restore(two, {name: value.clone() for name, value in ours.state(one).items()})
    stepped(ours, first)
    stepped(theirs, second)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name
