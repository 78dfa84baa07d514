package rest_test

import (
	"net/http"
	"testing"
)

func TestMeta(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.as(b.root).get("version").text(200, `{"revision":"abc","version":"1.2.3"}`)
	b.with(b.token(b.root.ID, "read_user")).get("version").want(200)
	b.anonymous().get("version").text(401, `{"message":"401 Unauthorized"}`).header("WWW-Authenticate", `Basic realm="GitLab"`)
	b.as(b.root).get("metadata").text(200,
		`{"version":"1.2.3","revision":"abc","kas":{"enabled":false,"externalUrl":null,"externalK8sProxyUrl":null,"version":null},"enterprise":false}`)
	b.anonymous().post("usage_data/track_event", map[string]any{"event": "x"}).text(200, `{}`)
	b.with(b.token(b.root.ID, "read_api")).post("usage_data/track_event", nil).text(200, `{}`)
}

func TestRoutes_unknown(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.anonymous().get("nothing/here").text(404, `{"error":"404 Not Found"}`)
	b.as(b.root).get("projects/1/nothing").text(404, `{"error":"404 Not Found"}`)
	b.as(b.root).send(http.MethodPatch, "version", nil).text(405, `{"message":"405 Method Not Allowed"}`)
	b.as(b.root).send(http.MethodHead, "version", nil).want(200).header("Content-Type", "application/json")
}

func TestRoutes_headers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.as(b.root).get("version").header("Cache-Control", "max-age=0, private, must-revalidate").header("X-Content-Type-Options", "nosniff").
		header("X-Frame-Options", "DENY").header("Vary", "Origin")
}
