// Package gitaly is what rails-api says about a repository and its gitaly, and what
// becomes of it in calls (wire/workhorse.md §2.3).
package gitaly

import (
	"context"
	"net/http"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/workhorse/internal/header"
)

// Servers opens connections to gitaly servers. The pool of kit/gitalyclient is
// one.
type Servers interface {
	Conn(address, token string) (*grpc.ClientConn, error)
}

// Repository names a repository on its gitaly.
type Repository struct {
	StorageName                   string   `json:"storage_name"`
	RelativePath                  string   `json:"relative_path"`
	GitObjectDirectory            string   `json:"git_object_directory"`
	GitAlternateObjectDirectories []string `json:"git_alternate_object_directories"`
	GLRepository                  string   `json:"gl_repository"`
	GLProjectPath                 string   `json:"gl_project_path"`
}

// Proto returns the repository as gitaly wants it.
func (r Repository) Proto() *gitalypb.Repository {
	return &gitalypb.Repository{
		StorageName:                   r.StorageName,
		RelativePath:                  r.RelativePath,
		GitObjectDirectory:            r.GitObjectDirectory,
		GitAlternateObjectDirectories: r.GitAlternateObjectDirectories,
		GlRepository:                  r.GLRepository,
		GlProjectPath:                 r.GLProjectPath,
	}
}

// Server says where a repository lives and what gitaly is told about the caller.
type Server struct {
	Address      string            `json:"address"`
	Token        string            `json:"token"`
	CallMetadata map[string]string `json:"call_metadata"`
}

// Context adds the metadata by which gitaly knows whom it serves
// (wire/workhorse.md §2.3, GitalyServer; wire/gitaly.md §3).
func (s Server) Context(ctx context.Context) context.Context {
	var pairs []string
	for key, value := range s.CallMetadata {
		key = strings.ToLower(key)
		if passesOn(key) && printable(value) {
			pairs = append(pairs, key, value)
		}
	}
	if s.CallMetadata["remote_ip"] == "" {
		if ip := header.RemoteIP(ctx); ip != "" {
			pairs = append(pairs, "remote_ip", ip)
		}
	}
	return metadata.AppendToOutgoingContext(ctx, pairs...)
}

func passesOn(key string) bool {
	switch key {
	case "user_id", "username", "remote_ip":
		return true
	}
	return strings.HasPrefix(key, "gitaly-feature-")
}

// printable reports whether gRPC can carry the value as text.
func printable(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return s != ""
}

const unavailable = "The git server, Gitaly, is not available at this time. Please contact your administrator."

// Failure returns the answer for a call that failed before its first byte
// (wire/workhorse.md §3.2).
func Failure(err error) (statusCode int, text string) {
	code := status.Code(err)
	kind := errs.KindOf(err)
	switch {
	case code == codes.Unavailable || kind == errs.Unavailable:
		return http.StatusServiceUnavailable, unavailable
	case code == codes.NotFound || kind == errs.NotFound:
		return http.StatusNotFound, "Not Found."
	}
	return http.StatusInternalServerError, "Internal Server Error"
}
