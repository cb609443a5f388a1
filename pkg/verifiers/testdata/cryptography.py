"""Has cryptography judge clients: files of CA certificates and lists, then certificate and key of each client.
It looks at no revocation list, so that is done as the manual says."""
import datetime
import json
import re
import sys

from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

ca, crl, *holders = sys.argv[1:]
cas = x509.load_pem_x509_certificates(open(ca, "rb").read())
lists = [
    x509.load_pem_x509_crl(block)
    for block in re.findall(rb"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----", open(crl, "rb").read(), re.S)
]
verifier = PolicyBuilder().store(Store(cas)).build_client_verifier()


def judge(path):
    leaf = x509.load_pem_x509_certificate(open(path, "rb").read())
    try:
        issuer = verifier.verify(leaf, []).chain[1]
    except VerificationError as error:
        return str(error)
    now = datetime.datetime.now(datetime.timezone.utc)
    for one in lists:
        if one.issuer == issuer.subject and one.is_signature_valid(issuer.public_key()) and now <= one.next_update_utc:
            revoked = one.get_revoked_certificate_by_serial_number(leaf.serial_number)
            return "revoked" if revoked is not None else ""
    return "there is no list of its issuer"


print(json.dumps([judge(crt) for crt in holders[::2]]))
