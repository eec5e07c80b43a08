#!/bin/sh
# Verify receipts with programs that are not ours: one the built program wrote just now, and the golden one; and the
# webhooks that it sends.
#
#   run.sh [CARGO]
#
# Needs openssl. With .venv (see `make interop-env`) securesystemslib checks the same folders.
set -eu
cd "$(dirname "$0")/../.."
cargo=${1:-cargo}
golden=crates/callgate-log/tests/golden/v1/receipt

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM

"$cargo" build --quiet --bin callgate
callgate=${CARGO_TARGET_DIR:-target}/debug/callgate
"$callgate" decide --bundle examples/quickstart --request examples/requests/read.json --data "$work/data" >/dev/null
cp "$work"/data/keys/*.pub.pem "$work/pinned.pem"
"$callgate" log export 2 --data "$work/data" --key "$work/pinned.pem" --out "$work/receipt" >/dev/null

if command -v openssl >/dev/null 2>&1; then
    sh tests/interop/openssl.sh "$work/receipt" "$work/pinned.pem"
    sh tests/interop/openssl.sh --self-test "$golden"
else
    echo "openssl is not installed: receipts are not checked with it" >&2
fi

if test -x .venv/bin/python; then
    .venv/bin/python tests/interop/verify.py "$work/receipt" --key "$work/pinned.pem"
    .venv/bin/python tests/interop/verify.py --self-test "$golden"
    .venv/bin/python tests/interop/webhook.py "$callgate"
else
    echo "python3 is not installed: receipts are not checked with securesystemslib, webhooks not with standardwebhooks" >&2
fi
