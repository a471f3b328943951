"""Packaging. requirements.txt pins the exact versions that the package is tested with."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "codes/twostagealign/__init__.py").read_text(encoding="utf-8"))[1]

setup(
    name="twostagealign",
    version=VERSION,
    description="Burst denoising and demosaicking with two-stage alignment",
    license="MIT",
    python_requires=">=3.11",
    package_dir={"": "codes"},
    packages=find_packages("codes"),
    package_data={"twostagealign": ["py.typed"], "twostagealign.evaluation": ["templates/*"]},
    install_requires=[
        "torch>=2.6",
        "torchvision>=0.21",
        "numpy>=1.26",
        "opencv-python-headless>=4.9",
        "pyyaml>=6.0",
        "pydantic>=2.7",
        "natsort>=8.4",
        "lmdb>=1.4",
        "h5py>=3.10",
        "safetensors>=0.4",
        "scipy>=1.15",
        "scikit-image>=0.22",
        "pillow>=10",
        "rawpy>=0.21",
        "tifffile>=2023.7",
        "tensorboard>=2.16",
        "tqdm>=4.66",
        "filelock>=4.2",
        "matplotlib>=3.8",
        "Jinja2>=3.1",
        "cachetools>=5.3",
    ],
    extras_require={
        "dev": [
            "pytest>=8",
            "hypothesis>=6.100",
            "ruff>=0.6",
            "mypy>=1.15",
            "types-PyYAML",
            "types-tqdm",
            "selenium>=4.20",
        ]
    },
)
