package admin

import (
	"encoding/json"

	"github.com/danielgtaylor/huma/v2"

	"github.com/redoubtmq/redoubt/internal/secret"
)

// password is a secret on its way in: JSON fills it, nothing prints it.
type password struct{ secret.Value }

// UnmarshalJSON implements json.Unmarshaler.
func (p *password) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	p.Value = secret.FromString(s)
	return nil
}

// Schema implements huma.SchemaProvider.
func (password) Schema(huma.Registry) *huma.Schema {
	one, most := 1, 4096 // the authenticator says what is too short or too long, in bytes
	return &huma.Schema{Type: huma.TypeString, Format: "password", WriteOnly: true, MinLength: &one, MaxLength: &most,
		Description: "The password. Leave it out to have a secret generated."}
}

// ShownOnce is a generated secret on its way out, the one time it is shown. Only
// JSON reveals it; every other rendering stays [redacted].
type ShownOnce struct{ secret.Value }

// MarshalJSON reveals the secret.
func (s ShownOnce) MarshalJSON() ([]byte, error) { return json.Marshal(string(s.Reveal())) }

// UnmarshalJSON implements json.Unmarshaler, for the client.
func (s *ShownOnce) UnmarshalJSON(b []byte) error { return (*password)(s).UnmarshalJSON(b) }

// Schema implements huma.SchemaProvider.
func (ShownOnce) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, ReadOnly: true,
		Description: "The secret that was generated. It is shown this once and kept nowhere."}
}
