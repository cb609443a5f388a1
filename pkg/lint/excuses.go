package lint

// Why a rule may be broken.
const (
	asAsked  = "copied from the request, as docs/protocol.md section 4 says, and no verifier minds: "
	ownHosts = "hosts inside one's own walls have such names: "
	bounds   = "intake accepts longer values than RFC 5280 appendix A.1, since enough deployed requests have them: "
)

// excuses are the rules that may be broken by what a private CA issues, by zlint's names, each with the
// reason. A test fails for one that is never needed.
var excuses = map[string]string{
	"e_rfc_dnsname_underscore_in_sld":   ownHosts + "pki.ParseRequest accepts underscores because services and containers use them",
	"e_ext_san_uri_host_not_fqdn_or_ip": ownHosts + "the trust domains of SPIFFE and the servers of a URI have short ones, and file:///… has none",
	"e_subj_email_not_in_san":           asAsked + "a mail address in the subject is legacy (RFC 5280 4.1.2.6), and openssl's dialogue asks for it",
	"e_ecdsa_allowed_ku":                asAsked + "keyEncipherment is in many a template, whatever the key",
	"e_rsa_allowed_ku_ee":               asAsked + "keyAgreement is in some templates, whatever the key",

	"e_subject_common_name_max_length":              bounds + "host names have up to 253 characters",
	"e_subject_organization_name_max_length":        bounds + "legal names",
	"e_subject_organizational_unit_name_max_length": bounds + "departments",
	"e_subject_locality_name_max_length":            bounds + "places",
	"e_subject_state_name_max_length":               bounds + "places",
	"e_subject_street_address_max_length":           bounds + "addresses",
	"e_subject_postal_code_max_length":              bounds + "addresses",
	"e_subject_dn_serial_number_max_length":         bounds + "digests as serial numbers of devices",
}
