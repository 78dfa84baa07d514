package cert

import "testing"

// NewPublic starts a public authority for the tests from outside.
var NewPublic = func(t *testing.T, plain, tlsPort int) (url, trust, root string) {
	p := newPublic(t, plain, tlsPort)
	return p.url, p.trust, p.root
}
