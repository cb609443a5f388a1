//go:build pkcs11

package token

import (
	"crypto"
	"crypto/ed25519"
	"crypto/elliptic"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/ThalesGroup/crypto11"
	"github.com/miekg/pkcs11"
	"github.com/thales-e-security/pool"

	"cauase/pkg/keys"
	"cauase/pkg/pki"
)

// Built reports whether this program can use tokens.
const Built = true

const (
	// maxSessions bounds what is asked of a token at once: others wait for their turn. A token may allow fewer.
	maxSessions = 16
	// maxWait is how long they do.
	maxWait = 30 * time.Second
)

// A module is a token to which a session is open. Keys are made and used by crypto11, with sessions of its pool. What that library has no
// functions for, Ed25519 and what a token says about itself, is done with the same functions of the vendor's library directly: its state,
// and who is logged in, is of the process and not of a caller.
type module struct {
	uri  URI
	keep *crypto11.Context
	raw  *pkcs11.Ctx
	slot uint

	login    pkcs11.SessionHandle // keeps us logged in
	sessions chan pkcs11.SessionHandle

	mu   sync.Mutex
	keys map[string]crypto.Signer // that were found, by their id
}

// connect opens a session to the token and logs in.
func connect(uri URI, pin func() ([]byte, error)) (_ device, err error) {
	m := &module{uri: uri, sessions: make(chan pkcs11.SessionHandle, maxSessions), keys: map[string]crypto.Signer{}}
	config := &crypto11.Config{Path: uri.Module, MaxSessions: maxSessions, PoolWaitTimeout: maxWait, LoginNotSupported: true}
	if uri.Serial != "" {
		config.TokenSerial = uri.Serial
	} else {
		config.TokenLabel = uri.Token
	}
	// It says no more of a library that cannot be loaded.
	if m.raw = pkcs11.New(uri.Module); m.raw == nil {
		return nil, fmt.Errorf("the library %s cannot be loaded: it is not there, or no PKCS #11 library for this machine", shown(uri.Module))
	}
	if m.keep, err = crypto11.Configure(config); err != nil {
		m.raw.Destroy()
		if strings.Contains(err.Error(), "could not find PKCS#11 token") { // a variable of its own, not exported
			return nil, errAbsent
		}
		return nil, fmt.Errorf("%w: %w", errLost, err)
	}
	defer func() {
		if err != nil {
			m.Close()
		}
	}()
	info, err := m.find()
	if err != nil {
		return nil, err
	}
	if m.login, err = m.raw.OpenSession(m.slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION); err != nil {
		return nil, lost(err)
	}
	return m, m.logIn(info, pin)
}

// find finds the slot of the token, of which there must be one only.
func (m *module) find() (found pkcs11.TokenInfo, err error) {
	slots, err := m.raw.GetSlotList(true)
	if err != nil {
		return found, lost(err)
	}
	number := 0
	for _, slot := range slots {
		info, err := m.raw.GetTokenInfo(slot)
		if err != nil {
			continue // it is another one, or pulled out just now
		}
		if m.uri.Matches(described(info)) {
			number++
			found, m.slot = info, slot
		}
	}
	switch {
	case number == 0:
		return found, errAbsent
	case number > 1:
		return found, fmt.Errorf("%d tokens fit %s: add serial= to its PKCS #11 URI", number, m.uri)
	}
	return found, nil
}

func described(info pkcs11.TokenInfo) URI {
	trim := func(s string) string { return strings.TrimRight(s, " \x00") }
	return URI{Token: trim(info.Label), Manufacturer: trim(info.ManufacturerID), Model: trim(info.Model), Serial: trim(info.SerialNumber)}
}

// logIn logs in, unless that could lock the token.
func (m *module) logIn(info pkcs11.TokenInfo, pin func() ([]byte, error)) error {
	switch {
	case info.Flags&pkcs11.CKF_LOGIN_REQUIRED == 0:
		return nil
	case info.Flags&pkcs11.CKF_USER_PIN_LOCKED != 0:
		return fmt.Errorf("%w: its PIN is locked, after too many wrong ones: its security officer can set a new one", errPIN)
	case info.Flags&pkcs11.CKF_USER_PIN_FINAL_TRY != 0:
		return fmt.Errorf("%w: its PIN is locked if the next one is wrong, and this is not tried here: log in once with another program, such as pkcs11-tool --login --list-objects", errPIN)
	}
	secret, err := pin()
	if err != nil {
		return err
	}
	err = m.raw.Login(m.login, pkcs11.CKU_USER, string(secret)) // which copies it to memory of C, and frees that
	clear(secret)
	switch code := pkcs11.Error(0); {
	case err == nil:
		return nil
	case !errors.As(err, &code):
		return lost(err)
	case code == pkcs11.CKR_USER_ALREADY_LOGGED_IN:
		return nil
	case code == pkcs11.CKR_PIN_INCORRECT, code == pkcs11.CKR_PIN_INVALID, code == pkcs11.CKR_PIN_LEN_RANGE:
		return fmt.Errorf("%w: %w", errPIN, errWrongPIN)
	case code == pkcs11.CKR_PIN_LOCKED, code == pkcs11.CKR_PIN_EXPIRED, code == pkcs11.CKR_USER_PIN_NOT_INITIALIZED:
		return fmt.Errorf("%w: %w", errPIN, err)
	}
	return lost(err)
}

// lost marks an error after which the token may have to be looked for again.
func lost(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", errLost, err)
}

// judge is lost for what a token answers, but for what it would answer each time. What does not come from the token is not lost either.
func judge(err error) error {
	var code pkcs11.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, pool.ErrTimeout):
		return fmt.Errorf("%w: none of %d sessions has become free for %v", errBusy, maxSessions, maxWait)
	case !errors.As(err, &code):
		return err
	}
	switch code {
	case pkcs11.CKR_MECHANISM_INVALID, pkcs11.CKR_MECHANISM_PARAM_INVALID, pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED, pkcs11.CKR_KEY_TYPE_INCONSISTENT,
		pkcs11.CKR_DATA_LEN_RANGE, pkcs11.CKR_KEY_SIZE_RANGE, pkcs11.CKR_TEMPLATE_INCONSISTENT, pkcs11.CKR_TEMPLATE_INCOMPLETE,
		pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, pkcs11.CKR_ATTRIBUTE_TYPE_INVALID, pkcs11.CKR_TOKEN_WRITE_PROTECTED, pkcs11.CKR_DOMAIN_PARAMS_INVALID,
		pkcs11.CKR_CURVE_NOT_SUPPORTED, pkcs11.CKR_FUNCTION_NOT_SUPPORTED:
		return fmt.Errorf("%w: %w", ErrIncapable, err)
	}
	return lost(err)
}

// Close ends all sessions. It waits for what is under way.
func (m *module) Close() {
	for {
		select {
		case session := <-m.sessions:
			_ = m.raw.CloseSession(session)
			continue
		default:
		}
		break
	}
	if m.login != 0 {
		_ = m.raw.CloseSession(m.login)
	}
	_ = m.keep.Close()
	m.raw.Destroy()
}

// with calls do with a session of our own.
func (m *module) with(do func(pkcs11.SessionHandle) error) (err error) {
	var session pkcs11.SessionHandle
	select {
	case session = <-m.sessions:
	default:
		if session, err = m.raw.OpenSession(m.slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION); err != nil {
			return lost(err)
		}
	}
	if err = do(session); err == nil {
		select {
		case m.sessions <- session:
			return nil
		default:
		}
	}
	_ = m.raw.CloseSession(session)
	return err
}

// Supports returns why the token cannot make a key of the type and sign with it, nil if it can.
func (m *module) Supports(t pki.KeyType) error {
	list, err := m.raw.GetMechanismList(m.slot)
	if err != nil {
		return lost(err)
	}
	var needed []uint
	bits := uint(0)
	switch t {
	case pki.KeyECDSAP256, pki.KeyECDSAP384:
		needed = []uint{pkcs11.CKM_EC_KEY_PAIR_GEN, pkcs11.CKM_ECDSA}
		bits = map[pki.KeyType]uint{pki.KeyECDSAP256: 256, pki.KeyECDSAP384: 384}[t]
	case pki.KeyRSA2048, pki.KeyRSA3072, pki.KeyRSA4096:
		needed = []uint{pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN, pkcs11.CKM_RSA_PKCS, pkcs11.CKM_RSA_PKCS_PSS}
		bits = map[pki.KeyType]uint{pki.KeyRSA2048: 2048, pki.KeyRSA3072: 3072, pki.KeyRSA4096: 4096}[t]
	case pki.KeyEd25519:
		needed = []uint{mechanismEdwardsKeyPair, mechanismEdDSA}
	default:
		return fmt.Errorf("%w: no token is asked for keys of the type %s", ErrIncapable, t)
	}
	for _, mechanism := range needed {
		if !has(list, mechanism) {
			return fmt.Errorf("%w: the token %s has no %s (it lacks mechanism %#x)", ErrIncapable, m.uri.name(), t, mechanism)
		}
	}
	info, err := m.raw.GetMechanismInfo(m.slot, []*pkcs11.Mechanism{pkcs11.NewMechanism(needed[0], nil)})
	if err == nil && bits > 0 && info.MaxKeySize > 0 && (bits < info.MinKeySize || bits > info.MaxKeySize) {
		return fmt.Errorf("%w: the token %s makes keys from %d to %d bits, and %s has %d", ErrIncapable, m.uri.name(), info.MinKeySize, info.MaxKeySize, t, bits)
	}
	return nil
}

func has(list []*pkcs11.Mechanism, mechanism uint) bool {
	for _, m := range list {
		if m.Mechanism == mechanism {
			return true
		}
	}
	return false
}

// Generate makes a key pair that stays on the token.
func (m *module) Generate(id []byte, label string, t pki.KeyType) (pub crypto.PublicKey, err error) {
	public, err := crypto11.NewAttributeSetWithIDAndLabel(id, []byte(label))
	if err != nil {
		return nil, err
	}
	private := public.Copy()
	public.AddIfNotPresent([]*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true), pkcs11.NewAttribute(pkcs11.CKA_VERIFY, true),
	})
	private.AddIfNotPresent([]*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true), pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
		pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true), pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, false),
		pkcs11.NewAttribute(pkcs11.CKA_SIGN, true),
	})
	var key crypto11.Signer
	switch t {
	case pki.KeyECDSAP256:
		key, err = m.keep.GenerateECDSAKeyPairWithAttributes(public, private, elliptic.P256())
	case pki.KeyECDSAP384:
		key, err = m.keep.GenerateECDSAKeyPairWithAttributes(public, private, elliptic.P384())
	case pki.KeyRSA2048, pki.KeyRSA3072, pki.KeyRSA4096:
		public.AddIfNotPresent([]*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_ENCRYPT, false), pkcs11.NewAttribute(pkcs11.CKA_WRAP, false)})
		private.AddIfNotPresent([]*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_DECRYPT, false), pkcs11.NewAttribute(pkcs11.CKA_UNWRAP, false)})
		key, err = m.keep.GenerateRSAKeyPairWithAttributes(public, private, map[pki.KeyType]int{pki.KeyRSA2048: 2048, pki.KeyRSA3072: 3072, pki.KeyRSA4096: 4096}[t])
	case pki.KeyEd25519:
		return m.generateEd25519(id, public, private)
	default:
		return nil, m.Supports(t)
	}
	if err != nil {
		return nil, judge(err)
	}
	if err := m.stays(id); err != nil {
		return nil, errors.Join(err, key.Delete())
	}
	m.remember(id, key)
	return key.Public(), nil
}

// stays checks that the token has made a key as it was told to: one that nobody can read.
func (m *module) stays(id []byte) error {
	return m.with(func(session pkcs11.SessionHandle) error {
		handles, err := m.objects(session, id, pkcs11.CKO_PRIVATE_KEY)
		if err != nil {
			return err
		}
		if len(handles) != 1 {
			return fmt.Errorf("the token %s has %d private keys with the id %x, want the one that it was told to make", m.uri.name(), len(handles), id)
		}
		values, err := m.raw.GetAttributeValue(session, handles[0], []*pkcs11.Attribute{
			pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, nil), pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, nil), pkcs11.NewAttribute(pkcs11.CKA_TOKEN, nil),
		})
		if err != nil {
			return judge(err)
		}
		if !truth(values[0]) || truth(values[1]) || !truth(values[2]) {
			return fmt.Errorf("the token %s makes keys that can be read from it (sensitive %t, extractable %t, stored %t): such a key is not used",
				m.uri.name(), truth(values[0]), truth(values[1]), truth(values[2]))
		}
		return nil
	})
}

func truth(a *pkcs11.Attribute) bool { return len(a.Value) > 0 && a.Value[0] != 0 }

// objects finds objects of a class by their id.
func (m *module) objects(session pkcs11.SessionHandle, id []byte, class uint) (handles []pkcs11.ObjectHandle, err error) {
	err = m.raw.FindObjectsInit(session, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_ID, id), pkcs11.NewAttribute(pkcs11.CKA_CLASS, class)})
	if err != nil {
		return nil, lost(err)
	}
	handles, _, err = m.raw.FindObjects(session, 4)
	return handles, lost(errors.Join(err, m.raw.FindObjectsFinal(session)))
}

func (m *module) remember(id []byte, key crypto.Signer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keys[string(id)] = key
}

func (m *module) forget(id []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.keys, string(id))
}

// key finds the key with an id, which has to be that of pub.
func (m *module) key(id []byte, pub crypto.PublicKey) (crypto.Signer, error) {
	m.mu.Lock()
	key := m.keys[string(id)]
	m.mu.Unlock()
	if key != nil {
		return key, nil
	}
	var err error
	if _, edwards := pub.(ed25519.PublicKey); edwards {
		key, err = m.findEd25519(id)
	} else {
		var found []crypto11.Signer
		found, err = m.keep.FindKeyPairs(id, nil)
		switch {
		case err != nil:
			err = judge(err)
		case len(found) == 0:
			err = fmt.Errorf("%w: the token %s has no key with the id %x", keys.ErrUnusable, m.uri.name(), id)
		default:
			key = found[0]
		}
	}
	if err != nil {
		return nil, err
	}
	if !pki.SameKey(key.Public(), pub) {
		return nil, fmt.Errorf("%w: the token %s has another key with the id %x", keys.ErrUnusable, m.uri.name(), id)
	}
	m.remember(id, key)
	return key, nil
}

// Sign signs with the key of pub.
func (m *module) Sign(id []byte, pub crypto.PublicKey, random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	key, err := m.key(id, pub)
	if err != nil {
		return nil, err
	}
	signature, err := key.Sign(random, digest, opts)
	if err != nil {
		m.forget(id)
		return nil, judge(err)
	}
	return signature, nil
}

// Destroy destroys both halves of a key pair. It is no error if they are gone.
func (m *module) Destroy(id []byte) error {
	m.forget(id)
	return m.with(func(session pkcs11.SessionHandle) error {
		var errs []error
		for _, class := range []uint{pkcs11.CKO_PRIVATE_KEY, pkcs11.CKO_PUBLIC_KEY} {
			handles, err := m.objects(session, id, class)
			errs = append(errs, err)
			for _, handle := range handles {
				errs = append(errs, judge(m.raw.DestroyObject(session, handle)))
			}
		}
		return errors.Join(errs...)
	})
}
