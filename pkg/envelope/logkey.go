package envelope

// A LogKey is part of the answers of GET /{authority}/log/…: the authority whose key signs the envelope around it vouches for the key
// by which checkpoints of the daemon's log are verified, and for the restores from backups after which the log went on from an
// earlier state. So nobody who lacks a key of a CA can declare a restore.
//
// It is an extension of ours.
type LogKey struct {
	Key    string     `json:"log_key"` // in the form of golang.org/x/mod/sumdb/note
	Epochs []LogEpoch `json:"log_epochs"`
}

// A LogEpoch is where an epoch of a log began: the first at 0, others at what the backup had that was restored.
type LogEpoch struct {
	Epoch int64  `json:"epoch"`
	Size  int64  `json:"size"`
	Root  []byte `json:"root"`
	Time  int64  `json:"time"` // seconds since 1970
}

// MaxLogEpochs bounds the restores of a daemon.
const MaxLogEpochs = 1000

// EncodeLogKey writes what DecodeLogKey reads. It fails on text that is not UTF-8.
func EncodeLogKey(k LogKey) ([]byte, error) { return encode("log key", k) }

// DecodeLogKey reads the payload of an envelope. Errors are ErrInvalid.
func DecodeLogKey(payload []byte) (LogKey, error) {
	var k LogKey
	err := decode("log key", payload, &k)
	if err == nil && (k.Key == "" || len(k.Epochs) == 0) {
		err = refuse("log key", "log_key and log_epochs are needed")
	}
	if err == nil && len(k.Epochs) > MaxLogEpochs {
		err = refuse("log key", "more than %d epochs", MaxLogEpochs)
	}
	if err != nil {
		return LogKey{}, err
	}
	return k, nil
}
