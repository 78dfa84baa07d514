package front

import (
	"net/http"
	"regexp"

	"github.com/gorilla/mux"
)

// The transfers of LFS objects, on the path after ".git/".
var (
	lfsUpload   = regexp.MustCompile(`^gitlab-lfs/objects/[0-9a-f]{64}/[0-9]{1,19}$`)
	lfsDownload = regexp.MustCompile(`^gitlab-lfs/objects/[0-9a-f]{64}$`)
)

// projectUploads takes files for the texts of a project (wire/workhorse.md §3, route 13).
var projectUploads = regexp.MustCompile(`^/api/v4/projects/[^/]+/uploads$`)

func (f *Front) isFormUpload(r *http.Request, _ *mux.RouteMatch) bool {
	return r.Method == http.MethodPost && projectUploads.MatchString(f.path(r))
}

// isLFSUpload matches route 4 of wire/workhorse.md §3. The same with another type
// of content is not offered.
func isLFSUpload(r *http.Request, rest string) bool {
	return r.Method == http.MethodPut && lfsUpload.MatchString(rest) &&
		soleHeader(r.Header, "Content-Type") == "application/octet-stream"
}

func isLFSDownload(r *http.Request, rest string) bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) && lfsDownload.MatchString(rest)
}
