package store

// A Renewable is all that the renewal of a certificate depends on, as one snapshot.
type Renewable struct {
	Certificate Certificate // that is to be renewed: Authority, ID, Serial, CAID, DER, Profile, Validity and Lineage of it
	// Lineage is that to which it belongs: Authority, ID, Role, State, Newest, NotAfter, Renewals, Address, Forks, and what its holder has caused since Day.
	Lineage Lineage
	Revoked bool
	CAs     int64 // CounterCA of its authority

	// About the key that the successor is to have.
	OfCA        bool // see Reader.IsCAKey
	Compromised bool // see Reader.KeyCompromised
}
