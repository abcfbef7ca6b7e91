"""Public names, their signatures and attributes are those that were promised."""

from difflib import unified_diff
from pathlib import Path

from sklearn_deeplinear.theory import SecondMoments, global_minimum
from tests.api_listing import listing, public_objects, signature_of

PROMISED = Path(__file__).parent / "data" / "api.txt"
RENEW = "if users may see this: python tests/api_listing.py > tests/data/api.txt"


def test_names_signatures_and_attributes_are_the_promised_ones():
    promised = PROMISED.read_text(encoding="utf-8").splitlines()
    found = "\n".join(listing()).splitlines()
    changes = list(unified_diff(promised, found, "promised", "found", lineterm="", n=2))
    assert not changes, "\n".join([*changes, RENEW])


def test_every_second_name_is_the_first_object():
    """No two packages export different things under one name."""
    by_name = {}
    for dotted, obj in public_objects().items():
        assert by_name.setdefault(dotted.rpartition(".")[2], obj) is obj, dotted


def test_signatures_show_kinds_and_defaults_but_no_types():
    assert signature_of(global_minimum) == (
        "(moments, *, depth, width=None, weight_decay=0.0, noise=0.0, rank=None)"
    )
    assert signature_of(SecondMoments.from_batches) == "(batches, *, center=True)"


def test_long_signatures_name_one_parameter_a_line():
    def called(a, b="b" * 50, *, c="c" * 50):
        """Do nothing."""

    assert signature_of(called).splitlines() == [
        "(",
        "        a,",
        f"        b='{'b' * 50}',",
        "        *,",
        f"        c='{'c' * 50}',",
        ")",
    ]
