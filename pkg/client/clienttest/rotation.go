package clienttest

import (
	"encoding/hex"
	"encoding/json"
	"io"
	"math/big"
	"net/http"

	"cauase/pkg/envelope"
	"cauase/pkg/pki"
)

// Withdraw has a CA certificate be trusted no longer: the newest one says so, and no list of it is made any more.
func (a *Authority) Withdraw(ca CA) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.gone == nil {
		a.gone = map[string]bool{}
	}
	a.gone[string(ca.Crt.Raw)] = true
	a.Number++
}

// Withdrawals are the statements about what was withdrawn.
func (a *Authority) Withdrawals() []byte {
	newest := a.Newest()
	a.mu.Lock()
	defer a.mu.Unlock()
	statements := []json.RawMessage{}
	for _, ca := range a.cas {
		if a.gone[string(ca.Crt.Raw)] {
			statements = append(statements, a.Withdrawal(newest, newest, ca))
		}
	}
	data, err := json.Marshal(statements)
	a.must(err)
	return data
}

// Withdrawal is the statement, signed with a key of signer, that by has withdrawn a CA certificate.
func (a *Authority) Withdrawal(signer, by, withdrawn CA) []byte {
	payload, err := envelope.EncodeWithdrawal(envelope.Withdrawal{
		WithdrawnPEM: string(pki.EncodeCertificatePEM(withdrawn.Crt.Raw)), ByPEM: string(pki.EncodeCertificatePEM(by.Crt.Raw)),
	})
	a.must(err)
	data, err := envelope.Sign(signer.Key, payload)
	a.must(err)
	return data
}

func (a *Authority) holds(w http.ResponseWriter, body []byte) {
	message, err := envelope.Parse(body)
	a.must(err)
	holding, err := envelope.DecodeHolding(message.Payload())
	a.must(err)
	crt, err := pki.ParseCertificatePEM([]byte(holding.CertificatePEM))
	a.must(err)
	if message.Verify(crt.PublicKey) != nil {
		http.Error(w, "not the holder", http.StatusUnauthorized)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.held == nil {
		a.held = map[string]string{}
	}
	a.held[crt.SerialNumber.String()] = hex.EncodeToString(holding.KeyID)
	w.WriteHeader(http.StatusNoContent)
}

// Held is the key identifier, in hexadecimal, of the CA certificate that the holder of a certificate has confirmed to have; "" for none.
func (a *Authority) Held(serial *big.Int) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.held[serial.String()]
}

// RenewWithdrawn answers a renewal as renew does, also of a certificate of a CA that was withdrawn.
func (a *Authority) RenewWithdrawn(w http.ResponseWriter, r *http.Request, ca CA) bool {
	body, err := io.ReadAll(r.Body)
	a.must(err)
	a.mu.Lock()
	delete(a.gone, string(ca.Crt.Raw))
	a.mu.Unlock()
	a.renew(w, r, body)
	a.mu.Lock()
	a.gone[string(ca.Crt.Raw)] = true
	a.mu.Unlock()
	return true
}

// Renumber has the next lists have another number, as those of a daemon have once there is another CA certificate.
func (a *Authority) Renumber() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.Number++
}
