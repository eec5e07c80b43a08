#!/bin/sh
# Verify an exported receipt with OpenSSL and POSIX tools only.
#
#   openssl.sh DIR [PINNED.pub.pem]
#   openssl.sh --self-test DIR
#
# DIR holds payload.json, receipt.dsse.json, receipt.tlog-proof, key.pub.pem and vkey.txt (docs/spec/receipt.md).
# Without a pinned key the one in the folder is used, which shows that the folder is whole, not who made it.
# Exits 0 when everything verifies, 1 when something does not.
#
# Every file is rebuilt from what was checked and compared byte for byte, so no other spelling passes.
#
# --self-test also flips one bit in a byte of every file, at several places, and demands that each flip is found.
set -u

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT INT TERM

refuse() {
    echo "does not verify: $1" >&2
    exit 1
}

# Bytes from base64 in $1 to the file $2.
unbase64() {
    printf '%s' "$1" | openssl base64 -d -A >"$2" 2>/dev/null
    test "$(openssl base64 -e -A <"$2")" = "$1" || refuse "base64 has another spelling"
}

hex_of() {
    od -An -v -tx1 "$1" | tr -d ' \n'
}

# SHA-256 of standard input, as bytes.
sha256() {
    openssl dgst -sha256 -binary
}

# Does the Ed25519 signature in file $3 by the PEM key $1 cover the file $2?
signed() {
    openssl pkeyutl -verify -pubin -inkey "$1" -rawin -in "$2" -sigfile "$3" >/dev/null 2>&1
}

check_envelope() {
    openssl pkey -pubin -in "$key" -pubout -out "$work/key.pem" 2>/dev/null || refuse "key.pub.pem is no public key"
    cmp -s "$key" "$work/key.pem" || refuse "the key has another spelling"
    openssl pkey -pubin -in "$key" -outform DER -out "$work/key.der" || refuse "the key has no DER"
    keyid=$(sha256 <"$work/key.der" >"$work/keyid" && hex_of "$work/keyid")

    sig=$(sed -n 's/.*"sig":"\([A-Za-z0-9+/=]*\)".*/\1/p' "$dir/receipt.dsse.json")
    payload=$(openssl base64 -e -A <"$dir/payload.json")
    printf '{"payload":"%s","payloadType":"application/vnd.in-toto+json","signatures":[{"keyid":"%s","sig":"%s"}]}' \
        "$payload" "$keyid" "$sig" >"$work/envelope"
    cmp -s "$work/envelope" "$dir/receipt.dsse.json" || refuse "the envelope is not one of payload.json by this key"

    unbase64 "$sig" "$work/sig"
    length=$(wc -c <"$dir/payload.json" | tr -d ' ')
    { printf 'DSSEv1 28 application/vnd.in-toto+json %s ' "$length"; cat "$dir/payload.json"; } >"$work/pae"
    signed "$key" "$work/pae" "$work/sig" || refuse "the signature of the receipt"
}

check_checkpoint() {
    vkey=$(cat "$dir/vkey.txt")
    printf '%s\n' "$vkey" | cmp -s - "$dir/vkey.txt" || refuse "vkey.txt is not one line"
    name=${vkey%%+*}
    rest=${vkey#*+}
    id=${rest%%+*}
    unbase64 "${rest#*+}" "$work/typed"
    test "$(head -c 1 "$work/typed" | od -An -tx1 | tr -d ' ')" = 01 || refuse "the verifier key is not Ed25519"
    { printf '%s\n' "$name"; cat "$work/typed"; } | sha256 >"$work/id"
    test "$(hex_of "$work/id" | cut -c 1-8)" = "$id" || refuse "the verifier key has another id"
    # The DER of an Ed25519 public key is a fixed prefix and the 32 bytes.
    { printf '\060\052\060\005\006\003\053\145\160\003\041\000'; tail -c 32 "$work/typed"; } >"$work/log.der"
    openssl pkey -pubin -inform DER -in "$work/log.der" -out "$work/log.pem" 2>/dev/null || refuse "the verifier key"

    # Exported proofs carry one signature: everything after the second empty line.
    sed '1,/^$/d' "$dir/receipt.tlog-proof" >"$work/note"
    sed '/^$/,$d' "$work/note" >"$work/text"
    sigline=$(sed '1,/^$/d' "$work/note")
    encoded=${sigline##* }
    unbase64 "$encoded" "$work/idsig"
    { cat "$work/text"; printf '\n— %s %s\n' "$name" "$encoded"; } | cmp -s - "$work/note" || refuse "the checkpoint has another shape"
    test "$(hex_of "$work/idsig" | cut -c 1-8)" = "$id" || refuse "the checkpoint is signed by another key"
    tail -c 64 "$work/idsig" >"$work/notesig"
    signed "$work/log.pem" "$work/text" "$work/notesig" || refuse "the signature of the checkpoint"

    origin=$(sed -n 1p "$work/text")
    size=$(sed -n 2p "$work/text")
    root=$(sed -n 3p "$work/text")
    test "$(printf '%s\n%s\n%s\n' "$origin" "$size" "$root")" = "$(cat "$work/text")" || refuse "the checkpoint has other lines"
    test "$origin" = "$name" || refuse "the checkpoint is of another log"
    grep -q "\"gate\":{\"origin\":\"$origin\"," "$dir/payload.json" || refuse "the receipt is of another log"
}

# RFC 9162 section 2.1.3.2.
check_inclusion() {
    index=$(sed -nE '2s/^index (0|[1-9][0-9]*)$/\1/p' "$dir/receipt.tlog-proof")
    test -n "$index" || refuse "the proof has no index"
    hashes=$(sed '1,2d;/^$/,$d' "$dir/receipt.tlog-proof")
    {
        printf 'c2sp.org/tlog-proof@v1\nindex %s\n' "$index"
        for hash in $hashes; do printf '%s\n' "$hash"; done
        echo
        cat "$work/note"
    } | cmp -s - "$dir/receipt.tlog-proof" || refuse "the proof has another shape"

    { printf '\000'; cat "$dir/payload.json"; } | sha256 >"$work/hash"
    test "$index" -lt "$size" || refuse "the index is outside the tree"
    node=$index
    last=$((size - 1))
    for sibling in $hashes; do
        test "$last" -gt 0 || refuse "the proof is too long"
        unbase64 "$sibling" "$work/sibling"
        if test $((node & 1)) = 1 || test "$node" = "$last"; then
            { printf '\001'; cat "$work/sibling" "$work/hash"; } | sha256 >"$work/next"
            while test "$node" != 0 && test $((node & 1)) = 0; do
                node=$((node >> 1))
                last=$((last >> 1))
            done
        else
            { printf '\001'; cat "$work/hash" "$work/sibling"; } | sha256 >"$work/next"
        fi
        mv "$work/next" "$work/hash"
        node=$((node >> 1))
        last=$((last >> 1))
    done
    test "$last" = 0 || refuse "the proof is too short"
    test "$(openssl base64 -e -A <"$work/hash")" = "$root" || refuse "the proof does not lead to the root"
}

# Flip the lowest bit of byte $3 (from 0) of the file $1 into $2.
flip() {
    byte=$(od -An -v -tu1 -j "$3" -N 1 "$1" | tr -d ' ')
    { head -c "$3" "$1"; printf "\\$(printf '%03o' $((byte ^ 1)))"; tail -c +$(($3 + 2)) "$1"; } >"$2"
}

self_test() {
    count=0
    for file in payload.json receipt.dsse.json receipt.tlog-proof key.pub.pem vkey.txt; do
        bytes=$(wc -c <"$1/$file" | tr -d ' ')
        for part in 0 1 3 5 7 8; do
            position=$(((bytes - 1) * part / 8))
            rm -rf "$work/copy"
            mkdir "$work/copy"
            cp "$1/payload.json" "$1/receipt.dsse.json" "$1/receipt.tlog-proof" "$1/key.pub.pem" "$1/vkey.txt" "$work/copy"
            chmod u+w "$work/copy"/*
            flip "$1/$file" "$work/copy/$file" "$position"
            if sh "$0" "$work/copy" >/dev/null 2>&1; then
                echo "flipped byte $position of $file was not found" >&2
                exit 1
            fi
            count=$((count + 1))
        done
    done
    echo "self-test: $count flipped bytes, all found"
}

if test "${1:-}" = --self-test; then
    sh "$0" "${2:?usage: openssl.sh --self-test DIR}" || exit 1
    self_test "$2"
    exit 0
fi
dir=${1:?usage: openssl.sh DIR [PINNED.pub.pem]}
key=${2:-$dir/key.pub.pem}
for file in payload.json receipt.dsse.json receipt.tlog-proof vkey.txt; do
    test -r "$dir/$file" || refuse "$dir/$file is missing"
done
test -r "$key" || refuse "$key is missing"
check_envelope
check_checkpoint
check_inclusion
echo "openssl: receipt $index verifies under a checkpoint of $size receipts"
