#!/usr/bin/env bash
# Sees to the programs that tests need and that no language's own packages bring:
# installs what is missing where it may (root on Debian and its kin), else says
# what to install.
set -euo pipefail

packages=()
missing=()

need() { # need <what for> <Debian packages> <command...>: any of the commands will do
	local why=$1 debian=$2 c
	shift 2
	for c in "$@"; do
		if command -v "$c" >/dev/null; then return; fi
	done
	# shellcheck disable=SC2206 # one word a package
	packages+=($debian)
	missing+=("  $1: $why (Debian: $debian)")
}

need "go test -race" "gcc libc6-dev" "${CC:-gcc}" clang
need "runs Apache Kafka, version 17 or newer" default-jdk-headless "${JAVA_HOME:+$JAVA_HOME/bin/}java"
need "downloads Apache Kafka" maven mvn
need "a WebSocket client" nodejs node
need "downloads that client" npm npm
need "a WebSocket client and the conformance suite, version 3.10 or newer" "python3 python3-venv" python3
need "a browser" chromium chromium chromium-browser google-chrome google-chrome-stable

# Debian splits the standard library: there can be a Python that makes no environments.
if command -v python3 >/dev/null && ! python3 -c 'import ensurepip' 2>/dev/null; then
	packages+=(python3-venv)
	missing+=("  python3's venv module: makes the environment for Python packages (Debian: python3-venv)")
fi

if [ ${#missing[@]} -eq 0 ]; then exit 0; fi

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	echo "installing ${packages[*]}"
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -qq
	apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
	exit 0
fi

echo "The tests need programs that are not on this machine:" >&2
printf '%s\n' "${missing[@]}" >&2
exit 1
