package internalapi

import (
	"context"
	"net/url"
	"strconv"
)

// Allowed asks whether an action may go on. A refusal by policy is an *Error, or
// an answer with Status false.
func (c *Client) Allowed(ctx context.Context, req AllowedRequest) (AllowedResponse, error) {
	var out AllowedResponse
	err := c.Post(ctx, PathAllowed, req, &out)
	return out, err
}

// AuthorizedKeys looks a public key up by its blob, base64 of the SSH wire form.
// An unknown key is an *Error of status 404.
func (c *Client) AuthorizedKeys(ctx context.Context, blob string) (AuthorizedKey, error) {
	var out AuthorizedKey
	err := c.Get(ctx, PathAuthorizedKeys, url.Values{"key": {blob}}, &out)
	return out, err
}

// AuthorizedCerts asks who holds a certificate, by the fingerprint of the authority
// that signed it (base64 of the SHA-256, unpadded) and the name in the certificate.
// One that lets nobody in is an *Error of status 403 or 404.
func (c *Client) AuthorizedCerts(ctx context.Context, fingerprint, identifier string) (AuthorizedCert, error) {
	var out AuthorizedCert
	err := c.Get(ctx, PathAuthorizedCerts, url.Values{"key": {fingerprint}, "user_identifier": {identifier}}, &out)
	return out, err
}

// Discover says whose key keyID is or, if that is 0, who username is. For somebody
// unknown the ID is 0.
func (c *Client) Discover(ctx context.Context, keyID int64, username string) (DiscoverResponse, error) {
	var out DiscoverResponse
	query := url.Values{"username": {username}}
	if keyID != 0 {
		query = url.Values{"key_id": {strconv.FormatInt(keyID, 10)}}
	}
	err := c.Get(ctx, PathDiscover, query, &out)
	return out, err
}

// PreReceive raises the counter of pushes in flight.
func (c *Client) PreReceive(ctx context.Context, req PreReceiveRequest) (PreReceiveResponse, error) {
	var out PreReceiveResponse
	err := c.Post(ctx, PathPreReceive, req, &out)
	return out, err
}

// PostReceive reports moved refs.
func (c *Client) PostReceive(ctx context.Context, req PostReceiveRequest) (PostReceiveResponse, error) {
	var out PostReceiveResponse
	err := c.Post(ctx, PathPostReceive, req, &out)
	return out, err
}

// Check asks whether the API and its Redis are well.
func (c *Client) Check(ctx context.Context) (CheckResponse, error) {
	var out CheckResponse
	err := c.Get(ctx, PathCheck, nil, &out)
	return out, err
}
