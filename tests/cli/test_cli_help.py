"""What `limbeck` says of itself, and how soon."""

import subprocess
import sys

import pytest

from limbeck._version import __version__
from limbeck.cli.flags import names_of_overrides
from limbeck.cli.main import COMMANDS


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",), ("help",)])
def test_limbeck_alone_lists_its_commands(limbeck, words):
    said = limbeck(*words)
    assert said.status == 0
    assert all(f"limbeck {name}" in said.out for name in COMMANDS)


@pytest.mark.parametrize("word", ["--help", "--version"])
def test_help_and_version_come_without_torch(word):
    program = (
        "import sys; from limbeck.cli.main import main; status = main(sys.argv[1:]); "
        "assert not {'torch', 'numpy', 'tyro', 'rich'} & sys.modules.keys(); sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, word], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"limbeck {__version__}\n" if word == "--version" else "limbeck demo" in done.stdout


def test_the_help_of_distill_names_every_flag(limbeck):
    said = limbeck("distill", "--help")
    assert said.status == 0
    parts = ("--data", "--student", "--teacher", "--label", "--test", "--temperature", "--soft")
    common = ("--out", "--resume", "--overwrite", "--parallel")
    numbers = ("--epochs", "--batch-size", "--seed", "--device", "--track", "--objective.soft.weight", "--optimizer.lr")
    assert [
        flag for flag in (*parts, *common, *numbers) if f"{flag} " not in said.out and f"{flag}," not in said.out
    ] == []
    assert "digits, mnist" in said.out
    assert "Rows per optimiser step" in said.out  # a field's docstring


def test_the_help_of_a_spec_names_its_own_flags_and_those_of_what_it_returns(limbeck, folder):
    said = limbeck("distill", "spec.py:small", "--help")
    assert said.status == 0
    assert "hidden units" in said.out
    assert "--hot, --no-hot" in said.out
    from limbeck.references import load

    names = [name.replace("_", "-") for name in names_of_overrides(load("spec.py:small")())]
    assert [name for name in names if f"--{name} " not in said.out] == []


def test_the_help_of_a_spec_that_needs_a_flag_shows_the_rest_when_it_is_given(limbeck, folder):
    said = limbeck("distill", "spec.py:needy", "--help")
    assert (said.status, "--width INT" in said.out, "--epochs INT" in said.out) == (0, True, False)
    assert "--epochs INT" in limbeck("distill", "spec.py:needy", "--width", "3", "--help").out


@pytest.mark.parametrize("spec", ["spec.py:raising", "spec.py:number"])
def test_help_is_given_of_a_spec_that_fails(limbeck, folder, spec):
    said = limbeck("distill", spec, "--help")
    assert (said.status, said.err) == (0, "")
    assert "--out" in said.out


@pytest.mark.parametrize(
    ("command", "flags"),
    [
        ("demo", ("--out", "--resume", "--overwrite", "--rows", "--members", "--hidden", "--seeds", "--parallel")),
        ("report", ("PATH", "--out")),
        (
            "record",
            ("--data", "--teacher", "--out", "--resume", "--encoding", "--k", "--share", "--shard-rows", "--views"),
        ),
        ("targets", ("limbeck targets import", "--verify", "--row", "--part", "--view", "--temperature")),
        ("targets import", ("FILE", "--out", "--data", "--classes", "--kind", "--missing", "--mark", "--verbaliser")),
    ],
)
def test_the_help_of_the_other_commands_names_every_flag(limbeck, command, flags):
    said = limbeck(f"{command} --help")
    assert (said.status, said.err) == (0, "")
    assert [flag for flag in flags if flag not in said.out] == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("distil",), "There is no command 'distil'. Did you mean 'distill'?"),
        (("--verbose",), f"There is no command '--verbose'. There are: {', '.join(COMMANDS)}."),
        (("", ""), f"There is no command ''. There are: {', '.join(COMMANDS)}."),
    ],
)
def test_an_unknown_command_is_refused_with_the_closest(refused, words, sentence):
    assert refused(*words) == sentence
