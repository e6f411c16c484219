#!/bin/sh
# See to it that there is an `erl`, if this machine lets us: the tests and the demo talk to a real BEAM.
#
# Never fails: without `erl` the rest still runs, and one line says what is left out.
# QUICDIST_ERL names another erl than the one on PATH; then nothing is installed.
set -u
. "$(dirname "$0")/common.sh"

# Debian's packages: the stock nodes under test use kernel, stdlib and compiler, all in erlang-base;
# a few tests are in Elixir, and are left out where that cannot be had.
packages=${ERLANG_PACKAGES:-erlang-base}
extra=${ELIXIR_PACKAGES-elixir}
left_out=${1:-the tests that talk to a BEAM}

[ -z "${QUICDIST_ERL:-}" ] || exit 0
one_at_a_time
! command -v erl >/dev/null 2>&1 || exit 0
if ! may_install; then
    say "-- no erl, and no right to install packages: leaving out $left_out (install erlang-base to have them)"
elif ! apt_install $packages $extra && ! apt_install $packages; then
    say "-- no erl, and installing $packages failed (see above): leaving out $left_out"
fi
exit 0
