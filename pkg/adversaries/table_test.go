package adversaries

import "sync"

// A row is one input of an adversary, or one fault, with all that has to come of it.
type row struct {
	class int
	name  string // the input, as the documentation lists it
	try   func(w *world) answer
	want  string // "400": the HTTP status; "exit 1": a tool's exit code; else what try counts
	says  string // part of the error

	// What the database is to hold afterwards beside what it held. Nothing, unless it is said here.
	signed, pending, revoked int
	audited                  string // action and result of an entry that has to be there

	only string // the engine it is about, if not about both
	wild bool   // the numbers of rows afterwards depend on a race, or on who else is there; try has judged them
}

// An answer is what an input got.
type answer struct {
	got  string
	text string
}

// classes are what adversaries and faults are about. The table has at least three inputs for each.
var classes = []string{
	1:  "RSA keys of absurd sizes and exponents",
	2:  "keys that anybody can compute",
	3:  "points that are on no curve, and curves that nobody knows",
	4:  "keys that must not be certified again",
	5:  "signatures of requests",
	6:  "PEM that two parsers read differently",
	7:  "BER that is not DER",
	8:  "extensions that ask for more",
	9:  "names that display as something else",
	10: "alternative names",
	11: "floods of requests",
	12: "serial numbers and validity",
	13: "versions that do not fit together",
	14: "what cannot be revoked",
	15: "numbers of revocation lists",
	16: "lists while the database is away, and long ones",
	17: "callers without the right",
	18: "revoked while connected",
	19: "identities in headers",
	20: "HTTP that two servers read differently",
	21: "slow and rude connections",
	22: "bodies without end",
	23: "signed messages that are not what they seem",
	24: "signed messages sent elsewhere, and again",
	25: "holders who are none",
	26: "disks that are full, damaged or read-only",
	27: "PostgreSQL that refuses, ends or is away",
	28: "clocks, and daemons side by side",
	29: "backups that were tampered with",
	30: "daemons that answer nonsense",
	31: "answers that are someone else's",
	32: "files on hosts that are not what they seem",
	33: "hooks, and agents in each other's way",
}

// inputs is the table, made once.
var inputs = sync.OnceValue(func() (rows []row) {
	for _, some := range [][]row{
		keyRows(), signatureRows(), encodingRows(), nameRows(), floodRows(), // requests
		serialRows(), versionRows(), revocationRows(), listRows(),
		callerRows(), headerRows(), framingRows(), connectionRows(), bodyRows(),
		envelopeRows(), replayRows(), holderRows(),
		diskRows(), postgresRows(), clockRows(), backupRows(),
		answerRows(), swappedRows(), fileRows(), hookRows(),
	} {
		rows = append(rows, some...)
	}
	return rows
})
