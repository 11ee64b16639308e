# SPDX-License-Identifier: GPL-2.0-only
"""A batch runs to its end whatever dies; what died is said of the right scenario."""

from __future__ import annotations

from threading import Event as Flag

import pytest

from harness.execute import Hello, run_batch
from harness.execute.batch import MAX_BARREN
from harness.targets import Condition, Health
from harness.vocabulary import RunStatus
from tests.execute.fake import (
    PANIC,
    RESET,
    Exit,
    FakeTarget,
    Log,
    Lost,
    Script,
    Silence,
    hello,
    play,
    program,
    scenario,
    start_of,
    statuses,
)

pytestmark = pytest.mark.usefixtures("no_delays")

HUNG = Silence(Condition(Health.HUNG, "the guest does not answer"))


def test_a_batch_in_one_session() -> None:
    target = FakeTarget([*hello(), *scenario(0, "a"), *scenario(1, "b", status="skip"), Exit(0)])
    said: list[Hello] = []
    runs = list(run_batch(target, program("a", "b"), on_hello=said.append))
    assert [(run.id, run.status) for run in runs] == [
        ("a", RunStatus.DONE),
        ("b", RunStatus.SKIP),
    ]
    assert target.started == [["/fake/batch", "--timeout", "10"]]
    assert (target.puts, target.replaced) == (1, 0)
    assert [one.release for one in said] == ["6.12.0"]
    assert target.settled, "the log was not waited for at the end"


def test_each_scenario_is_given_out_before_the_next_but_one_has_ended() -> None:
    """Pipelining: comparison goes on while the target works."""
    target = FakeTarget([*scenario(0, "a"), *scenario(1, "b"), *scenario(2, "c"), Exit(0)])
    runs = run_batch(target, program("a", "b", "c"))
    assert next(runs).id == "a"
    assert target.commands[0].status is None, "the session was read to its end first"
    runs.close()  # type: ignore[attr-defined]
    assert target.commands[0].closed


def test_a_panic_costs_one_scenario_and_its_step_is_learnt() -> None:
    target = FakeTarget(
        [*scenario(0, "a"), *start_of(1, "b"), Log(PANIC), RESET],
        [*start_of(1, "b", steps=3), Log(PANIC), RESET],
        [*scenario(2, "c"), Exit(0)],
    )
    runs = play(target, "a", "b", "c")
    assert statuses(runs) == "a:done b:crash c:done"
    crash = runs["b"]
    assert crash.detail.startswith(
        "Unable to handle kernel NULL pointer dereference in stage2_map_walker"
    )
    assert "happened again when run alone, in step 3" in crash.detail
    assert crash.step == 3
    assert set(PANIC) <= set(crash.log)
    assert target.arguments() == [[], ["--only", "1,2", "--sync"], ["--start", "2"]]
    assert target.replaced == 2
    assert target.puts == 3, "the program must be copied again to a fresh guest"


def test_a_panic_whose_last_records_were_lost_is_put_down_to_the_right_scenario() -> None:
    target = FakeTarget(
        [*start_of(0, "a"), Log(PANIC), RESET],
        [*scenario(0, "a"), *scenario(1, "b"), *start_of(2, "c"), Log(PANIC), RESET],
        [*scenario(3, "d"), Exit(0)],
    )
    runs = play(target, "a", "b", "c", "d")
    assert statuses(runs) == "a:done b:done c:crash d:done"
    assert "at first it seemed to be a" in runs["c"].detail


def test_a_panic_before_any_record_still_costs_one_scenario() -> None:
    target = FakeTarget(
        [Log(PANIC), RESET],
        [*start_of(0, "a"), Log(PANIC), RESET],
        [*scenario(1, "b"), Exit(0)],
    )
    assert statuses(play(target, "a", "b")) == "a:crash b:done"


def test_a_panic_after_the_last_record_is_not_lost() -> None:
    target = FakeTarget(
        [*scenario(0, "a"), *scenario(1, "b"), Log(PANIC), RESET],
        [*scenario(1, "b"), Exit(0)],
    )
    runs = play(target, "a", "b")
    assert statuses(runs) == "a:done b:crash"
    assert "did not happen again" in runs["b"].detail


def test_a_panic_that_does_not_come_again_is_still_a_crash() -> None:
    target = FakeTarget(
        [*start_of(0, "a"), Log(PANIC), RESET],
        [*scenario(0, "a"), *scenario(1, "b"), Exit(0)],
    )
    runs = play(target, "a", "b")
    assert statuses(runs) == "a:crash b:done"
    assert "did not happen again when run alone" in runs["a"].detail


def test_a_panic_whose_first_lines_came_before_the_records_accuses_nobody_else() -> None:
    target = FakeTarget(
        [*scenario(0, "a"), Log(PANIC[:3]), *scenario(1, "b"), *start_of(2, "c"),
         Log(PANIC[3:]), RESET],
        [*start_of(2, "c"), Log(PANIC), RESET],
    )  # fmt: skip
    assert statuses(play(target, "a", "b", "c")) == "a:done b:done c:crash"


def test_a_reset_without_a_word_is_the_kernels_doing() -> None:
    target = FakeTarget([*start_of(0, "a"), RESET], [*start_of(0, "a"), RESET])
    runs = play(target, "a")
    assert statuses(runs) == "a:crash"
    assert "no message" in runs["a"].detail


def test_a_hang_of_the_kernel_is_a_hang() -> None:
    target = FakeTarget(
        [*start_of(0, "a"), HUNG], [*start_of(0, "a"), HUNG], [*scenario(1, "b"), Exit(0)]
    )
    runs = play(target, "a", "b")
    assert statuses(runs) == "a:hang b:done"
    assert "no sign of life" in runs["a"].detail


def test_a_hang_of_the_program_alone_is_a_hang_and_not_repeated() -> None:
    target = FakeTarget([*start_of(0, "a"), Silence()], [*scenario(1, "b"), Exit(0)])
    assert statuses(play(target, "a", "b")) == "a:hang b:done"
    assert target.replaced == 1


def test_a_lost_link_is_infra() -> None:
    lost = Lost(Condition(Health.LOST, "the same kernel runs on"))
    target = FakeTarget([*start_of(0, "a"), lost], [*scenario(1, "b"), Exit(0)])
    runs = play(target, "a", "b")
    assert statuses(runs) == "a:infra b:done"
    assert "the same kernel runs on" in runs["a"].detail


def test_a_failing_qemu_is_infra() -> None:
    broken = Lost(Condition(Health.BROKEN, "QEMU ended with signal SIGABRT"))
    target = FakeTarget([*start_of(0, "a"), broken], [*scenario(1, "b"), Exit(0)])
    assert statuses(play(target, "a", "b")) == "a:infra b:done"


def test_a_host_that_was_started_again_is_a_crash_only_the_second_time() -> None:
    gone = Lost(Condition(Health.GONE, "the host was started again"))
    once = FakeTarget([*start_of(0, "a"), gone], [*scenario(0, "a"), *scenario(1, "b")])
    assert statuses(play(once, "a", "b")) == "a:infra b:done"
    twice = FakeTarget(
        [*start_of(0, "a"), gone], [*start_of(0, "a"), gone], [*scenario(1, "b"), Exit(0)]
    )
    assert statuses(play(twice, "a", "b")) == "a:crash b:done"


def test_a_program_that_ends_early_is_infra_and_the_batch_goes_on() -> None:
    target = FakeTarget([*start_of(0, "a"), Exit(139)], [*scenario(1, "b"), Exit(0)])
    runs = play(target, "a", "b")
    assert statuses(runs) == "a:infra b:done"
    assert "signal SIGSEGV" in runs["a"].detail
    assert target.replaced == 0


def test_garbage_is_infra_for_its_scenario_only() -> None:
    target = FakeTarget(
        ["\x00\x7fELF junk", *start_of(0, "a"), "# step {{{", '# end {"status":"done","us":1}',
         *scenario(1, "b"), Exit(0)]
    )  # fmt: skip
    runs = play(target, "a", "b")
    assert statuses(runs) == "a:infra b:done"
    assert "{{{" in runs["a"].detail


def test_a_transcript_cut_off_is_infra_for_what_is_missing() -> None:
    target = FakeTarget(
        [*scenario(0, "a"), "# start 1 b", '# step {"n":0,', Exit(0)],
        [*scenario(2, "c"), Exit(0)],
    )
    assert statuses(play(target, "a", "b", "c")) == "a:done b:infra c:done"


def test_a_scenario_that_is_passed_over_is_infra() -> None:
    target = FakeTarget([*scenario(0, "a"), *scenario(2, "c"), Exit(0)])
    assert statuses(play(target, "a", "b", "c")) == "a:done b:infra c:done"


def test_a_program_that_never_starts_is_given_up() -> None:
    fails: Script = ["/tmp/batch: Exec format error", Exit(126)]
    target = FakeTarget(*[list(fails) for _ in range(MAX_BARREN)])
    runs = play(target, "a", "b")
    assert statuses(runs) == "a:infra b:infra"
    assert "given up" in runs["b"].detail


def test_a_target_that_cannot_be_replaced_is_given_up() -> None:
    lost = Lost(Condition(Health.LOST, "gone"))
    target = FakeTarget([*start_of(0, "a"), lost], replaceable=0)
    runs = play(target, "a", "b", "c")
    assert statuses(runs) == "a:infra b:infra c:infra"
    assert "dead" in runs["c"].detail


def test_another_batch_is_refused() -> None:
    target = FakeTarget(*[start_of(0, "x") for _ in range(MAX_BARREN)])
    runs = play(target, "a")
    assert statuses(runs) == "a:infra"
    assert "not the batch that was sent" in runs["a"].detail


def test_only_some_scenarios() -> None:
    target = FakeTarget(
        [*scenario(1, "b"), *start_of(3, "d"), Exit(3)], [*scenario(4, "e"), Exit(0)]
    )
    runs = play(target, "a", "b", "c", "d", "e", only=[4, 1, 3])
    assert statuses(runs) == "b:done d:infra e:done"
    assert target.arguments() == [["--only", "1,3,4"], ["--start", "4"]]


def test_stop_ends_soon_and_gives_out_what_ended() -> None:
    stop = Flag()
    target = FakeTarget([*scenario(0, "a"), *scenario(1, "b"), *scenario(2, "c"), Exit(0)])
    seen = []
    for run in run_batch(target, program("a", "b", "c"), stop=stop):
        seen.append(run.id)
        stop.set()
    assert seen[0] == "a"
    assert "c" not in seen
    assert target.commands[0].closed


def test_many_deaths_are_each_one_scenario_and_repeats_are_bounded() -> None:
    scripts: list[Script] = []
    ids = [f"s{i}" for i in range(8)]
    for index, ident in enumerate(ids):
        scripts.append([*start_of(index, ident), Log(PANIC), RESET])
        if index < 5:
            scripts.append([*start_of(index, ident), Log(PANIC), RESET])
    runs = play(FakeTarget(*scripts), *ids)
    assert {run.status for run in runs.values()} == {RunStatus.CRASH}
    assert len(runs) == 8


def test_a_slow_scenario_does_not_keep_back_the_one_before() -> None:
    target = FakeTarget([*scenario(0, "a"), *start_of(1, "b"), Silence()])
    runs = run_batch(target, program("a", "b"), scenario_timeout=30)
    assert next(runs).id == "a"
    runs.close()  # type: ignore[attr-defined]


def test_last_words_that_come_while_records_are_on_their_way() -> None:
    target = FakeTarget(
        [*scenario(0, "a")[:-2], Log(PANIC[:1]), *scenario(0, "a")[-2:], *scenario(1, "b"),
         *start_of(2, "c"), Log(PANIC[1:]), RESET],
        [*start_of(2, "c"), Log(PANIC), RESET],
        [*scenario(3, "d"), Exit(0)],
    )  # fmt: skip
    runs = play(target, "a", "b", "c", "d")
    assert statuses(runs) == "a:done b:done c:crash d:done"
    assert set(PANIC) <= set(runs["c"].log)


def test_a_lockup_that_the_kernel_reports_while_it_hangs_is_a_hang() -> None:
    stall = Log(("[  30.0] watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [batch:200]",))
    target = FakeTarget([*start_of(0, "a"), stall, HUNG], [*start_of(0, "a"), stall, HUNG])
    runs = play(target, "a")
    assert statuses(runs) == "a:hang"
    assert runs["a"].detail.startswith("watchdog: BUG: soft lockup - CPU stuck; no sign of life")
