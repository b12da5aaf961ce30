package userfile

import (
	"encoding/csv"
	"encoding/json"
	"io"
)

// Row is a user of an export.
type Row struct {
	UserID      string `json:"user_id"`
	Hash        string `json:"password_hash"`
	Salt        string `json:"salt"` // always empty: the hash says its own
	IsSuperuser bool   `json:"is_superuser"`
}

// Listed is a user of an export without hashes.
type Listed struct {
	UserID      string `json:"user_id"`
	IsSuperuser bool   `json:"is_superuser"`
	Kind        string `json:"password_kind"`
	Algorithm   string `json:"password_hash_algorithm"`
	CreatedAt   string `json:"created_at"`
	ChangedAt   string `json:"password_changed_at"`
}

// WriteJSON writes a list of Row or of Listed.
func WriteJSON[R Row | Listed](w io.Writer, rows []R) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(rows)
}

// WriteCSV writes users with their hashes, as Read takes them.
func WriteCSV(w io.Writer, rows []Row) error {
	out := csv.NewWriter(w)
	_ = out.Write(columns[:4]) // errors stay until Flush
	for _, r := range rows {
		_ = out.Write([]string{r.UserID, r.Hash, r.Salt, "false"})
	}
	out.Flush()
	return out.Error()
}

// WriteListedCSV writes users without.
func WriteListedCSV(w io.Writer, rows []Listed) error {
	out := csv.NewWriter(w)
	_ = out.Write([]string{"user_id", "is_superuser", "password_kind", "password_hash_algorithm", "created_at", "password_changed_at"})
	for _, r := range rows {
		_ = out.Write([]string{r.UserID, "false", r.Kind, r.Algorithm, r.CreatedAt, r.ChangedAt})
	}
	out.Flush()
	return out.Error()
}
