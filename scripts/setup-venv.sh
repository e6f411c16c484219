#!/bin/sh
# Make .venv, with this package in it (editable) and all that its development needs.
#
# Does nothing when .venv is there and pyproject.toml is the one it was made from.
# PYTHON names the interpreter to make it with (default: python3).
set -eu
. "$(dirname "$0")/common.sh"
one_at_a_time

python=${PYTHON:-python3}
stamp=$venv/.made-from
log_hint="the index that pip is configured for must be reachable"

command -v "$python" >/dev/null 2>&1 || fail "there is no $python here; quicdist needs Python 3.11 or later"
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$python is Python $version; quicdist needs 3.11 or later (make PYTHON=python3.12 ... names another)"

# A checkout that was moved or copied has a .venv that points elsewhere, so its place is part of it.
wanted=$(printf '%s\n' "$venv" && cat "$root/pyproject.toml")
if [ -x "$venv/bin/python" ] && [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] &&
    "$venv/bin/python" -c '' 2>/dev/null; then
    exit 0
fi

make_venv() { "$python" -m venv --clear "$venv"; }

usable() { [ -x "$venv/bin/python" ] && "$venv/bin/python" -m pip --version >/dev/null 2>&1; }

moved=no
[ ! -f "$stamp" ] || [ "$(head -n 1 "$stamp")" = "$venv" ] || moved=yes
if ! usable || [ "$moved" = yes ]; then
    # Debian keeps what `venv` needs in a package of its own.
    if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
        may_install || fail "$python cannot make virtual environments: install python$version-venv, then run this again"
        apt_install "python$version-venv" || fail "python$version-venv could not be installed (see above)"
    fi
    step "making .venv with Python $version" make_venv || fail "$python -m venv failed (see above)"
fi

if ! step "installing quicdist and its development tools into .venv" \
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable "$root[dev]"; then
    # No network, but everything is there already: that is enough.
    (cd "$root" && "$venv/bin/python" -m scripts.requirements_met) ||
        fail "pip could not install what quicdist needs (see above); $log_hint"
    say "-- pip failed (see above), but .venv already holds all that pyproject.toml asks for"
fi
printf '%s\n' "$wanted" >"$stamp"
