package harden

import "slices"

// Suites of TLS 1.2 and older by the IANA registry of TLS parameters, sorted into
// what is good and why the others are not.

// goodSuites are the six of the checklist: ephemeral elliptic-curve key exchange
// and authenticated encryption.
var goodSuites = []uint16{0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8}

// suites13 are those of TLS 1.3 that encrypt and have a whole tag.
var suites13 = []uint16{0x1301, 0x1302, 0x1303}

// suiteClass is suites that are refused for one reason.
type suiteClass struct {
	what   string
	suites []uint16
}

// between is all numbers from first to last.
func between(first, last uint16) (all []uint16) {
	for s := first; s <= last; s++ {
		all = append(all, s)
	}
	return all
}

// weakSuites are the classes of the checklist. A suite may be in several.
var weakSuites = []suiteClass{
	{"NULL", []uint16{0x0000, 0x0001, 0x0002, 0x003b, 0x002c, 0x002d, 0x002e, 0x00b0, 0x00b1, 0x00b4, 0x00b5, 0x00b8, 0x00b9, 0xc001, 0xc006, 0xc00b, 0xc010, 0xc015, 0xc039, 0xc03a, 0xc03b}},
	{"export", slices.Concat([]uint16{0x0003, 0x0006, 0x0008, 0x000b, 0x000e, 0x0011, 0x0014, 0x0017, 0x0019}, between(0x0026, 0x002b), between(0x0060, 0x0065))},
	{"anonymous", slices.Concat(between(0x0017, 0x001b), []uint16{0x0034, 0x003a, 0x0046, 0x006c, 0x006d, 0x0089, 0x009b, 0x00a6, 0x00a7, 0x00bf, 0x00c5}, between(0xc015, 0xc019))},
	{"RC4", []uint16{0x0004, 0x0005, 0x0018, 0x0020, 0x0024, 0x008a, 0x008e, 0x0092, 0xc002, 0xc007, 0xc00c, 0xc011, 0xc016, 0xc033}},
	{"DES and 3DES", []uint16{0x0009, 0x000a, 0x000c, 0x000d, 0x000f, 0x0010, 0x0012, 0x0013, 0x0015, 0x0016, 0x001a, 0x001b, 0x001e, 0x001f, 0x008b, 0x008f, 0x0093, 0xc003, 0xc008, 0xc00d, 0xc012, 0xc017, 0xc01a, 0xc01b, 0xc01c, 0xc034}},
	{"RSA key exchange", slices.Concat([]uint16{0x002f, 0x0035, 0x003c, 0x003d, 0x0041, 0x0084, 0x0096, 0x009c, 0x009d, 0x00ba, 0x00c0, 0x0007, 0xc09c, 0xc09d, 0xc0a0, 0xc0a1, 0xc03c, 0xc03d, 0xc050, 0xc051, 0xc07a, 0xc07b})},
	{"DHE", slices.Concat([]uint16{0x0032, 0x0033, 0x0038, 0x0039, 0x0040, 0x0067, 0x006a, 0x006b, 0x0044, 0x0045, 0x0087, 0x0088, 0x0099, 0x009a, 0x009e, 0x009f, 0x00a2, 0x00a3, 0x00bd, 0x00be, 0x00c3, 0x00c4, 0xccaa, 0xc09e, 0xc09f, 0xc0a2, 0xc0a3, 0xc052, 0xc053, 0xc07c, 0xc07d})},
	{"fixed DH and ECDH", slices.Concat([]uint16{0x0030, 0x0031, 0x0036, 0x0037, 0x003e, 0x003f, 0x0068, 0x0069, 0x00a0, 0x00a1, 0x00a4, 0x00a5}, []uint16{0xc004, 0xc005, 0xc00e, 0xc00f}, between(0xc025, 0xc026), between(0xc029, 0xc02a), between(0xc02d, 0xc02e), between(0xc031, 0xc032))},
	{"PSK and SRP", slices.Concat([]uint16{0x008c, 0x008d, 0x0090, 0x0091, 0x0094, 0x0095}, between(0x00a8, 0x00af), between(0x00b2, 0x00b3), between(0x00b6, 0x00b7), between(0xc01d, 0xc022), between(0xc035, 0xc038), between(0xccab, 0xccae), between(0xd001, 0xd005))},
	{"CBC", []uint16{0xc009, 0xc00a, 0xc013, 0xc014, 0xc023, 0xc024, 0xc027, 0xc028, 0xc048, 0xc049, 0xc04c, 0xc04d, 0xc072, 0xc073, 0xc076, 0xc077}},
}

// offList are suites that are not broken and not among the six either.
var offList = suiteClass{"ECDHE with CCM, Camellia or ARIA", []uint16{0xc0ac, 0xc0ad, 0xc0ae, 0xc0af, 0xc05c, 0xc05d, 0xc060, 0xc061, 0xc086, 0xc087, 0xc08a, 0xc08b}}

// weakSuites13 are suites of TLS 1.3 that do not encrypt, or have half a tag.
var weakSuites13 = suiteClass{"TLS 1.3 without encryption, or with a short tag", []uint16{0xc0b4, 0xc0b5, 0x1305}}

// suiteNames are those that a broker is likely to be found with.
var suiteNames = map[uint16]string{
	0x0001: "RSA-NULL-MD5", 0x0002: "RSA-NULL-SHA", 0x0003: "EXP-RC4-MD5", 0x0004: "RC4-MD5", 0x0005: "RC4-SHA", 0x000a: "DES-CBC3-SHA", 0x0018: "ADH-RC4-MD5",
	0x002f: "AES128-SHA", 0x0035: "AES256-SHA", 0x0033: "DHE-RSA-AES128-SHA", 0x0039: "DHE-RSA-AES256-SHA", 0x0034: "ADH-AES128-SHA", 0x003c: "AES128-SHA256", 0x003d: "AES256-SHA256",
	0x009c: "AES128-GCM-SHA256", 0x009d: "AES256-GCM-SHA384", 0x009e: "DHE-RSA-AES128-GCM-SHA256", 0x009f: "DHE-RSA-AES256-GCM-SHA384", 0xccaa: "DHE-RSA-CHACHA20-POLY1305",
	0x1301: "TLS_AES_128_GCM_SHA256", 0x1302: "TLS_AES_256_GCM_SHA384", 0x1303: "TLS_CHACHA20_POLY1305_SHA256", 0x1305: "TLS_AES_128_CCM_8_SHA256",
	0xc007: "ECDHE-ECDSA-RC4-SHA", 0xc009: "ECDHE-ECDSA-AES128-SHA", 0xc00a: "ECDHE-ECDSA-AES256-SHA", 0xc011: "ECDHE-RSA-RC4-SHA", 0xc012: "ECDHE-RSA-DES-CBC3-SHA",
	0xc013: "ECDHE-RSA-AES128-SHA", 0xc014: "ECDHE-RSA-AES256-SHA", 0xc023: "ECDHE-ECDSA-AES128-SHA256", 0xc024: "ECDHE-ECDSA-AES256-SHA384", 0xc027: "ECDHE-RSA-AES128-SHA256", 0xc028: "ECDHE-RSA-AES256-SHA384",
	0xc02b: "ECDHE-ECDSA-AES128-GCM-SHA256", 0xc02c: "ECDHE-ECDSA-AES256-GCM-SHA384", 0xc02f: "ECDHE-RSA-AES128-GCM-SHA256", 0xc030: "ECDHE-RSA-AES256-GCM-SHA384",
	0xcca8: "ECDHE-RSA-CHACHA20-POLY1305", 0xcca9: "ECDHE-ECDSA-CHACHA20-POLY1305", 0xc0b4: "TLS_SHA256_SHA256", 0xc0b5: "TLS_SHA384_SHA384",
}

// goodGroups are the key exchanges of the checklist.
var goodGroups = []uint16{groupMLKEM768, groupX25519, groupP256, groupP384}

// otherGroups are offered beside them: P-521, X448, the brainpool curves and the
// finite fields of RFC 7919, which are not on the list, then what is too small.
var otherGroups = slices.Concat([]uint16{25, 30, 26, 27, 28, 31, 32, 33}, between(256, 260), weakGroups)

// weakGroups are curves below 128-bit strength (RFC 8422 deprecates them), and
// explicit ones.
var weakGroups = slices.Concat(between(1, 22), []uint16{0xff01, 0xff02})

var groupNames = map[uint16]string{
	groupMLKEM768: "X25519MLKEM768", groupX25519: "X25519", groupP256: "P-256", groupP384: "P-384", 25: "P-521", 30: "X448",
	256: "ffdhe2048", 257: "ffdhe3072", 258: "ffdhe4096", 19: "P-192", 21: "P-224",
}
