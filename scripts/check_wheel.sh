#!/usr/bin/env bash
# Builds the wheel, installs it in a new environment outside the repository, and tries it there as a newcomer would.
#   scripts/check_wheel.sh [--full]
# PYTHON (.venv/bin/python unless it is set) builds; it needs hatchling and pip. The new environment sees PYTHON's other
# packages through a .pth file, since PyTorch alone is a download of gigabytes. --full installs them all instead.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$(realpath --no-symlinks "${PYTHON:-.venv/bin/python}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

files() { find . -path ./.git -prune -o -path ./.venv -prune -o -name __pycache__ -prune -o -print | sort; }
files > "$work/before"
"$python" -m hatchling build -d "$work/dist" > /dev/null
files | diff "$work/before" - || { echo "the build left files behind"; exit 1; }

# A wheel built from the sdist must hold the same.
tar -xzf "$work"/dist/*.tar.gz -C "$work"
(cd "$work"/twostagealign-*/ && "$python" -m hatchling build -t wheel -d "$work/from_sdist" > /dev/null)
names() { "$python" -c 'import sys, zipfile; print(*sorted(zipfile.ZipFile(sys.argv[1]).namelist()), sep="\n")' "$@"; }
names "$work"/dist/*.whl > "$work/names"
names "$work"/from_sdist/*.whl | diff "$work/names" - || { echo "the sdist lacks files"; exit 1; }

if [ "${1:-}" = --full ]; then
  "$python" -m venv "$work/env"
  "$work/env/bin/pip" install --quiet "$work"/dist/*.whl
else
  "$python" -m venv --without-pip "$work/env"
  folder='import sysconfig; print(sysconfig.get_path("purelib"))'
  "$python" -c "$folder" > "$("$work/env/bin/python" -c "$folder")/packages.pth"
  "$python" -m pip --python "$work/env/bin/python" install --quiet --no-deps --no-index "$work"/dist/*.whl
fi
PATH="$work/env/bin:$PATH" scripts/try_installed.sh
