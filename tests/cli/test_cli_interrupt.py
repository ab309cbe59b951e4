"""Ctrl-C: the message says how to go on, and going on ends where an uninterrupted run ends."""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch
from newcomer import PROGRAM

from limbeck.files import read_tensors


def test_after_ctrl_c_the_command_that_the_message_names_ends_where_it_would_have_ended(limbeck, folder):
    words = ["distill", "spec.py:slowly", "--out", "a run", "--overwrite"]
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words], env={**os.environ, "PAUSE": "0.05"}, stderr=subprocess.PIPE, text=True
    )
    try:
        wait_for_records(Path("a run/metrics.jsonl"), 3, process)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    line = said.splitlines()[-1]
    assert line.startswith("Stopped at step ")
    assert "after the state was saved in a run/checkpoints." in line
    command = shlex.split(line.partition("Go on with: ")[2])
    assert command == ["limbeck", "distill", "spec.py:slowly", "--out", "a run", "--resume"]
    assert not Path("a run/summary.json").exists()
    resumed = limbeck("", *command[1:])
    assert resumed.status == 0
    assert "Going on from step " in resumed.err
    assert limbeck("distill spec.py:slowly --out whole").status == 0
    ours, theirs = (read_tensors(Path(name, "student", "model.safetensors")) for name in ("a run", "whole"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert without_paths("a run") == without_paths("whole")


def wait_for_records(path, count, process):
    until = time.monotonic() + 60
    while not path.exists() or len(path.read_text().splitlines()) < count:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < until
        time.sleep(0.01)


def without_paths(run):
    return [Path(run, name).read_text() for name in ("metrics.jsonl", "summary.json")]


def test_ctrl_c_between_two_pieces_of_work_is_answered_too(limbeck, folder, monkeypatch):
    def pressed(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("limbeck.cli.distill.distill", pressed)
    said = limbeck("distill spec.py:small --out run --epochs 2")
    assert (said.status, said.err) == (
        130,
        "Stopped. Go on with: limbeck distill spec.py:small --out run --epochs 2 --resume\n",
    )
    # The run that was to be overwritten may still stand, and a resume would go on with that one.
    assert limbeck("distill spec.py:small --out run --overwrite").err == "Stopped.\n"
