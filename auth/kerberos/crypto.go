package kerberos

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/fips140"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // RFC 3962 says so; as an HMAC it holds
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"hash"
)

// The encryption types that are taken. DES, triple DES and RC4 are broken or worn out, and
// what uses them is refused.
const (
	aes128SHA1   = 17 // RFC 3962
	aes256SHA1   = 18
	aes128SHA256 = 19 // RFC 8009
	aes256SHA384 = 20
)

// profile is one encryption type.
type profile struct {
	keyBytes  int // of the key and of those that encrypt
	macBytes  int // of what is transmitted of a MAC
	macKey    int // bytes of the key of a MAC
	hash      func() hash.Hash
	overPlain bool // the MAC is over the plain text, and derived as RFC 3961 says
}

var profiles = map[int32]profile{
	aes128SHA1:   {16, 12, 16, sha1.New, true},
	aes256SHA1:   {32, 12, 32, sha1.New, true},
	aes128SHA256: {16, 16, 16, sha256.New, false},
	aes256SHA384: {32, 24, 24, sha512.New384, false},
}

// Numbers of what keys are derived for [RFC 4120 §7.5.1] [RFC 4121 §2].
const (
	usageTicket        = 2
	usageAuthenticator = 11
	usageReply         = 12
	usageAcceptorSeal  = 22
	usageInitiatorSeal = 24

	deriveChecksum  = 0x99
	deriveEncrypt   = 0xAA
	deriveIntegrity = 0x55
)

// key is a key with its type. Its bytes are never shown.
type key struct {
	etype int32
	bytes []byte
}

// newKey refuses what is no key of that type.
func newKey(etype int32, b []byte) (key, error) {
	p, known := profiles[etype]
	if !known || p.overPlain && fips140.Enforced() { // with GODEBUG=fips140=only, SHA-1 panics
		return key{}, errType
	}
	if len(b) != p.keyBytes {
		return key{}, errors.New("a key has another length than its type")
	}
	return key{etype, b}, nil
}

var (
	errType   = errors.New("the encryption type is not one of aes128-cts-hmac-sha1-96, aes256-cts-hmac-sha1-96, aes128-cts-hmac-sha256-128 and aes256-cts-hmac-sha384-192")
	errSealed = errors.New("does not decrypt")
)

// derive is the key for one use.
func (k key) derive(usage uint32, of byte) []byte {
	p := profiles[k.etype]
	label := append(binary.BigEndian.AppendUint32(nil, usage), of)
	size := p.macKey
	if of == deriveEncrypt {
		size = p.keyBytes
	}
	if p.overPlain { // DK [RFC 3961 §5.1]
		block := newAES(k.bytes)
		b := nfold(label)
		out := make([]byte, 0, 32)
		for len(out) < p.keyBytes {
			block.Encrypt(b, b)
			out = append(out, b...)
		}
		return out[:p.keyBytes]
	}
	h := hmac.New(p.hash, k.bytes) // KDF-HMAC-SHA2 [RFC 8009 §3]
	h.Write([]byte{0, 0, 0, 1})
	h.Write(label)
	h.Write([]byte{0})
	h.Write(binary.BigEndian.AppendUint32(nil, uint32(size*8))) //nolint:gosec // at most 256
	return h.Sum(nil)[:size]
}

func newAES(b []byte) cipher.Block {
	block, err := aes.NewCipher(b)
	if err != nil {
		panic("BUG: kerberos: a key of another length: " + err.Error())
	}
	return block
}

// nfold stretches or folds in to one block [RFC 3961 §5.1]: copies of it, each turned 13 bits
// further, are added with end-around carry.
func nfold(in []byte) []byte {
	const size = aes.BlockSize
	n := len(in)
	total := n * size / gcd(n, size)
	sum := make([]byte, size)
	carry := 0
	for i := total - 1; i >= 0; i-- {
		// The bit of the turned copy at which byte i begins.
		from := (i%n*8 - 13*(i/n)) % (n * 8)
		if from < 0 {
			from += n * 8
		}
		at, shift := from/8, from%8
		b := int(in[at])<<8 | int(in[(at+1)%n])
		carry += int(byte(b>>(8-shift))) + int(sum[i%size])
		sum[i%size] = byte(carry)
		carry >>= 8
	}
	for i := size - 1; carry > 0 && i >= 0; i-- {
		carry += int(sum[i])
		sum[i] = byte(carry)
		carry >>= 8
	}
	return sum
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// checksum is the MAC of some texts, as one.
func (k key) checksum(usage uint32, texts ...[]byte) []byte {
	p := profiles[k.etype]
	return mac(&p, k.derive(usage, deriveChecksum), texts...)
}

func mac(p *profile, with []byte, texts ...[]byte) []byte {
	h := hmac.New(p.hash, with)
	for _, t := range texts {
		h.Write(t)
	}
	return h.Sum(nil)[:p.macBytes]
}

// open decrypts what was sealed for a use. The error says nothing of why not.
func (k key) open(usage uint32, sealed []byte) ([]byte, error) {
	p := profiles[k.etype]
	if len(sealed) < aes.BlockSize+p.macBytes {
		return nil, errSealed
	}
	text, tag := sealed[:len(sealed)-p.macBytes], sealed[len(sealed)-p.macBytes:]
	integrity := k.derive(usage, deriveIntegrity)
	if !p.overPlain && !hmac.Equal(tag, mac(&p, integrity, make([]byte, aes.BlockSize), text)) {
		return nil, errSealed
	}
	plain := decryptCTS(newAES(k.derive(usage, deriveEncrypt)), text)
	if p.overPlain && !hmac.Equal(tag, mac(&p, integrity, plain)) {
		return nil, errSealed
	}
	return plain[aes.BlockSize:], nil // without the confounder
}

// seal encrypts for a use. confounder is one random block.
func (k key) seal(usage uint32, confounder, text []byte) []byte {
	p := profiles[k.etype]
	plain := append(append(make([]byte, 0, len(confounder)+len(text)), confounder...), text...)
	sealed := encryptCTS(newAES(k.derive(usage, deriveEncrypt)), plain)
	integrity := k.derive(usage, deriveIntegrity)
	if p.overPlain {
		return append(sealed, mac(&p, integrity, plain)...)
	}
	return append(sealed, mac(&p, integrity, make([]byte, aes.BlockSize), sealed)...)
}

// encryptCTS is CBC with ciphertext stealing and a zero initial vector: the last two blocks
// change places [RFC 3962 §5]. text has one block at least.
func encryptCTS(block cipher.Block, text []byte) []byte {
	const size = aes.BlockSize
	padded := make([]byte, (len(text)+size-1)/size*size)
	copy(padded, text)
	cipher.NewCBCEncrypter(block, make([]byte, size)).CryptBlocks(padded, padded)
	if len(padded) == size {
		return padded
	}
	last := len(padded) - size
	before := append([]byte(nil), padded[last-size:last]...)
	copy(padded[last-size:last], padded[last:])
	copy(padded[last:], before)
	return padded[:len(text)]
}

// decryptCTS is the way back.
func decryptCTS(block cipher.Block, sealed []byte) []byte {
	const size = aes.BlockSize
	out := make([]byte, (len(sealed)+size-1)/size*size)
	if len(sealed) == size {
		block.Decrypt(out, sealed)
		return out
	}
	copy(out, sealed)
	last := len(out) - size
	tail := len(sealed) - last // bytes of the block that was cut
	var mixed [size]byte
	block.Decrypt(mixed[:], sealed[last-size:last])
	end := make([]byte, tail) // the end of the plain text
	for i := range end {
		end[i] = mixed[i] ^ sealed[last+i]
	}
	copy(out[last-size:last], sealed[last:]) // the block before, with what was stolen from it
	copy(out[last-size+tail:last], mixed[tail:])
	cipher.NewCBCDecrypter(block, make([]byte, size)).CryptBlocks(out[:last], out[:last])
	copy(out[last:], end)
	return out[:len(sealed)]
}
