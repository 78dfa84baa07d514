package front

import (
	"net/http"
	"regexp"
)

// The transfers of LFS objects, on the path after ".git/".
var (
	lfsUpload   = regexp.MustCompile(`^gitlab-lfs/objects/[0-9a-f]{64}/[0-9]{1,19}$`)
	lfsDownload = regexp.MustCompile(`^gitlab-lfs/objects/[0-9a-f]{64}$`)
)

// isLFSUpload matches route 4 of wire/workhorse.md §3. The same with another type
// of content is not offered.
func isLFSUpload(r *http.Request, rest string) bool {
	return r.Method == http.MethodPut && lfsUpload.MatchString(rest) &&
		soleHeader(r.Header, "Content-Type") == "application/octet-stream"
}

func isLFSDownload(r *http.Request, rest string) bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) && lfsDownload.MatchString(rest)
}
