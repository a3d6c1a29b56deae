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


def test_a_plain_state_dict_of_monais_unet_fits() -> None:
    plain = UNet(
        spatial_dims=3,
        in_channels=2,
        out_channels=2,
        channels=(32, 64, 128, 256, 512),
        strides=(2, 2, 2, 2),
        num_res_units=2,
        norm="BATCH",
    )
    build_network().load_state_dict(plain.state_dict(), strict=True)
