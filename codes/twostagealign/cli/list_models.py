"""List the checkpoints that come with the project."""

from twostagealign.cli.arguments import Parser
from twostagealign.models.shipped import list_models


def main() -> None:
    """Print name, number of parameters and licence of each checkpoint."""
    Parser(description=__doc__).parse_args()
    models = list_models()
    width = max((len(model.name) for model in models), default=0)
    for model in models:
        print(f"{model.name:{width}}  {model.parameters:>10,} parameters  {model.licence}")
