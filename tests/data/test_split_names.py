"""Which folders are splits."""

import pytest

from thawline.data.split_names import splits_of


@pytest.mark.parametrize(
    ("folders", "splits"),
    [
        ("train val test", "train val test"),
        ("TRAIN Validation TeSt", "train val test"),
        ("Training Testing", "train test"),
        ("training_set test_set", "train test"),
        ("seg_train seg_test", "train test"),
        ("trainset valset testset", "train val test"),
        ("trainImages testImages", "train test"),
        ("train2017 val2017", "train val"),
        ("01-train 02-test", "train test"),
        ("images_train images_test", "train test"),
        ("ISIC_2019_Training_Input ISIC_2019_Test_Input", "train test"),
        ("train test1 test2", "train test test"),
        ("train dev test", "train val test"),
        ("train eval", "train test"),
        ("train eval test", "train val test"),
        ("train val evaluation", "train val test"),
        ("train holdout", "train test"),
    ],
)
def test_splits_are_known_in_any_case_and_with_usual_words_around(folders, splits):
    names = folders.split()
    assert splits_of(names) == dict(zip(names, splits.split(), strict=True))


@pytest.mark.parametrize(
    "folders",
    [
        ["freight_train", "bullet_train"],
        ["train_station", "airport"],
        ["test_tube", "pipette"],
        ["original", "augmented"],
        ["fold_0", "fold_1"],
        ["invalid", "devices", "contest", "evaluations"],
        ["images", "set", "2017", ""],
        ["train val", "testing the train"],
    ],
)
def test_other_names_are_no_splits(folders):
    assert splits_of(folders) == {}


def test_a_folder_beside_them_is_none():
    assert splits_of(["seg_train", "seg_test", "seg_pred", "preview"]) == {
        "seg_train": "train",
        "seg_test": "test",
    }


def test_more_names_for_one_test_split_than_splits_there_are_remain_unknown():
    assert splits_of(["train", "val", "test", "eval"]) == {"train": "train", "val": "val", "test": "test"}
