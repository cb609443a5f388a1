#!/usr/bin/env python3
"""Puts requests together byte by byte, as devices and versions of programs write them that cannot be run here. Keys and signatures are openssl's."""
import base64, os, subprocess, sys

work = sys.argv[1]

def run(*args, data=None): return subprocess.run(args, input=data, check=True, capture_output=True).stdout
def tlv(tag, *parts):
    body = b"".join(parts)
    n = len(body)
    size = bytes([n]) if n < 128 else bytes([0x80 + (n.bit_length() + 7) // 8]) + n.to_bytes((n.bit_length() + 7) // 8, "big")
    return bytes([tag]) + size + body
def seq(*parts): return tlv(0x30, *parts)
def set_(*parts): return tlv(0x31, *sorted(parts))
def oid(text):
    arcs = [int(a) for a in text.split(".")]
    out = bytes([40 * arcs[0] + arcs[1]])
    for arc in arcs[2:]:
        part = [arc & 0x7f]
        while arc := arc >> 7: part.insert(0, 0x80 | arc & 0x7f)
        out += bytes(part)
    return tlv(6, out)

UTF8, PRINTABLE, T61, IA5, BMP, UNIVERSAL = 12, 19, 20, 22, 30, 28
CN, C, L, O, OU, SERIAL, MAIL = "2.5.4.3", "2.5.4.6", "2.5.4.7", "2.5.4.10", "2.5.4.11", "2.5.4.5", "1.2.840.113549.1.9.1"
ENCODING = {UTF8: "utf-8", PRINTABLE: "latin-1", T61: "latin-1", IA5: "latin-1", BMP: "utf-16-be", UNIVERSAL: "utf-32-be"}
def attr(type_, tag, text): return seq(oid(type_), tlv(tag, text if isinstance(text, bytes) else text.encode(ENCODING[tag])))
def name(*attrs): return seq(*[tlv(0x31, a) for a in attrs])
def ext(id_, value, critical=False): return seq(oid(id_), b"\x01\x01\xff" if critical else b"", tlv(4, value))
def san(*names): return ext("2.5.29.17", seq(*names))
def dns(text): return tlv(0x82, text if isinstance(text, bytes) else text.encode())
def ip(octets): return tlv(0x87, octets)
def extensions(*all_, attribute="1.2.840.113549.1.9.14"): return seq(oid(attribute), set_(seq(*all_)))
def challenge(text="let-me-in", tag=PRINTABLE): return seq(oid("1.2.840.113549.1.9.7"), set_(tlv(tag, text.encode())))

def key(kind="rsa", bits=2048):
    path = os.path.join(work, "constructed.key")
    if kind == "rsa": run("openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", f"rsa_keygen_bits:{bits}", "-out", path)
    else: run("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path)
    return path, run("openssl", "pkey", "-in", path, "-pubout", "-outform", "DER")

def request(subject, attributes=(), kind="rsa", bits=2048, sorted_=True, digest="sha256", damage=False):
    path, spki = key(kind, bits)
    field = b"" if attributes is None else tlv(0xa0, *(sorted(attributes) if sorted_ else attributes))
    info = seq(b"\x02\x01\x00", subject, spki, field)
    algorithm = {"rsa": {"sha256": seq(oid("1.2.840.113549.1.1.11"), b"\x05\x00"), "sha1": seq(oid("1.2.840.113549.1.1.5"), b"\x05\x00")},
                 "ec": {"sha256": seq(oid("1.2.840.10045.4.3.2"))}}[kind][digest]
    signature = run("openssl", "dgst", f"-{digest}", "-sign", path, data=info)
    if damage: signature = signature[:-1] + bytes([signature[-1] ^ 1])
    return seq(info, algorithm, tlv(3, b"\x00", signature))

def pem(der, label="CERTIFICATE REQUEST", end="\n", width=64):
    text = base64.b64encode(der).decode()
    lines = [f"-----BEGIN {label}-----"] + [text[i:i + width] for i in range(0, len(text), width)] + [f"-----END {label}-----"]
    return end.join(lines) + end
def put(path, content):
    with open(path, "wb") as f: f.write(content if isinstance(content, bytes) else content.encode())

NEW = "NEW CERTIFICATE REQUEST"
# Windows: certreq writes PEM with this label and CRLF, attributes of its own, and asks for the name of a template.
MS = "1.3.6.1.4.1.311."
version = seq(oid(MS + "13.2.3"), set_(tlv(IA5, b"10.0.20348.2")))
client = seq(oid(MS + "21.20"), set_(seq(b"\x02\x01\x05", tlv(UTF8, b"web01.lab.example"), tlv(UTF8, b"LAB\\Administrator"), tlv(UTF8, b"certreq.exe"))))
provider = seq(oid(MS + "13.2.2"), set_(seq(b"\x02\x01\x01", tlv(BMP, "Microsoft RSA SChannel Cryptographic Provider".encode("utf-16-be")), tlv(3, b"\x00"))))
usage = ext("2.5.29.15", bytes.fromhex("030205a0"), True)
server = ext("2.5.29.37", seq(oid("1.3.6.1.5.5.7.3.1")))
template = ext(MS + "20.2", tlv(BMP, "WebServer".encode("utf-16-be")))
capabilities = ext("1.2.840.113549.1.9.15", seq(seq(oid("2.16.840.1.101.3.4.1.42"))))
ski = ext("2.5.29.14", tlv(4, bytes(range(20))))
put("certreq.req", pem(request(name(attr(C, PRINTABLE, "DE"), attr(O, PRINTABLE, "Example"), attr(CN, PRINTABLE, "web01.lab.example")),
    [version, client, provider, extensions(usage, server, san(dns("web01.lab.example"), dns("web01")), template, capabilities, ski)]), NEW, "\r\n"))
put("certreq-2000.req", pem(request(name(attr(O, BMP, "Müller & Söhne"), attr(CN, BMP, "exchange.lab.example")),
    [version, provider, extensions(usage, server, san(dns("exchange.lab.example")), attribute=MS + "2.1.14")]), NEW, "\r\n", 76))
put("certreq-utf16.req", b"\xff\xfe" + pem(request(name(attr(CN, UTF8, "iis.lab.example")), [version, extensions(server)]), NEW, "\r\n").encode("utf-16-le"))
put("utf8-bom.pem", b"\xef\xbb\xbf" + pem(request(name(attr(CN, UTF8, "nas.lab.example")), [], "ec"), end="\r\n").encode())

# Switches and what else runs for decades.
put("switch-t61.pem", "\r\nswitch#show crypto pki request\r\n" + pem(request(name(attr(C, PRINTABLE, "DE"), attr(L, T61, b"K\xf6ln"), attr(OU, T61, ""), attr(CN, T61, "switch-7.lab.example")),
    [challenge(), seq(oid("1.2.840.113549.1.9.2"), set_(tlv(IA5, b"switch-7")))]), end="\r\n") + "\r\nswitch#\r\n")
put("switch-t61-utf8.pem", pem(request(name(attr(L, T61, "Köln".encode()), attr(CN, T61, "switch-8.lab.example")), [challenge(tag=T61)])))
put("router-no-attributes.pem", pem(request(name(attr(SERIAL, PRINTABLE, "FOC1234X0AB"), attr(CN, PRINTABLE, "router.lab.example")), None)))
put("balancer-star.pem", pem(request(name(attr(CN, PRINTABLE, "*.lab.example")), [])))
put("ups-address.pem", pem(request(name(attr(CN, PRINTABLE, "ups"), attr(MAIL, UTF8, "admin@lab.example")), [extensions(san(dns("192.0.2.23"), ip(b"192.0.2.24"), dns("ups.lab.example.")))])))
put("ilo-unsorted.pem", pem(request(name(attr(CN, UTF8, "ilo.lab.example")), [extensions(server, san(dns("ilo.lab.example"))), challenge()], sorted_=False)))
put("phone-universal.pem", pem(request(name(attr(CN, UNIVERSAL, "phone.lab.example")), [])))
put("scanner-umlaut.pem", pem(request(name(attr(CN, UTF8, "büro.lab.example")), [extensions(san(dns("büro.lab.example".encode())))], "ec")))
upn = tlv(0xa0, oid(MS + "20.2.3"), tlv(0xa0, tlv(UTF8, b"web02@lab.example")))
put("windows-upn.req", pem(request(name(attr(CN, UTF8, "web02.lab.example")), [extensions(san(upn, dns("web02.lab.example")), ext("1.2.3.4", b"\x05\x00", True))]), NEW, "\r\n"))

# What is refused.
good = name(attr(CN, UTF8, "web.lab.example"))
put("refused/two.pem", pem(request(good, [], "ec")) + pem(request(good, [], "ec")))
put("refused/damaged.pem", pem(request(good, [], "ec", damage=True)))
put("refused/damaged-t61.pem", pem(request(name(attr(CN, T61, "web")), [], damage=True)))
put("refused/small-key.pem", pem(request(name(attr(CN, T61, "old.lab.example")), [], bits=1024)))
put("refused/sha1.pem", pem(request(name(attr(CN, T61, "old.lab.example")), [], digest="sha1")))
put("refused/escape.pem", pem(request(name(attr(CN, T61, b"web\x1b[31m\x07.lab.example")), [])))
put("refused/name-with-port.pem", pem(request(good, [extensions(san(dns("web.lab.example:443")))])))
put("refused/nobody.pem", pem(request(name(attr(OU, T61, " ")), [])))
der = request(good, [])
put("refused/cut-off.pem", pem(der[:300]))
put("refused/cut-off.txt", pem(der)[:300])
put("refused/cut-off.der", der[:300])
certificate = os.path.join(work, "crt.pem")
run("openssl", "req", "-x509", "-key", os.path.join(work, "constructed.key"), "-subj", "/CN=web.lab.example", "-days", "1", "-out", certificate)
put("refused/certificate.pem", open(certificate, "rb").read())
