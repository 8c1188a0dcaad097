"""What the callbacks of a phase keep."""

from types import SimpleNamespace

import torch

from singtech.training.callbacks import BestEpoch

EPOCHS = (  # the best by macro-F1 is neither the best by accuracy nor that of the training clips
    {"epoch": 1, "f1": 0.5, "accuracy": 0.5, "validation_f1": 0.4, "validation_accuracy": 0.4},
    {"epoch": 2, "f1": 0.6, "accuracy": 0.6, "validation_f1": 0.6, "validation_accuracy": 0.5},
    {"epoch": 3, "f1": 0.9, "accuracy": 0.9, "validation_f1": 0.5, "validation_accuracy": 0.9},
)


def see(best, entry):
    """Let the callback look at an epoch whose weights say its number."""
    state = {"step": entry["epoch"]}
    optimizer = SimpleNamespace(optimizer=SimpleNamespace(state_dict=lambda: state))
    weights = {"weight": torch.tensor(entry["epoch"])}
    module = SimpleNamespace(curve=[entry], state_to_save=lambda: weights, optimizers=lambda: optimizer)
    best.on_train_epoch_end(None, module)


def test_the_best_epoch_is_that_of_the_highest_macro_f1_on_the_validation_singers():
    best = BestEpoch()
    for entry in EPOCHS:
        see(best, entry)
    assert best.best == {"epoch": 2, "f1": 0.6, "weights": {"weight": 2}, "optimizer": {"step": 2}}


def test_an_interrupted_phase_knows_the_best_epoch_so_far():
    best, resumed = BestEpoch(), BestEpoch()
    for entry in EPOCHS[:2]:
        see(best, entry)
    resumed.load_state_dict(best.state_dict())
    see(resumed, EPOCHS[2])
    assert resumed.best["epoch"] == resumed.best["weights"]["weight"] == 2
