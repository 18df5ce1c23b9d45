#!/usr/bin/env bash
# Builds docker/Dockerfile without a container engine's daemon, from a fresh root file system of
# Debian, and ends with `ovtool devices` and a small sweep inside.  As root, on Debian or Ubuntu:
#
#     apt-get install debootstrap buildah
#     docker/check.sh                                    # target cpu, on Debian bookworm
#     TARGET=gpu RELEASE=bookworm docker/check.sh --build-arg TORCH_INDEX=...
#
# Arguments go to `buildah build`.  MIRROR is given to debootstrap, if set.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
release=${RELEASE:-bookworm} target=${TARGET:-cpu}
work=$(mktemp --directory)
export STORAGE_DRIVER=${STORAGE_DRIVER:-overlay} BUILDAH_ISOLATION=chroot
store=(--root "$work/store" --runroot "$work/run")
container=
finish() {
    [ -z "$container" ] || buildah "${store[@]}" rm "$container" >/dev/null || true
    buildah "${store[@]}" rmi --all --force >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap finish EXIT

echo "== a root file system of $release"
debootstrap --variant=minbase "$release" "$work/root" ${MIRROR:+"$MIRROR"} >"$work/debootstrap.log" ||
    { tail -20 "$work/debootstrap.log"; exit 1; }
base=$(buildah "${store[@]}" from scratch)
buildah "${store[@]}" add --quiet "$base" "$work/root" / >/dev/null
buildah "${store[@]}" commit --quiet "$base" localhost/base >/dev/null
buildah "${store[@]}" rm "$base" >/dev/null
rm -rf "$work/root"

echo "== docker/Dockerfile, target $target"
buildah "${store[@]}" build --file "$here/Dockerfile" --ignorefile "$here/Dockerfile.dockerignore" \
    --target "$target" --build-arg BASE=localhost/base --layers=false --tag ovtool "$@" "$here/.."

container=$(buildah "${store[@]}" from ovtool)
inside() { buildah "${store[@]}" run "$container" -- "$@"; }
echo "== inside, as $(inside id)"
inside sh -c 'command -v cc gcc pip ; ls -A /var/lib/apt/lists /root/.cache 2>/dev/null; true'
inside du -xsh / 2>/dev/null || true
inside ovtool devices
inside ovtool sweep sample:efficientnet-lite0 --batch 1,2 --hint latency --max-seconds 1 --out small
inside ls small
