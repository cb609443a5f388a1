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
export HOME=$PWD XDG_CONFIG_HOME=$PWD/.config # what clients remember of a daemon with that address is not of this one
port=${PORT:-18609}
netloc=127.0.0.1:$port
pid=

config=() # of the daemon
serve() { # SPAN: starts the daemon, with certificates of so many days, and waits for it
	cauased "${config[@]}" --netloc $netloc --bind 127.0.0.1 --user-crt-validity "$1" --service-crt-validity "$1" --threshold "$2" \
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
enrol() { # NAME OPTION…: a service with these names, which the first user approves
	local name=$1
	shift
	client request --cn "$name" "$@" --crt "$name.crt.pem" --key "$name.key.pem" --csr "$name.csr.pem" >id || true
	service csr sign "$(pending)"
	client request --cn "$name" "$@" --crt "$name.crt.pem" --key "$name.key.pem" --csr "$name.csr.pem" >id
}

# Spans of seconds, until the first CAs have expired and their keys are erased.
mkdir -p backups
serve 0.0002 0.00005
sleep 100
halt

# Then spans as by default, once the last CA of the short ones has ended: nothing that it signs lives longer.
sleep 80
if [ "$layout" -ge 7 ]; then
	# Rules, and a web server that is to be told and is not there.
	(umask 077; echo "whsec_$(head -c 32 /dev/zero | base64)" >webhook.secret)
	cat >rules.toml <<-TOML
		[[policy]]
		name      = "pages"
		authority = "cas"
		names     = ["*.pages.example.org"]
		decision  = "approve"

		[[policy]]
		name      = "payments"
		authority = "cas"
		names     = ["*.pay.example.org"]
		decision  = "hold"
		approvals = 2

		[[webhook]]
		name        = "inventory"
		url         = "http://127.0.0.1:9/"
		secret_file = "$PWD/webhook.secret"
	TOML
	config=(--config rules.toml)
fi
serve 93 31
if [ "$layout" -ge 3 ]; then
	# An operator's invitation makes the first user, and one of that user's the second.
	cauased manage invite --authority cau --cn admin --out admin.invite
	client --mode user request --cn admin --invite admin.invite >id
	user invite --cn second --out second.invite
	client --mode user request --cn second --key second.pem --crt second.pem --csr second.csr.pem --invite second.invite >id
else
	client --mode user request --cn admin >id
	client --mode user request --cn second >id || true
	user csr sign "$(pending)"
	client --mode user request --cn second >id
fi
for name in web mail gone stolen; do
	client request --cn $name --dns $name.example.org --crt $name.crt.pem --key $name.key.pem --csr $name.csr.pem >id || true
	service csr sign "$(pending)"
	client request --cn $name --crt $name.crt.pem --key $name.key.pem --csr $name.csr.pem >id
done
client crt renew --force web.crt.pem web.key.pem
client crt revoke --key gone.key.pem gone.crt.pem
service crt revoke --other stolen.crt.pem --reason keyCompromise
if [ "$layout" -ge 4 ]; then
	service crt revoke --serial 4660 --unknown
else
	service crt revoke --serial 4660
fi
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
if [ "$layout" -ge 3 ]; then
	# Lineages: one that forks, users' renewals, one that a revocation has ended, one of which it has taken a certificate only.
	cp web.crt.pem copy.crt.pem; cp web.key.pem copy.key.pem
	client crt renew --force --key web.key.pem web.crt.pem
	client crt renew --force --key copy.key.pem copy.crt.pem
	for _ in 1 2 3; do client --mode user crt renew --force second.pem; done
	cp mail.crt.pem older.crt.pem
	client crt renew --force --key mail.key.pem mail.crt.pem
	service crt revoke --other older.crt.pem --only-this
	for name in old retired; do
		client request --cn $name --crt $name.crt.pem --key $name.key.pem --csr $name.csr.pem >id || true
		service csr sign "$(pending)"
		client request --cn $name --crt $name.crt.pem --key $name.key.pem --csr $name.csr.pem >id
		client crt renew --force --key $name.key.pem $name.crt.pem
	done
	service crt revoke --other retired.crt.pem
	# Invitations: used in part and refused, used up above, withdrawn before and after use, those of the operator.
	service invite --dns '*.web.example' --uses 3 --out web.invite
	client request --cn a.web.example --dns a.web.example --crt a.crt.pem --key a.key.pem --csr a.csr.pem --invite web.invite >id
	client request --cn b.mail.example --dns b.mail.example --crt b.crt.pem --key b.key.pem --csr b.csr.pem --invite web.invite || true
	service invite --cn withdrawn --out withdrawn.invite
	service invite void withdrawn.invite
	cauased manage invite --cn operator --uses 2 --ttl 30d --out operator.invite
	client request --cn operator --crt c.crt.pem --key c.key.pem --csr c.csr.pem --invite operator.invite >id
	cauased manage invite --cn unused --out unused.invite
	service invite void operator.invite
	# Consents to web pages, of which one is taken back.
	for origin in admin.example console.example; do
		curl -fsk --cert admin.pem "https://127.0.0.1:$((port + 1))/cors" -o /dev/null \
			-d "origin=https://$origin" -d "return_to=https://$origin/" -d grant=1
	done
	user cors withdraw https://console.example
fi
if [ "$layout" -ge 4 ]; then
	# Names that lineages share under subjects of their own, of each kind, and one that a renewal has kept.
	enrol portal --dns shared.example.org --dns portal.example.org --ip 192.0.2.7 --email Post@Example.org
	enrol gateway --dns Shared.example.org --ip 2001:db8::7 --uri spiffe://example.org/gateway
	enrol apps --dns '*.apps.example.org' --dns xn--bcher-kva.example.org
	enrol one.apps.example.org --dns one.apps.example.org
	enrol former --dns shared.example.org
	service crt revoke --other former.crt.pem
	client crt renew --force --key portal.key.pem portal.crt.pem
	# Requests that were rejected with a reason, and one that waits for names that others have.
	client request --cn unwanted --dns unwanted.example.org --crt unwanted.crt.pem --key unwanted.key.pem --csr unwanted.csr.pem >id || true
	service csr reject --reason 'ask the network team first' "$(pending)"
	client request --cn newcomer --dns shared.example.org --crt newcomer.crt.pem --key newcomer.key.pem --csr newcomer.csr.pem || true
fi
if [ "$layout" -ge 7 ]; then
	# One that a rule approves, one that has one approval of two, what has been told to nobody yet, hosts that have confirmed a
	# generation or have not, and a generation that was withdrawn.
	client request --cn www.pages.example.org --dns www.pages.example.org --crt www.crt.pem --key www.key.pem --csr www.csr.pem >id
	client request --cn till.pay.example.org --dns till.pay.example.org --crt till.crt.pem --key till.key.pem --csr till.csr.pem >id || true
	service csr sign "$(pending)" || true
	cauased manage rotate cas --when-adopted --yes
	sleep 2
	client crt renew --force --key www.key.pem www.crt.pem
	cauased manage rotate lab --compromised --now --yes
	sleep 2
fi
cauased manage backup backups
halt
cauased manage check || true

# From SQLite's file to one without a log beside it.
single() {
	python3 - "$1" <<'PY'
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
db.execute("PRAGMA journal_mode = DELETE")
db.execute("VACUUM")
PY
}
single cauase.sqlite
if [ "$layout" -ge 3 ]; then
	# One that nobody has used yet, with the first user's invitation.
	mkdir -p new/backups
	cd new
	config=()
	serve 93 31
	halt
	cd ..
	single new/cauase.sqlite
	gzip -9nc new/cauase.sqlite >"$here/layout$layout.new.sqlite.gz"
	cp new/first-user.invite "$here/layout$layout.first-user.invite"
fi
gzip -9nc cauase.sqlite >"$here/layout$layout.sqlite.gz"
[ "$layout" = 1 ] || admin=layout$layout.
cp admin.pem "$here/${admin-}admin.pem"
cp "$(ls backups/*.rows.caucased | tail -1)" "$here/layout$layout.rows.caucased"
if [ -n "${PGURL-}" ]; then
	cauased manage copy --db cauase.sqlite --to "$PGURL"
	pg_dump --inserts --no-owner --no-privileges "$PGURL" | grep -v -e '^--' -e '^$' -e '^\\' | gzip -9nc >"$here/layout$layout.postgres.sql.gz"
fi
