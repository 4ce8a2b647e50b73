"""The plain networks are the published ones: the same numbers of weights, the same keys, the same places."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from dreamlift.evaluation.published.networks import (
    VGG16,
    VGG16_TAPS,
    VGG19,
    VGG19_RELU5_4,
    InceptionV3,
    alexnet,
    load_features,
    load_own,
    vgg,
)
from dreamlift.priors.weight_errors import WeightsError


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_networks_have_the_published_numbers_of_weights():
    # torchvision's: AlexNet 61,100,840, VGG16 138,357,544 and VGG19 143,667,240 less their classifiers of 58,631,144,
    # 123,642,856 and 123,642,856; Inception v3 27,161,264 less its auxiliary head of 3,326,696.
    with torch.device("meta"):
        assert count(alexnet()) == 61_100_840 - 58_631_144
        assert count(vgg(VGG16, VGG16_TAPS)) == 138_357_544 - 123_642_856
        assert count(vgg(VGG19, VGG19_RELU5_4)) == 143_667_240 - 123_642_856
        assert count(InceptionV3()) == 27_161_264 - 3_326_696


@pytest.mark.parametrize("network", [alexnet(), vgg((4, "M", 4), (4,))])
def test_activations_are_taken_after_a_relu(network):
    assert all(isinstance(network.features[tap], nn.ReLU) for tap in network.taps)
    assert len(network(torch.zeros(1, 3, 64, 64))) == len(network.taps)


def test_published_layers_end_in_a_relu_too():
    for plan, taps in ((VGG16, VGG16_TAPS), (VGG19, VGG19_RELU5_4)):
        with torch.device("meta"):
            assert all(isinstance(vgg(plan, taps).features[tap], nn.ReLU) for tap in taps)


@pytest.mark.parametrize("style", ["features.{}", "net.slice1.{}"])
def test_both_ways_to_name_the_layers_are_read_and_the_rest_is_left(tmp_path, style):
    source, copy = vgg((4, "M", 6), (4,)), vgg((4, "M", 6), (4,))
    tensors = {style.format(key): value for key, value in source.features.state_dict().items()}
    save_file({**tensors, "classifier.0.weight": torch.zeros(2)}, tmp_path / "a.safetensors")
    load_features(copy, tmp_path / "a.safetensors")
    images = torch.rand(1, 3, 8, 8)
    assert torch.equal(source(images)[0], copy(images)[0])


def test_another_networks_file_is_refused_by_name(tmp_path):
    save_file({"features.0.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match=r"other\.safetensors does not fit: 4 of 4 tensors"):
        load_features(vgg((4, "M", 6), (4,)), tmp_path / "other.safetensors")


def test_inception_reads_torchvisions_keys_with_the_head_left_out():
    with torch.device("meta"):
        keys = InceptionV3().state_dict().keys()
    for key in (
        "Conv2d_1a_3x3.conv.weight",
        "Mixed_5b.branch3x3dbl_3.bn.running_var",
        "Mixed_6c.branch7x7dbl_5.bn.bias",
    ):
        assert key in keys
    assert "Mixed_7c.branch3x3_2b.conv.weight" in keys and "fc.bias" in keys and not any("Aux" in key for key in keys)


def test_what_is_loaded_is_fixed(tmp_path):
    network = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2))
    tensors = {key: value for key, value in network.state_dict().items() if "num_batches" not in key}
    load_own(network, tensors, tmp_path / "any")
    assert not network.training and not any(parameter.requires_grad for parameter in network.parameters())
