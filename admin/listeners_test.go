package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// fakeListeners are two, of which nothing listens.
type fakeListeners struct {
	stopped map[string]bool
	fail    error
	at      []string // what was said of, and then done
}

func (f *fakeListeners) info(id string) ListenerInfo {
	i := ListenerInfo{ID: id, State: ListenerRunning, Bind: []string{":8883"}}
	if f.stopped[id] {
		i.State = ListenerStopped
	}
	return i
}

func (f *fakeListeners) Listeners() []ListenerInfo {
	return []ListenerInfo{f.info("mqtts:plant"), f.info("ws:a/b")}
}

func (f *fakeListeners) Listener(id string) (ListenerInfo, error) {
	if id != "mqtts:plant" && id != "ws:a/b" {
		return ListenerInfo{}, &ListenerError{Err: fmt.Errorf("there is no listener %q", id), Unknown: true}
	}
	return f.info(id), f.fail
}

func (f *fakeListeners) set(id string, stopped bool, before func(ListenerInfo), what string) (ListenerChange, error) {
	i, err := f.Listener(id)
	if err != nil {
		return ListenerChange{}, err
	}
	changed := f.stopped[id] != stopped
	if changed {
		before(i)
		f.at = append(f.at, what)
		f.stopped[id] = stopped
	}
	return ListenerChange{Listener: f.info(id), Changed: changed}, nil
}

func (f *fakeListeners) StopListener(_ context.Context, id string, o StopOptions) (ListenerChange, error) {
	return f.set(id, true, o.Before, fmt.Sprintf("stop %s disconnect %v by a uid %v", id, o.Disconnect, strings.HasPrefix(o.By, "uid ")))
}

func (f *fakeListeners) StartListener(_ context.Context, id string, o StartOptions) (ListenerChange, error) {
	return f.set(id, false, o.Before, "start "+id)
}

func (f *fakeListeners) RestartListener(_ context.Context, id string, o StopOptions) (ListenerChange, error) {
	o.Before(f.info(id))
	return f.set(id, false, func(ListenerInfo) {}, "")
}

func TestListenersOverTheAPI(t *testing.T) {
	r := newRig(t, nil)
	f := &r.fake.doors
	f.stopped = map[string]bool{}
	ctx := t.Context()
	all, err := r.client.Listeners(ctx)
	if err != nil || len(all) != 2 || all[0].ID != "mqtts:plant" || all[0].State != ListenerRunning {
		t.Errorf("%+v %v", all, err)
	}
	for i, want := range []bool{true, false} {
		c, err := r.client.StopListener(ctx, "mqtts:plant", i == 0)
		if err != nil || c.Changed != want || c.Listener.State != ListenerStopped {
			t.Errorf("%+v %v", c, err)
		}
	}
	if c, err := r.client.StartListener(ctx, "mqtts:plant"); err != nil || !c.Changed || c.Listener.State != ListenerRunning {
		t.Errorf("%+v %v", c, err)
	}
	if _, err := r.client.RestartListener(ctx, "ws:a/b", false); err != nil { // whatever a name holds
		t.Error(err)
	}
	if got := strings.Join(f.at, ", "); got != "stop mqtts:plant disconnect true by a uid true, start mqtts:plant" {
		t.Errorf("done: %s", got)
	}
	log := r.log.String()
	for _, say := range []string{`"msg":"listener stopped by an operator"`, `"msg":"listener started by an operator"`, `"msg":"listener restarted by an operator"`} {
		if strings.Count(log, say) != 1 {
			t.Errorf("%s is there %d times", say, strings.Count(log, say))
		}
	}
	for _, line := range strings.Split(log, "\n") {
		if strings.Contains(line, "by an operator") && (!strings.Contains(line, `"peer_uid":`) || !strings.Contains(line, `"listener":"`)) {
			t.Errorf("who, or what? %s", line)
		}
	}
	for err, status := range map[error]int{&ListenerError{Err: errors.New("taken")}: http.StatusConflict, errors.New("not done yet"): http.StatusServiceUnavailable} {
		f.fail = err
		var p *Problem
		if _, got := r.client.StartListener(ctx, "mqtts:plant"); !errors.As(got, &p) || p.Status != status || p.Detail != err.Error() {
			t.Errorf("%v: %v", err, got)
		}
	}
	var p *Problem
	if _, err := r.client.StopListener(ctx, "mqtt:plant", false); !errors.As(err, &p) || p.Status != http.StatusNotFound {
		t.Errorf("%v", err)
	}
}
