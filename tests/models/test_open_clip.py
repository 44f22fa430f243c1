"""Image towers of OpenCLIP: built without a hub, named as in checkpoints of the whole network, fed as CLIP was."""

import pytest
import torch

from transferscope.errors import UserError
from transferscope.models import describe_weights, networks
from transferscope.models.build import build_network
from transferscope.models.inits import start
from transferscope.models.networks import open_clip

REF = f"open_clip:{open_clip.EXAMPLE}"


def test_a_checkpoint_of_the_whole_network_fits_the_tower(tmp_path) -> None:
    import open_clip as library

    whole = library.create_model("ViT-S-32-alt", pretrained=None, force_image_size=64)
    torch.save(
        {"state_dict": {f"module.{name}": tensor for name, tensor in whole.state_dict().items()}}, tmp_path / "c.pt"
    )
    net = build_network(REF, 3, seed=0)
    ref = f"file:{tmp_path / 'c.pt'}"
    loaded = start(
        "pretrained", net, network=REF, classes=3, weights=ref, seed=0, head_seed=0, min_share=0.9, allow=()
    )  # fmt: skip
    assert loaded is not None and loaded.share == 1.0
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(net.eval().visual(x), whole.eval().encode_image(x))
    said = describe_weights(ref, REF)
    assert tuple(said["mean"]) == tuple(library.constants.OPENAI_DATASET_MEAN) and said["interpolation"] == "bicubic"
    assert networks.normalisation("timm:resnet18") == {}


def test_an_unknown_name_is_one_sentence() -> None:
    with pytest.raises(UserError, match="OpenCLIP has no 'ViT-B-23'; did you mean 'ViT-B-32'"):
        build_network("open_clip:ViT-B-23", 3, seed=0)
