# SPDX-License-Identifier: GPL-2.0-only
# Set-up shared by ci/demo and ci/test: Debian packages and a virtual environment in .venv.
# Sourced; safe to run again; says what it installs before it does.

packages=(
	qemu-system-arm             # boots the kernels under test, EL2 emulated
	gcc-aarch64-linux-gnu       # compiles the rendered selftests and the kernel module
	libc6-dev-arm64-cross       # their C library and the kernel's UAPI headers
	bubblewrap                  # kernel modules are built in each suite's own toolchain
	busybox                     # the shell of the guests, for the probe's tests
	gnupg                       # signs the small archive of the tests
	python3-venv                # where python3 is the system's
)

say() { printf '\n== %s\n' "$*" >&2; }

as_root() {
	if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

install_packages() {
	local missing=() name
	command -v apt-get >/dev/null || {
		echo "ci: this machine has no apt-get; install by hand: ${packages[*]}" >&2
		exit 3
	}
	for name in "${packages[@]}"; do
		dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || missing+=("$name")
	done
	if [ ${#missing[@]} -eq 0 ]; then
		return
	fi
	say "installing Debian packages: ${missing[*]}"
	as_root apt-get -qq update
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}" >&2
}

make_venv() {
	local python=${PYTHON:-python3}
	"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
		echo "ci: $("$python" --version) is too old; set PYTHON to Python 3.11 or newer" >&2
		exit 3
	}
	if [ ! -x .venv/bin/python ]; then
		say "making a virtual environment in .venv"
		"$python" -m venv .venv
	fi
	# Reinstalled only when what it is made from changed.
	if [ ! -e .venv/.installed ] || [ pyproject.toml -nt .venv/.installed ]; then
		say "installing this project and its tools into .venv"
		.venv/bin/python -m pip install -q --disable-pip-version-check -e '.[dev]' >&2
		touch .venv/.installed
	fi
	PATH=$PWD/.venv/bin:$PATH
}
