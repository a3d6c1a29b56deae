import pytest
import torch
from monai.networks.nets import UNet

from autosegnet.model.network import TRAINABLE_PARAMETERS, build_network


def test_network_has_the_papers_number_of_parameters() -> None:
    """Paper, section 2.3."""
    count = sum(p.numel() for p in build_network().parameters() if p.requires_grad)
    assert count == TRAINABLE_PARAMETERS == 19_223_525


def test_network_takes_two_channels_and_gives_two_logits() -> None:
    with torch.inference_mode():
        assert build_network().eval()(torch.zeros(1, 2, 32, 16, 48)).shape == (1, 2, 32, 16, 48)


def make_monais() -> torch.nn.Module:
    return UNet(
        spatial_dims=3,
        in_channels=2,
        out_channels=2,
        channels=(32, 64, 128, 256, 512),
        strides=(2, 2, 2, 2),
        num_res_units=2,
        norm="BATCH",
    )


def test_a_plain_state_dict_of_monais_unet_fits() -> None:
    build_network().load_state_dict(make_monais().state_dict(), strict=True)


def test_one_seed_gives_monais_initial_weights() -> None:
    torch.manual_seed(3)
    expected = make_monais().state_dict()
    torch.manual_seed(3)
    found = build_network().state_dict()
    assert list(found) == list(expected)
    assert all(torch.equal(found[key], expected[key]) for key in expected)


@pytest.mark.parametrize("training", [False, True])
def test_logits_are_monais_to_the_last_bit(training: bool) -> None:
    theirs, ours = make_monais().train(training), build_network().train(training)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(1, 2, 32, 32, 48)
    with torch.no_grad():
        assert torch.equal(ours(x), theirs(x))
