"""Layouts and lists that people have, and several datasets in one training."""
from pathlib import Path

import numpy as np
import pytest
from dataset_files import make_adobe, write_frames

from benchmark import vimeo90k as vimeo_benchmark
from benchmark.clips import find_videos
from common.errors import UserError
from data.base import Mixture
from data.frames import find_clips
from data.lists import read_list
from data.open import dataset_specs, open_mixture
from data.packing import pack
from dataset import open_dataset

NAMES = ["00001/0001", "00001/0002", "00003/0001"]


def make_vimeo(root: Path, place: str = "sequences", listing: str = "sep_trainlist.txt", names=NAMES) -> Path:
    for name in names:
        write_frames(root / place / name, range(1, 8), "im{}.png")
    (root / listing).parent.mkdir(exist_ok=True)
    (root / listing).write_text("\n".join(names) + "\n")
    return root


@pytest.mark.parametrize("text", [
    b"\xef\xbb\xbfIMG_1\r\nIMG_0037a\r\n\r\n", "IMG_1.mov\nIMG_0037a.MOV\n".encode("utf-16"),
    b"./IMG_1/\n  IMG_0037a.mp4  ",
    b"IMG_1 7 (256,448,3)\nIMG_0037a 7 (256, 448, 3)\n"])
def test_lists_of_any_system_and_of_basicsr(tmp_path, text):
    (tmp_path / "list.txt").write_bytes(text)
    assert read_list(tmp_path / "list.txt") == ["IMG_1", "IMG_0037a"]


def test_names_keep_what_is_theirs(tmp_path):
    (tmp_path / "list.txt").write_bytes("my clip 7\nv1.5\nsub\\caf\u00e9.mkv\n".encode())
    assert read_list(tmp_path / "list.txt") == ["my clip 7", "v1.5", "sub/caf\u00e9"]
    for data, message in ((b"\n\n", "list.txt is empty: at the shop"), (b"\xff\x00\x81", "not text.: at the shop")):
        (tmp_path / "list.txt").write_bytes(data)
        with pytest.raises(UserError, match=message):
            read_list(tmp_path / "list.txt", "at the shop")


@pytest.mark.parametrize("place, listing", [
    ("sequences/train", "sep_trainlist.txt"), ("train", "sep_trainlist.txt"), ("GT", "meta_info_Vimeo90K_train_GT.txt"),
    (".", "meta_info/meta_info_Vimeo90K_train_GT.txt"), ("vimeo_septuplet/sequences", "sep_trainlist.txt")])
def test_vimeo_layouts(tmp_path, place, listing):
    root = make_vimeo(tmp_path / "data", place, listing)
    if "meta_info" in listing:
        (root / listing).write_text("".join(f"{name} 7 (256,448,3)\n" for name in NAMES))
    expected = make_vimeo(tmp_path / "usual")
    ours, usual = (open_dataset("vimeo90k", path, crop=16, held_out=0) for path in (root, expected))
    assert len(ours) == 3
    for index in range(3):
        assert np.array_equal(*(data.sample(index, np.random.default_rng(index)).targets for data in (ours, usual)))
    pack(root, tmp_path / "cache")
    assert len(open_dataset("vimeo90k", tmp_path / "cache", crop=16, held_out=0)) == 3


@pytest.mark.parametrize("place", ["frame", ".."])
def test_cache_holds_the_lists_wherever_training_finds_them(tmp_path, place):
    adobe = make_adobe(tmp_path / "data" / "adobe")
    for file in adobe.glob("*.txt"):
        file.rename(adobe / place / file.name)
    pack(adobe, tmp_path / "cache")
    for split in ("train", "val"):
        plain, packed = ([clip.name for clip in open_dataset("adobe240", root, split, 16).clips]
                         for root in (adobe, tmp_path / "cache"))
        assert plain == packed


def test_vimeo_benchmark_reads_the_same_layouts(tmp_path):
    root = make_vimeo(tmp_path / "data", "sequences/test", "meta_info/fast_testset.txt")
    args = vimeo_benchmark.parser.parse_args(["--root", str(root)])
    _, clips = vimeo_benchmark.protocol_and_clips(args)
    assert [clip.name for clip in clips] == NAMES
    assert clips[0].inputs[1] == root / "sequences/test/00001/0001/im3.png"


@pytest.mark.parametrize("layout", ["GT/{}", "HR/{}", "{}", "{}/hr", "{}/GT"])
def test_vid4_layouts(tmp_path, layout):
    for name in ("calendar", "walk"):
        write_frames(tmp_path / layout.format(name), range(3))
        write_frames(tmp_path / (f"LR/{name}" if layout.endswith("{}") else f"{name}/lr"), range(3))
    videos = find_videos(tmp_path, ("GT", "HR", "."), ["calendar", "walk"], "as usual")
    assert {name: files[2] for name, files in videos.items()} == {
        name: tmp_path / layout.format(name) / "2.png" for name in ("calendar", "walk")}


def test_links_that_loop_and_links_that_do_not(tmp_path):
    write_frames(tmp_path / "data" / "clip", range(3))
    (tmp_path / "data" / "clip" / "again").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "alias").symlink_to(tmp_path / "data" / "clip")
    write_frames(tmp_path / "disk" / "far", range(3))
    (tmp_path / "data" / "disk").symlink_to(tmp_path / "disk")
    assert [clip.name for clip in find_clips(tmp_path / "data")] == ["clip", "disk/far"]


def test_errors_name_the_right_option_and_place(tmp_path):
    adobe = make_adobe(tmp_path / "adobe")
    for split, option in (("train", "--list"), ("val", "--val_list")):
        for file in adobe.glob("*.txt"):
            file.unlink()
        with pytest.raises(UserError, match=f"VideoINR.* a list with {option}$"):
            open_dataset("adobe240", adobe, split)
    with pytest.raises(UserError, match="toflow.*--list"):
        open_dataset("vimeo90k", tmp_path)
    with pytest.raises(UserError, match="datasets/meta_info.*Zooming-Slow-Mo"):
        vimeo_benchmark.find_list(tmp_path, "medium")
    (tmp_path / "sep_trainlist.txt").write_text("00001/0001\n")
    with pytest.raises(UserError, match="no septuplets in .*sequences/00001"):
        open_dataset("vimeo90k", tmp_path)


def test_vimeo_validates_on_the_end_of_the_training_list(tmp_path):
    names = [f"{group:05d}/{number:04d}" for group in (1, 2) for number in range(1, 6)]
    root = make_vimeo(tmp_path, names=names)
    (root / "sep_testlist.txt").write_text(names[0])

    def read(split, **options):
        return [clip.name for clip in open_dataset("vimeo90k", root, split, 16, **options).clips]
    assert read("train") == names[:9] and read("val") == names[9:], "at least one"
    assert read("train", held_out=0.3) == names[:7] and read("val", held_out=0.3) == names[7:]
    assert read("val", list_file=root / "sep_testlist.txt") == names[:1]
    specs = dataset_specs(["vimeo90k"], [root], val_lists=[str(root / "sep_testlist.txt")])
    found = [clip.name for clip in specs[0].open("train", 16).clips]
    assert found == names[1:], "a list to validate on leaves all of the training list but itself"
    with pytest.raises(UserError, match="--val_list"):
        read("val", held_out=0)


def test_what_is_validated_on_is_not_trained_on_whatever_list_names_it(tmp_path):
    names = [f"00001/{number:04d}" for number in range(1, 11)]
    vimeo, adobe, clips = make_vimeo(tmp_path / "v", names=names), make_adobe(tmp_path / "a"), tmp_path / "c"
    for clip in "xyz":
        write_frames(clips / clip, range(12))
    lists = {name: tmp_path / name for name in ("backwards", "first", "all", "y", "xyz")}
    for name, content in zip(lists, (names[::-1], names[:1], ["GOPR1", "IMG_2", "IMG_3"], ["y"], "xyz")):
        lists[name].write_text("\n".join(content))
    for name, root, trained, validated in (("vimeo90k", vimeo, "backwards", "-"), ("vimeo90k", vimeo, "-", "first"),
                                           ("vimeo90k", vimeo, "backwards", "first"), ("adobe240", adobe, "all", "-"),
                                           ("adobe240", adobe, "-", "all"), ("folder", clips, "-", "y"),
                                           ("folder", clips, "xyz", "y")):
        given = [[str(lists.get(list_, list_))] for list_ in (trained, validated)]
        (spec,) = dataset_specs([name], [root], *given, gap=[2])
        if (trained, validated) == ("-", "all"):
            with pytest.raises(UserError, match="all 2 clips are validated on"):
                spec.open("train", 16)
            continue
        train, val = ({clip.name for clip in spec.open(split, 16).clips} for split in ("train", "val"))
        assert train and val and not train & val, (name, trained, validated)


def test_several_datasets_with_their_own_folders_and_lists(tmp_path):
    adobe = make_adobe(tmp_path / "adobe")
    vimeo = make_vimeo(tmp_path / "vimeo")
    (tmp_path / "one.txt").write_text("IMG_2\n")
    specs = dataset_specs(["adobe240", "synthetic", "vimeo90k"], [adobe, vimeo], [str(tmp_path / "one.txt"), "-"])
    mixture = open_mixture(specs, "train", 32, [2, 1, 1])
    assert isinstance(mixture, Mixture) and [len(part) for part in mixture.datasets] == [1, 10000, 2]
    validation = open_mixture(specs, "val", None)
    assert [len(part) for part in validation.datasets] == [2, 10000, 1]
    shapes = {validation.sample(0, np.random.default_rng(seed), False).targets.shape for seed in range(12)}
    assert shapes == {(9, 40, 56), (9, 256, 256)}, "whole frames"
    for names, roots, lists, message in ((["adobe240", "folder"], [adobe], None, "--data.*adobe240, folder.*2, not 1"),
                                         (["synthetic"], [adobe], None, "--data.*none.*0, not 1"),
                                         (["folder"], None, None, "--data.*1, not 0"),
                                         (["adobe240", "folder"], [adobe, adobe], ["-"], "--list needs one list")):
        with pytest.raises(UserError, match=message):
            dataset_specs(names, roots, lists)
    with pytest.raises(UserError, match="--held_out 1"):
        dataset_specs(["folder"], [adobe], held_out=1)
