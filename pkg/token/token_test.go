package token

import (
	"crypto"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cauase/pkg/clock"
	"cauase/pkg/keys"
	"cauase/pkg/pki"
)

// A fake is a token in memory.
type fake struct {
	mu      sync.Mutex
	keys    map[string]crypto.Signer
	away    atomic.Bool
	pin     atomic.Pointer[string] // nil: none is needed
	tries   atomic.Int64           // wrong PINs
	opened  atomic.Int64
	closed  atomic.Int64
	entered chan struct{} // of signatures that wait for letGo
	letGo   chan struct{} // nil: none waits
}

type fakeDevice struct {
	*fake
	stale atomic.Bool // it was pulled out since
}

func newFake() *fake { return &fake{keys: map[string]crypto.Signer{}} }

func (f *fake) connect(_ URI, pin func() ([]byte, error)) (device, error) {
	f.opened.Add(1)
	if f.away.Load() {
		return nil, errAbsent
	}
	if want := f.pin.Load(); want != nil {
		got, err := pin()
		if err != nil {
			return nil, err
		}
		if string(got) != *want {
			f.tries.Add(1)
			return nil, fmt.Errorf("%w: %w", errPIN, errWrongPIN)
		}
	}
	return &fakeDevice{fake: f}, nil
}

func (d *fakeDevice) there() error {
	if d.away.Load() {
		d.stale.Store(true)
	}
	if d.stale.Load() {
		return errPulled
	}
	return nil
}

var errPulled = fmt.Errorf("%w: pulled out", errLost)

func (d *fakeDevice) Supports(t pki.KeyType) error {
	if t == pki.KeyEd25519 {
		return ErrIncapable
	}
	return d.there()
}

func (d *fakeDevice) Generate(id []byte, _ string, t pki.KeyType) (crypto.PublicKey, error) {
	if err := d.there(); err != nil {
		return nil, err
	}
	key, err := t.Generate()
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.keys[string(id)] = key
	return key.Public(), nil
}

func (d *fakeDevice) Sign(id []byte, pub crypto.PublicKey, random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if d.letGo != nil {
		d.entered <- struct{}{}
		<-d.letGo
	}
	if err := d.there(); err != nil {
		return nil, err
	}
	d.mu.Lock()
	key := d.keys[string(id)]
	d.mu.Unlock()
	if key == nil || !pki.SameKey(key.Public(), pub) {
		return nil, keys.ErrUnusable
	}
	return key.Sign(random, digest, opts)
}

func (d *fakeDevice) Destroy(id []byte) error {
	if err := d.there(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.keys, string(id))
	return nil
}

func (d *fakeDevice) Close() { d.closed.Add(1) }

// A rack is a custody with fakes in it, by the labels of tokens: keys of an authority are made on the token of its name.
type rack struct {
	*Custody
	clock *clock.Fake
	fakes map[string]*fake
}

func newRack(t *testing.T, uris ...string) *rack {
	t.Helper()
	r := &rack{clock: clock.NewFake(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)), fakes: map[string]*fake{}}
	var list []URI
	for _, text := range uris {
		uri, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, uri)
		r.fakes[uri.Token] = newFake()
	}
	tokens, err := newWith(Config{Tokens: list, Clock: r.clock}, func(uri URI, pin func() ([]byte, error)) (device, error) {
		return r.fakes[uri.Token].connect(uri, pin)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tokens.Close)
	r.Custody = NewCustody(tokens, keys.Row{})
	return r
}

func (r *rack) generate(t *testing.T, authority string) (keys.Ref, crypto.Signer) {
	t.Helper()
	ref, key, err := r.Generate(t.Context(), purposeAt(authority), pki.KeyECDSAP256)
	if err != nil {
		t.Fatal(err)
	}
	return ref, key
}

// purposeAt is that of a key which is to be made on the token of a name, or in the row.
func purposeAt(where string) keys.Purpose {
	p := keys.Purpose{Authority: where}
	if where != "row" {
		p.Place = "pkcs11:token=" + where
	}
	return p
}

func sign(key crypto.Signer) error {
	_, err := key.Sign(nil, make([]byte, 32), crypto.SHA256)
	return err
}

const oneToken = "pkcs11:token=a?module-path=/a.so"

// Keys are where they are meant to be, and are found by their references wherever they are.
func TestCustody(t *testing.T) {
	r := newRack(t, oneToken)
	onToken, key := r.generate(t, "a")
	inRow, _ := r.generate(t, "row")
	if onToken.Custody != Name || inRow.Custody != keys.RowCustody {
		t.Fatalf("custody %q and %q", onToken.Custody, inRow.Custody)
	}
	if strings.Contains(string(onToken.Ref), "module") {
		t.Errorf("the reference says how the token is reached: %s", onToken.Ref)
	}
	for _, ref := range []keys.Ref{onToken, inRow} {
		ref, err := r.Rebind(t.Context(), ref, keys.Purpose{}, keys.Purpose{Authority: "a"})
		if err != nil {
			t.Fatal(err)
		}
		opened, err := r.Open(t.Context(), keys.Purpose{Authority: "a"}, ref)
		if err != nil {
			t.Fatal(err)
		}
		if err := sign(opened); err != nil {
			t.Error(err)
		}
		if err := r.Erase(t.Context(), ref); err != nil {
			t.Error(err)
		}
	}
	if err := sign(key); !errors.Is(err, keys.ErrUnusable) {
		t.Errorf("an erased key: %v", err)
	}
	if _, _, err := r.Generate(t.Context(), purposeAt("a"), pki.KeyEd25519); !errors.Is(err, ErrIncapable) {
		t.Errorf("a type that the token has not: %v", err)
	}
	if _, _, err := r.Generate(t.Context(), purposeAt("elsewhere"), pki.KeyECDSAP256); !errors.Is(err, ErrUnknown) && !errors.Is(err, ErrNotBuilt) {
		t.Errorf("a token that is not configured: %v", err)
	}
	for name, text := range map[string]string{
		"junk":        "junk",
		"no id":       `{"uri":"pkcs11:token=a"}`,
		"a library":   `{"uri":"pkcs11:token=a;id=%01?module-path=/evil.so"}`,
		"no key":      `{"uri":"pkcs11:token=a;id=%01","public":""}`,
		"another URI": `{"uri":"file:/a"}`,
	} {
		if _, err := r.Open(t.Context(), keys.Purpose{}, keys.Ref{Custody: Name, Ref: []byte(text)}); !errors.Is(err, keys.ErrUnusable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A key whose token is away when it is to be destroyed is destroyed by the next call after the token's return.
func TestErasedWhenTheTokenIsBack(t *testing.T) {
	r := newRack(t, oneToken)
	ref, _ := r.generate(t, "a")
	other, _ := r.generate(t, "a")
	r.fakes["a"].away.Store(true)
	if err := r.Erase(t.Context(), ref); !errors.Is(err, keys.ErrLocked) {
		t.Errorf("away: %v", err)
	}
	r.fakes["a"].away.Store(false)
	r.clock.Advance(time.Minute)
	if err := r.Erase(t.Context(), other); err != nil {
		t.Error(err)
	}
	if n := len(r.fakes["a"].keys); n != 0 {
		t.Errorf("%d keys are left", n)
	}
}

// Whoever waits for a slow token is alone: neither another token nor a key elsewhere does.
func TestSlowTokenDelaysItsOwn(t *testing.T) {
	r := newRack(t, oneToken, "pkcs11:token=b?module-path=/a.so")
	_, slow := r.generate(t, "a")
	_, quick := r.generate(t, "b")
	_, inRow := r.generate(t, "row")
	f := r.fakes["a"]
	f.entered, f.letGo = make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	go func() { done <- sign(slow) }()
	<-f.entered
	for range 10 {
		if err := errors.Join(sign(quick), sign(inRow), r.Ready("a"), r.Ready("b")); err != nil {
			t.Fatal(err)
		}
	}
	// Not even one that is lost, by the same library, waits for the slow one, nor closes it.
	r.fakes["b"].away.Store(true)
	if err := sign(quick); !errors.Is(err, keys.ErrLocked) {
		t.Error(err)
	}
	r.fakes["b"].away.Store(false)
	r.clock.Advance(rest)
	if err := sign(quick); err != nil {
		t.Error(err)
	}
	if n := f.closed.Load(); n != 0 {
		t.Errorf("the slow one was closed %d times", n)
	}
	close(f.letGo)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A token that is away is looked for now and then, not by each that needs it; once it is back, all goes on.
func TestAwayIsNotAskedAgainAndAgain(t *testing.T) {
	r := newRack(t, oneToken)
	_, key := r.generate(t, "a")
	f := r.fakes["a"]
	f.away.Store(true)
	before := f.opened.Load()
	var running sync.WaitGroup
	for range 100 {
		running.Go(func() {
			if err := sign(key); !errors.Is(err, keys.ErrLocked) {
				t.Error(err)
			}
		})
	}
	running.Wait()
	if n := f.opened.Load() - before; n > 2 {
		t.Errorf("it was looked for %d times at one moment", n)
	}
	if err := r.Ready("a"); !errors.Is(err, keys.ErrLocked) {
		t.Errorf("ready: %v", err)
	}
	f.away.Store(false)
	r.clock.Advance(rest)
	// Who asks whether it is there, and does nothing if not, learns of its return.
	for r.Ready("a") != nil {
		runtime.Gosched()
	}
	if err := sign(key); err != nil {
		t.Error(err)
	}
	if opened, closed := f.opened.Load(), f.closed.Load(); closed != 1 {
		t.Errorf("opened %d times, closed %d times", opened, closed)
	}
}

// A PIN that is wrong is tried once.
func TestWrongPINIsNotTriedAgain(t *testing.T) {
	dir := t.TempDir()
	path := dir + "/pin"
	writePIN := func(pin string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(pin), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	writePIN("right")
	r := newRack(t, "pkcs11:token=a?module-path=/a.so&pin-source="+path)
	f, right := r.fakes["a"], "changed"
	was := "right"
	f.pin.Store(&was)
	_, key := r.generate(t, "a")
	f.pin.Store(&right)
	r.tokens.Close()
	for range 10 {
		r.clock.Advance(time.Hour)
		if err := sign(key); !errors.Is(err, errWrongPIN) || !errors.Is(err, keys.ErrLocked) || strings.Contains(err.Error(), "right") {
			t.Fatal(err)
		}
	}
	if n := f.tries.Load(); n != 1 {
		t.Errorf("it was tried %d times", n)
	}
	writePIN("changed")
	r.clock.Advance(rest)
	if err := sign(key); err != nil {
		t.Error(err)
	}
}

func TestConfiguration(t *testing.T) {
	for _, c := range []struct {
		uris []string
		want string
	}{
		{[]string{"pkcs11:object=a?module-path=/a.so"}, "names no token"},
		{[]string{"pkcs11:token=a"}, "module-path"},
		{[]string{"pkcs11:token=a?module-path=/a.so", "pkcs11:token=a?module-path=/b.so"}, "not in the same way"},
		{[]string{"pkcs11:token=a?module-path=/a.so", "pkcs11:token=a;object=x?module-path=/a.so"}, ""},
	} {
		var list []URI
		for _, text := range c.uris {
			uri, err := Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, uri)
		}
		_, err := newWith(Config{Tokens: list}, newFake().connect)
		if (err != nil) != (c.want != "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.uris, err, c.want)
		}
		if _, err := New(Config{Tokens: list}); !Built && !errors.Is(err, ErrNotBuilt) {
			t.Errorf("%v: %v", c.uris, err)
		}
	}
}
