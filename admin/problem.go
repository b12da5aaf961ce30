package admin

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"syscall"

	"github.com/danielgtaylor/huma/v2"

	"github.com/redoubtmq/redoubt/auth/builtin"
)

// problemType is the media type of RFC 9457.
const problemType = "application/problem+json"

// Problem is an error answer (RFC 9457). It never carries the value that was
// refused: that may be a password.
type Problem struct {
	Type      string         `json:"type" doc:"Always about:blank: title and status say all there is to say about the kind."`
	Title     string         `json:"title" doc:"What the HTTP status means."`
	Status    int            `json:"status" doc:"HTTP status."`
	Detail    string         `json:"detail" doc:"What happened here, for a person."`
	RequestID string         `json:"request_id" doc:"Finds this request in the broker's log."`
	Errors    []ProblemEntry `json:"errors,omitempty" doc:"Each thing that is wrong with the request."`
}

// ProblemEntry is one thing that is wrong with a request.
type ProblemEntry struct {
	Detail  string `json:"detail" doc:"What is wrong."`
	Pointer string `json:"pointer,omitempty" doc:"JSON pointer into the body, as a URI fragment."`
	Where   string `json:"where,omitempty" doc:"The parameter, if it is not about the body."`
}

// Error is the problem on one line.
func (p *Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.Detail)
	for _, e := range p.Errors {
		where := e.Pointer + e.Where
		if where != "" {
			where += " "
		}
		b.WriteString("; " + where + e.Detail)
	}
	return b.String()
}

// GetStatus implements huma.StatusError.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType implements huma.ContentTypeFilter.
func (p *Problem) ContentType(string) string { return problemType }

// init tells huma to make Problems of its own errors too, so that every answer
// and the OpenAPI document agree, and to take field names as they are written, so
// that "USER_ID" cannot stand beside "user_id". huma has no other place to say it.
func init() {
	huma.NewError = newProblem
	huma.ValidateStrictCasing = true
}

func newProblem(status int, detail string, errs ...error) huma.StatusError {
	p := &Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail}
	for _, err := range errs {
		var d huma.ErrorDetailer
		switch {
		case err == nil:
		case errors.As(err, &d):
			p.Errors = append(p.Errors, entry(d.ErrorDetail())) // leaves Value out
		case status < http.StatusInternalServerError:
			p.Errors = append(p.Errors, ProblemEntry{Detail: err.Error()})
		}
	}
	return p
}

// entry turns huma's location (body.user_id, query.page) into a JSON pointer.
func entry(d *huma.ErrorDetail) ProblemEntry {
	e := ProblemEntry{Detail: d.Message}
	rest, inBody := strings.CutPrefix(d.Location, "body")
	if !inBody {
		e.Where = d.Location
		return e
	}
	e.Pointer = "#" + strings.NewReplacer(".", "/", "[", "/", "]", "").Replace(rest)
	return e
}

// write answers p to whoever is not served by huma.
func (p *Problem) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", problemType)
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the caller hung up
}

// refusal turns an error of Users into an answer. Trouble of the operating
// system is ours (500); everything else is about what was asked.
func refusal(err error) error {
	var (
		keep *builtin.KeepError
		path *fs.PathError
		link *os.LinkError
		sys  *os.SyscallError
		no   syscall.Errno
	)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, builtin.ErrUnknown):
		return newProblem(http.StatusNotFound, err.Error())
	case errors.Is(err, builtin.ErrExists):
		return newProblem(http.StatusConflict, err.Error())
	case errors.As(err, &keep): // the log takes nothing now
		return newProblem(http.StatusServiceUnavailable, err.Error())
	case errors.As(err, &path), errors.As(err, &link), errors.As(err, &sys), errors.As(err, &no):
		return newProblem(http.StatusInternalServerError, err.Error())
	}
	return newProblem(http.StatusUnprocessableEntity, err.Error())
}
