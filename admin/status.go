package admin

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// none is the input of operations that take nothing.
type none struct{}

type statusAnswer struct{ Body StatusReport }

func registerStatus(api huma.API, o *Options) {
	register(api, endpoint{
		method: http.MethodGet, path: prefix + "/status", id: "getStatus",
		role: viewer, scope: scopeStatus, tag: "Status", summary: "How the broker is",
	}, func(context.Context, *none) (*statusAnswer, error) {
		r := o.Status.Status()
		r.UptimeSeconds = int64(o.Clock.Now().Sub(r.StartedAt).Seconds())
		r.Status = "running"
		if len(r.NotReady) > 0 {
			r.Status = "not_ready"
		}
		if r.Listeners == nil {
			r.Listeners = []ListenerStatus{} // a list is never null in JSON
		}
		if r.Memory.Level == "" {
			r.Memory.Level = "fine"
		}
		if r.Memory.Rooms == nil {
			r.Memory.Rooms = []MemoryRoom{}
		}
		if r.Memory.Listeners == nil {
			r.Memory.Listeners = []MemoryRoom{}
		}
		return &statusAnswer{r}, nil
	})
}

type reloadAnswer struct{ Body ReloadReport }

func registerReload(api huma.API, o *Options) {
	register(api, endpoint{
		method: http.MethodPost, path: prefix + "/reload", id: "reload",
		role: administrator, scope: scopeConfig, tag: "Configuration",
		summary: "Read the configuration, the rules and the certificates again",
	}, func(ctx context.Context, _ *none) (*reloadAnswer, error) {
		// The reload is finished even if the caller hangs up half way: a
		// configuration that is half in force would be worse than either.
		r, err := o.Reloader.Reload(context.WithoutCancel(ctx))
		if err != nil {
			return nil, newProblem(http.StatusUnprocessableEntity, err.Error())
		}
		if r.Changed == nil {
			r.Changed = []string{}
		}
		return &reloadAnswer{r}, nil
	})
}
