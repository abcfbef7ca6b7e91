from sklearn_deeplinear.theory._moments import SecondMoments

__all__ = ["SecondMoments"]
