"""Recording survives its writers: several at once, stopped at any moment, or out of disk."""

import itertools
import multiprocessing
import os
import random
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from recordings import contents_of, known

from limbeck.errors import ArgumentError, StoreError
from limbeck.targets.encodings.dense import DenseLogits
from limbeck.targets.plan import PartPlan
from limbeck.targets.store import Targets
from limbeck.targets.tensorfile import serialised
from limbeck.targets.verify import verify
from limbeck.targets.writer import Recording, refuse_occupied
from processes import environment


@pytest.fixture(scope="module")
def made():
    return known()


@pytest.fixture(scope="module")
def uninterrupted(made, tmp_path_factory):
    return contents_of(made.written(tmp_path_factory.mktemp("writer") / "store"))


def test_a_store_is_its_files_and_nothing_else(uninterrupted):
    shards = [f"train-{number:05d}.safetensors" for number in range(4)]
    indices = ["train.index.safetensors", "test.index.safetensors"]
    assert set(uninterrupted) == {"manifest.json", *indices, *shards, "test-00000.safetensors"}


def test_shards_are_what_the_library_of_their_format_reads_and_writes(made, tmp_path):
    folder = made.written(tmp_path / "store")
    read = safetensors.torch.load_file(folder / "train-00001.safetensors")
    assert read["rows"].view(torch.float32).equal(made.logits["train"][16:32])
    assert read["features.layer.0"].equal(made.features["train"][16:32])
    index = safetensors.torch.load_file(folder / "train.index.safetensors")
    assert index["ids"].equal(made.plan.parts["train"].ids)
    assert index["contents"].equal(made.plan.parts["train"].contents)
    rows = {"rows": torch.arange(24, dtype=torch.uint8).view(2, 3, 4)}
    assert b"".join(serialised(rows)) == safetensors.torch.save(rows)


def test_a_shard_is_not_copied_to_be_written(made):
    packed = torch.zeros(4, 2, 12, dtype=torch.uint8)
    piece = serialised({"rows": packed})[1]
    packed[3, 1, 11] = 7
    assert piece[-1] == 7


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_it_makes_no_difference_who_wrote_what_and_when(made, uninterrupted, tmp_path, order):
    writers = [made.write(tmp_path / "store", rank=rank, ranks=2, resume=True) for rank in order]
    assert all(writer.finish() for writer in writers)
    assert contents_of(tmp_path / "store") == uninterrupted


def test_writers_share_the_shards_without_a_word(made, tmp_path):
    recording = Recording(tmp_path / "store", made.plan)
    dealt = [recording.missing(rank, 2) for rank in (0, 1)]
    assert sorted(itertools.chain(*dealt)) == sorted(made.plan.shards)
    assert abs(len(dealt[0]) - len(dealt[1])) <= 1
    recording.commit(dealt[0][0], *made.block(dealt[0][0]))
    assert recording.missing(0, 2) == dealt[0][1:]
    assert recording.missing(1, 2) == dealt[1]


def test_a_store_is_not_finished_before_its_last_shard(made, tmp_path):
    recording = made.write(tmp_path / "store", stop_after=4)
    assert not recording.finish()
    assert not (tmp_path / "store" / "manifest.json").exists()
    (last,) = recording.missing()
    recording.commit(last, *made.block(last))
    assert recording.finish()
    assert recording.finish()
    assert recording.missing() == []


def test_writers_that_start_while_another_is_at_work_join_it(made, uninterrupted, tmp_path):
    first = made.write(tmp_path / "store", stop_after=2)
    second = made.write(tmp_path / "store")
    assert first.finish()
    assert second.finish()
    assert contents_of(tmp_path / "store") == uninterrupted


def test_a_stopped_recording_is_gone_on_with_only_if_that_is_asked_for(made, uninterrupted, tmp_path):
    made.write(tmp_path / "store", stop_after=2)
    with pytest.raises(StoreError, match=r"was stopped, with 2 of 5 shards; go on with --resume"):
        Recording(tmp_path / "store", made.plan)
    before = (tmp_path / "store" / "test-00000.safetensors").stat().st_mtime_ns
    assert made.write(tmp_path / "store", resume=True).finish()
    assert (tmp_path / "store" / "test-00000.safetensors").stat().st_mtime_ns == before
    assert contents_of(tmp_path / "store") == uninterrupted


def test_a_finished_store_is_not_written_again(made, uninterrupted, tmp_path):
    made.written(tmp_path / "store")
    with pytest.raises(StoreError, match="holds a finished store already; give another one"):
        Recording(tmp_path / "store", made.plan)
    again = Recording(tmp_path / "store", made.plan, resume=True)
    assert again.missing() == []
    assert again.finish()
    assert contents_of(tmp_path / "store") == uninterrupted
    with pytest.raises(StoreError, match="was recorded with another batch size: 8, now 4"):
        Recording(tmp_path / "store", known(batch_size=4).plan, resume=True)


def test_a_folder_with_other_files_is_refused(made, tmp_path):
    (tmp_path / "thesis.tex").touch()
    for resume in (False, True):
        with pytest.raises(StoreError, match=r"holds other files, such as thesis\.tex; give a new or an empty one"):
            Recording(tmp_path, made.plan, resume=resume)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


TEACHER = {"fingerprint": "c" * 64, "specification": "b" * 64, "kind": "network", "precision": "float32"}
OTHERS = {
    "another batch size: 8, now 4": {"batch_size": 4},
    r'other classes: \["null", "eins", "zwö"\], now \["eins", "null", "zwö"\]': {"classes": ("eins", "null", "zwö")},
    'another teacher: {"fingerprint": "a{12}"}, now {"fingerprint": "c{12}"}': {"teacher": TEACHER},
    'another encoding: {"dtype": "float32"}, now {"dtype": "float16"}': {"encoding": DenseLogits("float16")},
    "another encoding: .*temperatures": {"encoding": DenseLogits(temperatures=(1.0, 4.0))},
    'another transform of the rows: {"augment": "crop", "seed": 0}, now null': {"transform": None},
    r'other marks: \[\], now \["out-of-fold"\]': {"marks": ("out-of-fold",)},
    "other features: ": {"features": {}},
    'another head: "softmax", now "sigmoid"': {"head": "sigmoid"},
    r"another number of views: 2, now 3 \(split 'train'\)": {"views": 3},
    r"another number of rows: 50, now 49 \(split 'train'\)": {"rows": 49},
    r"""another number of rows in a shard: {"rows": 16}, now {"rows": 20} \(split 'train'\)""": {"shard_rows": 20},
    r"""another dataset: "[0-9a-f]{12}", now "[0-9a-f]{12}" \(split 'train'\)""": {"ids": torch.arange(50) * 3},
    "another dataset: .*, now null": {"contents": False},
}


@pytest.mark.parametrize(("sentence", "change"), OTHERS.items(), ids=str)
def test_another_plan_is_refused_and_what_differs_is_named(made, tmp_path, sentence, change):
    made.write(tmp_path / "store", stop_after=1)
    before = contents_of(tmp_path / "store")
    with pytest.raises(StoreError, match=rf"was begun with {sentence}.*\. Ask for the same again"):
        Recording(tmp_path / "store", known(**change).plan, resume=True)
    assert contents_of(tmp_path / "store") == before


def test_other_splits_are_refused(made, tmp_path):
    made.write(tmp_path / "store", stop_after=1)
    plan = replace(made.plan, parts={"train": made.plan.parts["train"]})
    with pytest.raises(StoreError, match="was begun with other splits"):
        Recording(tmp_path / "store", plan, resume=True)


def test_a_damaged_plan_is_refused(made, tmp_path):
    made.write(tmp_path / "store", stop_after=1)
    (tmp_path / "store" / "recording.json").write_bytes(b"{")
    with pytest.raises(StoreError, match=r"recording\.json in .* is damaged; remove the folder"):
        Recording(tmp_path / "store", made.plan, resume=True)


@pytest.mark.parametrize("harm", ["cut", "sidecar lost", "sidecar damaged", "sidecar empty", "shard lost"])
def test_a_shard_is_committed_only_with_its_sidecar_and_its_size(made, uninterrupted, tmp_path, harm):
    made.write(tmp_path / "store", stop_after=3)
    shard, sidecar = tmp_path / "store" / "train-00000.safetensors", tmp_path / "store" / "train-00000.json"
    if harm == "cut":
        shard.write_bytes(shard.read_bytes()[:-1])
    elif harm == "shard lost":
        shard.unlink()
    elif harm == "sidecar lost":
        sidecar.unlink()
    else:
        sidecar.write_bytes({"sidecar damaged": b"[]", "sidecar empty": b""}[harm])
    recording = made.write(tmp_path / "store", resume=True, stop_after=0)
    assert recording.missing()[0].file == "train-00000.safetensors"
    assert made.write(tmp_path / "store", resume=True).finish()
    assert contents_of(tmp_path / "store") == uninterrupted


@pytest.mark.parametrize("left", ["recording.json", "train-00001.json", ".writing-train-00001.safetensors-9-aa"])
def test_what_a_kill_in_the_last_moment_left_is_tidied_up(made, uninterrupted, tmp_path, left):
    store = made.written(tmp_path / "store")
    (store / left).touch()
    Targets.open(store)
    with pytest.raises(StoreError, match="before it had tidied up; run the recording once more with --resume"):
        verify(store)
    assert Recording(store, made.plan, resume=True).finish()
    assert contents_of(store) == uninterrupted


def test_half_written_files_of_killed_writers_go_but_not_those_of_a_neighbour_at_work(made, tmp_path):
    neighbour = made.write(tmp_path / "store", stop_after=1)
    aside = tmp_path / "store" / ".writing-train-00001.safetensors-1-aa"
    aside.touch()
    Recording(tmp_path / "store", made.plan, resume=True)
    assert aside.exists()
    del neighbour
    Recording(tmp_path / "store", made.plan, resume=True)
    assert not aside.exists()


def test_only_what_the_plan_says_can_be_committed(made, tmp_path):
    recording = Recording(tmp_path / "store", made.plan)
    shard = recording.missing()[1]
    packed, features = made.block(shard)
    with pytest.raises(ArgumentError, match=r"must hold rows, features\.layer\.0\. Got rows"):
        recording.commit(shard, packed)
    with pytest.raises(ArgumentError, match=r"rows of train-00000.* must be torch.uint8 \(16, 2, 12\)"):
        recording.commit(shard, packed[:-1], features)
    with pytest.raises(ArgumentError, match=r"must be torch\.bfloat16"):
        recording.commit(shard, packed, {"layer.0": features["layer.0"].float()})
    with pytest.raises(ArgumentError, match="the plan has no shard"):
        recording.commit(shard._replace(rows=15), packed, features)
    assert not list((tmp_path / "store").glob("train-0*"))


def test_offsets_must_fit_their_positions(tmp_path):
    plan = replace(known(features=False).plan, ragged=True)
    recording = Recording(tmp_path / "store", plan)
    shard = recording.missing()[0]
    positions = torch.zeros(7, 12, dtype=torch.uint8)
    for offsets in (None, torch.arange(8).float(), torch.arange(9), torch.tensor([0, 2, 1, 3, 4, 5, 6, 7])):
        with pytest.raises(ArgumentError, match="offsets"):
            recording.commit(shard, positions, offsets=offsets)
    recording.commit(shard, positions, offsets=torch.arange(8))


@pytest.mark.parametrize(
    "wrong",
    [
        {"ids": torch.tensor([1, 1])},
        {"ids": torch.tensor([2, 1])},
        {"ids": torch.tensor([1.0])},
        {"contents": torch.tensor([1])},
        {"views": 0},
        {"shard_rows": 0},
    ],
)
def test_a_part_that_cannot_be_is_refused(wrong):
    right = {"ids": torch.tensor([1, 2]), "contents": None, "views": 1, "shard_rows": 1}
    PartPlan(**right)
    with pytest.raises(ArgumentError, match="PartPlan: "):
        PartPlan(**{**right, **wrong})


def test_a_plan_that_cannot_be_is_refused(made):
    for wrong in ({"parts": {"../x": made.plan.parts["test"]}}, {"classes": ("a",)}, {"batch_size": 0}):
        with pytest.raises(ArgumentError, match="Plan: "):
            replace(made.plan, **wrong)
    with pytest.raises(ArgumentError, match=r"feature 'h' cannot be stored: it is torch\.complex64"):
        replace(made.plan, features={"h": (torch.complex64, (1,))})


FULL = """
import resource, sys
from recordings import known
from limbeck.errors import StoreError
made = known(rows=4000, shard_rows=1000)
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, resource.RLIM_INFINITY))
try:
    made.write(sys.argv[1])
except StoreError as error:
    print(error)
"""


def test_a_full_disk_is_one_sentence_and_costs_no_committed_shard(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FULL, tmp_path / "store"],
        env=environment(PYTHONPATH=f"{Path(__file__).parent}{os.pathsep}{Path(__file__).parents[1]}"),
        capture_output=True,
        text=True,
        check=True,
    )
    # The index of the larger split, 64 kB, is the first file beyond the limit.
    assert "Could not write the plan in" in done.stdout
    assert "File too large. 0 of 5 shards are safe; free space and run again with --resume." in done.stdout
    assert not list((tmp_path / "store").glob(".writing-*"))


def test_a_limit_that_is_met_in_mid_shard_leaves_the_others_readable(tmp_path):
    made = known(rows=2000, shard_rows=500, views=2)
    recording = made.write(tmp_path / "store", stop_after=2)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    shard = recording.missing()[0]
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, before[1]))
        with pytest.raises(StoreError, match=r"Could not write train-00001.* File too large\. 2 of 5 shards are safe"):
            recording.commit(shard, *made.block(shard))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list((tmp_path / "store").glob(".writing-*"))
    assert not list((tmp_path / "store").glob("train-00001*"))
    assert made.write(tmp_path / "store", resume=True).finish()
    assert contents_of(tmp_path / "store") == contents_of(made.written(tmp_path / "other"))


def test_a_folder_that_cannot_be_made_is_one_sentence(made, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(
        StoreError, match=r"file is a file, so no store can be written to .*file/store; give another folder"
    ):
        Recording(tmp_path / "file" / "store", made.plan)


def work(made, folder, rank, start):
    start.wait()
    made.write(folder, rank=rank, ranks=2, resume=True).finish()


def started_together(made, folder):
    processes = multiprocessing.get_context("fork")
    start = processes.Barrier(3)
    writers = [processes.Process(target=work, args=(made, folder, rank, start)) for rank in (0, 1)]
    for one in writers:
        one.start()
    start.wait()
    return writers


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_two_writers_that_start_at_once_and_are_killed_leave_what_can_be_completed(tmp_path):
    made = known(rows=100, shard_rows=8)
    began = time.monotonic()
    wanted = contents_of(made.written(tmp_path / "uninterrupted"))
    long = time.monotonic() - began
    moment = random.Random(0)
    for number in range(5):
        folder = tmp_path / str(number)
        for _ in range(3):
            writers = started_together(made, folder)
            time.sleep(moment.uniform(0, long / 4))
            for one in writers:
                one.kill()
                one.join()
        writers = started_together(made, folder)
        for one in writers:
            one.join(60)
            assert one.exitcode == 0
        assert contents_of(folder) == wanted


class Stopped(BaseException):
    pass


STEPS = [(os, "fsync"), (Path, "replace"), (Path, "unlink"), (Path, "open")]


def stop_at(monkeypatch, number):
    """Let the process end, as it were, just before its n-th change of the file system."""
    made = itertools.count()

    def counted(real):
        def step(*args, **kwargs):
            # Once stopped, always stopped: what tidies up after an exception does not run in a process that was killed.
            if next(made) >= number:
                raise Stopped
            return real(*args, **kwargs)

        return step

    for owner, name in STEPS:
        monkeypatch.setattr(owner, name, counted(getattr(owner, name)))


def test_every_single_step_may_be_the_last(tmp_path, monkeypatch):
    made = known(rows=5, shard_rows=4)
    small = replace(made, plan=replace(made.plan, parts={"train": made.plan.parts["train"]}))
    wanted = contents_of(small.written(tmp_path / "whole"))
    for number in itertools.count():
        folder = tmp_path / str(number)
        with monkeypatch.context() as patch:
            stop_at(patch, number)
            try:
                small.write(folder).finish()
                break
            except Stopped:
                pass
        assert small.write(folder, resume=True).finish()
        assert contents_of(folder) == wanted
    assert number > 30


def test_a_neighbour_that_begins_between_two_looks_is_no_stranger(tmp_path, monkeypatch):
    """The plan appears after it was looked for and before the folder is listed."""
    folder = tmp_path / "store"
    folder.mkdir()
    listed = Path.iterdir

    def begun_meanwhile(path):
        if path == folder:
            (folder / "recording.json").write_text("{}", encoding="utf-8")
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", begun_meanwhile)
    refuse_occupied(folder)
