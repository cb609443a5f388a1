"""Writes NAME.key and NAME.csr.pem with names and keys that caucase certifies and others refuse to read."""
import ipaddress
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

UTF8, PRINTABLE, BMP = (x509.name._ASN1Type[t] for t in ("UTF8String", "PrintableString", "BMPString"))


def cn(text, kind=UTF8):
    return x509.NameAttribute(NameOID.COMMON_NAME, text, _type=kind)


def write(name, subject=None, sans=(), key=None, extensions=()):
    key = key or rsa.generate_private_key(public_exponent=65537, key_size=2048)
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([cn(name)] if subject is None else subject))
    if sans:
        builder = builder.add_extension(x509.SubjectAlternativeName(list(sans)), critical=False)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    csr = builder.sign(key, hashes.SHA256())
    with open(name + ".key", "wb") as f:
        f.write(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    with open(name + ".csr.pem", "wb") as f:
        f.write(csr.public_bytes(serialization.Encoding.PEM))


host = x509.DNSName("host.example")
write("network", sans=[host, x509.IPAddress(ipaddress.ip_network("10.0.0.0/8"))])
write("network6", sans=[x509.IPAddress(ipaddress.ip_network("2001:db8::/32"))])
write("uri", sans=[host, x509.UniformResourceIdentifier("http://[::1"), x509.UniformResourceIdentifier("http://a b/%zz")])
write("mail", sans=[x509.RFC822Name("no mail at all"), x509.DNSName("a..b"), x509.DNSName("*.*")])
write("directory", sans=[x509.DirectoryName(x509.Name([cn("somewhere")])), x509.RegisteredID(x509.ObjectIdentifier("1.2.3.4")),
                         x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), b"\x0c\x01a")])
write("nobody", subject=[])
write("control", subject=[cn("two\nlines"), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "x" * 2000)])
write("bmp", subject=[cn("bmp", BMP)])
write("purpose", extensions=[x509.ExtendedKeyUsage([x509.ObjectIdentifier("2.25.285541874270823339875695650038637483517"),
                                                    x509.oid.ExtendedKeyUsageOID.SERVER_AUTH])])
write("curve", sans=[host], key=ec.generate_private_key(ec.SECP256K1()))
write("netuser", sans=[x509.IPAddress(ipaddress.ip_network("192.0.2.0/24"))])
