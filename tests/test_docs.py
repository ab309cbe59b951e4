"""Every example in README and docs is run: Python as a program in a process of its own, `limbeck` lines in this one."""

import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from limbeck.cli.main import main
from limbeck.cli.specs import asked_of

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
MODEL = """
from torch import nn

def teacher():
    return nn.Sequential(nn.Linear(3, 32), nn.ReLU(), nn.Linear(32, 2))

def student():
    return nn.Linear(3, 2)
"""


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_python_example_runs(page, tmp_path):
    for number, block in enumerate(blocks(page, "python")):
        program = tmp_path / f"example_{number}.py"
        program.write_text(block, encoding="utf-8")
        done = subprocess.run([sys.executable, program], cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_line_example_runs(page, tmp_path, monkeypatch, digits_table):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spec.py").write_text(blocks(ROOT / "README.md", "python")[0], encoding="utf-8")
    (tmp_path / "model.py").write_text(MODEL, encoding="utf-8")
    digits_table(tmp_path / "train.parquet")
    archives_of_predictions(tmp_path)
    for line in "".join(blocks(page, "bash")).splitlines():
        command, _, remark = line.partition("#")
        words = shlex.split(command)
        assert words[0] == "limbeck"
        if "minutes" in remark:
            # Its flags are understood; the run itself is a record in results/.
            module = importlib.import_module(f"limbeck.cli.{words[1]}")
            module.asked_for(words[2:]) if words[1] == "reproduce" else asked_of(module.COMMAND, words[2:])
        else:
            assert main(words[1:]) == 0


def archives_of_predictions(folder: Path) -> None:
    """Answers to 500 rows, as somebody else's program might have written them: eight seeds each, and one teacher."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 5, 500)
    for name, seeds, wrong in (("distilled", 8, 0.08), ("alone", 8, 0.12), ("teacher", 1, 0.05)):
        shift = (generator.random((seeds, 500)) < wrong) * generator.integers(1, 5, (seeds, 500))
        np.savez(folder / f"{name}.npz", predictions=(labels + shift) % 5)
    np.save(folder / "labels.npy", labels)


@pytest.fixture
def digits_table():
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")

    def write(path: Path) -> None:
        features = torch.randn(80, 3, generator=torch.Generator().manual_seed(0))
        columns = {f"x{index}": features[:, index].numpy() for index in range(3)}
        labels = (features.sum(1) > 0).long().numpy()
        parquet.write_table(pyarrow.table({**columns, "label": labels}), path)
        yes = (features.sum(1) + features[:, 0].flip(0)).sigmoid()  # right more often than not
        parquet.write_table(pyarrow.table({"p_0": 1 - yes.numpy(), "p_1": yes.numpy()}), path.with_stem("predictions"))

    return write
