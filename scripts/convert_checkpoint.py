"""Turn any checkpoint that restore.py reads into one safetensors file with both networks."""

from pathlib import Path

import torch

from twostagealign.archs import infer_network
from twostagealign.cli.arguments import Parser, add_import_argument
from twostagealign.cli.run import run
from twostagealign.models.checkpoint import find_checkpoint, load_weights, open_restorer, save_weights


def main() -> None:
    """Read the arguments, load strictly, write."""
    parser = Parser(description=__doc__)
    parser.add_argument("checkpoint", type=find_checkpoint, help="weights or training state (of which the average)")
    parser.add_argument("output", type=Path, help="file to write, .safetensors")
    parser.add_argument("--features-checkpoint", type=Path, help="the feature net, where it is a file of its own")
    parser.add_argument("--dtype", choices=("float16", "float32"), default="float16", help="default: %(default)s")
    add_import_argument(parser)
    options = parser.parse_args()
    restorer = open_restorer(options.checkpoint, options.features_checkpoint)
    state = {name: value.to(getattr(torch, options.dtype)) for name, value in restorer.state_dict().items()}
    _, metadata = load_weights(options.checkpoint)
    if not metadata:  # released weights
        network = infer_network(restorer.network.state_dict())
        matched = restorer.matcher.search.block_matching
        metadata = {"network": network, "features": {"type": "LowResolutionFeatures"}, "block_matching": matched}
    save_weights(options.output, state, metadata)
    print(f"written to {options.output} ({options.output.stat().st_size / 1e6:.2f} MB)")


if __name__ == "__main__":
    run(main)
