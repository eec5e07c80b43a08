"""Verify an exported receipt with code that is not ours: securesystemslib and the standard library.

    verify.py DIR [--key PINNED.pub.pem] [--vkey PINNED_VKEY.txt]
    verify.py --self-test DIR

DIR holds payload.json, receipt.dsse.json, receipt.tlog-proof, key.pub.pem and vkey.txt (docs/spec/receipt.md).
Without --key and --vkey the keys in the folder are used, which shows that the folder is whole, not who made it.
The exit code is 0 when everything verifies, 1 when something does not.

--self-test also flips one bit in every byte of every file and demands that each flip is found.
"""

import argparse
import base64
import hashlib
import json
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey

NAMES = ["payload.json", "receipt.dsse.json", "receipt.tlog-proof", "key.pub.pem", "vkey.txt"]
TYPE = "application/vnd.in-toto+json"


class Refused(Exception):
    """The evidence does not verify."""


def demand(holds, why):
    if not holds:
        raise Refused(why)


def unbase64(text):
    data = base64.b64decode(text, validate=True)
    demand(base64.b64encode(data).decode() == text, "base64 has another spelling")
    return data


def load_key(pem):
    key = load_pem_public_key(pem)
    demand(isinstance(key, Ed25519PublicKey), "key is not Ed25519")
    demand(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo) == pem, "PEM has another spelling")
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return key, hashlib.sha256(der).hexdigest()


def check_envelope(files):
    """The DSSE signature, by securesystemslib."""
    raw = files["receipt.dsse.json"].decode()
    value = json.loads(raw)
    demand(json.dumps(value, separators=(",", ":"), sort_keys=True) == raw, "envelope has another spelling")
    demand(sorted(value) == ["payload", "payloadType", "signatures"], "envelope has other fields")
    unbase64(value["payload"])
    for one in value["signatures"]:
        unbase64(one["sig"])
    envelope = Envelope.from_dict(value)
    key, keyid = load_key(files["key.pub.pem"])
    signer = SSlibKey.from_crypto(key, keyid=keyid)
    demand(list(envelope.signatures) == [keyid], "envelope is signed by another key")
    demand(envelope.payload_type == TYPE, "envelope holds another type")
    demand(len(envelope.verify([signer], 1)) == 1, "signature does not verify")
    demand(envelope.payload == files["payload.json"], "payload.json is not the signed payload")
    return envelope.payload


def check_payload(payload):
    """Canonical JSON: keys sorted, no spaces, no floats. Python escapes and sorts ASCII keys as RFC 8785 does."""
    def no_float(text):
        raise Refused(f"float {text}")

    value = json.loads(payload, parse_float=no_float, parse_constant=no_float)
    again = json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()
    demand(again == payload, "payload is not canonical")
    demand(value["_type"] == "https://in-toto.io/Statement/v1", "payload is no in-toto statement")
    return value


def load_vkey(text):
    demand(text.endswith("\n") and text.count("\n") == 1, "vkey.txt is not one line")
    name, key_id, encoded = text[:-1].split("+", 2)
    key = unbase64(encoded)
    demand(len(key) == 33 and key[0] == 1, "verifier key is not Ed25519")
    expected = hashlib.sha256(name.encode() + b"\n" + key).hexdigest()[:8]
    demand(key_id == expected, "verifier key has another id")
    return name, bytes.fromhex(key_id), Ed25519PublicKey.from_public_bytes(key[1:])


def check_checkpoint(note, vkey):
    """A C2SP checkpoint: origin, size and root, signed under the verifier key."""
    name, key_id, key = load_vkey(vkey)
    text, lines = note.rsplit("\n\n", 1)
    text += "\n"
    demand(lines.endswith("\n"), "note is cut")
    found = False
    for line in lines[:-1].split("\n"):
        dash, signer, encoded = line.split(" ")
        signature = unbase64(encoded)
        demand(dash == "—", "signature line is malformed")
        if signer == name and signature[:4] == key_id:
            key.verify(signature[4:], text.encode())
            found = True
    demand(found, "checkpoint is not signed by the verifier key")
    origin, size, root, end = text.split("\n")
    demand(end == "" and origin == name, "checkpoint is of another log")
    demand(str(int(size)) == size, "size has another spelling")
    return origin, int(size), unbase64(root)


def check_inclusion(leaf, index, size, hashes, root):
    """RFC 9162 section 2.1.3.2."""
    demand(index < size, "index is outside the tree")
    node, last, current = index, size - 1, leaf
    for sibling in hashes:
        demand(last > 0, "proof is too long")
        if node & 1 or node == last:
            current = hashlib.sha256(b"\x01" + sibling + current).digest()
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            current = hashlib.sha256(b"\x01" + current + sibling).digest()
        node, last = node >> 1, last >> 1
    demand(last == 0 and current == root, "proof does not lead to the root")


def check_proof(files, payload):
    head, note = files["receipt.tlog-proof"].decode().split("\n\n", 1)
    header, index, *hashes = head.split("\n")
    demand(header == "c2sp.org/tlog-proof@v1", "proof has another header")
    demand(index == f"index {int(index[6:])}", "index has another spelling")
    origin, size, root = check_checkpoint(note, files["vkey.txt"].decode())
    leaf = hashlib.sha256(b"\x00" + payload).digest()
    check_inclusion(leaf, int(index[6:]), size, [unbase64(line) for line in hashes], root)
    return origin, size


def verify(files):
    payload = check_envelope(files)
    statement = check_payload(payload)
    origin, size = check_proof(files, payload)
    demand(statement["predicate"]["gate"]["origin"] == origin, "receipt is of another log")
    return statement, size


def verdict(files):
    """None when the files verify, else why they do not. Any exception of any library is a refusal."""
    try:
        verify(files)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def self_test(files):
    count = 0
    for name, content in files.items():
        for position in range(len(content)):
            changed = bytearray(content)
            changed[position] ^= 1 << (position % 8)
            if verdict({**files, name: bytes(changed)}) is None:
                print(f"flipped byte {position} of {name} was not found", file=sys.stderr)
                return 1
            count += 1
    print(f"self-test: {count} flipped bytes, all found")
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--key", type=Path, help="pinned public key of receipts")
    parser.add_argument("--vkey", type=Path, help="pinned verifier key of checkpoints")
    parser.add_argument("--self-test", action="store_true")
    options = parser.parse_args()
    try:
        files = {name: (options.folder / name).read_bytes() for name in NAMES}
        if options.key:
            files["key.pub.pem"] = options.key.read_bytes()
        if options.vkey:
            files["vkey.txt"] = options.vkey.read_bytes()
    except OSError as error:
        print(f"cannot read: {error}", file=sys.stderr)
        return 1
    why = verdict(files)
    if why:
        print(f"does not verify: {why}", file=sys.stderr)
        return 1
    statement, size = verify(files)
    print(f"securesystemslib: {statement['subject'][0]['name']} verifies under a checkpoint of {size} receipts")
    return self_test(files) if options.self_test else 0


if __name__ == "__main__":
    sys.exit(main())
