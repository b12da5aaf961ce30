package main

import (
	"fmt"
	"time"

	"github.com/redoubtmq/redoubt/alarm"
	"github.com/redoubtmq/redoubt/auth/jwt"
	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/internal/cores"
	"github.com/redoubtmq/redoubt/internal/safefile"
)

// jwtConf is what an authenticator of tokens is made from: with the content of files, so that
// other keys at the next reload make another one.
type jwtConf struct{ options jwt.Options }

// jwtAuthenticator reads the files of authn.jwt.<name>, and answers how it is made.
func (n *node) jwtAuthenticator(c *config.Config, name string) (conf any, make func() (*asked, error), err error) {
	j := c.Authn.JWT[name]
	o := j.Options(name)
	for i := range o.Keys.Public {
		f := &o.Keys.Public[i]
		if f.Data, err = readKeyFile(f.Path); err != nil {
			return nil, nil, fmt.Errorf("authn.jwt.%s.public_keys: %w", name, err)
		}
	}
	if o.Keys.Set != nil {
		for _, path := range j.JWKS.CA {
			pem, err := readKeyFile(path)
			if err != nil {
				return nil, nil, fmt.Errorf("authn.jwt.%s.jwks.ca: %w", name, err)
			}
			o.Keys.Set.CA = append(append(o.Keys.Set.CA, pem...), '\n')
		}
	}
	return &jwtConf{options: o}, func() (*asked, error) {
		o.Clock, o.Log, o.Workers = n.clock, n.log, max(1, cores.Count()/2)
		o.Revoked = n.tokenRevoked
		o.Outage = func(now time.Time, why string) {
			if why == "" {
				n.alarms.Clear(now, alarm.KeySetUnavailable, name)
			} else {
				n.alarms.Raise(now, alarm.KeySetUnavailable, name, why)
			}
		}
		a, err := jwt.New(o)
		if err != nil {
			return nil, err
		}
		return &asked{Authenticator: a, close: a.Close}, nil
	}, nil
}

// keepKeySetAlarms ends the alarms about key sets that none of these asks for.
func (n *node) keepKeySetAlarms(asked map[string]*asked) {
	var names []string
	for name, one := range asked {
		if conf, is := one.conf.(*jwtConf); is && conf.options.Keys.Set != nil {
			names = append(names, name)
		}
	}
	n.alarms.Keep(n.clock.Now(), alarm.KeySetUnavailable, names...)
}

// jwtFiles judges the keys of authn.jwt.<name> as a start does, and asks no issuer for any.
func (n *node) jwtFiles(c *config.Config, name string) error {
	conf, _, err := n.jwtAuthenticator(c, name)
	if err != nil {
		return err
	}
	if err := jwt.CheckFiles(&conf.(*jwtConf).options); err != nil {
		return fmt.Errorf("authn.jwt.%s: %w", name, err)
	}
	return nil
}

// readKeyFile reads a file of keys, and no more than one may have.
func readKeyFile(path string) ([]byte, error) {
	return safefile.Read(path, jwt.FileBytesMax)
}
