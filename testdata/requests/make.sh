#!/usr/bin/env bash
# make.sh makes the requests of this folder anew, with the tools that README.md names. Their keys are thrown away.
set -euo pipefail
cd "$(dirname "$0")"
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT

cat >"$work/openssl.cnf" <<'CNF'
[req]
prompt = no
distinguished_name = name
attributes = attributes
req_extensions = extensions
string_mask = utf8only
[name]
C = DE
O = Bücherei
CN = printer.lab.example
[attributes]
challengePassword = let-me-in
unstructuredName = floor 2
[extensions]
subjectAltName = DNS:printer.lab.example, IP:192.0.2.20
keyUsage = critical, digitalSignature, keyEncipherment
extendedKeyUsage = serverAuth
CNF
openssl req -utf8 -new -newkey rsa:2048 -nodes -keyout "$work/key" -config "$work/openssl.cnf" -out openssl.pem 2>/dev/null
openssl req -utf8 -new -newkey rsa:2048 -nodes -keyout "$work/key" -config "$work/openssl.cnf" -text -out openssl-text.txt 2>/dev/null
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$work/key" -subj /CN=camera.lab.example -outform DER -out openssl.der 2>/dev/null
sed -e 's/utf8only/MASK:0x4/' -e '/^req_ext/d' -e '/^attributes/d' "$work/openssl.cnf" >"$work/t61.cnf"
openssl req -utf8 -new -newkey rsa:2048 -nodes -keyout "$work/key" -config "$work/t61.cnf" -out openssl-t61.pem 2>/dev/null
sed -e 's/utf8only/MASK:0x800/' -e '/^req_ext/d' -e '/^attributes/d' "$work/openssl.cnf" >"$work/bmp.cnf"
openssl req -utf8 -new -newkey rsa:2048 -nodes -keyout "$work/key" -config "$work/bmp.cnf" -out openssl-bmp.pem 2>/dev/null

java() { keytool -keystore "$work/store" -storepass changeit -alias "$1" "${@:2}" 2>/dev/null; }
java plain -genkeypair -keyalg RSA -keysize 2048 -dname 'CN=tomcat.lab.example, OU=Web, O=Example, L=Unknown, ST=Unknown, C=DE'
java plain -certreq -file keytool.csr
java names -genkeypair -keyalg EC -groupname secp256r1 -dname CN=tomcat.lab.example
java names -certreq -ext san=dns:tomcat.lab.example,ip:192.0.2.21 -file keytool-san.csr

cat >"$work/certtool.cfg" <<'CFG'
cn = "ldap.lab.example"
organization = "Example"
dns_name = "ldap.lab.example"
ip_address = "192.0.2.22"
challenge_password = "let-me-in"
tls_www_server
signing_key
encryption_key
CFG
certtool --generate-privkey --bits 2048 --outfile "$work/gnutls.key" 2>/dev/null
certtool --generate-request --load-privkey "$work/gnutls.key" --template "$work/certtool.cfg" --outfile certtool.txt 2>/dev/null

mkdir "$work/nss"; : >"$work/empty"; head -c 64 /dev/urandom >"$work/noise"
certutil -N -d "$work/nss" -f "$work/empty"
certutil -R -d "$work/nss" -f "$work/empty" -z "$work/noise" -s 'CN=mail.lab.example,O=Example' -8 mail.lab.example -g 2048 -a -o certutil.txt >/dev/null 2>&1
certutil -R -d "$work/nss" -f "$work/empty" -z "$work/noise" -s 'CN=mail.lab.example,O=Example' -g 2048 -o certutil.der >/dev/null 2>&1

python3 construct.py "$work"
