import io
import sys
import wave
from pathlib import Path

import datasets
import numpy as np
import pyarrow.parquet
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from limbeck.data.hub import hub
from limbeck.data.loader import Loader
from limbeck.data.open import load
from limbeck.data.prepare import plain_features
from limbeck.errors import ArgumentError, DataError, MissingExtra


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Keep the Arrow cache of the datasets library to the test."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return tmp_path / "cache"


def rows_in(folder, *, train, features=None, **splits):
    """Write a dataset folder of one Parquet file a split."""
    folder.mkdir(exist_ok=True)
    for name, columns in {"train": train, **splits}.items():
        datasets.Dataset.from_dict(columns, features=features).to_parquet(folder / f"{name}-00000-of-00001.parquet")
    return folder


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "dataset"


def test_mnist_equals_a_slow_decoding_row_by_row(mnist, data_folder):
    for split, part in (("train", mnist.train), ("test", mnist.test)):
        raw = pyarrow.parquet.read_table(data_folder / "mnist" / "data" / f"{split}-00000-of-00001.parquet")
        for position in torch.linspace(0, len(part) - 1, 50).long().tolist():
            row = raw.slice(position, 1).to_pylist()[0]
            image = np.asarray(Image.open(io.BytesIO(row["image"]["bytes"])))
            assert part.columns["image"][position, 0].tolist() == image.tolist()
            assert int(part.labels[position]) == row["label"]


def test_mnist_has_its_known_labels(mnist):
    assert mnist.train.columns["image"].shape == (60000, 1, 28, 28)
    assert mnist.train.columns["image"].dtype == torch.uint8
    assert mnist.train.labels.bincount().tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert mnist.test.labels.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert (mnist.validation, mnist.train.classes) == (None, tuple("0123456789"))


def test_rows_read_when_asked_for_are_those_in_memory(mnist, data_folder):
    lazy = hub(data_folder / "mnist", splits={"train": "test"}, in_memory=False).train
    positions = torch.tensor([9999, 0, 77])
    assert_close(lazy.rows(positions).columns["image"], mnist.test.rows(positions).columns["image"])
    assert lazy.labels.tolist() == mnist.test.labels.tolist()
    some = torch.arange(0, 10000, 50)
    assert lazy.subset(some).fingerprint == mnist.test.subset(some).fingerprint
    batches = [Loader(rows, [plain_features], batch_size=4).epoch(0, 0) for rows in (lazy, mnist.test)]
    assert_close(*(next(epoch).inputs[plain_features] for epoch in batches))


def test_reading_into_memory_leaves_no_cache(data_folder, cache):
    hub(data_folder / "sst2", config="sentences")
    assert not list(cache.rglob("*.arrow"))


def test_text_stays_text_and_three_splits_are_found(data_folder):
    splits = hub(data_folder / "clinc150", features="text")
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [15100, 3100, 5500]
    assert splits.train.columns["text"][0] == "what expression would i use to say i love you if i were an italian"
    assert (len(splits.train.classes), splits.train.classes[-1]) == (151, "oos")


def test_a_configuration_can_be_chosen(data_folder):
    assert len(hub(data_folder / "clinc150", config="small").train) == 7600


def test_sound_is_handed_over_as_encoded_files(data_folder):
    test = hub(data_folder / "fsdd", features="audio").test
    encoded = test.rows(torch.tensor([5])).columns["audio"][0]
    with wave.open(io.BytesIO(encoded)) as sound:
        assert (sound.getframerate(), sound.getnchannels()) == (8000, 1)


def test_colour_images_have_three_channels(data_folder):
    part = hub(data_folder / "cifar10", splits={"train": "test"}, in_memory=False).train
    assert part.rows(torch.arange(3)).columns["image"].shape == (3, 3, 32, 32)
    assert part.classes[:2] == ("airplane", "automobile")


@pytest.mark.parametrize("name", ["validation", "valid", "dev", "val"])
def test_the_validation_split_goes_by_several_names(folder, name):
    columns = {"x": [1.0, 2.0], "label": [0, 1]}
    splits = hub(rows_in(folder, train=columns, **{name: columns}))
    assert (len(splits.validation), splits.test) == (2, None)


def test_splits_can_be_named(folder):
    rows_in(folder, train={"x": [1.0], "label": [0]}, test={"x": [2.0, 3.0], "label": [0, 1]})
    splits = hub(folder, splits={"train": "test", "validation": "train"})
    assert (len(splits.train), len(splits.validation), splits.test) == (2, 1, None)


@pytest.mark.parametrize("in_memory", [True, False])
def test_numbers_lists_and_arrays_become_tensors(folder, in_memory):
    features = datasets.Features(
        {
            "n": datasets.Value("int32"),
            "v": datasets.List(datasets.Value("float32")),
            "m": datasets.Array2D((2, 3), "int64"),
            "ragged": datasets.List(datasets.Value("int64")),
            "label": datasets.Value("int64"),
        }
    )
    matrices = np.arange(12).reshape(2, 2, 3)
    columns = {
        "n": [1, 2],
        "v": [[1.0, 2.0], [3.0, 4.0]],
        "m": list(matrices),
        "ragged": [[1], [2, 3]],
        "label": [0, 1],
    }
    rows = hub(rows_in(folder, train=columns, features=features), in_memory=in_memory).train.rows(torch.tensor([1, 0]))
    assert_close(rows.columns["n"], torch.tensor([2, 1], dtype=torch.int32))
    assert_close(rows.columns["v"], torch.tensor([[3.0, 4.0], [1.0, 2.0]]))
    assert rows.columns["m"].tolist() == matrices[::-1].tolist()
    assert [row.tolist() for row in rows.columns["ragged"]] == [[2, 3], [1]]


@pytest.mark.parametrize("in_memory", [True, False])
def test_labels_without_names_count_over_all_splits(folder, in_memory):
    rows_in(folder, train={"x": [1.0, 2.0], "label": [0, 1]}, test={"x": [1.0], "label": [3]})
    splits = hub(folder, in_memory=in_memory)
    assert splits.train.classes == splits.test.classes == ("0", "1", "2", "3")


def test_text_labels_are_classes_in_order_of_name(folder):
    rows_in(folder, train={"x": [1.0, 2.0], "y": ["b", "a"]}, test={"x": [1.0], "y": ["c"]})
    splits = hub(folder, label="y")
    assert (splits.train.classes, splits.train.labels.tolist()) == (("a", "b", "c"), [1, 0])


@pytest.mark.parametrize("in_memory", [True, False])
def test_several_classes_a_row_are_multi_hot_and_hidden_labels_are_none(folder, in_memory):
    label = datasets.List(datasets.ClassLabel(names=["joy", "fear", "awe"]))
    features = datasets.Features({"x": datasets.Value("float32"), "label": label})
    rows_in(
        folder, features=features, train={"x": [1.0, 2.0], "label": [[0, 2], []]}, test={"x": [1.0], "label": [None]}
    )
    splits = hub(folder, in_memory=in_memory)
    assert splits.train.labels.tolist() == [[1, 0, 1], [0, 0, 0]]
    assert (splits.train.head, splits.test.head, splits.test.labels) == ("sigmoid", "sigmoid", None)


def test_a_test_split_with_hidden_labels_is_unlabelled(folder):
    features = datasets.Features({"x": datasets.Value("float32"), "label": datasets.ClassLabel(names=["no", "yes"])})
    rows_in(folder, features=features, train={"x": [1.0, 2.0], "label": [0, 1]}, test={"x": [3.0], "label": [-1]})
    splits = hub(folder)
    assert (splits.test.labels, splits.test.classes) == (None, ("no", "yes"))


def test_rows_can_be_read_without_labels(folder):
    train = hub(rows_in(folder, train={"x": [1.0], "label": [0]}), label=None).train
    assert (train.labels, list(train.columns)) == (None, ["x", "label"])


@pytest.mark.parametrize("in_memory", [True, False])
def test_folders_of_image_files_are_read_by_class(folder, in_memory):
    for name, size, mode in (("cat", (4, 3), "L"), ("dog", (2, 5), "RGBA")):
        (folder / "train" / name).mkdir(parents=True)
        Image.new(mode, size, 7 if mode == "L" else (1, 2, 3, 4)).save(folder / "train" / name / "0.png")
    train = hub(folder, in_memory=in_memory).train
    images = train.rows(torch.arange(2)).columns["image"]
    assert [tuple(image.shape) for image in images] == [(1, 3, 4), (3, 5, 2)]
    assert images[1][:, 0, 0].tolist() == [1, 2, 3]
    assert (train.classes, train.labels.tolist()) == (("cat", "dog"), [0, 1])


def test_csv_files_are_read_as_splits(folder):
    folder.mkdir()
    for name in ("train", "test"):
        (folder / f"{name}.csv").write_text("text,y,z\nhello there,good,1\nbye,bad,2\n")
    splits = hub(folder, label="y", features=["text"])
    assert splits.train.columns == {"text": ["hello there", "bye"]}
    assert (splits.test.classes, splits.test.labels.tolist()) == (("bad", "good"), [1, 0])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"label": "y"}, "The dataset at .* has no column 'y'; it has: x, label."),
        ({"features": ["x", "z"]}, "has no column 'z'; it has: x, label."),
        ({"features": []}, "has no feature columns; it has: x, label."),
        ({"splits": {"train": "train", "test": "exam"}}, "has no split 'exam'; it has: train. Say which one"),
        ({"splits": {}}, "has no split 'train'; it has: train."),
        ({"config": "large"}, "needs a `config` out of: default. Got 'large'."),
    ],
)
def test_what_is_not_there_is_named_with_what_is(folder, arguments, sentence):
    with pytest.raises(DataError, match=sentence):
        hub(rows_in(folder, train={"x": [1.0], "label": [0]}), **arguments)


def test_a_split_of_ours_that_we_do_not_have_is_refused(folder):
    with pytest.raises(ArgumentError, match=r"splits may name train, validation and test. Got 'exam'."):
        hub(rows_in(folder, train={"x": [1.0], "label": [0]}), splits={"exam": "train"})


def test_several_configurations_without_a_choice_are_named(folder):
    folder.mkdir()
    entries = "\n".join(f"- config_name: {name}\n  data_files: {name}/*.parquet" for name in ("large", "small"))
    (folder / "README.md").write_text(f"---\nconfigs:\n{entries}\n---\n")
    for name in ("large", "small"):
        rows_in(folder / name, train={"x": [1.0], "label": [0]})
    with pytest.raises(DataError, match=r"needs a `config` out of: large, small. Got None."):
        hub(folder)


def test_a_folder_without_data_is_named(folder):
    folder.mkdir()
    with pytest.raises(DataError, match=r"The dataset at .* cannot be read: .*data file"):
        hub(folder)


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_damaged_image_is_named(folder, in_memory):
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    train = {"image": [{"bytes": b"no image", "path": None}], "label": [0]}
    with pytest.raises(DataError, match="column 'image': image 0 of 1 cannot be decoded: cannot identify image file"):
        hub(rows_in(folder, train=train, features=features), in_memory=in_memory)


def test_deep_images_are_refused_and_not_clipped(folder):
    for name in ("a", "b"):
        (folder / "train" / name).mkdir(parents=True)
        Image.fromarray(np.full((2, 2), 40000, np.uint16)).save(folder / "train" / name / "0.png")
    with pytest.raises(DataError, match="An image has mode 'I;16', more than 8 bits a channel"):
        hub(folder)


def test_an_empty_image_is_refused(folder):
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    with pytest.raises(DataError, match=r"column 'image' is empty in row 0."):
        hub(rows_in(folder, train={"image": [None], "label": [0]}, features=features))


def test_a_missing_extra_is_named(folder, monkeypatch):
    folder.mkdir()
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtra, match=r"Reading a Hugging Face dataset needs .* pip install 'limbeck\[hub\]'."):
        hub(folder)


def test_progress_bars_are_left_as_they_were(folder):
    before = datasets.are_progress_bars_disabled()
    hub(rows_in(folder, train={"x": [1.0], "label": [0]}))
    assert datasets.are_progress_bars_disabled() == before


def test_load_reads_a_file_as_one_table(folder):
    rows_in(folder, train={"x": [1.0, 2.0], "label": [0, 1]})
    rows = load(folder / "train-00000-of-00001.parquet", features="x")
    assert_close(rows.columns["features"], torch.tensor([[1.0], [2.0]]))


def test_load_reads_a_folder_as_splits(folder):
    splits = load(str(rows_in(folder, train={"x": [1.0, 2.0], "y": [0, 1]})), label="y")
    assert splits.train.labels.tolist() == [0, 1]


def test_load_reads_mnists_raw_files_as_splits(folder):
    folder.mkdir()
    for stem in ("train", "t10k"):
        (folder / f"{stem}-images-idx3-ubyte").write_bytes(bytes([0, 0, 8, 3]) + bytes([0, 0, 0, 1] * 3) + b"\7")
        (folder / f"{stem}-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1]) + bytes([0, 0, 0, 1]) + b"\1")
    assert load(folder).train.columns["image"].tolist() == [[[[7]]]]
    with pytest.raises(DataError, match=r"holds MNIST's raw files, whose columns cannot be chosen."):
        load(folder, label="y")


@pytest.mark.parametrize(
    "path", ["/no/such/folder", "./nothing", "nothing/at/all", "nothing", "../nothing", "tests/no"]
)
def test_load_says_at_once_that_there_is_no_such_path(path, monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[2])
    with pytest.raises(
        DataError, match=f"^There is no file or folder {path}; an id of the hub has the form owner/name"
    ):
        load(path)


@pytest.mark.parametrize("path", ["rows.parque", "somewhere/rows.json"])
def test_load_asks_no_hub_for_the_name_of_a_file(path):
    with pytest.raises(DataError, match=f"^There is no file {path}\\.$"):
        load(path)


def test_load_stacks_the_numbers_of_a_folder_as_it_does_those_of_a_table(folder):
    rows_in(folder, train={"x": [1.0, 2.0], "y": [3, 4], "label": [0, 1]}, test={"x": [5.0], "y": [6], "label": [1]})
    splits = load(folder)
    assert_close(splits.train.columns, {"features": torch.tensor([[1.0, 3.0], [2.0, 4.0]])})
    assert_close(splits.test.columns, {"features": torch.tensor([[5.0, 6.0]])})
    assert (splits.train.classes, splits.test.labels.tolist()) == (("0", "1"), [1])


@pytest.mark.parametrize(("name", "content"), [("train.parquet", "no"), ("train.json", '{"a": 1}{'), ("train.csv", "")])
def test_a_damaged_file_in_a_folder_is_refused_in_one_sentence(folder, name, content, capsys):
    folder.mkdir()
    (folder / name).write_text(content)
    with pytest.raises(DataError, match=r"^The dataset at .* cannot be read: "):
        load(folder)
    assert capsys.readouterr().err == ""


def test_load_says_that_there_is_no_such_file(tmp_path):
    with pytest.raises(DataError, match=r"There is no file .*rows.parquet."):
        load(tmp_path / "rows.parquet")


def test_a_name_that_neither_folder_nor_hub_has_is_said_to_be_missing(monkeypatch):
    def unreachable(*arguments, **options):
        raise ConnectionError("Couldn't reach 'nobody/nothing' on the Hub (LocalEntryNotFoundError)\nmore")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    sentence = "There is no folder nobody/nothing, and the hub's dataset of that name cannot be read: Couldn't reach"
    with pytest.raises(DataError, match=sentence):
        load("nobody/nothing")
