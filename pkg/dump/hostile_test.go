package dump

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"unicode"

	"cauase/pkg/store"
)

// edit returns the sample stream with the line of number n (from 1) replaced.
func edit(t testing.TB, n int, change func(string) string) string {
	t.Helper()
	data, _ := write(t, samples())
	lines := strings.SplitAfter(data, "\n")
	old := lines[n-1]
	if lines[n-1] = change(old); lines[n-1] == old {
		t.Fatalf("nothing to replace in line %d: %s", n, old)
	}
	return strings.Join(lines, "")
}

// Lines of the sample stream.
var (
	lineAuthority, lineCA, lineSignoff, lineCRL, lineRequest = lineOf("authority"), lineOf("ca"), lineOf("signoff"), lineOf("crl"), lineOf("request")
	lineLineage, lineCertificate, lineRevocation             = lineOf("lineage"), lineOf("certificate"), lineOf("revocation")
	lineCounter, lineSetting, lineAudit                      = lineOf("counter") + 1, lineOf("setting"), lineOf("audit") + 1
	lineEnd                                                  = len(samples()) + 2
)

// lineOf is the first line of a kind.
func lineOf(kind string) int {
	return slices.IndexFunc(samples(), func(row store.Row) bool { return Kind(row) == kind }) + 2
}

func TestHostileLines(t *testing.T) {
	for _, test := range []struct {
		name     string
		line     int
		old, new string // part of the line
		want     string
	}{
		{"unknown kind", lineCA, `{"ca"`, `{"cb"`, `/cb: unknown object member`},
		{"kind in another case", lineCA, `{"ca"`, `{"CA"`, `/CA: unknown object member`},
		{"two kinds", lineCounter, `}}`, `},"setting":{"authority":"","name":"","value":""}}`, "2 things in place of one"},
		{"row and end", lineCounter, `}}`, `},"end":[]}`, "2 things in place of one"},
		{"no kind", lineCounter, `{"counter":{"authority":"cas","name":"crl_number","value":6917529027641081856}}`, `{}`, "0 things"},
		{"null", lineCounter, `{"counter":{"authority":"cas","name":"crl_number","value":6917529027641081856}}`, `null`, "0 things"},
		{"null row", lineCounter, `{"authority":"cas","name":"crl_number","value":6917529027641081856}`, `null`, "0 things"},
		{"empty line", lineCounter, `{"counter":{"authority":"cas","name":"crl_number","value":6917529027641081856}}`, ``, "EOF"},
		{"a list", lineCounter, `{"counter":{"authority":"cas","name":"crl_number","value":6917529027641081856}}`, `[]`, "cannot be a JSON"},
		{"not JSON", lineCounter, `:`, `;`, "invalid character"},
		{"unknown member", lineCounter, `,"value"`, `,"more":1,"value"`, `/counter/more: unknown object member`},
		{"member twice", lineCounter, `,"value"`, `,"name":"crl_number","value"`, "duplicate"},
		{"members out of order", lineCounter, `"authority":"cas","name":"crl_number"`, `"name":"crl_number","authority":"cas"`, "/counter/authority has to come where /counter/name is"},
		{"member missing", lineCounter, `"name":"crl_number",`, ``, "/counter/name has to come where /counter/value is"},
		{"last member missing", lineCounter, `,"value":6917529027641081856`, ``, "/counter/value has to come where /counter is"},
		{"null member", lineCA, `"key_ref":"MAH/"`, `"key_ref":null`, "/ca/link has to come where /ca/key_ref is"},
		{"empty member that is left out", lineCA, `"key_ref":"MAH/"`, `"key_ref":""`, "/ca/link has to come"},
		{"a space", lineCounter, `:`, `: `, "without spaces"},
		{"something after", lineCounter, `}}`, `}} {}`, "invalid character"},
		{"escaped for nothing", lineCounter, `"cas"`, `"c\u0061s"`, "without spaces"},
		{"carriage return", lineCounter, "\n", "\r\n", "without spaces"},
		{"byte order mark", lineCounter, `{"c`, "\ufeff" + `{"c`, "invalid character"},
		{"not UTF-8", lineSetting + 1, `"1"`, "\"\xff\"", "UTF-8"},
		{"half a surrogate", lineSetting + 1, `"1"`, `"\ud800"`, "surrogate"},
		{"NUL in a text", lineSetting + 1, `"1"`, `"\u0000"`, "a text holds a NUL"},
		{"NUL in a name", lineRequest, `"DNS:a"`, `"DNS:a\u0000"`, "a text holds a NUL"},
		{"text for a number", lineCounter, `6917529027641081856`, `"1"`, "/counter/value cannot be a JSON string"},
		{"number for a text", lineCounter, `"crl_number"`, `1`, "/counter/name cannot be a JSON number"},
		{"number too large", lineCounter, `6917529027641081856`, `9223372036854775808`, "/counter/value: value out of range"},
		{"number with a fraction", lineCounter, `6917529027641081856`, `1.0`, "/counter/value: invalid syntax"},
		{"number with an exponent", lineCounter, `6917529027641081856`, `1e3`, "/counter/value: invalid syntax"},
		{"negative zero", lineCounter + 1, `:0`, `:-0`, "/counter/value"},
		{"leading zero", lineCounter, `6917529027641081856`, `01`, "invalid character"},
		{"negative counter", lineCounter, `6917529027641081856`, `-1`, "value: -1 is not a number"},
		{"negative id", lineCA, `"id":1`, `"id":-1`, "id: -1 is not a number"},
		{"negative request", lineRequest, `9223372036854775807`, `-1`, "id: -1 is negative"},
		{"negative CRL number", lineCRL, `"number":7`, `"number":-7`, "number: -7 is not a number"},
		{"negative seq", lineRevocation, `"seq":3`, `"seq":-3`, "seq: -3 is not a number"},
		{"seq after which there is none", lineRevocation, `"seq":3`, `"seq":9223372036854775807`, "seq: 9223372036854775807 is not a number"},
		{"id after which there is none", lineCA + 1, `"id":2`, `"id":9223372036854775807`, "id: 9223372036854775807 is not a number"},
		{"number after which there is none", lineCRL, `"number":7`, `"number":9223372036854775807`, "number: 9223372036854775807 is not a number"},
		{"entry after which there is none", lineAudit, `"seq":3`, `"seq":9223372036854775807`, "seq: 9223372036854775807 is not a number"},
		{"seq of zero", lineRevocation, `"seq":3`, `"seq":0`, "seq: is 0"},
		{"absurd time", lineCA, `"created_at":1772600767891234`, `"created_at":9223372036854775807`, "created_at: 9223372036854775807 µs is not a time"},
		{"absurd time of old", lineCA, `"created_at":1772600767891234`, `"created_at":-9223372036854775808`, "is not a time"},
		{"ends before it begins", lineCA, `"not_after":17`, `"not_after":16`, "not_after lies before"},
		{"authority that is no name", lineCA, `"cau"`, `"c/a"`, `authority: "c/a" is none`},
		{"empty authority", lineCertificate, `"cas"`, `""`, `authority: "" is none`},
		{"no authority's name of a counter", lineCounter, `"cas"`, `"CAS"`, `authority: "CAS" is none`},
		{"no authority's name in the log", lineAudit, `"cas"`, `"x "`, `authority: "x " is none`},
		{"authority with no name", lineAuthority, `"cas"`, `""`, `"" is not a name`},
		{"authority with a path for a name", lineAuthority, `"cas"`, `"../x"`, `"../x" is not a name`},
		{"authority with no role", lineAuthority, `"services"`, `"service"`, `there is no role "service"`},
		{"authority above itself", lineAuthority, `"home-root"`, `"cas"`, "it cannot be its own parent"},
		{"authority twice", lineAuthority + 1, `"cau","title":"","role":"users"`, `"cas","title":"","role":"services"`, "out of order, or there twice"},
		{"another authority of users", lineAuthority, `"services"`, `"users"`, "cas: it has the role users, and can only have the role services"},
		{"authority with a negative span", lineAuthority, `"span":8`, `"span":-8`, "span: -8035200000000 is negative"},
		{"authority for ages", lineAuthority, `"life":4`, `"life":1000000`, "cannot last for"},
		{"authority with a negative limit", lineAuthority, `"max_pending":50`, `"max_pending":-50`, "max_pending: -50 is not a number"},
		{"authority that ends before it begins", lineAuthority, `"retired_at":17`, `"retired_at":16`, "retired before it was made"},
		{"time null", lineAuthority, `"retired_at":1772600768891234`, `"retired_at":null`, "/authority"},
		{"CA in no state", lineCA, `"usable"`, `"used"`, `there is no state "used"`},
		{"CA without a key that is usable", lineCA + 1, `"disowned"`, `"usable"`, "it is usable, and has no key"},
		{"CA with a key that is erased", lineCA, `"usable"`, `"erased"`, "it is erased, and has a key"},
		{"sign-off twice", lineSignoff + 1, `"id":3`, `"id":1`, "out of order, or there twice"},
		{"sign-off that ends before it begins", lineSignoff, `"not_before":17`, `"not_before":18`, "not_after lies before"},
		{"CA of another authority", lineCertificate, `"ca_id":2`, `"ca_id":1`, `authority "cas" has no CA 1`},
		{"CRL of no CA", lineCRL, `"ca_id":2`, `"ca_id":9`, `has no CA 9`},
		{"serial in hex", lineCertificate, `"serial":"7`, `"serial":"f`, "serial: not a decimal"},
		{"serial with a sign", lineRevocation, `"serial":"7`, `"serial":"-`, "serial: not a decimal"},
		{"serial as a number", lineRevocation + 1, `"serial":"7"`, `"serial":7`, "/revocation/serial cannot be a JSON number"},
		{"serial with a zero before", lineRevocation + 1, `"serial":"7"`, `"serial":"07"`, "serial: not a serial"},
		{"empty serial", lineRevocation + 1, `"serial":"7"`, `"serial":""`, "serial: not a serial"},
		{"serial of 161 bits", lineRevocation + 1, `"7"`, `"1461501637330902918203684832716283019655932542976"`, "serial: not a serial"},
		{"serial of a million digits", lineRevocation + 1, `"7"`, `"` + strings.Repeat("9", 1e6) + `"`, "serial: not a serial"},
		{"bad serial of the renewed", lineCertificate, `"renews":"7`, `"renews":"x`, "renews: not a decimal"},
		{"reason", lineRevocation, `"reason":1`, `"reason":11`, "there is no reason 11"},
		{"unused reason", lineRevocation, `"reason":1`, `"reason":7`, "there is no reason 7"},
		{"no method", lineCertificate, `"renewed"`, `""`, "method is empty"},
		{"not base64", lineCA, `"MAA="`, `"MA!="`, "/ca/certificate: illegal base64"},
		{"base64 without padding", lineCA, `"MAA="`, `"MAA"`, "/ca/certificate: illegal base64"},
		{"base64 with bits left", lineCA, `"MAA="`, `"MAB="`, "/ca/certificate"},
		{"base64 with line ends", lineCA, `"MAA="`, `"MA\nA="`, "/ca/certificate"},
		{"base64 for URLs", lineCA, `"MAH/"`, `"MAH_"`, "/ca/key_ref: illegal base64"},
		{"names that are none", lineCertificate, `["DNS:a"]`, `[1]`, "/certificate/sans"},
		{"names in names", lineCertificate, `["DNS:a"]`, `[["DNS:a"]]`, "/certificate/sans"},
		{"names null", lineCertificate, `["DNS:a"]`, `null`, "/certificate/sans: not a list"},
		{"names as an object", lineCertificate, `["DNS:a"]`, `{"a":"b"}`, "/certificate/sans: not a list"},
		{"too many names", lineCertificate, `["DNS:a"]`, `[""` + strings.Repeat(`,""`, 1e6) + `]`, "more than 10000"},
		{"depth", lineCertificate, `["DNS:a"]`, strings.Repeat("[", 1e6), "/certificate/sans"},
		{"depth in an unknown member", lineCertificate, `"ca_id":2`, `"x":` + strings.Repeat(`{"a":`, 1e6), "unknown object member"},
		{"many unknown members", lineCertificate, `"ca_id":2`, `"\u001b[2J` + strings.Repeat("x", 1e5) + `":1`, "/certificate/"},
		{"too long", lineCertificate, `"a`, `"` + strings.Repeat("a", MaxLine), "longer than"},
		{"lineage in no state", lineLineage, `"active"`, `"gone"`, `there is no state "gone"`},
		{"lineage with no newest certificate", lineLineage, `"newest":"7`, `"newest":"x7`, "newest: not a decimal"},
		{"lineage twice", lineLineage + 1, `"cau"`, `"cas"`, "out of order, or there twice"},
		{"end: other count", lineEnd, `"count":2`, `"count":3`, "the end does not agree with the rows: it says authority: 3 rows against 2"},
		{"end: other hash", lineEnd, `:"119a`, `:"119b`, "authority: as many rows, but not the same"},
		{"end: negative count", lineEnd, `"count":2`, `"count":-2`, "authority: -2 rows against 2"},
		{"end: short hash", lineEnd, `:"119a`, `:"119`, "not a SHA-256"},
		{"end: hash in capitals", lineEnd, `:"119a90e3`, `:"119A90e3`, "/end/0/sha256"},
		{"end: other kind", lineEnd, `"kind":"authority"`, `"kind":"cb"`, "cb against authority"},
		{"end: kind missing", lineEnd, `{"kind":"authority","count":2,"sha256":"119a90e3cc0e52dda694b9339cb57e448bc4677e46e9c5a4ed8ec1a6d9156ac3"},`, ``, "19 kinds of rows against 20"},
		{"end: too many", lineEnd, `[`, `[` + strings.Repeat(`{},`, 1e6), fmt.Sprint("more than ", len(store.Kinds()))},
		{"end: no list", lineEnd, `[`, `{"a":[`, "not a list"},
		{"end: not even an end", lineEnd, "\n", "", "rest was cut off"},
	} {
		t.Run(test.name, func(t *testing.T) {
			data := edit(t, test.line, func(l string) string { return strings.Replace(l, test.old, test.new, 1) })
			rows, d, err := read(strings.NewReader(data))
			refused(t, err, test.line, test.want)
			if len(rows) >= test.line-1 || d.Summary() != nil {
				t.Errorf("%d rows, summary %v", len(rows), d.Summary())
			}
		})
	}
}

// refused fails the test unless err is about the line, says want and is fit for a terminal.
func refused(t *testing.T, err error, line int, want string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || !errors.Is(err, ErrInvalid) {
		t.Fatalf("error %v", err)
	}
	if e.Line != int64(line) || !strings.Contains(err.Error(), want) {
		t.Errorf("%v\nwant line %d: %q", err, line, want)
	}
	if len(err.Error()) > 1000 || strings.ContainsFunc(err.Error(), func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("not fit for a terminal: %q", err.Error())
	}
}

func TestHostileStreams(t *testing.T) {
	data, _ := write(t, samples())
	lines := strings.SplitAfter(data, "\n")
	lines = lines[:len(lines)-1]
	join := func(parts ...[]string) string { return strings.Join(slices.Concat(parts...), "") }
	for _, test := range []struct {
		name string
		data string
		line int
		want string
	}{
		{"no end marker", join(lines[:lineEnd-1]), lineEnd, "no end marker"},
		{"only the first line", lines[0], 2, "no end marker"},
		{"half a first line", lines[0][:50], 1, "cut off"},
		{"row after the end", join(lines, lines[5:6]), lineEnd + 1, "something follows the end"},
		{"end twice", join(lines, lines[lineEnd-1:]), lineEnd + 1, "something follows the end"},
		{"a byte after the end", data + "\n", lineEnd + 1, "something follows the end"},
		{"another stream after the end", data + data, lineEnd + 1, "something follows the end"},
		{"first line twice", join(lines[:1], lines), 2, "unknown object member"},
		{"row twice", join(lines[:5], lines[4:]), 6, "out of order, or there twice"},
		{"rows exchanged", join(lines[:3], lines[4:5], lines[3:4], lines[5:]), 5, "out of order"},
		{"kinds exchanged", join(lines[:lineCRL-1], lines[lineRevocation-1:lineRevocation], lines[lineCRL-1:lineRevocation-1], lines[lineRevocation:]),
			lineCRL + 1, "crl comes after those of kind revocation"},
		{"row dropped", join(lines[:lineRevocation-1], lines[lineRevocation:]), lineEnd - 1, "revocation: 2 rows against 1"},
		{"certificates exchanged", join(lines[:lineCertificate-1], lines[lineCertificate:lineCertificate+1], lines[lineCertificate-1:lineCertificate], lines[lineCertificate+1:]),
			lineEnd, "certificate: as many rows, but not the same"},
		{"certificate twice", join(lines[:lineCertificate], lines[lineCertificate-1:]), lineEnd + 1, "certificate: 2 rows against 3"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, _, err := read(strings.NewReader(test.data))
			refused(t, err, test.line, test.want)
		})
	}
}

func TestFirstLine(t *testing.T) {
	const good = `{"format":"cauase-rows","version":6,"created":"2026-03-04T05:06:07.5Z","software":"v1"}` + "\n"
	if d, err := Read(strings.NewReader(good)); err != nil || d.Meta().Software != "v1" {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, old, new string
		want           error
	}{
		{"empty", good, "", ErrNotDump},
		{"SQL", good, "BEGIN TRANSACTION;\x00", ErrNotDump},
		{"another format", "cauase-rows", "cauase-cows", ErrNotDump},
		{"cut in the prefix", good, good[:20], ErrNotDump},
		{"cut", good, good[:60], ErrInvalid},
		{"later version", `"version":6`, `"version":7`, ErrNewer},
		{"later version that says more", `"version":6`, `"version":99,"compression":{"is":["zstd"]}`, ErrNewer},
		{"version 0", `"version":6`, `"version":0`, ErrInvalid},
		{"negative version", `"version":6`, `"version":-1`, ErrInvalid},
		{"version as a text", `"version":6`, `"version":"1"`, ErrInvalid},
		{"version null", `"version":6`, `"version":null`, ErrInvalid},
		{"version with a fraction", `"version":6`, `"version":1.5`, ErrInvalid},
		{"version out of range", `"version":6`, `"version":6` + strings.Repeat("0", 100), ErrInvalid},
		{"version twice", `"version":6`, `"version":7,"version":6`, ErrInvalid},
		{"unknown member", `,"created"`, `,"x":1,"created"`, ErrInvalid},
		{"no time", `2026-03-04T05:06:07.5Z`, `yesterday`, ErrInvalid},
		{"time elsewhere", `07.5Z`, `07.5+01:00`, ErrInvalid},
		{"time missing", `"created":"2026-03-04T05:06:07.5Z",`, ``, ErrInvalid},
		{"a space", `,"created"`, `, "created"`, ErrInvalid},
		{"too long", `"v1"`, `"` + strings.Repeat("v", 5000) + `"`, ErrInvalid},
		{"without an end", "\n", strings.Repeat(" ", 1e6), ErrInvalid},
	} {
		t.Run(test.name, func(t *testing.T) {
			d, err := Read(strings.NewReader(strings.Replace(good, test.old, test.new, 1)))
			if !errors.Is(err, test.want) || d != nil {
				t.Errorf("%v, want %v", err, test.want)
			}
		})
	}
	_, err := Read(strings.NewReader(strings.Replace(good, `n":6`, `n":7`, 1)))
	for _, want := range []string{"v1", "version 7", "up to version 6", "use the version that wrote it"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %q", err, want)
		}
	}
}

// Whatever fails below is passed on, so that a damaged backup is known as one.
func TestBrokenReader(t *testing.T) {
	data, _ := write(t, samples())
	broken := errors.New("damaged")
	for n := range len(data) + 1 {
		r := io.MultiReader(strings.NewReader(data[:n]), iotest.ErrReader(broken))
		if _, _, err := read(r); !errors.Is(err, broken) {
			t.Fatalf("broken at %d: %v", n, err)
		}
	}
	for n := range len(data) {
		if _, _, err := read(strings.NewReader(data[:n])); err == nil {
			t.Fatalf("cut at %d: taken for whole", n)
		}
	}
}

// Every byte matters: none can be another one without being noticed.
func TestEveryByte(t *testing.T) {
	data, _ := write(t, samples())
	start := strings.IndexByte(data, '\n') + 1
	for i := start; i < len(data); i++ {
		changed := []byte(data)
		changed[i] ^= 1
		if _, _, err := read(bytes.NewReader(changed)); err == nil {
			t.Fatalf("byte %d changed from %q to %q: taken as right", i, data[i], changed[i])
		}
	}
}

func TestStopEarly(t *testing.T) {
	data, _ := write(t, samples())
	d, err := Read(strings.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	for range d.Rows() {
		break
	}
	if d.Summary() != nil {
		t.Error("a summary of some of the rows")
	}
}

// endless gives a stream of n counters, which are made as they are read.
type endless struct {
	n, i int
	rest []byte
}

func (e *endless) Read(p []byte) (int, error) {
	for len(e.rest) == 0 {
		if e.i > e.n {
			return 0, io.EOF
		}
		if e.i == 0 {
			e.rest = []byte(`{"format":"cauase-rows","version":6,"created":"2026-03-04T05:06:07Z","software":""}` + "\n")
		} else {
			e.rest = fmt.Appendf(nil, `{"setting":{"authority":"cas","name":"%09d","value":"%s"}}`+"\n", e.i, strings.Repeat("x", 900))
		}
		e.i++
	}
	n := copy(p, e.rest)
	e.rest = e.rest[n:]
	return n, nil
}

func TestFlatMemory(t *testing.T) {
	const n = 50_000
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	d, err := Read(&endless{n: n})
	if err != nil {
		t.Fatal(err)
	}
	before, most, rows := heap(), uint64(0), 0
	for row, err := range d.Rows() {
		if err != nil {
			break // it has no end marker
		}
		if rows++; rows%10_000 == 0 {
			most = max(most, heap())
		}
		if _, ok := row.(store.Setting); !ok {
			t.Fatalf("%T", row)
		}
	}
	if rows != n {
		t.Errorf("%d rows", rows)
	}
	if most > before+4<<20 {
		t.Errorf("%d KiB of memory became %d", before>>10, most>>10)
	}
}

func FuzzRead(f *testing.F) {
	data, _ := write(f, samples())
	f.Add([]byte(data))
	lines := strings.SplitAfter(data, "\n")
	for i, l := range lines {
		f.Add([]byte(lines[0] + l))
		f.Add([]byte(strings.Join(lines[:i], "")))
	}
	f.Add([]byte(`{"format":"cauase-rows","version":2}` + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		rows, d, err := read(bytes.NewReader(data))
		if err != nil {
			if !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrNotDump) && !errors.Is(err, ErrNewer) {
				t.Fatalf("%v", err)
			}
			return
		}
		// What is taken is what would be written.
		var b bytes.Buffer
		sum, err := Write(&b, d.Meta(), each(rows))
		if err != nil {
			t.Fatal(err)
		}
		_, body, _ := bytes.Cut(data, []byte("\n"))
		_, again, _ := bytes.Cut(b.Bytes(), []byte("\n"))
		if !bytes.Equal(body, again) || !sum.Equal(d.Summary()) {
			t.Fatal("it is written in another way")
		}
	})
}

// FuzzLine looks for a line that is taken and yet is not the one that its row would be written as.
func FuzzLine(f *testing.F) {
	data, _ := write(f, samples())
	lines := strings.SplitAfter(data, "\n")
	for _, l := range lines {
		f.Add([]byte(strings.TrimSuffix(l, "\n")))
	}
	above := samples()[:4]
	before := strings.Join(lines[:5], "")
	f.Fuzz(func(t *testing.T, line []byte) {
		rows, _, err := read(io.MultiReader(strings.NewReader(before), bytes.NewReader(line), strings.NewReader("\n")))
		if err == nil {
			t.Fatal("no end, and no error")
		}
		if len(rows) != 5 || bytes.ContainsRune(line, '\n') {
			return
		}
		h := NewHash()
		var again []byte
		for _, row := range append(above, rows[4]) {
			if again, err = h.line(row); err != nil {
				t.Fatal(err)
			}
		}
		if string(again) != string(line)+"\n" {
			t.Fatalf("%q is written as %q", line, again)
		}
	})
}
