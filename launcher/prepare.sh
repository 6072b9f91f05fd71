# SPDX-License-Identifier: Apache-2.0
# From a fresh Debian 12 to .venv/bin/ray-mpi. Sourced by launcher/quickstart and tests/run. Each step looks first
# whether there is anything to do, so that a second run takes seconds.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv
build=$root/build/release

say() { printf '\033[1m==> %s\033[0m\n' "$*" >&2; }
die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 2; }

# Runs a command silently; shows what it said only if it failed.
quietly() {
  local log
  log=$(mktemp)
  if ! "$@" >"$log" 2>&1; then
    cat "$log" >&2
    rm -f "$log"
    die "failed: $*"
  fi
  rm -f "$log"
}

# prepare_packages [tests]
prepare_packages() {
  local wanted missing
  if [ "${1:-}" = tests ]; then
    wanted=$(grep -v '^[#[]' "$root/launcher/packages.txt")
  else
    wanted=$(sed '/^\[tests\]/,$d' "$root/launcher/packages.txt" | grep -v '^#')
  fi
  command -v dpkg-query >/dev/null || { say "no dpkg here: taking it that the tools of launcher/packages.txt are installed"; return; }
  missing=$(comm -23 <(sort <<<"$wanted") \
    <(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' | sed -n 's/^ii *//p' | sort -u))
  [ -n "$missing" ] || return 0
  say "installing $(wc -w <<<"$missing") Debian packages (the list is launcher/packages.txt)"
  local sudo=
  [ "$(id -u)" = 0 ] || sudo=sudo
  [ -z "$sudo" ] || command -v sudo >/dev/null || die "run as root, or install yourself: apt install" $missing
  quietly $sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq update
  quietly $sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $missing
}

# prepare_python package[=import name].. : a virtual environment with what the build needs, and with these.
prepare_python() {
  local python=${PYTHON:-/usr/bin/python3} package missing=()
  # pip comes last: without it, an earlier run was interrupted.
  [ -x "$venv/bin/pip" ] || { say "making $venv with $python"; quietly "$python" -m venv "$venv"; }
  for package in nanobind scikit-build-core=scikit_build_core cloudpickle "$@"; do
    "$venv/bin/python" -c "import importlib.util, sys; sys.exit(importlib.util.find_spec('${package#*=}') is None)" ||
      missing+=("${package%%=*}")
  done
  [ ${#missing[@]} = 0 ] || { say "pip install ${missing[*]}"; quietly "$venv/bin/pip" install -q --disable-pip-version-check "${missing[@]}"; }
}

# prepare_build [target]: the release preset.
prepare_build() {
  say "building ${1:-all} in ${build#"$root"/} (the first time takes some minutes)"
  if [ ! -f "$build/build.ninja" ] || ! grep -q "^Python_EXECUTABLE.*=$venv/" "$build/CMakeCache.txt"; then
    quietly cmake -S "$root" --preset release -DPython_EXECUTABLE="$venv/bin/python"
  fi
  if ! cmake --build "$build" --target "${1:-all}" >"$build/build.log" 2>&1; then
    grep -E 'error|FAILED|Error' -A5 "$build/build.log" | head -60 >&2
    die "the build failed; all of it is in ${build#"$root"/}/build.log"
  fi
}

# The wheel, made from the same build folder, so that nothing is compiled twice.
prepare_install() {
  local stamp=$venv/ray-mpi-installed
  # -L: the package in the build tree is links to the sources.
  if [ -f "$stamp" ] && [ -x "$venv/bin/ray-mpi" ] &&
    [ -z "$(find -L "$build/python" "$root/pyproject.toml" -name __pycache__ -prune -o -type f -newer "$stamp" -print -quit)" ]; then
    return
  fi
  say "pip install . into .venv"
  touch "$stamp.new"
  quietly "$venv/bin/pip" install -q --disable-pip-version-check --no-build-isolation --no-deps --force-reinstall \
    --config-settings build-dir="$build" "$root"
  mv "$stamp.new" "$stamp"
}
