package harden

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
)

// dashboard is what a way in over a network would need.
var dashboard = subject{what: "a dashboard or an API on a network", keys: []string{"dashboard.", "api.", "admin.bind", "admin.listen", "admin.tls", "admin.users", "admin.sso"}}

// onlySocket ends the reasons of the rows about it.
func onlySocket(b *BrokerReport) string {
	return "there is no dashboard or REST listener; administration is by a unix socket that only " + opensSocket(b) + " may open"
}

// way is a row about a way in that is not there.
func (e *Env) way(ctx context.Context, more func(q *inquiry, b *BrokerReport)) []Result {
	b, err := e.here(ctx)
	if err != nil {
		return unknown(e, err.Error())
	}
	s := dashboard
	s.why, s.more = onlySocket(b), more
	return e.absent(ctx, s)
}

// noAccounts is row P5.1, noStaff P5.3, noKeys P5.4.
func noAccounts(ctx context.Context, e *Env) []Result {
	return e.way(ctx, func(q *inquiry, b *BrokerReport) {
		socketUser(q, b)
		if !e.Quiet {
			q.noPages(ctx)
		}
	})
}

func noStaff(ctx context.Context, e *Env) []Result { return e.way(ctx, socketUser) }

func noKeys(ctx context.Context, e *Env) []Result { return e.way(ctx, socketUser) }

// noDashboard is row P5.2: a socket that others may open is a way in.
func noDashboard(ctx context.Context, e *Env) []Result {
	return e.way(ctx, func(q *inquiry, b *BrokerReport) {
		mark := len(q.obs)
		q.socket(b.UID, e.Config.Admin.Socket, true)
		for i := range q.obs[mark:] {
			if o := &q.obs[mark+i]; o.State == Pass {
				o.State = NotApplicable // it is no way in from a network
			}
		}
	})
}

// noPages sees that pages of metrics are nothing else.
func (q *inquiry) noPages(ctx context.Context) {
	all, err := q.e.listening(ctx)
	if err != nil {
		return // said already
	}
	for i := range all {
		s := &all[i]
		if s.key != "metrics" {
			continue
		}
		for _, a := range q.e.spots(s) {
			control := q.e.askPage(ctx, a, "/livez")
			for _, page := range []string{"/", "/api/v5/status"} {
				got := q.e.askPage(ctx, a, page)
				what, want := fmt.Sprintf("GET %s at %s", page, a), "404"
				switch {
				case got.status != 0 && got.status != http.StatusNotFound:
					q.see(Probe, what, want, got.String(), Fail)
				case got.status == 0 || control.status == 0:
					q.see(Probe, what, want, got.String()+" (/livez, the positive control: "+control.String()+")", Unknown)
				default:
					q.see(Probe, what, want, got.String()+" (positive control: /livez is answered "+strconv.Itoa(control.status)+")", NotApplicable)
				}
			}
		}
	}
}

// answerPage is what somebody without a password gets of a port that speaks HTTP.
type answerPage struct {
	status int    // 0: no answer that is HTTP
	text   string // the head and as much of the body as pageBytesMax
	other  string // why there is none
	closed bool   // because the connection was
}

// pageBytesMax bounds what is read of an answer.
const pageBytesMax = 64 << 10

func (p answerPage) String() string {
	if p.status == 0 {
		return p.other
	}
	return strconv.Itoa(p.status)
}

// askPage asks for a page over plain HTTP.
func (e *Env) askPage(ctx context.Context, a spot, path string) answerPage {
	c, err := e.dial(ctx, a)
	if err != nil {
		return answerPage{other: "no connection: " + shortened(err.Error())}
	}
	defer c.Close()
	return askPageOn(c, a.String(), path)
}

// askPageOn asks on a connection that is there.
func askPageOn(c io.ReadWriter, host, path string) answerPage {
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", path, host); err != nil {
		return answerPage{other: shortened(err.Error())}
	}
	resp, err := http.ReadResponse(bufio.NewReader(io.LimitReader(c, pageBytesMax)), nil)
	if err != nil {
		return answerPage{other: "no answer in HTTP: " + shortened(err.Error()), closed: saidError(err, 0).closed}
	}
	defer resp.Body.Close()
	p := answerPage{status: resp.StatusCode, text: resp.Status + "\n"}
	for name, values := range resp.Header {
		p.text += fmt.Sprintln(name, values)
	}
	body, _ := io.ReadAll(resp.Body) // what was cut is judged by what came
	p.text += string(body)
	return p
}

// noBackups is row P5.5.
func noBackups(ctx context.Context, e *Env) []Result {
	return e.own(ctx, subject{what: "backups", keys: []string{"backup."}, why: "this version makes no backups itself: what copies the data directory is not the broker's to see"}, "listeners.")
}

// noSinks is row P5.6.
func noSinks(ctx context.Context, e *Env) []Result {
	s := subject{what: "records that are sent elsewhere", keys: []string{"audit.sinks", "audit.targets", "siem."}, why: "this version sends its records nowhere itself: they are in its log, for the host's collector"}
	s.more = func(q *inquiry, b *BrokerReport) {
		const what, want = "where the log goes (descriptor 2)", "to whatever collects it"
		where := fmt.Sprintf("/proc/%d/fd/2", b.PID)
		to, err := os.Readlink(filepath.Join(e.proc(), strconv.Itoa(b.PID), "fd", "2"))
		if err != nil {
			q.blind(what, want, where, err)
			return
		}
		q.told(what, want, shortened(to), where, NotApplicable)
	}
	return e.own(ctx, s, "audit.")
}

// own is a row about something that the process would do by itself. present is what begins keys
// that it has: a list without them is not the list.
func (e *Env) own(ctx context.Context, s subject, present string) []Result {
	b, err := e.here(ctx)
	if err != nil {
		return unknown(e, err.Error())
	}
	q := e.inquire("node")
	q.noSetting(s, b)
	control := false
	for key := range b.Settings {
		control = control || len(key) > len(present) && key[:len(present)] == present
	}
	if !control {
		q.see(API, "settings that there have to be (positive control)", "some of "+present, "none", Unknown)
	}
	if s.more != nil {
		s.more(q, b)
	}
	return []Result{q.result(Kernel, s.why)}
}
