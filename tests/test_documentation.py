"""HTML representations link to the pages of this package, where there are any."""

import pytest
from sklearn.base import clone

import sklearn_deeplinear as package
from sklearn_deeplinear import DeepLinearRegressor, _documentation, model_selection

SEARCH = model_selection.BatchedGridSearchCV(DeepLinearRegressor(), {"depth": [1, 2]})
ESTIMATORS = [
    package.DeepLinearClassifier(),
    package.DeepLinearRegressor(),
    package.DeepLinearRegressorCV(),
    package.HomogeneousMLPClassifier(),
    package.HomogeneousMLPRegressor(),
    package.MultiPathwayRegressor(),
]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_a_representation_links_to_the_page_of_the_estimator(estimator, monkeypatch):
    monkeypatch.setenv("SKLEARN_DEEPLINEAR_DOCS", "https://docs.example/")
    name = f"sklearn_deeplinear.{type(estimator).__name__}"
    page = f"https://docs.example/generated/{name}.html"
    assert estimator._get_doc_link() == page
    assert f'href="{page}"' in estimator._repr_html_()
    assert clone(estimator)._get_doc_link() == page


def test_what_the_package_does_not_export_itself_is_found_in_its_subpackage(monkeypatch):
    monkeypatch.setenv("SKLEARN_DEEPLINEAR_DOCS", "..")
    name = "sklearn_deeplinear.model_selection.BatchedGridSearchCV"
    assert SEARCH._get_doc_link() == f"../generated/{name}.html"


def test_without_an_address_the_pages_that_were_built_are_linked(monkeypatch, tmp_path):
    monkeypatch.delenv("SKLEARN_DEEPLINEAR_DOCS", raising=False)
    monkeypatch.setattr(_documentation, "_BUILT", tmp_path)
    assert DeepLinearRegressor()._get_doc_link() == ""
    assert 'href="https://scikit-learn.org' not in DeepLinearRegressor()._repr_html_()
    page = tmp_path / "generated" / "sklearn_deeplinear.DeepLinearRegressor.html"
    page.parent.mkdir()
    page.write_text("a page")
    assert DeepLinearRegressor()._get_doc_link() == page.as_uri()


class OfAUser(DeepLinearRegressor):
    """What others derive is not on our pages."""


def test_classes_of_others_have_no_link(monkeypatch):
    monkeypatch.setenv("SKLEARN_DEEPLINEAR_DOCS", "https://docs.example")
    assert OfAUser()._get_doc_link() == ""
