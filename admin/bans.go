package admin

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/redoubtmq/redoubt/auth/bans"
	"github.com/redoubtmq/redoubt/internal/clock"
)

// Bans are who is shut out of a broker.
type Bans interface {
	// EachBan calls fn for every ban that is not over, in order.
	EachBan(now time.Time, fn func(b *bans.Ban, from bans.Source))
	// AddBans makes checked bans, all or none, and closes what those whom they shut out have
	// open. It calls before when they are durable and before they are in force.
	AddBans(list []*bans.Ban, before func(replaced []*bans.Ban)) (replaced []*bans.Ban, err error)
	// DeleteBan removes one, and calls before in the same way.
	DeleteBan(now time.Time, w bans.Wanted, before func(*bans.Ban)) (*bans.Ban, error)
	// OwnAddresses are those of this machine and of proxies, as they are now, which are banned
	// by force only.
	OwnAddresses() []bans.Own
}

// BanInfo is a ban with where it is from.
type BanInfo struct {
	bans.Row
	Network string `json:"network,omitempty" doc:"Of a ban for flapping: for who comes from this network only."`
	Source  string `json:"source" enum:"operator,file,flapping" doc:"operator: made at run time. file: bans.file, and changed there. flapping: made by the broker, in memory only."`
}

// BanAdded is a ban that was made.
type BanAdded struct {
	BanInfo
	Replaced bool `json:"replaced" doc:"Whether there was one of the same kind, name and identity, which it replaces."`
}

// BanPage is one page of bans.
type BanPage struct {
	Data []BanInfo `json:"data" doc:"Bans that are not over, by kind and name, and then those for flapping."`
	Meta Meta      `json:"meta"`
}

// BansImported says what an import did.
type BansImported struct {
	Added    int `json:"added" doc:"Bans that are in force now."`
	Replaced int `json:"replaced" doc:"How many of them replaced one."`
	Over     int `json:"over" doc:"Rows that were left out because their end is in the past."`
}

// NewBan is a ban to make.
type NewBan struct {
	As       string `json:"as" enum:"clientid,username,peerhost,peerhost_net,clientid_re,username_re" doc:"What it goes by. The last two are regular expressions (RE2) that match anywhere; ^ and $ bind them."`
	Who      string `json:"who" minLength:"1" maxLength:"65535" doc:"Who is shut out; at most 1,024 bytes, which the answer explains."`
	Identity string `json:"identity,omitempty" maxLength:"1024" doc:"Of a clientid: within this identity only."`
	Reason   string `json:"reason,omitempty" maxLength:"512" doc:"Why, for whoever reads the list or the log. No client sees it."`
	Until    string `json:"until,omitempty" maxLength:"64" doc:"When it ends, as RFC 3339; infinity or nothing: never."`
	Force    bool   `json:"force,omitempty" doc:"Also if it would hit nearly everybody, an address of this machine, or a proxy of a listener (proxy_sources)."`
}

type (
	listBans struct {
		Page   int    `query:"page" minimum:"1" maximum:"1000000" default:"1" doc:"Page; the first is 1."`
		Limit  int    `query:"limit" minimum:"1" maximum:"10000" default:"100" doc:"Entries on a page."`
		As     string `query:"as" enum:"clientid,username,peerhost,peerhost_net,clientid_re,username_re" doc:"Only this kind."`
		Who    string `query:"who" maxLength:"1024" doc:"Only this name."`
		Like   string `query:"like_who" maxLength:"1024" doc:"Only names that hold this text."`
		By     string `query:"by" maxLength:"512" doc:"Only bans that were made by this one."`
		Source string `query:"source" enum:"operator,file,flapping" doc:"Only bans from there."`
	}
	addBan struct{ Body NewBan }
	oneBan struct {
		As       string `path:"as" maxLength:"16" doc:"What it goes by."`
		Who      string `path:"who" minLength:"1" maxLength:"3072" doc:"Who is shut out; a slash in it is written %2F."`
		Identity string `query:"identity" maxLength:"1024" doc:"Only the ban within this identity."`
		Any      bool   `query:"any_identity" doc:"Only the ban of a client identifier within no identity."`
		Network  string `query:"network" maxLength:"64" doc:"Only the ban for who comes from this network."`
	}
	importBans struct {
		Name    string `query:"name" maxLength:"256" default:"import.csv" doc:"What the file is called where it is; JSON if it ends in .json, else CSV."`
		Force   bool   `query:"force" doc:"Also with bans that would hit nearly everybody, an address of this machine, or a proxy of a listener (proxy_sources)."`
		RawBody []byte `contentType:"application/octet-stream"`
	}
	banPageAnswer  struct{ Body BanPage }
	banAnswer      struct{ Body BanAdded }
	bansImportDone struct{ Body BansImported }
)

// banRoom answers what is about bans.
type banRoom struct {
	bans  Bans
	clock clock.Clock
	o     *Options
}

const importPath = prefix + "/banned/import"

func registerBans(api huma.API, o *Options) {
	r := &banRoom{o.Bans, o.Clock, o}
	const tag, path = "Bans", prefix + "/banned"
	register(api, endpoint{
		method: http.MethodGet, path: path, id: "listBans", role: viewer, scope: scopeBans, tag: tag, summary: "Who is shut out",
	}, r.list)
	register(api, endpoint{
		method: http.MethodPost, path: path, id: "addBan", role: administrator, scope: scopeBans, tag: tag,
		summary: "Shut somebody out, and close what they have open", errors: []int{http.StatusConflict},
	}, r.add)
	register(api, endpoint{
		method: http.MethodPost, path: importPath, id: "importBans", role: administrator, scope: scopeBans, tag: tag, body: bans.FileBytesMax,
		summary: "Add the bans of a file, all or none", errors: []int{http.StatusConflict},
	}, r.load)
	register(api, endpoint{
		method: http.MethodDelete, path: path + "/{as}/{who...}", id: "deleteBan", role: administrator, scope: scopeBans, tag: tag,
		summary: "Let somebody in again", status: http.StatusNoContent, errors: []int{http.StatusNotFound, http.StatusConflict},
	}, r.remove)
}

func banInfo(b *bans.Ban, from bans.Source) BanInfo {
	i := BanInfo{Row: b.Row(), Source: from.String()}
	if b.From.IsValid() {
		i.Network = b.From.String()
	}
	return i
}

func (r *banRoom) list(_ context.Context, q *listBans) (*banPageAnswer, error) {
	page := BanPage{Data: []BanInfo{}, Meta: Meta{Page: q.Page, Limit: q.Limit}}
	first := (q.Page - 1) * q.Limit
	r.bans.EachBan(r.clock.Now(), func(b *bans.Ban, from bans.Source) {
		if q.As != "" && q.As != b.As.String() || q.Who != "" && q.Who != b.Who || q.By != "" && q.By != b.By ||
			q.Source != "" && q.Source != from.String() || !strings.Contains(b.Who, q.Like) {
			return
		}
		if i := page.Meta.Count; i >= first && i < first+q.Limit {
			page.Data = append(page.Data, banInfo(b, from))
		}
		page.Meta.Count++
	})
	page.Meta.HasNext = page.Meta.Count > first+q.Limit
	return &banPageAnswer{page}, nil
}

func maker(ctx context.Context) string { return fmt.Sprintf("uid %d", peerUID(ctx)) }

// said writes down who changes what, before it is in force.
func (r *banRoom) said(ctx context.Context, msg string, attrs ...slog.Attr) {
	r.o.Log.LogAttrs(ctx, loudly(r.o), msg, append(actor(ctx), attrs...)...)
}

func attrsOf(b *bans.Ban) []slog.Attr {
	return []slog.Attr{slog.String("as", b.As.String()), slog.String("who", clipped(b.Who)), slog.String("identity", clipped(b.Identity)),
		slog.String("by", b.By), slog.String("reason", b.Reason), slog.String("until", bans.UntilText(b.Until))}
}

func (r *banRoom) add(ctx context.Context, in *addBan) (*banAnswer, error) {
	now := r.clock.Now()
	row := bans.Row{As: in.Body.As, Who: in.Body.Who, Identity: in.Body.Identity, Reason: in.Body.Reason, Until: in.Body.Until}
	b, err := row.Ban(now, maker(ctx))
	switch {
	case err != nil:
		return nil, newProblem(http.StatusUnprocessableEntity, err.Error())
	case b.Over(now):
		return nil, newProblem(http.StatusUnprocessableEntity, "until "+bans.TimeText(b.Until)+" is in the past")
	}
	if why := cmp.Or(b.Broad(), b.Reaches(r.bans.OwnAddresses())); why != "" && !in.Body.Force {
		return nil, newProblem(http.StatusUnprocessableEntity, fmt.Sprintf("%s %q is not banned without --force: %s", b.As, b.Who, why))
	}
	replaced, err := r.bans.AddBans([]*bans.Ban{b}, func(replaced []*bans.Ban) {
		r.said(ctx, "ban made by an operator", append(attrsOf(b), slog.Bool("replaced", len(replaced) > 0))...)
	})
	if err != nil {
		return nil, banRefused(err)
	}
	return &banAnswer{BanAdded{banInfo(b, bans.FromOperator), len(replaced) > 0}}, nil
}

func (r *banRoom) load(ctx context.Context, in *importBans) (*bansImportDone, error) {
	list, over, err := bans.Read(in.Name, in.RawBody, r.clock.Now(), maker(ctx), in.Force, r.bans.OwnAddresses()...)
	if err != nil {
		return nil, newProblem(http.StatusUnprocessableEntity, err.Error())
	}
	done := BansImported{Added: len(list), Over: over}
	if len(list) > 0 {
		replaced, err := r.bans.AddBans(list, func(replaced []*bans.Ban) {
			r.said(ctx, "bans imported by an operator", slog.String("file", clipped(in.Name)), slog.Int("bans", len(list)), slog.Int("replaced", len(replaced)), slog.Int("over", over))
		})
		if err != nil {
			return nil, banRefused(err)
		}
		done.Replaced = len(replaced)
	}
	return &bansImportDone{done}, nil
}

func (r *banRoom) remove(ctx context.Context, in *oneBan) (*empty, error) {
	as, err := bans.ParseAs(in.As)
	if err != nil {
		return nil, newProblem(http.StatusNotFound, err.Error())
	}
	w := bans.Wanted{As: as, Who: in.Who}
	if in.Identity != "" || in.Any {
		w.Identity = &in.Identity
	}
	if in.Network != "" {
		p, err := netip.ParsePrefix(in.Network)
		if err != nil {
			return nil, newProblem(http.StatusUnprocessableEntity, fmt.Sprintf("network is %q, which is none", in.Network))
		}
		w.From = &p
	}
	_, err = r.bans.DeleteBan(r.clock.Now(), w, func(b *bans.Ban) { r.said(ctx, "ban lifted by an operator", attrsOf(b)...) })
	if err != nil {
		return nil, banRefused(err)
	}
	return nil, nil
}

// banRefused turns an error of Bans into an answer.
func banRefused(err error) error {
	var keep *bans.KeepError
	status := http.StatusUnprocessableEntity
	switch {
	case errors.Is(err, bans.ErrUnknown):
		status = http.StatusNotFound
	case errors.Is(err, bans.ErrAmbiguous), errors.Is(err, bans.ErrFile), errors.Is(err, bans.ErrFull):
		status = http.StatusConflict
	case errors.As(err, &keep): // the log takes nothing now
		status = http.StatusServiceUnavailable
	}
	return newProblem(status, err.Error())
}

// EachBan is GET /banned, all pages.
func (c *Client) EachBan(ctx context.Context, f Filter, fn func(*BanInfo) error) error {
	v := f.values()
	v.Set("limit", strconv.Itoa(RowsMax))
	for n := 1; ; n++ {
		v.Set("page", strconv.Itoa(n))
		page, err := call[BanPage](ctx, c, http.MethodGet, "/banned?"+v.Encode(), nil)
		if err != nil {
			return err
		}
		for i := range page.Data {
			if err := fn(&page.Data[i]); err != nil {
				return err
			}
		}
		if !page.Meta.HasNext {
			return nil
		}
	}
}

// AddBan is POST /banned.
func (c *Client) AddBan(ctx context.Context, b *NewBan) (BanAdded, error) {
	return call[BanAdded](ctx, c, http.MethodPost, "/banned", b)
}

// ImportBans is POST /banned/import.
func (c *Client) ImportBans(ctx context.Context, name string, file []byte, force bool) (BansImported, error) {
	v := url.Values{"name": {name}, "force": {strconv.FormatBool(force)}}
	return send[BansImported](ctx, c, http.MethodPost, "/banned/import?"+v.Encode(), "application/octet-stream", bytes.NewReader(file))
}

// DeleteBan is DELETE /banned/{as}/{who}. The filter has identity, any_identity or network.
func (c *Client) DeleteBan(ctx context.Context, as, who string, f Filter) error {
	_, err := call[struct{}](ctx, c, http.MethodDelete, "/banned/"+segment(as)+"/"+segment(who)+"?"+f.values().Encode(), nil)
	return err
}
