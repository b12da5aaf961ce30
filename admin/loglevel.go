package admin

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// LogLevel is how much the broker writes to its log.
type LogLevel interface {
	LogLevel() LogLevelReport
	// SetLogLevel changes it, until the process ends. It calls before just before the
	// change, unless the key is pinned; then it answers a *PinnedError.
	SetLogLevel(level string, before func(from LogLevelReport)) error
}

// LogLevelReport is the level in force.
type LogLevelReport struct {
	Level  string `json:"level" enum:"debug,info,warn,error" doc:"What is written: this and what is graver."`
	Pinned bool   `json:"pinned" doc:"Whether log.level stands in the file, the environment or a flag; then only that place changes it."`
	Origin string `json:"origin" doc:"Where the level comes from: default, api, FILE:LINE, env NAME or flag NAME."`
}

// PinnedError says that a key has another owner.
type PinnedError struct{ Key, Origin string }

// Error names the owner and what to do.
func (e *PinnedError) Error() string {
	return fmt.Sprintf("%s is set at %s; change it there and run redoubt reload, or take it out there to change it here", e.Key, e.Origin)
}

type (
	logLevelAnswer struct{ Body LogLevelReport }
	setLogLevel    struct {
		Body struct {
			Level string `json:"level" enum:"debug,info,warn,error" doc:"The new level."`
		}
	}
)

func registerLogLevel(api huma.API, o *Options) {
	const tag, path = "Configuration", prefix + "/log/level"
	register(api, endpoint{
		method: http.MethodGet, path: path, id: "getLogLevel", role: viewer, scope: scopeConfig, tag: tag,
		summary: "How much is written to the log",
	}, func(context.Context, *none) (*logLevelAnswer, error) {
		return &logLevelAnswer{o.LogLevel.LogLevel()}, nil
	})
	register(api, endpoint{
		method: http.MethodPut, path: path, id: "setLogLevel", role: administrator, scope: scopeConfig, tag: tag,
		summary: "Change how much is written to the log, until the broker ends", errors: []int{http.StatusConflict},
	}, func(ctx context.Context, in *setLogLevel) (*logLevelAnswer, error) {
		err := o.LogLevel.SetLogLevel(in.Body.Level, func(from LogLevelReport) {
			var level slog.Level
			_ = level.UnmarshalText([]byte(from.Level)) // one of our four words
			// At the level it leaves, so that it is always written.
			o.Log.LogAttrs(ctx, max(level, slog.LevelInfo), "log level changed by an operator", append(actor(ctx),
				slog.String("from", from.Level), slog.String("to", in.Body.Level))...)
		})
		if err != nil {
			return nil, newProblem(http.StatusConflict, err.Error())
		}
		return &logLevelAnswer{o.LogLevel.LogLevel()}, nil
	})
}

// LogLevel is GET /log/level.
func (c *Client) LogLevel(ctx context.Context) (LogLevelReport, error) {
	return call[LogLevelReport](ctx, c, http.MethodGet, "/log/level", nil)
}

// SetLogLevel is PUT /log/level.
func (c *Client) SetLogLevel(ctx context.Context, level string) (LogLevelReport, error) {
	return call[LogLevelReport](ctx, c, http.MethodPut, "/log/level", map[string]string{"level": level})
}
