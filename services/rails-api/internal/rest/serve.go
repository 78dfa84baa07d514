package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/gorilla/mux"

	"gitsplit/kit/logging"
	"gitsplit/services/rails-api/internal/rest/param"
	"gitsplit/services/rails-api/internal/user"
)

// serve is the one wrapper around every handler: it reads the parameters, finds out who asks, checks the token's scope, runs the handler
// and writes its error. Changes are recorded as audit lines, refused ones too (security-baseline.md L3).
func (a *api) serve(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "max-age=0, private, must-revalidate")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Vary", "Origin")
		s, err := a.open(r, rt)
		r = r.WithContext(context.WithValue(r.Context(), sessionKey{}, s))
		if err == nil {
			err = rt.handle(w, r)
		}
		if reads(r.Method) || rt.need == public {
			a.finish(w, r, err)
			return
		}
		status := http.StatusOK
		if err != nil {
			status = a.fail(w, r, err)
		}
		a.audit(r, rt, s, status)
	})
}

func (a *api) finish(w http.ResponseWriter, r *http.Request, err error) {
	if err != nil {
		a.fail(w, r, err)
	}
}

func (a *api) audit(r *http.Request, rt route, s *session, status int) {
	attrs := []slog.Attr{
		slog.String(logging.KeyMethod, r.Method),
		slog.String(logging.KeyRoute, prefix+rt.path),
		slog.String(logging.KeyPath, r.URL.Path),
		slog.Bool("accepted", status < http.StatusBadRequest),
		slog.String(logging.KeyRemoteAddr, r.RemoteAddr),
		slog.String("forwarded_for", r.Header.Get("X-Forwarded-For")),
	}
	if s.user != nil {
		attrs = append(attrs, slog.String(logging.KeyUser, s.user.Username), slog.Int64("token_id", s.token.ID))
	}
	if s.sudoer != nil {
		attrs = append(attrs, slog.String("sudoer", s.sudoer.Username))
	}
	a.Log.LogAttrs(r.Context(), slog.LevelInfo, "audit", attrs...)
}

type sessionKey struct{}

// open reads the request and authenticates it. The session it returns is never nil.
func (a *api) open(r *http.Request, rt route) (*session, error) {
	s := &session{params: &param.Set{}}
	plain := headerToken(r)
	if plain != "" { // the body of a stranger is not even read
		if err := a.authenticate(r, s, plain); err != nil {
			return s, err
		}
	}
	if err := a.throttle(r, s); err != nil {
		return s, err
	}
	parse := param.Parse
	if rt.need&ownBody != 0 {
		parse = param.ParseQuery
	}
	params, err := parse(r)
	if err != nil {
		return s, err
	}
	s.params = params
	if plain == "" {
		if plain = paramToken(params); plain != "" {
			if err := a.authenticate(r, s, plain); err != nil {
				return s, err
			}
		}
	}
	if err := a.sudo(r, s); err != nil {
		return s, err
	}
	if err := s.check(r.Method, rt.need); err != nil {
		return s, err
	}
	s.segments, err = segments(r)
	return s, err
}

// params returns the parameters of the request.
func params(r *http.Request) *param.Set { return current(r).params }

// actor returns who asks, nil for an anonymous request.
func actor(r *http.Request) *user.User { return current(r).user }

func current(r *http.Request) *session {
	s, _ := r.Context().Value(sessionKey{}).(*session)
	return s
}

func isAdmin(r *http.Request) bool {
	u := actor(r)
	return u != nil && u.Admin
}

func actorID(r *http.Request) int64 {
	if u := actor(r); u != nil {
		return u.ID
	}
	return 0
}

// segments decodes the variables of a route's path. A path that cannot be decoded, or holds what no stored name can, names nothing.
func segments(r *http.Request) (map[string]string, error) {
	raw := mux.Vars(r)
	decoded := make(map[string]string, len(raw))
	for name, value := range raw {
		text, err := url.PathUnescape(value)
		if err != nil || !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
			return nil, notFound("")
		}
		decoded[name] = text
	}
	return decoded, nil
}

// segment returns one decoded variable of the route's path, "" when the route has none of that name.
func segment(r *http.Request, name string) string { return current(r).segments[name] }

// writeJSON answers with a JSON document.
func writeJSON(w http.ResponseWriter, status int, v any) error {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(bytes.TrimSuffix(body.Bytes(), []byte("\n"))) // the client went away
	return nil
}

func noContent(w http.ResponseWriter) error {
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func accepted(w http.ResponseWriter) error {
	return writeJSON(w, http.StatusAccepted, map[string]string{"message": "202 Accepted"})
}
