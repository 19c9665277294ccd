"""From records of episodes to figures: what they say, what follows, and intervals that hold."""

import numpy as np
import pytest

from scripts.reproduction import analysis
from scripts.reproduction.records import TrialRecord, decode, encode


def test_records_are_read_back_as_they_were_written() -> None:
    text = "cc- _s+ s- _0 tst+"
    assert encode(decode(text)) == text
    assert decode("cc-")[0] == TrialRecord("color", True, ("color",), False)
    assert decode("_0")[0] == TrialRecord(None, False, (), False)


@pytest.mark.parametrize(
    ("text", "informative", "repeated", "found_out", "follows"),
    [
        # A failure, a reward, its repetition; then by what was shown.
        ("cc- ss+ ts+ _s+", (2, 2), (1, 1), (1, 1), (1, 1)),
        # Two failures leave one dimension; the test ignores that.
        ("cc- ss- tt+ _c-", (2, 2), (1, 1), (1, 1), (0, 1)),
        # The same failure again says nothing new, nor does a choice of nothing odd.
        ("cc- cc- s- _s-", (1, 3), (0, 0), (0, 1), (0, 0)),
        # Not choosing says nothing, and chooses nothing.
        ("c0 cc+ _0 _0", (1, 2), (0, 1), (1, 1), (0, 1)),
    ],
)
def test_what_experiments_show_and_whether_the_test_follows(
    text: str, informative, repeated, found_out, follows
) -> None:
    episode = decode(text)
    assert analysis.informative(episode) == informative
    assert analysis.repeated(episode) == repeated
    assert analysis.found_out(episode) == found_out
    assert analysis.follows()(episode) == follows


def test_evidence_from_a_reward_is_told_apart_from_evidence_by_exclusion() -> None:
    rewarded, excluded = decode("cc+ cc+ cc+ _c+"), decode("cc- ss- s- _t+")
    assert analysis.follows(True)(rewarded) == (1, 1)
    assert analysis.follows(False)(rewarded) == (0, 0)
    assert analysis.follows(True)(excluded) == (0, 0)
    assert analysis.follows(False)(excluded) == (1, 1)


def test_an_experiment_is_done_properly_when_what_it_made_odd_is_chosen() -> None:
    episode = decode("cc- s- sc- _s+")
    assert analysis.made_odd()(episode) == (1, 3)
    assert analysis.made_odd("shape")(episode) == (0, 2)
    assert analysis.score(episode) == (10, 13)
    assert analysis.chose("no_choice")(decode("_0")) == (1, 1)


def test_estimates_are_means_over_agents_with_intervals_that_hold_them() -> None:
    good = [decode("_c+")] * 9 + [decode("_s-")]
    poor = [decode("_c+")] * 5 + [decode("_s-")] * 5
    both = analysis.estimate([good, poor], analysis.success)
    assert both is not None
    assert both.value == pytest.approx(0.7)
    assert both.low < 0.55
    assert both.high > 0.85
    apart = analysis.difference([good, good], [poor, poor], analysis.success)
    assert apart is not None
    assert apart.value == pytest.approx(0.4)
    assert apart.low < apart.value < apart.high
    alike = analysis.estimate([good, good, good], analysis.success)
    assert alike is not None
    assert alike.low < 0.85 < 0.95 < alike.high, "agents that agree by chance still played rooms"
    assert analysis.estimate([good], analysis.follows()) is None


def test_agents_that_never_fail_may_fail_one_day() -> None:
    always = [decode("_c+")] * 20
    for pool in ([always], [always, always]):
        found = analysis.estimate(pool, analysis.success)
        assert found is not None
        assert found.value == found.high == 1.0
        assert 0.8 < found.low < 1.0


def test_who_always_and_who_never_succeeds_may_differ_by_less() -> None:
    always, never, mostly = [decode("_c+")] * 300, [decode("_s-")] * 300, [decode("_c+")] * 297
    mostly += never[:3]
    for agents in (1, 3):
        for first, second, value in ((always, always, 0.0), (always, never, 1.0)):
            found = analysis.difference([first] * agents, [second] * agents, analysis.success)
            assert found is not None
            assert found.value == value
            assert found.low < value - 0.002, "never sure"
    found = analysis.difference([always], [mostly], analysis.success)
    assert found is not None
    assert found.low < 0.0, "of 300, 3 failures are few"
    assert found.high == pytest.approx(0.023, abs=0.003)


def test_one_agent_beside_several_varies_as_much_as_they_do() -> None:
    def able(hits: int) -> list:
        return [decode("_c+")] * hits + [decode("_s-")] * (100 - hits)

    found = analysis.difference([able(90), able(60)], [able(50)], analysis.success)
    assert found is not None
    assert found.value == pytest.approx(0.25)
    assert found.low < 0.0, "two agents .3 apart say little"
    turned = analysis.difference([able(50)], [able(90), able(60)], analysis.success)
    assert turned is not None
    assert turned.low == pytest.approx(-found.high, abs=0.02)


def test_intervals_over_few_agents_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(1)
    for agents in (2, 3, 5):
        held = 0
        for _ in range(200):
            able = np.clip(rng.normal(0.75, 0.08, agents), 0.0, 1.0)
            arm = [[decode("_c+" if rng.random() < p else "_s-") for _ in range(60)] for p in able]
            found = analysis.estimate(arm, analysis.success)
            held += found is not None and found.low <= 0.75 <= found.high
        assert held >= 0.9 * 200, agents


def test_after_a_failure_a_test_may_stay_with_what_failed_or_leave_it() -> None:
    stays, leaves, after_success = map(decode, ("cc- _c-", "cc- _s+", "cc+ _c+"))
    assert analysis.after_failure(True)(stays) == (1, 1)
    assert analysis.after_failure(False)(stays) == (0, 1)
    assert analysis.after_failure(True)(leaves) == (0, 1)
    assert analysis.after_failure(False)(leaves) == (1, 1)
    assert analysis.after_failure(False)(after_success) == (0, 0)
