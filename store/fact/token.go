package fact

import "encoding/binary"

// Token names the token that the sender of a will, or of a delayed message, had shown: when
// it was revoked since, nobody may speak with it any more. The zero Token is none.
type Token struct {
	Shown  bool
	ID     string // jti; may be empty
	Issued int64  // iat, Unix seconds
}

func (t *Token) appendFields(dst []byte) []byte {
	return binary.AppendVarint(appendString(dst, t.ID), t.Issued)
}

// token reads what appendFields wrote.
func (d *decoder) token() Token {
	return Token{Shown: true, ID: d.string("the name of the token"), Issued: d.signed("when the token was made")}
}
