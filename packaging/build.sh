#!/usr/bin/env bash
# Builds the packages of a commit into a folder: deb and rpm for amd64 and arm64, the bare
# binaries, an SBOM for each, and SHA256SUMS. The same commit gives the same bytes with the
# same Go: no time but that of the commit, no path of this machine, no build id.
# Usage: packaging/build.sh [FOLDER]; NFPM is how nfpm is run, ARCHES which to build.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$(mkdir -p "${1:-bin/package}" && cd "${1:-bin/package}" && pwd)
nfpm=${NFPM:-go run github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.2}
export LC_ALL=C TZ=UTC CGO_ENABLED=0
umask 022

SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
own=$(sed -nE 's/^var version = "([^"]+)".*/\1/p' cmd/redoubt/root.go)
VERSION=${VERSION:-$own+g$(git rev-parse --short=12 HEAD)}
export VERSION
[[ -z $(git status --porcelain) ]] || echo "there are changes that are not committed: the packages say what is here, and nobody can build them again" >&2

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
rm -f "$out"/redoubt[_-]* "$out"/SHA256SUMS

# Pages and completion come from the program itself, on the machine that builds.
build() { GOOS=linux GOARCH=$1 go build -trimpath -buildvcs=true -ldflags "-s -w -buildid= -X main.version=$VERSION" -o "$2" ./cmd/redoubt; }
host=$(go env GOHOSTARCH)
build "$host" "$stage/own"
mkdir -p "$stage/man" "$stage/completion"
"$stage/own" man "$stage/man"
gzip -9n "$stage"/man/*.1
"$stage/own" completion bash >"$stage/completion/redoubt.bash"
"$stage/own" completion zsh >"$stage/completion/_redoubt"
"$stage/own" completion fish >"$stage/completion/redoubt.fish"

# The pages, with links that lead out of them made ones to the project.
cp -r docs "$stage/docs"
find "$stage/docs" -type f -exec chmod 0644 {} +
find "$stage/docs" -name '*.md' -exec sed -i -E "s#\]\(\.\./\.\./([^)]*)\)#](https://github.com/redoubtmq/redoubt/blob/$(git rev-parse HEAD)/\1)#g" {} +

for ARCH in ${ARCHES:-amd64 arm64}; do
  export ARCH STAGE=$stage/$ARCH
  mkdir -p "$STAGE"
  cp -r "$stage/man" "$stage/completion" "$stage/docs" "$STAGE"
  if [[ $ARCH == "$host" ]]; then cp "$stage/own" "$STAGE/redoubt"; else build "$ARCH" "$STAGE/redoubt"; fi
  go run ./internal/tools/sbom "$STAGE/redoubt" "$VERSION" "$SOURCE_DATE_EPOCH" >"$STAGE/sbom.cdx.json"
  find "$STAGE" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
  for kind in deb rpm; do
    $nfpm package --config packaging/nfpm.yaml --packager "$kind" --target "$out/" >/dev/null
  done
  cp "$STAGE/redoubt" "$out/redoubt-linux-$ARCH"
  cp "$STAGE/sbom.cdx.json" "$out/redoubt-linux-$ARCH.cdx.json"
done
(cd "$out" && sha256sum redoubt[_-]* >SHA256SUMS && cat SHA256SUMS)
