#!/bin/bash
# Makes the files in this folder with an installed caucase, as a black box: see README.md.
# usage: make.sh BIN DIRECTORY STORY, with the folder of caucase's programs, an empty directory to
# work in, and one of plain, rolled, odd.
set -eu
bin=$1 dir=$2 story=$3 here=$(cd "$(dirname "$0")" && pwd)
export PATH=$bin:$PATH
cd "$dir"
port=${PORT:-18509}
url=http://127.0.0.1:$port
pid=

serve() { # ARGS…: starts the daemon and waits for its two ports
	caucased --db caucase.sqlite --netloc 127.0.0.1:$port "$@" >>log 2>&1 &
	pid=$!
	for _ in $(seq 300); do
		if curl -fsk "https://127.0.0.1:$((port + 1))/cas/crt/ca.crt.pem" -o /dev/null 2>/dev/null; then return; fi
		sleep 0.2
	done
	echo "the daemon does not answer" >&2; exit 1
}
halt() { kill "$pid"; wait "$pid" || true; pid=; }
trap '[ -z "$pid" ] || kill "$pid"' EXIT

client() { caucase --ca-url $url --ca-crt cas.crt.pem --crl cas.crl.pem --user-ca-crt cau.crt.pem --user-crl cau.crl.pem "$@"; }

request() { # NAME: makes NAME.key and NAME.csr.pem
	openssl req -new -newkey rsa:2048 -nodes -subj "/CN=$1" -addext "subjectAltName=DNS:$1.example" \
		-keyout "$1.key" -out "$1.csr.pem" 2>/dev/null
}
enrol() { # MODE NAME [USER]: sends NAME's request, has USER sign it, fetches NAME.pem
	request "$2"
	local id
	id=$(client --mode "$1" --send-csr "$2.csr.pem" | cut -d' ' -f1)
	if [ -n "${3-}" ]; then client --mode "$1" --user-key "$3.pem" --sign-csr "$id"; fi
	cp "$2.key" "$2.pem"
	client --mode "$1" --get-crt "$id" "$2.pem" >/dev/null
	echo "$id" >"$2.id"
}
pending() { # MODE NAME
	request "$2"
	client --mode "$1" --send-csr "$2.csr.pem" | cut -d' ' -f1 >"$2.id"
}

case $story in
plain) # everything but a rollover, at the spans of every day
	opts="--service-auto-approve-count 1 --user-auto-approve-count 1 --lock-auto-approve-count"
	serve $opts
	enrol user alice
	enrol user bob alice
	enrol user mallory alice
	pending user carol
	enrol service auto
	enrol service web alice
	enrol service gone alice
	enrol service gone2 alice
	pending service waiting
	client --threshold 100 --renew-crt web.pem ''
	client --user-key alice.pem --revoke-other-crt gone.pem
	client --revoke-crt gone2.pem gone2.key
	client --user-key alice.pem --revoke-serial 123456
	client --mode user --user-key alice.pem --revoke-other-crt mallory.pem
	client --update-user
	halt
	cp caucase.sqlite before.sqlite
	mkdir -p backup
	serve $opts --backup-directory backup
	for _ in $(seq 100); do ls backup/*.caucased >/dev/null 2>&1 && break; sleep 0.2; done
	sleep 1
	halt
	;;
rolled) # two CAs for each authority, and spans of a minute
	opts="--service-crt-validity 0.000694444444 --user-crt-validity 0.000694444444 --threshold 0.0001 --service-auto-approve-count 0"
	serve $opts
	enrol user alice
	enrol service web alice
	curl -fs $url/cas/crt/ca.crt.json -o chain0.json
	for _ in $(seq 20); do
		sleep 10
		client --mode user --threshold 0.0003 --renew-crt alice.pem '' || true
		client --threshold 0.0003 --renew-crt web.pem '' || true
		curl -fs $url/cas/crt/ca.crt.json -o cas.chain.json; curl -fs $url/cau/crt/ca.crt.json -o cau.chain.json
		curl -fs $url/cas/crl -o cas.crls.pem; curl -fs $url/cau/crl -o cau.crls.pem
		if [ "$(cat cas.chain.json)" != '[]' ] && [ "$(cat cau.chain.json)" != '[]' ]; then break; fi
	done
	sleep 15 # until the new CA has signed nothing yet, and the old one still does
	enrol service late alice
	pending service waiting
	client --user-key alice.pem --revoke-other-crt late.pem
	client --user-key alice.pem --revoke-serial 4711
	curl -fs $url/cas/crl -o cas.crls.pem; curl -fs $url/cau/crl -o cau.crls.pem
	halt
	;;
odd) # names and keys that others refuse to read
	"$bin/python" "$here/odd.py"
	serve --service-auto-approve-count 0
	enrol user alice
	for csr in *.csr.pem; do
		name=${csr%.csr.pem} mode=service
		case $name in alice) continue ;; netuser) mode=user ;; esac
		id=$(client --mode $mode --send-csr "$csr" | cut -d' ' -f1)
		client --mode $mode --user-key alice.pem --sign-csr "$id"
		cp "$name.key" "$name.pem"
		client --mode $mode --get-crt "$id" "$name.pem" >/dev/null
	done
	halt
	;;
*) echo "no such story" >&2; exit 1 ;;
esac
date +%s >made
