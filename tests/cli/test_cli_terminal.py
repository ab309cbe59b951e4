"""What a person sees on a terminal: bars that fit it, each once, and sentences that are broken between words."""

import io
import re
import subprocess
import sys

import pytest
from rich.console import Console

from limbeck.cli import show
from limbeck.training import progress
from limbeck.training.progress import RichBar


@pytest.fixture
def terminal(monkeypatch):
    """A terminal of 80 columns; what it was sent, without the codes that move and colour."""
    paper = io.StringIO()

    class Terminal(Console):
        def __init__(self, **settings):
            super().__init__(file=paper, force_terminal=True, width=80, color_system=None)

    monkeypatch.setattr(progress, "Console", Terminal)
    return lambda: re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", paper.getvalue())


def test_a_bar_of_eighty_columns_keeps_how_far_it_is(terminal):
    bar = RichBar()
    bar.start("training 48 students as one stack", 1000)
    bar.advance(1000, "validation: 127 to 193 of 250 wrong")
    bar.end()
    line = terminal().rstrip().splitlines()[-1]
    assert "training 48 students" in line
    assert "1000/1000 0:00:00 validation: 127" in line
    assert len(line) <= 80


def test_a_bar_that_is_over_is_not_drawn_again(terminal):
    bar = RichBar()
    bar.start("training", 2)
    bar.advance(2, "first")
    bar.end()
    before = terminal().count("first")
    bar.start("recording", 2)
    bar.advance(2, "second")
    bar.end()
    assert terminal().count("first") == before
    assert "second" in terminal()


def test_a_line_above_the_bar_keeps_its_brackets(terminal):
    RichBar().say("Training a teacher into runs/[b]/teachers")
    assert "runs/[b]/teachers" in terminal()


def test_sentences_are_broken_between_words_on_a_terminal_alone(monkeypatch, capsys):
    sentence = "Distillation helped " * 10
    show.say(sentence)
    assert capsys.readouterr().out == f"{sentence}\n"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "50")
    show.say(sentence)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 3
    assert all(len(line) <= 50 and line.split()[0] in ("Distillation", "helped") for line in lines)


def test_a_reader_that_has_seen_enough_is_no_error():
    program = "import sys; from limbeck.cli.main import main; sys.exit(main(['judge', '--help']))"
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()
    assert (process.wait(), said) == (0, b"")
