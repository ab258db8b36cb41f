#!/usr/bin/env bash
# Runs the projects of examples/ as their file `example` says, and compares what they print with their expected.txt.
# Usage: scripts/run-examples.sh [--light] [NAME...]     (--light: without the images that are long to make)
#
# AGENTKERNEL_EXAMPLES_REGISTRY   where images come from. `fixtures`: a registry on loopback with stand-ins made from Debian
#                                 packages. `none`: from wherever this machine reaches them. Unset: fixtures where
#                                 docker-registry and apt are there, else none.
# AGENTKERNEL_BIN                 the agentkernel to run, instead of building one.
set -euo pipefail
script=$(realpath "$0")
root=$(realpath "$(dirname "$0")/..")
cd "$root"

# Their images take longest to download and to make.
heavy=(elixir go java rust)

fail() {
  echo "run-examples: $*" >&2
  exit 2
}

image_of() {
  sed -n 's/^# image: //p' "examples/$1/example"
}

choose() {
  local light=0 name
  names=()
  for name in "$@"; do
    case $name in
      --light) light=1 ;;
      -*) fail "there is no option $name" ;;
      *)
        [[ -f examples/$name/example ]] || fail "there is no example '$name'; there are: $(ls -d examples/*/ | xargs -n 1 basename | xargs)"
        names+=("$name")
        ;;
    esac
  done
  if ((${#names[@]} == 0)); then
    for name in examples/*/; do
      name=$(basename "$name")
      if ((light)) && [[ " ${heavy[*]} " == *" $name "* ]]; then continue; fi
      names+=("$name")
    done
  fi
}

# The registry starts this script again, as its own command.
serve() {
  local images=()
  mapfile -t images < <(for name in "${names[@]}"; do image_of "$name"; done | sort -u)
  exec cargo xtask registry "${images[@]}" -- "$script" "${names[@]}"
}

# One example, on a copy, with nothing of the caller's in its environment.
example() {
  local name=$1 place=$work/$1 began=$SECONDS image verdict=passed
  image=$(image_of "$name")
  cp -R "examples/$name" "$place"
  if ! (cd "$place" && timeout 600 "${clean[@]}" bash -eu example) >"$place.out" 2>"$place.err" </dev/null ||
    ! diff -u "examples/$name/expected.txt" "$place.out" >"$place.diff"; then
    verdict=FAILED
  fi
  # Where the detected image cannot be had, agentkernel takes the host's: fine on a machine without a network, and never
  # beside a registry that has it.
  if ! "${clean[@]}" agentkernel images list 2>"$place.list" | grep -qF "$image "; then
    image="host (no $image)"
    if [[ -n ${AGENTKERNEL_FIXTURES_SETTINGS:-} ]]; then verdict=FAILED; fi
  fi
  printf '%s  %-10s %-26s %4d s\n' "$verdict" "$name" "$image" $((SECONDS - began))
  if [[ $verdict == FAILED ]]; then
    failed+=("$name")
    { cat "$place.err" "$place.diff" "$place.list" 2>/dev/null || true; } | sed "s/^/    /"
  fi
}

choose "$@"
if [[ -z ${AGENTKERNEL_FIXTURES_SETTINGS:-} ]]; then
  source=${AGENTKERNEL_EXAMPLES_REGISTRY:-}
  if [[ -z $source ]]; then
    source=fixtures
    for tool in docker-registry apt-get dpkg-deb; do
      command -v "$tool" >/dev/null || source=none
    done
    if [[ $source == none && -n ${AGENTKERNEL_CI:-} ]]; then fail "CI needs docker-registry: run scripts/setup"; fi
  fi
  case $source in
    fixtures) serve ;;
    none) echo "run-examples: images come from where this machine reaches them" >&2 ;;
    *) fail "AGENTKERNEL_EXAMPLES_REGISTRY is '$source'; it may be 'fixtures' or 'none'" ;;
  esac
fi

binary=${AGENTKERNEL_BIN:-}
if [[ -z $binary ]]; then
  cargo build --release --package agentkernel --bin agentkernel
  binary=$(cargo metadata --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')/release/agentkernel
fi
[[ -x $binary ]] || fail "there is no program '$binary'"

work=$(mktemp -d)
# A sandbox's files can be without permissions.
trap 'chmod -R u+rwX "$work" 2>/dev/null; rm -rf "$work"' EXIT
home=$work/home
# Real images are worth keeping between runs; stand-ins are made again in a second.
store=$work/data
if [[ -z ${AGENTKERNEL_FIXTURES_SETTINGS:-} ]]; then
  store=${XDG_CACHE_HOME:-$HOME/.cache}/agentkernel-examples
fi
mkdir -p "$home/.config/agentkernel" "$store" "$work/bin" "$work/run"
chmod 700 "$work/run"
ln -s "$(realpath "$binary")" "$work/bin/agentkernel"
if [[ -n ${AGENTKERNEL_FIXTURES_SETTINGS:-} ]]; then
  cp "$AGENTKERNEL_FIXTURES_SETTINGS" "$home/.config/agentkernel/registries.toml"
fi
clean=(env -i HOME="$home" XDG_CONFIG_HOME="$home/.config" XDG_DATA_HOME="$store" XDG_CACHE_HOME="$home/.cache"
  XDG_STATE_HOME="$home/.local/state" XDG_RUNTIME_DIR="$work/run" LANG=C.UTF-8 USER="$(id -un)" LOGNAME="$(id -un)"
  PATH="$work/bin:/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin")

failed=()
for name in "${names[@]}"; do
  example "$name"
done
echo "examples: $((${#names[@]} - ${#failed[@]})) passed, ${#failed[@]} failed"
((${#failed[@]} == 0))
