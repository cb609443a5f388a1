#!/bin/bash
# Makes the databases in this folder, with content, by programs of the released layout: see README.md.
# usage: make.sh LAYOUT BIN DIRECTORY: the layout that they make, the folder of cauased and cauase, and an empty directory
# to work in.
# PGURL, when it is set, is an empty PostgreSQL database, of which the dump is made as well.
set -eu
layout=$1 bin=$2 dir=$3
here=$(cd "$(dirname "$0")" && pwd)
export PATH=$bin:$PATH
cd "$dir"
port=${PORT:-18609}
netloc=127.0.0.1:$port
pid=

serve() { # SPAN: starts the daemon, with certificates of so many days, and waits for it
	cauased --netloc $netloc --bind 127.0.0.1 --user-crt-validity "$1" --service-crt-validity "$1" --threshold "$2" \
		--backup-directory backups --backup-period 0.0005 --lock-auto-approve-count >>log 2>&1 &
	pid=$!
	for _ in $(seq 100); do
		if curl -fsk "https://127.0.0.1:$((port + 1))/cas/crt/ca.crt.pem" -o /dev/null 2>/dev/null; then return; fi
		sleep 0.2
	done
	cat log >&2; exit 1
}
halt() { kill "$pid"; wait "$pid" || true; pid=; }
trap '[ -z "$pid" ] || kill "$pid"' EXIT

client() { cauase --ca-url http://$netloc "$@"; }
user() { client --mode user --user-key admin.pem "$@"; }
service() { client --user-key admin.pem "$@"; }
pending() { cut -d' ' -f1 id; }

# Spans of seconds, until the first CAs have expired and their keys are erased.
mkdir -p backups
serve 0.0002 0.00005
sleep 100
halt

# Then spans as by default, once the last CA of the short ones has ended: nothing that it signs lives longer.
sleep 80
serve 93 31
client --mode user request --cn admin >id
client --mode user request --cn second >id || true
user csr sign "$(pending)"
client --mode user request --cn second >id
for name in web mail gone stolen; do
	client request --cn $name --dns $name.example.org --crt $name.crt.pem --key $name.key.pem --csr $name.csr.pem >id || true
	service csr sign "$(pending)"
	client request --cn $name --crt $name.crt.pem --key $name.key.pem --csr $name.csr.pem >id
done
client crt renew --force web.crt.pem web.key.pem
client crt revoke --key gone.key.pem gone.crt.pem
service crt revoke --other stolen.crt.pem --reason keyCompromise
service crt revoke --serial 4660
client request --cn refused --crt refused.crt.pem --key refused.key.pem --csr refused.csr.pem >id || true
service csr reject "$(pending)"
client crt renew --force --key gone.key.pem gone.crt.pem || true # a refusal in the audit log
client request --cn waiting --dns waiting.example.org --crt waiting.crt.pem --key waiting.key.pem --csr waiting.csr.pem || true
client crl update || true
cauased manage next-key-type --authority cas ed25519 || true
if [ "$layout" -ge 2 ]; then
	# A root and authorities below it: one from its first CA certificate on, one that was put there later, and one
	# whose root is offline, with a sign-off that waits.
	manage() { cauased manage authority "$@"; }
	manage add home-root --role root --validity 20y
	manage add lab --parent home-root --permit dns:.lab.example --title Laboratory
	manage set-parent cas home-root
	cauased manage authority add vault-root --role root --db offline.sqlite --netloc $netloc
	cauased manage authority export vault-root --db offline.sqlite --out vault.pem --crl vault.crl.pem
	manage add vault-root --role root --external vault.pem --crl vault.crl.pem
	manage add vault --parent vault-root
	manage request vault --out vault.request --ahead 2
	sleep 2
	client --authority lab request --cn bench --dns bench.lab.example --crt bench.crt.pem --key bench.key.pem --csr bench.csr.pem >id || true
	client --user-key admin.pem --authority lab csr sign "$(pending)"
	client --authority lab request --cn bench --crt bench.crt.pem --key bench.key.pem --csr bench.csr.pem >id
fi
cauased manage backup backups
halt
cauased manage check || true

# From SQLite's file to one without a log beside it.
python3 - <<'PY'
import sqlite3
db = sqlite3.connect("cauase.sqlite")
db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
db.execute("PRAGMA journal_mode = DELETE")
db.execute("VACUUM")
PY
gzip -9nc cauase.sqlite >"$here/layout$layout.sqlite.gz"
[ "$layout" = 1 ] || admin=layout$layout.
cp admin.pem "$here/${admin-}admin.pem"
cp "$(ls backups/*.rows.caucased | tail -1)" "$here/layout$layout.rows.caucased"
if [ -n "${PGURL-}" ]; then
	cauased manage copy --db cauase.sqlite --to "$PGURL"
	pg_dump --inserts --no-owner --no-privileges "$PGURL" | grep -v -e '^--' -e '^$' -e '^\\' | gzip -9nc >"$here/layout$layout.postgres.sql.gz"
fi
