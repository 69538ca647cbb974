"""Folders of pictures: what is read from files is what the array holds, and trains to the same bits."""

import os
import shutil
import sys

import numpy as np
import pytest
from PIL import Image, ImageOps

from chainrule.cli import run
from chainrule.data import find, find_samples
from chainrule.errors import DataError
from chainrule.runs import Run, train
from trainings import assert_same

RANDOM = np.random.default_rng(0)


def written(folder, x, y, suffix=".png"):
    """Write pictures into a subfolder for each class; those of the folder, in its order, as a pair."""
    for k, (picture, label) in enumerate(zip(x, y, strict=True)):
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / str(label) / f"{k:05d}{suffix}")
    order = np.lexsort((np.arange(len(y)), y))
    return x[order], y[order]


def pictures(what, count):
    """So many pictures of a set, evenly spaced, and their classes."""
    if what == "colours":
        return RANDOM.integers(0, 256, (count, 16, 18, 3), dtype=np.uint8), np.arange(count) % 3
    source = find(what)
    rows = np.linspace(0, len(source) - 1, count).astype(int)
    return source.features[rows], source.target[rows]


@pytest.mark.parametrize("engine", ["native", "numpy"])
@pytest.mark.parametrize(("what", "count"), [("digits", 600), ("mnist-5k", 300), ("colours", 90)])
def test_a_folder_of_pictures_trains_to_the_bits_of_the_array(tmp_path, what, count, engine):
    x, y = written(tmp_path, *pictures(what, count))
    settings = {"epochs": 2, "seed": 3, "engine": engine, "patience": None}
    assert_same(train(tmp_path, **settings), train((x, y), **settings))


def test_a_folder_gives_the_array_itself_whatever_the_lossless_format(tmp_path):
    x, y = pictures("colours", 12)
    for suffix in (".png", ".bmp", ".tif"):
        expected, _ = written(tmp_path / suffix, x, y, suffix)
        found = find(tmp_path / suffix)
        np.testing.assert_array_equal(found.features, expected)
        assert found.features.dtype == np.uint8


def test_the_command_gives_the_same_for_a_folder_and_an_npz_file(tmp_path):
    x, y = written(tmp_path / "folder", *pictures("mnist-5k", 200))
    np.savez(tmp_path / "array.npz", x=x, y=y)
    for name in ("folder", "array.npz"):
        assert run(["train", str(tmp_path / name), "-o", str(tmp_path / f"of-{name}"), "--epochs", "1"]) == 0
    one, other = (Run.open(tmp_path / f"of-{name}").trained for name in ("folder", "array.npz"))
    assert one.parameters.tobytes() == other.parameters.tobytes()
    assert one.raw(tmp_path / "folder").tobytes() == other.raw(tmp_path / "array.npz").tobytes()


# Photographs: of different sizes, in grey and in colour, held in any way, in any format


def photographs(folder):
    """Write photographs, those of one class brighter, in all the forms that come from cameras and editors."""
    for k in range(48):
        label, height, width = "ab"[k % 2], 20 + k % 7, 30 + k % 5
        pixels = (RANDOM.integers(0, 100, (height, width, 3)) + 150 * (k % 2)).astype(np.uint8)
        image, place = Image.fromarray(pixels), folder / label
        place.mkdir(parents=True, exist_ok=True)
        turned = Image.Exif()
        turned[0x0112] = 6
        mode, suffix, settings = (
            ("RGB", ".JPG", {"quality": 95}), ("L", " grey.png", {}), ("RGB", ".jpeg", {"exif": turned}),
            ("RGBA", ".png", {}), ("CMYK", ".jpg", {}), ("P", ".gif", {}),
        )[k // 2 % 6]  # fmt: skip
        image.convert(mode).save(place / f"{k}{suffix}", **settings)
    (folder / "a" / "2024").mkdir()
    (folder / "a" / "46.gif").rename(folder / "a" / "2024" / "46.gif")
    (folder / ".DS_Store").write_text("")
    (folder / "a" / "Thumbs.db").write_text("")
    return folder


@pytest.mark.parametrize("most", ["1GB", 1])
def test_photographs_train_and_are_predicted_in_every_way(tmp_path, most, capsys):
    folder, output = photographs(tmp_path / "photos"), tmp_path / "run"
    arguments = ["--image-size", "12x9", "--epochs", "5", "--memory", str(most), "--network", "flatten, 8 relu"]
    assert run(["train", str(folder), *arguments, "-o", str(output)]) == 0
    trained = Run.open(output).trained
    assert sum(Run.open(output).data["rows"].values()) == 48
    assert trained.evaluate(folder)["accuracy"] == 1  # also in Python they are resized
    grey = folder / "b" / "3 grey.png"
    assert trained.predict(grey).tolist() == ["b"]  # a grey one, though the others were in colour
    capsys.readouterr()
    assert run(["predict", str(output), str(folder / "b")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "file,class,probability_a,probability_b"
    assert [line.split(",")[0] for line in lines[1:]] == sorted(file.name for file in (folder / "b").iterdir())
    assert run(["predict", str(output), str(grey)]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("3 grey.png,b,")
    assert run(["explain", str(output)]) == 0
    assert f" of {folder}; class" in capsys.readouterr().out


def test_a_picture_is_turned_as_its_camera_was_held(tmp_path):
    pixels = np.arange(6 * 8, dtype=np.uint8).reshape(6, 8)
    for value in range(10):
        exif = Image.Exif()
        exif[0x0112] = value
        Image.fromarray(pixels).save(tmp_path / f"{value}.png", exif=exif)
        with Image.open(tmp_path / f"{value}.png") as image:
            upright = np.array(ImageOps.exif_transpose(image))
        np.testing.assert_array_equal(find_samples(tmp_path / f"{value}.png").features[0], upright)


def test_colour_is_not_taken_from_pictures_unasked(tmp_path):
    trained = train("flatten, 4 relu", pictures("digits", 100), epochs=1)
    Image.new("RGB", (8, 8)).save(tmp_path / "one.png")
    with pytest.raises(DataError, match="pictures in colour, but in grey in the training data; convert them"):
        trained.predict(tmp_path / "one.png")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_class_whose_name_is_not_utf8_is_refused_with_its_name(tmp_path, capsys):
    written(tmp_path / "animals", *pictures("digits", 20))
    (tmp_path / "animals" / "3").rename(tmp_path / "animals" / os.fsdecode(b"caf\xe9"))
    with pytest.raises(DataError, match=r"animals/caf\\xe9: the name has bytes that are not UTF-8; rename the folder"):
        find(tmp_path / "animals")
    assert run(["train", str(tmp_path / "animals"), "-o", str(tmp_path / "run")]) == 2
    assert "caf\\xe9: the name has bytes that are not UTF-8" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "run").exists()


def test_a_link_to_a_folder_above_is_no_class_but_one_to_a_folder_elsewhere_is(tmp_path, capsys):
    x, y = written(tmp_path / "animals", *pictures("digits", 40))
    folder = tmp_path / "animals"
    shutil.move(folder / "3", tmp_path / "elsewhere")
    (folder / "3").symlink_to(tmp_path / "elsewhere")
    np.testing.assert_array_equal(find(folder).features, x)
    assert find(folder).target.tolist() == [str(label) for label in y]
    for target in (".", ".."):
        (folder / "all").symlink_to(target)
        with pytest.raises(DataError, match=r"animals/all: this link leads to .*, which contains all classes; remove"):
            find(folder)
        assert run(["train", str(folder), "-o", str(tmp_path / "run")]) == 2
        assert "which contains all classes; remove it" in " ".join(capsys.readouterr().err.split())
        (folder / "all").unlink()
