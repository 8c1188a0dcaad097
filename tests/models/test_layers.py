"""A network layer by layer is Table 1, with parameters that add up to the counts of Section 4.3."""

import pytest
import torch

from singtech.models.layers import describe
from singtech.models.network import Architecture, oblong_network
from tests.models.test_cnn1d import cnn1d_network

SAMPLES = 3 * 44100
TABLE_1 = [  # names and channels as printed; the hidden layer is what the parameter counts ask for beside it
    ("Conv(4×1), MP(4×4)", 32),
    ("Conv(16×1), MP(4×4)", 64),
    ("Conv(1×4), MP(3×3)", 128),
    ("Conv(1×16), MP(2×2)", 128),
    ("Global AP", 128),
    ("FC 50 (hidden)", 50),
    ("FC (Feature)", 30),
    ("FC (Softmax)", 10),
]


def oblong(**extractor):
    return oblong_network(SAMPLES, 10, {}, 0, **extractor)


@pytest.mark.parametrize(
    ("dc", "count"), [((), 337_510), ((1, 2, 3, 4), 463_374), ((1, 2), 362_194), ((3, 4), 438_690), ((4,), 435_734)]
)
def test_the_layers_are_table_1_and_their_parameters_the_papers_count(dc, count):
    layers = describe(oblong(dc=dc), SAMPLES)
    assert [(layer.layer, layer.channels) for layer in layers] == TABLE_1
    assert [layer.number for layer in layers] == list(range(1, 9))
    assert [layer.number for layer in layers if layer.deformable] == list(dc)
    assert sum(layer.parameters for layer in layers) == count


def test_shapes_and_parameters_of_each_layer_by_hand():
    layers = describe(oblong(dc=(4,)), SAMPLES)
    assert [(layer.output, layer.parameters) for layer in layers] == [
        ("32×256×64", 3 * 4 * 32 + 32 + 2 * 32),  # weights, biases, batch norm's two
        ("64×64×16", 32 * 16 * 64 + 64 + 2 * 64),
        ("128×21×5", 64 * 4 * 128 + 128 + 2 * 128),
        ("128×10×2", 128 * 16 * 128 + 2 * 128 + (128 * 16 + 1) * 3 * 16),  # no bias; offsets and mask of 16 taps
        ("128", 0),
        ("50", 128 * 50 + 50 + 2 * 50),
        ("30", 50 * 30 + 30),
        ("10", 30 * 10 + 10),
    ]


def test_what_is_chosen_otherwise_is_named_otherwise():
    layers = describe(oblong(dc=(4,), hidden=None, aggregation="flatten", pool_deformable=False), SAMPLES)
    assert [layer.layer for layer in layers[3:]] == ["Conv(1×16)", "Flatten", "FC (Feature)", "FC (Softmax)"]
    assert [layer.output for layer in layers[3:]] == ["128×21×5", "13440", "30", "10"]


def test_the_1dcnn_is_described_in_the_same_manner():
    layers = describe(cnn1d_network(SAMPLES, 10, 0), SAMPLES)
    assert [tuple(layer) for layer in layers] == [
        (1, "Conv1d(128), MP(64/8)", 16, "16×16514", False, 2_096),
        (2, "Conv1d(64), MP(64/8)", 8, "8×2049", False, 8_216),
        (3, "Conv1d(256), MP(64/8)", 32, "32×217", False, 65_632),
        (4, "Flatten", 6944, "6944", False, 0),
        (5, "FC (Feature)", 32, "32", False, 222_240),
        (6, "FC (Softmax)", 10, "10", False, 330),
    ]


@pytest.mark.parametrize(
    "network",
    [
        oblong(),
        oblong(hidden=None),
        oblong(aggregation="flatten"),
        cnn1d_network(SAMPLES, 10, 0),
    ],
    ids=["hidden", "no hidden", "flatten", "1DCNN"],
)
def test_the_parts_one_after_the_other_are_the_extractor(network):
    network.eval()
    clip = torch.randn(1, SAMPLES, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        values = network.front_end(clip)
        for _, part in network.extractor.parts():
            values = part(values)
        assert torch.equal(values, network.features(clip))


def test_describing_a_network_changes_nothing_in_it():
    network = cnn1d_network(SAMPLES, 10, 0).train()
    network.classifier.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    describe(network, SAMPLES)
    assert network.training
    assert network.extractor.projection.dropout.training
    assert not network.classifier.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_an_extractor_that_names_no_parts_is_one_layer():
    class Means(torch.nn.Module):
        out_features = 4

        def __init__(self, shape):
            super().__init__()
            self.dense = torch.nn.Linear(shape[0], 4)

        def forward(self, spectrograms):
            return self.dense(spectrograms.mean((2, 3)))

    layers = describe(Architecture(extractor=Means).build(SAMPLES, 10, 44100, 0), SAMPLES)
    assert [tuple(layer) for layer in layers] == [
        (1, "Means", 4, "4", False, 3 * 4 + 4),
        (2, "FC (Softmax)", 10, "10", False, 4 * 10 + 10),
    ]
