package rest

import "net/http"

func (a *api) metaRoutes() []route {
	return []route{
		{"GET", "/version", signedIn | readUser, a.getVersion},
		{"GET", "/metadata", signedIn | readUser, a.getMetadata},
		{"POST", "/usage_data/track_event", public, a.trackEvent},
	}
}

func (a *api) getVersion(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, map[string]string{"version": a.Version, "revision": a.Revision})
}

func (a *api) getMetadata(w http.ResponseWriter, _ *http.Request) error {
	type kas struct {
		Enabled     bool    `json:"enabled"`
		ExternalURL *string `json:"externalUrl"`
		ProxyURL    *string `json:"externalK8sProxyUrl"`
		Version     *string `json:"version"`
	}
	return writeJSON(w, http.StatusOK, struct {
		Version    string `json:"version"`
		Revision   string `json:"revision"`
		KAS        kas    `json:"kas"`
		Enterprise bool   `json:"enterprise"`
	}{Version: a.Version, Revision: a.Revision})
}

// trackEvent thanks for telemetry and forgets it.
func (a *api) trackEvent(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, struct{}{})
}
