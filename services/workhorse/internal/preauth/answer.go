package preauth

import (
	"encoding/json"
	"fmt"
	"io"

	"gitsplit/services/workhorse/internal/gitaly"
	"gitsplit/services/workhorse/internal/store"
)

// Answer is what rails-api says about a permitted request
// (wire/workhorse.md §2.3). Keys of features to come are not decoded yet.
type Answer struct {
	GLID             string  `json:"GL_ID"` // actor: "user-1", "key-1", or "" for anonymous
	GLUsername       *string `json:"GL_USERNAME"`
	GLRepository     string  `json:"GL_REPOSITORY"` // "project-7"
	GlScopedUserID   string  `json:"GlScopedUserID"`
	GlBuildID        string  `json:"GlBuildID"`
	ProjectID        int64   `json:"ProjectID"`
	RootNamespaceID  int64   `json:"RootNamespaceID"`
	ShowAllRefs      bool    `json:"ShowAllRefs"`
	Repository       gitaly.Repository
	GitalyServer     gitaly.Server
	GitConfigOptions []string // for receive-pack only

	store.Destination // of an upload
}

// Username returns the actor's login, or "".
func (a *Answer) Username() string {
	if a.GLUsername == nil {
		return ""
	}
	return *a.GLUsername
}

// maxAnswer bounds a positive answer.
const maxAnswer = 1 << 20

// decode reads one JSON document.
func decode(r io.Reader) (*Answer, error) {
	var a Answer
	d := json.NewDecoder(io.LimitReader(r, maxAnswer))
	if err := d.Decode(&a); err != nil {
		return nil, fmt.Errorf("decode pre-authorization: %w", err)
	}
	if _, err := d.Token(); err != io.EOF { //nolint:errorlint // json returns it bare
		return nil, fmt.Errorf("decode pre-authorization: data after the document")
	}
	return &a, nil
}
