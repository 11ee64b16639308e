# SPDX-License-Identifier: GPL-2.0-only
"""Results are on disk while the campaign goes on, and a failure to write is not silent."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from harness.runs import RunTarget
from harness.store import Recorder, Store
from harness.vocabulary import Finding, HarnessError
from reference_model.scenario import Scenario
from tests.store.samples import RUN, TARGET, judged, scenarios

GUEST = scenarios("guest", 20)


def make(root: Path) -> None:
    with Store(root) as store:
        store.add_run(RUN)


def test_results_are_there_before_the_end(tmp_path: Path) -> None:
    make(tmp_path)
    with Recorder(tmp_path, RUN.id) as recorder, Store(tmp_path) as reader:
        recorder.put(judged(GUEST[0]))
        deadline = time.monotonic() + 30
        while not list(reader.results(RUN.id)):
            assert time.monotonic() < deadline, "nothing was written while the run went on"
            time.sleep(0.01)


def test_everything_is_there_after_it(tmp_path: Path) -> None:
    make(tmp_path)
    looked: list[str] = []

    def look(finding: Finding) -> None:
        looked.append(finding.scenario.id)

    with Recorder(tmp_path, RUN.id, look=look) as recorder:
        recorder.put(RunTarget(info=TARGET, profile="v6.12"))
        recorder.put("a note")

        def put(part: list[Scenario]) -> None:
            for one in part:
                recorder.put(judged(one))

        threads = [threading.Thread(target=put, args=(part,)) for part in (GUEST[:10], GUEST[10:])]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    with Store(tmp_path) as store:
        assert {row.scenario for row in store.results(RUN.id)} == {one.id for one in GUEST}
        assert store.notes(RUN.id) == ["a note"]
        assert len(store.targets(RUN.id)) == 1
    assert sorted(looked) == sorted(one.id for one in GUEST)


def test_after_an_exception_what_came_is_kept(tmp_path: Path) -> None:
    make(tmp_path)
    with pytest.raises(KeyboardInterrupt), Recorder(tmp_path, RUN.id) as recorder:
        recorder.put(judged(GUEST[0]))
        raise KeyboardInterrupt
    with Store(tmp_path) as store:
        assert len(list(store.results(RUN.id))) == 1


def test_a_failure_to_write_is_raised(tmp_path: Path) -> None:
    (tmp_path / "harness.db").write_bytes(b"no database" * 1000)
    with pytest.raises(HarnessError, match="cannot be used"), Recorder(tmp_path, "r"):
        pass
    deadline = time.monotonic() + 30
    with pytest.raises(HarnessError), Recorder(tmp_path, "r") as recorder:
        while time.monotonic() < deadline:
            recorder.put("a note")
