"""Methods against the long tail of techniques: losses, samplers and rewrites of the head, each with its paper."""
