"""skorch callbacks that record what scikit-learn users see, on any skorch net."""
