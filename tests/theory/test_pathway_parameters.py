"""Depths and other values of several pathways say what is wrong with them."""

import pytest

from sklearn_deeplinear.theory._pathway_parameters import check_depths, per_pathway


def test_one_depth_stands_for_all_pathways():
    assert check_depths(3, 2) == (3, 3)
    assert check_depths((1, 2)) == (1, 2)


@pytest.mark.parametrize(
    ("depth", "n_pathways", "message"),
    [
        (3, None, r"^depth must be a sequence of ints, got 3\.$"),
        ("22", 2, r"^depth must be an int or a sequence of ints, got '22'\.$"),
        (None, 2, r"^depth must be an int or a sequence of ints, got None\.$"),
    ],
    ids=["int", "text", "none"],
)
def test_what_are_no_depths_is_a_type_error(depth, n_pathways, message):
    with pytest.raises(TypeError, match=message):
        check_depths(depth, n_pathways)


@pytest.mark.parametrize(("depth", "n_pathways"), [((), None), ((2, 2), 3)], ids=["none", "two"])
def test_as_many_depths_as_pathways(depth, n_pathways):
    with pytest.raises(ValueError, match="depth must have one entry per pathway"):
        check_depths(depth, n_pathways)


def test_values_belong_to_pathways_where_they_do_not_fit_all_layers():
    assert per_pathway(0.1, (2, 3), "weight_decay", (2, 3)) == [0.1, 0.1]
    assert per_pathway([0.1, 0.2], (2, 3), "weight_decay", (2, 3)) == [0.1, 0.2]
    assert per_pathway([0.1, 0.2], (2, 2), "weight_decay", (2, 2)) == [[0.1, 0.2]] * 2
    with pytest.raises(ValueError, match="weight_decay must hold one entry per pathway, 2, got 3"):
        per_pathway([[0.1], 0.2, 0.3], (2, 3), "weight_decay", (2, 3))
