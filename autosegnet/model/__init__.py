"""The model: recipe, network and folds, the engines that run them, and the sliding window over an engine."""
