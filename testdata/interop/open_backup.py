"""Decrypts a backup, as docs/backup-format.md describes it and knowing nothing else.

usage: open_backup.py BACKUP PRIVATE_KEY.pem >CLEAR_TEXT

It reads the whole file into memory, and refuses with a traceback.
"""
import hashlib
import hmac
import json
import sys

from cryptography.hazmat.primitives import hashes, hpke, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, x25519
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

CHUNK = 10 * 1024 * 1024
MAC = 32


def key_id(public):
    """SHA-1 of the public key bits, without their wrapping."""
    if isinstance(public, rsa.RSAPublicKey):
        bits = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.PKCS1)
    elif isinstance(public, ec.EllipticCurvePublicKey):
        bits = public.public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    else:
        bits = public.public_bytes_raw()
    return hashlib.sha1(bits).hexdigest()


def agreement(private):
    """The name of the cipher, the HPKE suite, and the key to use with it."""
    if isinstance(private, ed25519.Ed25519PrivateKey):
        scalar = hashlib.sha512(private.private_bytes_raw()).digest()[:32]
        return ("hpke_ed25519_x25519_hkdf_sha256_aes256_gcm",
                hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM),
                x25519.X25519PrivateKey.from_private_bytes(scalar))
    name, kem, kdf = {
        "secp256r1": ("hpke_p256_hkdf_sha256_aes256_gcm", hpke.KEM.P256, hpke.KDF.HKDF_SHA256),
        "secp384r1": ("hpke_p384_hkdf_sha384_aes256_gcm", hpke.KEM.P384, hpke.KDF.HKDF_SHA384),
        "secp521r1": ("hpke_p521_hkdf_sha512_aes256_gcm", hpke.KEM.P521, hpke.KDF.HKDF_SHA512),
    }[private.curve.name]
    return name, hpke.Suite(kem, kdf, hpke.AEAD.AES_256_GCM), private


def session_keys(key_list, private):
    """Yields what the header holds for the key."""
    own_id = key_id(private.public_key())
    for entry in key_list:
        if entry["id"].lower() != own_id:
            continue
        sealed = bytes.fromhex(entry["key"])
        name = entry["cipher"]["name"]
        if isinstance(private, rsa.RSAPrivateKey):
            assert name == "rsa_oaep_sha1_mgf1_sha1"
            oaep = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)
            clear = private.decrypt(sealed, oaep)
        else:
            expected, suite, key = agreement(private)
            assert name == expected
            info = b"\0".join([b"cauase backup session keys", name.encode(), own_id.encode()])
            clear = suite.decrypt(sealed, key, info)
        assert len(clear) == 64
        yield clear[:32], clear[32:]


def open_backup(content, private):
    assert content[:8] == b"caucase\0"
    size = int.from_bytes(content[8:12], "little")
    header = json.loads(content[12:12 + size])
    assert header["cipher"]["name"] == "aes256_cbc_pkcs7_hmac_10M_sha256"
    (mac_key, aes_key), = session_keys(header["key_list"], private)
    iv = bytes.fromhex(header["cipher"]["parameter"])
    decryptor = Cipher(algorithms.AES(aes_key), modes.CBC(iv)).decryptor()
    padded = decryptor.update(content[12 + size:]) + decryptor.finalize()
    count = padded[-1]
    assert 1 <= count <= 16 and padded[-count:] == bytes([count]) * count
    rest = memoryview(padded)[:-count]
    running = hmac.new(mac_key, digestmod="sha256")
    clear = bytearray()
    while True:
        chunk, rest = rest[:CHUNK + MAC], rest[CHUNK + MAC:]
        data, mac = chunk[:-MAC], chunk[-MAC:]
        running.update(data)
        assert hmac.compare_digest(running.digest(), bytes(mac))
        clear += data
        if not rest:
            return bytes(clear)


if __name__ == "__main__":
    with open(sys.argv[1], "rb") as backup, open(sys.argv[2], "rb") as pem:
        key = serialization.load_pem_private_key(pem.read(), None)
        sys.stdout.buffer.write(open_backup(backup.read(), key))
