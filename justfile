# Shortcuts for people. CI runs .ci/run, which calls the same things.

# What to type.
default:
    @just --list

# Formats everything.
fmt:
    cargo fmt --all

# The quick checks: format, clippy, architecture.
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    cargo xtask check

# Every test, as root and as an ordinary user; `just test cli` runs one stage.
test *stages:
    ./scripts/test {{stages}}

# agentkernel beside bwrap, runc and Docker; writes docs/benchmarks.md unless --quick.
bench *options:
    cargo xtask bench {{options}}

# Screenshots of the page, in docs/pictures, which git ignores.
pictures:
    ./scripts/packages python
    cargo build -p agentkernel
    AGENTKERNEL_PAGE_PICTURES=docs/pictures cargo test -p agentkernel-testkit --test page it_fits

# Licences, banned crates and sources.
deny:
    cargo deny check licenses bans sources

# What CI does.
ci:
    ./.ci/run
