"""Phases of training, the store of finished phases, and the Lightning module that trains them."""
