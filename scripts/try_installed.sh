#!/usr/bin/env bash
# Tries an installed package from an empty folder: restores a picture by the command and by Python, trains three
# iterations. `twostagealign` and `python` of that environment must be on the PATH.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
unset PYTHONPATH

twostagealign --version
twostagealign list-models | tee models.txt
grep -q '^tiny .*non-commercial research' models.txt
grep -q '^tiny-free .* MIT, ' models.txt

picture=$(python -c 'import importlib.resources as r; print(r.files("skimage") / "data" / "chelsea.png")')
twostagealign restore --simulate high --input "$picture" --output by_command --device cpu

python - "$picture" <<'PROGRAM'
import sys

import cv2
import numpy as np

import twostagealign as tsa

assert "site-packages" in tsa.__file__, tsa.__file__
result = tsa.load("tiny", device="cpu").restore(tsa.simulate([sys.argv[1]]))
for suffix in ("png", "tif", "dng"):
    result.save(f"by_python.{suffix}")
written = cv2.imread("by_command/chelsea.png")[..., ::-1]
assert np.array_equal(written[: len(result.srgb), : result.srgb.shape[1]], result.srgb), "two different pictures"
print(f"restored by command and by Python: {result.quality.psnr:.2f} dB")
PROGRAM

twostagealign train -opt options/train/two_stage_tiny.yml --force_yml device=cpu \
  train:total_iter=3 train:batch_size=1 train:workers=0 datasets:val:length=1 logger:print_every=1
twostagealign restore --simulate low --input "$picture" --output trained --device cpu --fast \
  --checkpoint experiments/two_stage_tiny/models/net_latest.safetensors
test ! -e "$(python -c 'import twostagealign as t; print(t.__path__[0])')/shipped/experiments/two_stage_tiny"
echo "the installed package works"
