package preauth

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"

	"gitsplit/kit/correlation"
	"gitsplit/kit/logging"
	"gitsplit/services/workhorse/internal/api"
	"gitsplit/services/workhorse/internal/header"
)

// maxRefusal is the size from which on the body of a refusal is not passed back
// (wire/workhorse.md §2.2).
const maxRefusal = 32768

// passBack gives rails-api's refusal to the client.
func (a *Authorizer) passBack(ctx context.Context, w http.ResponseWriter, res *http.Response) {
	if strings.Contains(strings.ToLower(res.Header.Get("Content-Type")), api.MediaType) {
		a.fail(ctx, w, fmt.Errorf("status %d with the internal media type", res.StatusCode))
		return
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxRefusal))
	switch {
	case err != nil:
		a.unreachable(ctx, w, err)
		return
	case len(body) == maxRefusal:
		a.Log.WarnContext(ctx, "refusal is too large to pass back", slog.Int(logging.KeyStatus, res.StatusCode))
		if res.StatusCode == http.StatusNotFound {
			http.Error(w, "Not Found", http.StatusNotFound)
			return
		}
		http.Error(w, "Internal Server Error", http.StatusInternalServerError)
		return
	}
	a.Metrics.refused(len(body))
	copyHeader(w.Header(), res.Header)
	w.WriteHeader(res.StatusCode)
	_, _ = w.Write(body) // the client left
}

func copyHeader(dst, src http.Header) {
	src = src.Clone()
	header.RemoveHop(src)
	header.RemoveControl(src)
	src.Del(correlation.Header) // the front has set it
	src.Del("Content-Length")   // the server counts
	for name, values := range src {
		if name == "Www-Authenticate" {
			for _, v := range values {
				addChallenge(dst, v)
			}
			continue
		}
		dst[name] = values
	}
}

// addChallenge writes the name as every git knows it, not in Go's capitals.
func addChallenge(h http.Header, challenge string) {
	h["WWW-Authenticate"] = append(h["WWW-Authenticate"], challenge)
}
