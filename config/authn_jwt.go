package config

import (
	"strings"

	"github.com/redoubtmq/redoubt/auth/jwt"
)

// Where a token is in CONNECT, and what a choice of what it brings can be.
const (
	FromPassword = "password"
	FromUsername = "username"
	NameMatch    = "match"
	NameIgnore   = "ignore"
	Ignored      = "ignore"
	Honoured     = "honour"
)

// JWTAuthenticator knows clients by signed tokens; package auth/jwt has the meaning.
type JWTAuthenticator struct {
	When               string   `yaml:"when"` // a condition; empty: always
	From               string   `yaml:"from"` // FromPassword or FromUsername
	Algorithms         []string `yaml:"algorithms"`
	Secret             Secret   `yaml:"secret"`
	SecretBase64       bool     `yaml:"secret_base64"`
	PublicKeys         []string `yaml:"public_keys"` // paths
	JWKS               JWKS     `yaml:"jwks"`
	Issuer             string   `yaml:"issuer"`
	Audience           []string `yaml:"audience"`
	Claims             []string `yaml:"claims"` // NAME=VALUE
	Leeway             Duration `yaml:"leeway"`
	LifetimeMax        Duration `yaml:"lifetime_max"`
	Identity           string   `yaml:"identity"`   // a claim
	UserName           string   `yaml:"user_name"`  // NameMatch or NameIgnore
	ACLClaim           string   `yaml:"acl_claim"`  // empty: none
	Superuser          string   `yaml:"superuser"`  // Ignored or Honoured
	Attributes         string   `yaml:"attributes"` // Ignored or Honoured
	DisconnectAtExpiry bool     `yaml:"disconnect_at_expiry"`
	Cache              Duration `yaml:"cache"`
	TokenBytes         Size     `yaml:"token_bytes"`
}

// JWKS is where a key set is had.
type JWKS struct {
	URL        string   `yaml:"url"` // empty: none
	Refresh    Duration `yaml:"refresh"`
	MaxAge     Duration `yaml:"max_age"`
	Timeout    Duration `yaml:"timeout"`
	CA         []string `yaml:"ca"`          // paths; none: the system's
	ServerName string   `yaml:"server_name"` // empty: the host of URL
}

// Options are the options of an authenticator, without what is in files: PublicKeys and the
// CA have their paths only.
func (j *JWTAuthenticator) Options(name string) jwt.Options {
	o := jwt.Options{
		Name: name, Algorithms: j.Algorithms,
		FromUsername: j.From == FromUsername, AnyUsername: j.UserName == NameIgnore,
		TokenBytes: int(j.TokenBytes), CacheFor: j.Cache.Std(),
		Keys:    jwt.Keys{Secret: j.Secret.Value, SecretEncoded: j.SecretBase64},
		Demands: jwt.Demands{Issuer: j.Issuer, Audience: j.Audience, Leeway: j.Leeway.Std(), LifetimeMax: j.LifetimeMax.Std()},
		Gives: jwt.Gives{Identity: j.Identity, ACL: j.ACLClaim, Superuser: j.Superuser == Honoured, Attributes: j.Attributes == Honoured,
			BeyondExpiry: !j.DisconnectAtExpiry},
	}
	for _, path := range j.PublicKeys {
		o.Keys.Public = append(o.Keys.Public, jwt.File{Path: path})
	}
	if j.JWKS.URL != "" {
		o.Keys.Set = &jwt.Set{URL: j.JWKS.URL, Refresh: j.JWKS.Refresh.Std(), MaxAge: j.JWKS.MaxAge.Std(), Timeout: j.JWKS.Timeout.Std(), Server: j.JWKS.ServerName}
	}
	if len(j.Claims) > 0 {
		o.Demands.Claims = make(map[string]string, len(j.Claims))
		for _, c := range j.Claims {
			claim, want, _ := strings.Cut(c, "=")
			o.Demands.Claims[claim] = want
		}
	}
	return o
}

// checkJWT refuses authenticators that could not be made, as far as that can be seen without
// the files they name.
func (l *loader) checkJWT(c *Config) {
	for _, name := range sorted(c.Authn.JWT) {
		key, j := "authn.jwt."+name, c.Authn.JWT[name]
		if l.problems.about(key) {
			continue
		}
		o := j.Options(name)
		if len(o.Demands.Claims) < len(j.Claims) {
			l.wrong(key+".claims", "", "names a claim twice. A claim has one value.")
			continue
		}
		if err := jwt.CheckForm(&o); err != nil {
			l.wrong(key, "", "is not possible: %v.", err)
		} else if most := c.Limits.ConnectPacketBytes; j.TokenBytes >= most {
			l.wrong(key+".token_bytes", "", "(%v) does not fit into limits.connect_packet_bytes (%v): such a CONNECT would be refused. Lower the one or raise the other.", j.TokenBytes, most)
		}
	}
}
