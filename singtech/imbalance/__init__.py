"""Methods for imbalanced techniques: losses, samplers, mixtures and rewrites of the head, each with its paper."""
