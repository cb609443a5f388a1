package endtoend

// Why a lint may not apply.
const (
	webPKI    = "a rule of the CA/Browser Forum for public web sites: our certificates name users, programs and hosts of one organisation"
	ownNames  = "the common name is whatever the holder is called, not a domain name of the public web"
	asAsked   = "copied from the request, as docs/protocol.md section 4 says: who approves it decides"
	noOCSP    = "there is no OCSP responder and nothing to fetch: verifiers have the CA certificates already"
	protocol5 = "the form of CA certificates is set by docs/protocol.md section 5"
	protocol4 = "the form of certificates is set by docs/protocol.md section 4"
	ed25519   = "Ed25519 is one of our key types; the CA/Browser Forum knows RSA and ECDSA only"
)

// notForUs lists the lints of zlint that do not apply to a private CA, each with the reason.
// One that fails and is not listed fails the test, and so does one that is listed and
// never fails. All lints from RFC 5280 must pass unless a reason is given.
var notForUs = map[string]string{
	// CA certificates.
	"e_ca_country_name_missing":                                     protocol5,
	"e_ca_organization_name_missing":                                protocol5,
	"n_ca_digital_signature_not_set":                                "CAs sign certificates and revocation lists, nothing else: there is no OCSP",
	"w_root_ca_basic_constraints_path_len_constraint_field_present": protocol5 + ": no intermediate CAs, ever",
	"e_cabf_ecc_allowed_key_usages":                                 "zlint takes our CAs for end entities, whose ECC keys would have to sign data: " + protocol5,

	// Names.
	"e_dnsname_bad_character_in_label":              ownNames,
	"e_dnsname_label_too_long":                      ownNames,
	"e_dnsname_not_valid_tld":                       ownNames,
	"e_ext_san_missing":                             ownNames,
	"e_subject_common_name_not_exactly_from_san":    ownNames,
	"w_subject_common_name_included":                ownNames,
	"e_ext_san_contains_reserved_ip":                "hosts inside one's own walls have addresses that the public web must not name",
	"e_ext_san_rfc822_name_present":                 asAsked,
	"e_ext_san_uniform_resource_identifier_present": asAsked,
	"e_organizational_unit_name_prohibited":         asAsked,
	"e_sub_cert_locality_name_must_appear":          asAsked,
	"e_sub_cert_province_must_appear":               asAsked,

	// Extensions.
	"e_missing_crl_distrib_point":                             protocol4 + ": only services' certificates name their list, as the daemon itself verifies users and hosts have no use for its HTTPS CA",
	"e_policy_qualifiers_other_than_cps_not_permitted":        protocol4 + ": the mark of automatic signing comes with a user notice",
	"e_exactly_one_smime_policy":                              webPKI,
	"e_sub_cert_cert_policy_empty":                            webPKI,
	"e_sub_cert_certificate_policies_missing":                 webPKI,
	"e_sub_cert_eku_missing":                                  asAsked,
	"e_sub_cert_aia_missing":                                  noOCSP,
	"w_sub_cert_aia_does_not_contain_issuing_ca_url":          noOCSP,
	"w_ct_sct_policy_count_unsatisfied":                       "private certificates do not belong in public logs",
	"w_ext_key_usage_not_critical":                            asAsked,
	"w_ext_subject_key_identifier_not_recommended_subscriber": protocol4 + ", and RFC 5280 4.2.1.2 recommends it",

	// Keys and signatures.
	"e_algorithm_identifier_improper_encoding": ed25519,
	"e_signature_algorithm_not_supported":      ed25519,

	// Revocation lists.
	"e_cab_crl_has_valid_reason_code": "users may give any reason of RFC 5280 5.3.1",
	"e_crl_next_update_invalid":       "docs/protocol.md section 6: a list lives for a third of a certificate's validity",
}
