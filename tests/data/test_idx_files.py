import gzip
import struct

import numpy as np
import pytest
import torch

from limbeck.data.idx import holds_idx, idx
from limbeck.errors import DataError

IMAGES = np.arange(5 * 3 * 2, dtype=np.uint8).reshape(5, 3, 2)
LABELS = np.array([1, 0, 2, 1, 0], np.uint8)


def encoded(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write(folder, mark="-", end="", **changes):
    contents = {"train-images": IMAGES, "train-labels": LABELS, "t10k-images": IMAGES[:2], "t10k-labels": LABELS[:2]}
    for stem, array in (contents | changes).items():
        content = array if isinstance(array, bytes) else encoded(array)
        dimensions = 3 if stem.endswith("images") else 1
        content = gzip.compress(content) if end else content
        (folder / f"{stem}{mark}idx{dimensions}-ubyte{end}").write_bytes(content)
    return folder


@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize("mark", ["-", "."])
def test_either_spelling_zipped_or_not_is_read(tmp_path, mark, end):
    assert not holds_idx(tmp_path)
    splits = idx(write(tmp_path, mark, end))
    assert holds_idx(tmp_path)
    rows = splits.train.rows(torch.tensor([4, 0]))
    assert rows.columns["image"].dtype == torch.uint8
    assert rows.columns["image"].numpy().tolist() == IMAGES[[4, 0]][:, None].tolist()
    assert rows.labels.tolist() == [0, 1]
    assert (len(splits.train), len(splits.test), splits.validation) == (5, 2, None)


def test_the_splits_have_the_same_classes(tmp_path):
    splits = idx(write(tmp_path))
    assert splits.train.classes == splits.test.classes == ("0", "1", "2")


def test_mnist_as_raw_files_is_mnist_as_a_folder(tmp_path, mnist):
    whole = mnist.test.subset(torch.arange(500))
    images, labels = whole.columns["image"][:, 0].numpy(), whole.labels.to(torch.uint8).numpy()
    raw = idx(write(tmp_path, **{"t10k-images": images, "t10k-labels": labels}))
    assert raw.test.classes == whole.classes
    assert raw.test.fingerprint == whole.fingerprint


def test_a_missing_file_is_named(tmp_path):
    write(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match=r"lacks t10k-labels-idx1-ubyte \(also sought with a dot, and with .gz\)."):
        idx(tmp_path)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"train-images": b"\x89PNG\r\n"},
            "is no IDX file .* should begin with 00 00 08 03 and begins with 89 50 4e 47.",
        ),
        ({"train-images": b""}, "begins with nothing."),
        ({"train-images": encoded(LABELS)}, "in 3 dimensions: .* begins with 00 00 08 01."),
        ({"train-images": encoded(IMAGES)[:-1]}, "announces 5 × 3 × 2 values and holds 29 bytes."),
        ({"train-labels": encoded(LABELS) + b"\0"}, "announces 5 values and holds 6 bytes."),
        ({"train-labels": LABELS[:4]}, "The train split in .* has 5 images and 4 labels."),
    ],
)
def test_a_damaged_file_is_refused_in_one_sentence(tmp_path, changes, sentence):
    with pytest.raises(DataError, match=sentence):
        idx(write(tmp_path, **changes))


def test_a_broken_archive_is_refused(tmp_path):
    write(tmp_path, end=".gz")
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte.gz cannot be read"):
        idx(tmp_path)
