"""Phases of training, the store that makes each of them once, and the Lightning modules that train them."""
