"""Files that are whole or not there."""

import pytest
import torch

from limbeck.errors import RunError
from limbeck.files import (
    is_aside,
    read_json,
    read_tensors,
    sweep,
    whole_directory,
    write_json,
    write_tensors,
    write_text,
)


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    final = tmp_path / "deep" / "final"
    with pytest.raises(ZeroDivisionError), whole_directory(final) as aside:
        (aside / "half").write_text("half")
        raise ZeroDivisionError
    assert not list(final.parent.iterdir())
    with whole_directory(final) as aside:
        write_text(aside / "inner" / "text", "whole")
        assert not final.exists()
    assert (final / "inner" / "text").read_text() == "whole"
    assert [path.name for path in final.parent.iterdir()] == ["final"]


def test_a_folder_is_replaced_whole_or_stays(tmp_path):
    final = tmp_path / "final"
    for name in ("first", "second"):
        with whole_directory(final) as aside:
            (aside / name).touch()
    with pytest.raises(ZeroDivisionError), whole_directory(final) as aside:
        raise ZeroDivisionError
    assert [path.name for path in final.iterdir()] == ["second"]
    assert [path.name for path in tmp_path.iterdir()] == ["final"]


def test_what_a_kill_left_is_known_and_swept(tmp_path):
    (tmp_path / ".writing-a-1").mkdir()
    (tmp_path / ".writing-a-1" / "part").touch()
    (tmp_path / ".writing-b-2").touch()
    (tmp_path / "whole").touch()
    assert {path.name for path in tmp_path.iterdir() if is_aside(path)} == {".writing-a-1", ".writing-b-2"}
    sweep(tmp_path)
    sweep(tmp_path / "nowhere")
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]


def test_tensors_come_back_bit_by_bit_whatever_memory_they_share(tmp_path):
    big = torch.randn(6, 4)
    tensors = {
        "tied": big,
        "tied again": big,
        "part": big[2:],
        "across": big.t(),
        "empty": torch.zeros(0, 3),
        "also empty": torch.zeros(0),
        "scalar": torch.tensor(3, dtype=torch.int64),
        "half": big.bfloat16(),
        "learnt": big.clone().requires_grad_(),
    }
    write_tensors(tmp_path / "deep" / "file.safetensors", tensors)
    found = read_tensors(tmp_path / "deep" / "file.safetensors")
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["file.safetensors"]


def test_json_keeps_order_letters_and_all_digits(tmp_path):
    value = {"z": 0.1 + 0.2, "a": ["·", None, True], "n": 1e-300}
    write_json(tmp_path / "file.json", value)
    assert read_json(tmp_path / "file.json") == value
    assert list(read_json(tmp_path / "file.json")) == ["z", "a", "n"]


@pytest.mark.parametrize("read", [read_json, read_tensors])
def test_missing_and_damaged_files_are_named(tmp_path, read):
    with pytest.raises(RunError, match=f"^There is no file in {tmp_path}\\.$"):
        read(tmp_path / "file")
    (tmp_path / "file").write_bytes(b"{")
    with pytest.raises(RunError, match=f"^{tmp_path}/file is damaged: "):
        read(tmp_path / "file")
