#!/usr/bin/env python3
"""Verifies what `cauased manage audit export` prints, on standard input, against a checkpoint. It shares no code with cauased."""
import base64
import hashlib
import json
import sys


def canonical(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def root(hashes):
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    k = 1
    while 2 * k < len(hashes):
        k *= 2
    return hashlib.sha256(b"\x01" + root(hashes[:k]) + root(hashes[k:])).digest()


def main():
    lines = open(sys.argv[1], encoding="utf-8").read().split("\n")
    size, want = int(lines[1]), base64.b64decode(lines[2], validate=True)
    hashes = []
    for line in sys.stdin.buffer.read().decode("utf-8").split("\n"):
        if not line:
            continue
        row = json.loads(line)
        leaf, entry = row["leaf"], row["entry"]
        if leaf["leaf"] != len(hashes):
            sys.exit("leaf %d stands where leaf %d should" % (leaf["leaf"], len(hashes)))
        commitment = hashlib.sha256(base64.b64decode(row["salt"]) + canonical(entry)).digest()
        if base64.b64decode(leaf["entry"]) != commitment:
            sys.exit("leaf %d: its entry is another one" % leaf["leaf"])
        for name in ("time", "authority", "action", "result"):
            if leaf[name] != entry[name]:
                sys.exit("leaf %d: %s is not that of its entry" % (leaf["leaf"], name))
        if leaf["object_digest"] != entry["object"]["digest"]:
            sys.exit("leaf %d: the certificate is not that of its entry" % leaf["leaf"])
        hashes.append(hashlib.sha256(b"\x00" + canonical(leaf)).digest())
    if len(hashes) < size:
        sys.exit("%d entries, and the checkpoint is of %d" % (len(hashes), size))
    if root(hashes[:size]) != want:
        sys.exit("the entries are not those of the checkpoint")
    print("%d entries are those of the checkpoint" % size)


main()
