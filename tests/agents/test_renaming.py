"""Values change names: what is seen and what is said of it stay together."""

from dataclasses import replace

import pytest
import torch

from agents.batch import Batch
from agents.batches import Batches
from agents.config import TrainingConfig
from agents.curriculum import Stage
from agents.encoder import PartsEncoder
from agents.model import Agent
from agents.renaming import Renaming
from agents.training import RunOptions, Trainer
from agents.unmet import unmet
from oddoneout.rules import language
from oddoneout.rules.language import VOCABULARY, WORD_KINDS
from tests.agents.examples import tiny
from tests.agents.made_up import MadeUp

AGENT = tiny(image_size=(16, 16), encoder="parts", width=128)
TRAINING = TrainingConfig(
    frames=300,
    batch_episodes=6,
    batch_frames=60,
    precision="float32",
    glimpses=0.0,
    freeze_at=0.3,
    rename=True,
)
SAID = ["this is a red striped ring", "this is a blue dotted cube"]


@pytest.fixture
def encoder() -> PartsEncoder:
    torch.manual_seed(0)
    found = Agent(AGENT).encoder
    assert isinstance(found, PartsEncoder)
    return found


def seeing(encoder: PartsEncoder, *pictures: dict[str, float]) -> Batch:
    """An episode in which words are that likely, and `SAID` is said."""
    steps = len(pictures)
    plain = next(Batches(MadeUp(1, shortest=steps, longest=steps), AGENT, TRAINING).stream())
    batch, features = plain.batches[0], torch.randn(steps, AGENT.width)
    for row, likely in enumerate(pictures):
        for where, known, symbols in encoder.spoken():
            shares = torch.tensor([likely.get(VOCABULARY[word], 0.0) for word in known.tolist()])
            features[row, where] = shares @ symbols.detach()
    sentences = [torch.from_numpy(language.encode(said, 8)).long() for said in ("", *SAID)]
    return Batch(
        replace(batch.inputs, images=features),
        replace(batch.targets, sentences=torch.stack(sentences), apart=unmet(SAID)),
    )


def seen(encoder: PartsEncoder, features: torch.Tensor) -> list[dict[str, float]]:
    """How likely each word is, by the features."""
    pictures: list[dict[str, float]] = [{} for _ in features]
    for where, known, symbols in encoder.spoken():
        shares = features[:, where] @ torch.linalg.pinv(symbols.detach())
        for picture, row in zip(pictures, shares, strict=True):
            for word, share in zip(known.tolist(), row.tolist(), strict=True):
                if abs(share) > 1e-3:
                    picture[VOCABULARY[word]] = pytest.approx(share, abs=1e-3)
    return pictures


def said(words: torch.Tensor) -> list[str]:
    return [VOCABULARY[word] for word in words.tolist() if word]


def test_what_is_seen_takes_the_names_that_are_said_of_it(encoder):
    likely = [dict.fromkeys(sentence.split()[3:], 1.0) for sentence in SAID]
    batch = seeing(encoder, *likely)
    inputs, targets = Renaming(encoder)(batch.inputs, batch.targets, 0)
    sentences = [said(words) for words in targets.sentences[1:]]
    assert seen(encoder, inputs.images) == [dict.fromkeys(s[3:], 1.0) for s in sentences]
    assert [s[:3] for s in sentences] == [["this", "is", "a"]] * 2, "these words are no values"
    assert sentences != [s.split() for s in SAID]
    assert seen(encoder, batch.inputs.images) == likely, "what was given stays as it was"


def test_what_is_uncertain_stays_as_uncertain(encoder):
    batch = seeing(encoder, {"striped": 0.7, "dotted": 0.3, "red": 1.0, "cube": 1.0})
    inputs, targets = Renaming(encoder)(batch.inputs, batch.targets, 1)
    striped, dotted = (said(words)[4] for words in targets.sentences[1:])
    (picture,) = seen(encoder, inputs.images)
    assert (picture[striped], picture[dotted]) == (0.7, 0.3)
    places = slice(0, next(where for where, _, _ in encoder.spoken()).start)
    assert torch.equal(inputs.images[:, places], batch.inputs.images[:, places])


@pytest.mark.parametrize("seed", range(5))
def test_values_take_names_of_their_own_dimension_each_another(encoder, seed):
    batch = seeing(encoder, {"red": 1.0})
    every = torch.arange(len(VOCABULARY))
    targets = replace(batch.targets, sentences=every[:, None])
    _, renamed = Renaming(encoder)(batch.inputs, targets, seed)
    names = renamed.sentences[:, 0]
    kinds = torch.tensor(WORD_KINDS)
    assert torch.equal(names.sort().values, every), "no two values share a name"
    assert torch.equal(kinds[names], kinds)
    values = torch.cat([known for _, known, _ in encoder.spoken()])
    others = torch.ones(len(every), dtype=torch.bool).index_fill(0, values, False)
    assert torch.equal(names[others], every[others])
    # What was never said together is not said together under its new names.
    assert torch.equal(renamed.apart[names[:, None], names], targets.apart)


def test_a_batch_is_renamed_as_a_whole_however_it_is_shared_out(encoder):
    demonstrations, renaming = MadeUp(12, shortest=5, longest=5), Renaming(encoder)
    features = torch.randn(12, 5, 1, AGENT.width).half().numpy()

    class Features(MadeUp):
        def episode(self, index: int, /):
            episode = super().episode(index)
            return replace(episode, seen=replace(episode.seen, images=features[index]))

    demonstrations = Features(12, shortest=5, longest=5)
    settings = replace(TRAINING, mirror=0.0)

    def portion(**shared: int):
        return next(
            Batches(demonstrations, AGENT, settings, renaming=renaming, **shared).stream()
        ).batches

    (whole,) = portion()
    halves = [portion(rank=rank, ranks=2)[0] for rank in (0, 1)]
    frames = whole.inputs.images.view(6, 5, -1)
    for rank, half in enumerate(halves):
        assert torch.equal(half.inputs.images, frames[rank::2].flatten(0, 1))
    texts = {tuple(words) for half in halves for words in half.targets.sentences.tolist()}
    assert texts == {tuple(words) for words in whole.targets.sentences.tolist()}


def test_features_are_renamed_in_training_and_pictures_are_not(tmp_path):
    plain, renamed = (
        stages_of(tmp_path / str(rename), replace(TRAINING, rename=rename))
        for rename in (False, True)
    )
    for stage in (Stage.EPISODES, Stage.FEATURES):
        same = all(torch.equal(plain[stage][name], renamed[stage][name]) for name in plain[stage])
        assert same == (stage is Stage.EPISODES)
    encoders = [
        {n: w for n, w in of[Stage.FEATURES].items() if n.startswith("encoder.")}
        for of in (plain, renamed)
    ]
    assert all(torch.equal(encoders[0][name], encoders[1][name]) for name in encoders[0])


def stages_of(run, training: TrainingConfig) -> dict[Stage, dict[str, torch.Tensor]]:
    """The weights at the end of every stage."""
    found: dict[Stage, dict[str, torch.Tensor]] = {}

    def keep(trainer: Trainer) -> None:
        weights = trainer.agent.state_dict()
        found[trainer.state.stage] = {name: value.clone() for name, value in weights.items()}

    options = RunOptions(device="cpu")
    Trainer(run, MadeUp(20), AGENT, training, options, on_step=keep, say=lambda _: None).train()
    return found


def test_a_killed_run_goes_on_with_the_same_names(tmp_path):
    class Killed(Exception):
        pass

    def kill(trainer: Trainer) -> None:
        if trainer.state.stage is Stage.FEATURES and trainer.state.position.batch == 2:
            raise Killed

    options = RunOptions(device="cpu", save_seconds=0.0)

    def train(run: str, **kwargs) -> dict[str, torch.Tensor]:
        run_at = tmp_path / run
        trainer = Trainer(
            run_at, MadeUp(20), AGENT, TRAINING, options, say=lambda _: None, **kwargs
        )
        return trainer.train().state_dict()

    whole = train("whole")
    with pytest.raises(Killed):
        train("killed", on_step=kill)
    again = train("killed")
    assert all(torch.equal(whole[name], again[name]) for name in whole)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"encoder": "opponent"}, "parts"), ({"width": 64}, "width must be")],
)
def test_what_cannot_be_renamed_is_refused_before_training(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        Trainer(tmp_path, MadeUp(3), replace(AGENT, **changes), TRAINING, say=lambda _: None)


def test_names_of_pictures_are_not_for_renaming():
    with pytest.raises(ValueError, match="freeze_at"):
        replace(TRAINING, freeze_at=1.0)
