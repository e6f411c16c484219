# Shared by the set-up scripts; sourced, never run. POSIX sh.

root=$(cd "$(dirname "$0")/.." && pwd)
venv=$root/.venv

say() { printf '%s\n' "$*" >&2; }

# One clear line, and the end.
fail() { say "$0: $*"; exit 1; }

# step TEXT COMMAND...: one line of progress; what the command prints is shown only if it fails.
step() {
    say "-- $1"
    shift
    step_log=$(mktemp)
    # Not the lock (9): a daemon that an installation starts would hold it for ever.
    if "$@" >"$step_log" 2>&1 9<&-; then
        rm -f "$step_log"
    else
        step_status=$?
        cat "$step_log" >&2
        rm -f "$step_log"
        return "$step_status"
    fi
}

# One set-up at a time in one checkout: the second `make` waits, then finds the work done.
# `exit` ends the script, and with it the lock.
one_at_a_time() {
    if command -v flock >/dev/null 2>&1; then
        exec 9<"$root/Makefile"
        flock 9
    fi
}

# Whether packages of the system can be installed without asking anyone.
may_install() {
    command -v apt-get >/dev/null 2>&1 || return 1
    [ "$(id -u)" = 0 ] || { command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; }
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

apt_install_now() {
    # A list that is a little old may still do: only the installation decides.
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=600 update || true
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=600 \
        install --no-install-recommends "$@"
}

# apt_install PACKAGE...
apt_install() { step "installing $* (apt-get)" apt_install_now "$@"; }
