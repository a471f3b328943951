"""List the checkpoints that come with the project."""

import json
from dataclasses import asdict

from twostagealign.api import ShippedModel, list_models
from twostagealign.cli.arguments import Parser

HEAD = ("name", "network", "parameters", "GFLOP/megapixel", "PSNR high/low noise", "licence")


def main() -> None:
    """Print a table of the checkpoints, or JSON."""
    parser = Parser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    models = list_models()
    if arguments.json:
        print(json.dumps([asdict(model) | {"path": str(model.path)} for model in models], indent=2))
        return
    rows = [HEAD, *map(_row, models)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def _row(model: ShippedModel) -> tuple[str, ...]:
    gflop = "-" if model.gflop_per_megapixel is None else f"{model.gflop_per_megapixel:.0f}"
    psnr = "-" if model.psnr_high is None else f"{model.psnr_high:.2f} / {model.psnr_low:.2f} dB"
    return model.name, model.network, f"{model.parameters:,}", gflop, psnr, model.licence
