package admin

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/redoubtmq/redoubt/config"
)

// Settings is the configuration in force, and what of it is set at run time.
type Settings interface {
	// Settings answers all of it, at once.
	Settings() SettingsReport
	// SetSetting judges a value with everything else, makes it durable and puts it in
	// force, or answers why not, and then nothing has changed: a *config.KeyError for a
	// key that cannot be set, a *NotKeptError if the log did not take it. by is the user
	// who asks, -1 if not known. It calls before just before the change takes effect.
	SetSetting(ctx context.Context, key, value string, by int, before func(SettingChange)) (SettingChange, error)
	// UnsetSetting takes back what was set, in the same way.
	UnsetSetting(ctx context.Context, key string, by int, before func(SettingChange)) (SettingChange, error)
	// AmendSetting puts an entry on a list, or with gone takes it off, in the way of
	// SetSetting: what is there already stays there once, and what is not there is a
	// *config.KeyError. Nobody else's change gets lost between.
	AmendSetting(ctx context.Context, key, entry string, gone bool, by int, before func(SettingChange)) (SettingChange, error)
}

// NotKeptError says that the log did not take a change.
type NotKeptError struct{ Err error }

// Error says that nothing has changed.
func (e *NotKeptError) Error() string { return "nothing has changed: " + e.Err.Error() }

// Unwrap is the cause.
func (e *NotKeptError) Unwrap() error { return e.Err }

// SettingsReport is the configuration in force.
type SettingsReport struct {
	File       string           `json:"config_file" doc:"Configuration file in use; empty: built-in defaults."`
	Data       []Setting        `json:"data" doc:"Every key in force, in the order of the reference page."`
	NotInForce []SettingNoForce `json:"not_in_force,omitempty" doc:"What was set at run time and does not count."`
}

// Setting is one key in force.
type Setting struct {
	Key    string `json:"key" doc:"Path with names in it, such as listeners.mqtts.authn."`
	Value  any    `json:"value" doc:"The value; sizes, durations and dates are text. Secrets are shown by reference."`
	Text   string `json:"text" doc:"The same as the file would have it, on one line."`
	Origin string `json:"origin" doc:"default, set at run time with when and by whom, FILE:LINE, env NAME or flag NAME."`
	Pinned bool   `json:"pinned" doc:"Whether the file, the environment or a flag has it; then only that place changes it."`
	Reload string `json:"reload" enum:"live,new connections,restart" doc:"What a change needs to take effect."`

	Pending *string `json:"pending_restart,omitempty" doc:"The value from the next start on, as in text, if it is another one."`
}

// SettingNoForce is a key that was set at run time and does not count.
type SettingNoForce struct {
	Key    string `json:"key" doc:"The key."`
	Value  string `json:"value,omitempty" doc:"The value that was set."`
	Pinned bool   `json:"pinned" doc:"Whether it does not count because the file, the environment or a flag has the key."`
	Why    string `json:"why" doc:"Why it does not count; follows the key in a sentence."`
}

// SettingChange says what a change did.
type SettingChange struct {
	Key            string   `json:"key" doc:"The key."`
	From           string   `json:"from" doc:"The value before, as the file would have it."`
	To             string   `json:"to" doc:"The value now, or from the next start on."`
	Origin         string   `json:"origin" doc:"Where the value comes from now."`
	Reload         string   `json:"reload" enum:"live,new connections,restart" doc:"For whom it takes effect."`
	PendingRestart bool     `json:"pending_restart" doc:"Whether it waits for the next start."`
	Changed        []string `json:"changed" doc:"What else is different now, one line each."`
}

type (
	settingsAnswer struct{ Body SettingsReport }
	settingAnswer  struct{ Body SettingChange }
	settingPath    struct {
		Key string `path:"key" minLength:"1" maxLength:"256" doc:"Key, such as limits.inflight."`
	}
	entryPath struct {
		Key   string `path:"key" minLength:"1" maxLength:"256" doc:"Key of a list, such as certificates.denied."`
		Entry string `path:"entry" minLength:"1" maxLength:"1024" doc:"The entry as the file would have it, without quotes."`
	}
	putSetting struct {
		Key  string `path:"key" minLength:"1" maxLength:"256" doc:"Key, such as limits.inflight."`
		Body struct {
			Value any `json:"value" doc:"The value, or its text as the environment would have it."`
		}
	}
)

func registerSettings(api huma.API, o *Options) {
	const tag, path = "Configuration", prefix + "/configs"
	register(api, endpoint{
		method: http.MethodGet, path: path, id: "listSettings", role: viewer, scope: scopeConfig, tag: tag,
		summary: "The configuration in force, with where each value comes from",
	}, func(context.Context, *none) (*settingsAnswer, error) {
		return &settingsAnswer{o.Settings.Settings()}, nil
	})
	change := func(ctx context.Context, do func(by int, before func(SettingChange)) (SettingChange, error)) (*settingAnswer, error) {
		level := loudly(o)
		c, err := do(peerUID(ctx), func(c SettingChange) {
			o.Log.LogAttrs(ctx, level, "setting changed by an operator", append(actor(ctx), slog.String("key", c.Key),
				slog.String("from", c.From), slog.String("to", c.To), slog.Bool("pending_restart", c.PendingRestart), slog.Any("changed", c.Changed))...)
		})
		if err != nil {
			return nil, settingRefused(err)
		}
		if c.Changed == nil {
			c.Changed = []string{}
		}
		return &settingAnswer{c}, nil
	}
	errs := []int{http.StatusNotFound, http.StatusConflict}
	register(api, endpoint{
		method: http.MethodPut, path: path + "/{key}", id: "setSetting", role: administrator, scope: scopeConfig, tag: tag,
		summary: "Set a key of the configuration, from now on and after every start", errors: errs,
	}, func(ctx context.Context, in *putSetting) (*settingAnswer, error) {
		text, ok := in.Body.Value.(string)
		if !ok { // JSON is YAML on one line
			b, err := json.Marshal(in.Body.Value)
			if err != nil || in.Body.Value == nil {
				return nil, newProblem(http.StatusUnprocessableEntity, "value is empty; DELETE takes a setting back")
			}
			text = string(b)
		}
		return change(ctx, func(by int, before func(SettingChange)) (SettingChange, error) {
			return o.Settings.SetSetting(ctx, in.Key, text, by, before)
		})
	})
	register(api, endpoint{
		method: http.MethodDelete, path: path + "/{key}", id: "unsetSetting", role: administrator, scope: scopeConfig, tag: tag,
		summary: "Take back what was set at run time", errors: errs,
	}, func(ctx context.Context, in *settingPath) (*settingAnswer, error) {
		return change(ctx, func(by int, before func(SettingChange)) (SettingChange, error) {
			return o.Settings.UnsetSetting(ctx, in.Key, by, before)
		})
	})
	for _, way := range []struct {
		method, id, summary string
		gone                bool
	}{
		{http.MethodPut, "addSettingEntry", "Put an entry on a list of the configuration", false},
		{http.MethodDelete, "removeSettingEntry", "Take an entry off a list of the configuration", true},
	} {
		register(api, endpoint{
			method: way.method, path: path + "/{key}/entries/{entry}", id: way.id, role: administrator, scope: scopeConfig, tag: tag,
			summary: way.summary, errors: errs,
		}, func(ctx context.Context, in *entryPath) (*settingAnswer, error) {
			return change(ctx, func(by int, before func(SettingChange)) (SettingChange, error) {
				return o.Settings.AmendSetting(ctx, in.Key, in.Entry, way.gone, by, before)
			})
		})
	}
}

// loudly is a level that is written whatever log.level says before a change of it.
func loudly(o *Options) slog.Level {
	level := slog.LevelInfo
	if o.LogLevel != nil {
		_ = level.UnmarshalText([]byte(o.LogLevel.LogLevel().Level)) // one of our four words
	}
	return max(level, slog.LevelInfo)
}

func peerUID(ctx context.Context) int {
	if who, known := ctx.Value(peerKey{}).(peer); known {
		return who.uid
	}
	return -1
}

// settingRefused turns an error of Settings into an answer.
func settingRefused(err error) error {
	var (
		key  *config.KeyError
		kept *NotKeptError
	)
	status := http.StatusUnprocessableEntity
	switch {
	case errors.As(err, &kept):
		status = http.StatusServiceUnavailable
	case errors.As(err, &key) && key.Fault == config.Unknown:
		status = http.StatusNotFound
	case errors.As(err, &key) && key.Fault == config.Pinned:
		status = http.StatusConflict
	}
	return newProblem(status, err.Error())
}

// Settings is GET /configs.
func (c *Client) Settings(ctx context.Context) (SettingsReport, error) {
	return call[SettingsReport](ctx, c, http.MethodGet, "/configs", nil)
}

// SetSetting is PUT /configs/{key}. value is text, as the environment would have it.
func (c *Client) SetSetting(ctx context.Context, key, value string) (SettingChange, error) {
	return call[SettingChange](ctx, c, http.MethodPut, "/configs/"+segment(key), map[string]string{"value": value})
}

// UnsetSetting is DELETE /configs/{key}.
func (c *Client) UnsetSetting(ctx context.Context, key string) (SettingChange, error) {
	return call[SettingChange](ctx, c, http.MethodDelete, "/configs/"+segment(key), nil)
}

// AddSettingEntry is PUT /configs/{key}/entries/{entry}.
func (c *Client) AddSettingEntry(ctx context.Context, key, entry string) (SettingChange, error) {
	return call[SettingChange](ctx, c, http.MethodPut, "/configs/"+segment(key)+"/entries/"+segment(entry), nil)
}

// RemoveSettingEntry is DELETE /configs/{key}/entries/{entry}.
func (c *Client) RemoveSettingEntry(ctx context.Context, key, entry string) (SettingChange, error) {
	return call[SettingChange](ctx, c, http.MethodDelete, "/configs/"+segment(key)+"/entries/"+segment(entry), nil)
}
