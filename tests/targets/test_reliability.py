"""A shorter form of `benchmarks/reliability.py`, and what happens to `limbeck record` itself: kills, Ctrl-C, shares."""

import hashlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import tiny
from limbeck.cli.main import main
from limbeck.errors import Interrupted, StoreError
from limbeck.targets.store import Targets
from limbeck.targets.verify import verify
from limbeck.targets.writer import Recording
from limbeck.training.progress import Silent
from limbeck.training.recording import record
from processes import environment, run_script

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
KILLS, FLIPS = 8, 60

# A process without threads, from which writers can be forked.
SCRIPT = f"""
import json, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
sys.path.insert(0, {str(BENCHMARKS)!r})
from full_disk import KIND, limit_files
from kills import Kind, survive_kills
from limbeck.training.recording import Form
from small_stores import digests, recorded

work = Path(sys.argv[1])
recorded(work / "whole", rows=KIND.rows, shard_rows=KIND.shard_rows)
killed = survive_kills(work / "kills", {KILLS}, {{"twelve shards": Kind(Form(), 1200, 100)}})
print(json.dumps([killed, limit_files(work / "limited", digests(work / "whole"))]))
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    work = tmp_path_factory.mktemp("reliability")
    (work / "script.py").write_text(SCRIPT, encoding="utf-8")
    done = run_script(work / "script.py", work)
    assert done.returncode == 0
    return json.loads(done.stdout.splitlines()[-1])


def test_kills_damage_no_committed_shard_and_change_no_byte(outcomes):
    killed, _ = outcomes
    assert killed["kills"] == KILLS
    assert sum(killed["states"].values()) == KILLS
    assert killed["shards_seen"] > 0
    assert killed["shards_damaged"] == 0
    assert killed["stores"] > 0
    assert killed["stores_different"] == 0


def test_a_limit_that_is_met_in_mid_shard_costs_no_committed_shard(outcomes):
    _, full = outcomes
    assert full["sentence"] == (
        "Could not write train-00009.safetensors in STORE: File too large. 9 of 60 shards are safe; free space and run "
        "again with --resume."
    )
    assert (full["committed"], full["damaged"], full["equal_after_resume"]) == (9, 0, True)


def test_flipped_bits_are_refused_in_one_sentence_and_never_end_in_a_traceback(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import flips

    found = flips.find_flips(tmp_path, FLIPS)
    assert (found["refused"], found["tracebacks"]) == (FLIPS, 0)
    assert min(found["in_manifests"], found["in_indices"], found["reading_refused"]) > 0
    for module in ("flips", "small_stores"):
        sys.modules.pop(module)


def slow_rows():
    return tiny.specification(teacher_prepare=tiny.slow)


OPTIONS = {"batch_size": 4, "shard_rows": 8}
SHARDS = 7


def recorded(out, watcher=None, **more):
    return record(slow_rows(), out, watcher=watcher or Silent(), **OPTIONS, **more)


def digest(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(Path(folder).iterdir())}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What an uninterrupted recording writes."""
    folder = tmp_path_factory.mktemp("whole") / "store"
    recorded(folder)
    return digest(folder)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_shares_may_be_written_in_either_order(tmp_path, whole, order):
    first, second = (recorded(tmp_path / "store", share=(number, 2)) for number in order)
    assert first is None
    assert isinstance(second, Targets)
    assert digest(tmp_path / "store") == whole


class Between:
    """A watcher that does something once, when so many rows are recorded."""

    def __init__(self, act, rows=20):
        self.act, self.rows = act, rows

    def start(self, what, total):
        pass

    def advance(self, done, note):
        if self.act is not None and done >= self.rows:
            act, self.act = self.act, None
            act()

    def say(self, line):
        pass

    def end(self):
        pass


def test_a_share_may_be_begun_and_ended_while_another_is_at_work(tmp_path, whole):
    store, other = tmp_path / "store", []
    watcher = Between(lambda: other.append(recorded(store, share=(1, 2))))
    assert recorded(store, watcher, share=(0, 2)) is not None
    assert other == [None]
    assert digest(store) == whole


def test_a_writer_that_looks_while_another_one_tidies_up_finds_nothing_missing(tmp_path, monkeypatch):
    recorded(tmp_path / "store")
    plan = Targets.open(tmp_path / "store").plan()
    ours, theirs = (Recording(tmp_path / "copy", plan, resume=True) for _ in range(2))
    part = Targets.open(tmp_path / "store").part("train")
    for shard in ours.missing():
        ours.commit(shard, *part.block(shard.first, shard.rows))
    looks, committed = [], Recording._committed

    def interrupted_by_the_other(self, shard):
        if self is ours and not looks:
            looks.append(shard)
            assert theirs.finish()
        return committed(self, shard)

    monkeypatch.setattr(Recording, "_committed", interrupted_by_the_other)
    assert ours.missing() == []
    assert looks
    assert ours.finish()
    verify(tmp_path / "copy")


def test_ctrl_c_keeps_whole_shards_and_a_resume_ends_in_the_same_bytes(tmp_path, whole):
    store = tmp_path / "store"
    with pytest.raises(Interrupted, match=r"^Stopped; every whole shard is kept\.$"):
        recorded(store, Between(lambda: signal.raise_signal(signal.SIGINT)))
    kept = {name: found for name, found in digest(store).items() if name in whole}
    assert kept == {name: whole[name] for name in kept}
    assert [name for name in kept if name[-13].isdigit()] == ["train-00000.safetensors", "train-00001.safetensors"]
    with pytest.raises(StoreError, match=r"is not finished; run it again with --resume"):
        Targets.open(store)
    with pytest.raises(StoreError, match=rf"stopped, with 2 of {SHARDS} shards; go on with --resume"):
        recorded(store)
    assert recorded(store, resume=True) is not None
    assert digest(store) == whole


WORDS = ["record", "test_reliability:slow_rows", "--recording-batch", "4", "--shard-rows", "8", "--out"]
PROGRAM = "from limbeck.cli.main import script; script()"


def begun(store, signalled):
    """A real `limbeck record` that gets a signal when it has committed two shards; its end and what it said."""
    path = os.pathsep.join([str(Path(__file__).parent), environment()["PYTHONPATH"]])
    words = [sys.executable, "-c", PROGRAM, *WORDS, str(store)]
    process = subprocess.Popen(
        words, env=environment(TINY_PAUSE="0.1", PYTHONPATH=path), stderr=subprocess.PIPE, text=True
    )
    try:
        until = time.monotonic() + 60
        while not (store / "train-00001.json").exists():
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < until
            time.sleep(0.002)
        process.send_signal(signalled)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, said


def test_a_killed_command_is_gone_on_with_by_the_flag_that_the_refusal_names(tmp_path, whole, capsys):
    store = tmp_path / "store"
    status, _ = begun(store, signal.SIGKILL)
    assert status == -signal.SIGKILL
    assert main([*WORDS, str(store)]) == 2
    said = capsys.readouterr().err
    assert "holds a recording that was stopped, with " in said
    assert "--resume" in said
    assert said.count("\n") == 1
    assert main([*WORDS, str(store), "--resume"]) == 0
    assert digest(store) == whole


def test_after_ctrl_c_the_command_that_the_message_names_ends_in_the_same_bytes(tmp_path, whole):
    store = tmp_path / "store"
    status, said = begun(store, signal.SIGINT)
    assert status == 130
    line = said.splitlines()[-1]
    assert line.startswith("Stopped; every whole shard is kept. Go on with: limbeck record ")
    assert "Traceback" not in said
    command = shlex.split(line.partition("Go on with: ")[2])
    assert command == ["limbeck", *WORDS, str(store), "--resume"]
    assert main(command[1:]) == 0
    assert digest(store) == whole
